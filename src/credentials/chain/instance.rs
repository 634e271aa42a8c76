//! EC2's metadata service, the last source: it needs no configuration, and a variable disables it.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_config::imds;
use aws_credential_types::Credentials;
use futures_core::future::BoxFuture;

use super::{ChainSource, Choice, Row, Surroundings};
use crate::{
    credentials::{
        fetch::{Aws, FetchError, Fetched},
        metadata,
    },
    settings::MetadataProtocol,
    system::wall_clock::Rfc3339,
};

/// Connect timeout of the SDK's client. The service is on the same machine or absent, and start-up must not
/// hang.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_ATTEMPTS: u32 = 2;
/// Timeout of one operation with all its attempts.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(3);

/// Hint for a service that does not answer, since it is also the source when nothing is configured.
const METADATA_HINT: &str = "no other source is configured, and in a container the metadata service answers \
                             only where the instance's hop limit is 2 or more";

pub(super) const METADATA_SWITCH: &str = "AWS_EC2_METADATA_DISABLED";

/// The metadata service with the protocol to use.
#[derive(Debug)]
struct Instance(MetadataProtocol);

pub(super) const ROW: Row = Row { name: "EC2 metadata", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, FetchError> {
    if surroundings.is_true(METADATA_SWITCH) {
        return Ok(None);
    }
    if surroundings.metadata == MetadataProtocol::V1 && surroundings.is_true("AWS_EC2_METADATA_V1_DISABLED") {
        let conflict = "the settings ask for EC2 metadata v1, and AWS_EC2_METADATA_V1_DISABLED is true";
        return Err(FetchError::NotConfigured(conflict.to_owned()));
    }
    Ok(Some(Box::new(Instance(surroundings.metadata))))
}

impl ChainSource for Instance {
    fn name(&self) -> Cow<'_, str> {
        match self.0 {
            MetadataProtocol::V2 => "EC2 metadata v2",
            MetadataProtocol::V1 => "EC2 metadata v1",
        }
        .into()
    }

    fn fetch<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let fetched = fetch(aws, self.0).await.map_err(|failure| match failure {
                FetchError::Unreachable(_) => failure.noted(METADATA_HINT.to_owned()),
                other => other,
            });
            // without a role the cell itself still has the last keys
            match aws.source.role {
                Some(_) => aws.instance_keys.or_last(fetched, SystemTime::now()),
                None => fetched,
            }
        })
    }
}

/// Fetches the keys of the instance.
///
/// Keys of EC2 outlive their expiry: while the service fails or returns expired keys, AWS wants clients to
/// use them until AWS refuses them
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>).
pub(super) async fn fetch(aws: &Aws, protocol: MetadataProtocol) -> Result<Fetched, FetchError> {
    let endpoint = metadata::endpoint(|name| aws.variable(name));
    let transport = aws.transport.to_metadata();
    let service = match protocol {
        MetadataProtocol::V1 => metadata::MetadataService::V1 { transport: &transport, endpoint },
        MetadataProtocol::V2 => metadata::MetadataService::V2 { client: client(aws)?, endpoint },
    };
    let credentials = metadata::fetch(&service).await?;
    Ok(Fetched { outlives_expiry: true, ..credentials.into() })
}

fn client(aws: &Aws) -> Result<imds::Client, FetchError> {
    aws.refuse_empty(&["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"])?;
    Ok(imds::Client::builder()
        .configure(&aws.metadata_config())
        .connect_timeout(CONNECT_TIMEOUT)
        .max_attempts(MAX_ATTEMPTS)
        .operation_timeout(OPERATION_TIMEOUT)
        .build())
}

/// The last keys of the metadata service, for roles that are assumed with them while the service fails.
///
/// Keys of an instance live for six hours and the sessions of roles for one. Without the last keys a failure
/// of the service would end a role within that hour, although STS still accepts them. AWS's SDKs keep such
/// keys past their expiry
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>).
#[derive(Debug, Default)]
pub struct InstanceKeys(Mutex<Option<Credentials>>);

impl InstanceKeys {
    /// Stores fetched keys; replaces a failure with the last keys and keeps it as their `base_failure`.
    ///
    /// # Errors
    /// The failure, if no keys precede it.
    pub fn or_last(
        &self,
        fetched: Result<Fetched, FetchError>,
        now: SystemTime,
    ) -> Result<Fetched, FetchError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (fetched, &*last) {
            (Ok(fetched), _) => {
                *last = Some(fetched.credentials.clone());
                Ok(fetched)
            }
            (Err(failure), None) => Err(failure),
            (Err(failure), Some(keys)) => {
                let until = match keys.expiry() {
                    Some(expiry) if expiry <= now => format!(", which expired at {}", Rfc3339(expiry)),
                    Some(expiry) => format!(", which expire at {}", Rfc3339(expiry)),
                    None => String::new(),
                };
                let failure = FetchError::LastInstanceKeys { until, failure: Box::new(failure) };
                Ok(Fetched { base_failure: Some(failure), ..keys.clone().into() })
            }
        }
    }
}
