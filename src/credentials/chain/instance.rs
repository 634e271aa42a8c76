//! EC2's metadata service, which needs no configuration, so it is what is left, unless it is switched off.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use aws_config::imds;

use super::{Answer, ChainSource, Choice, Row, Surroundings};
use crate::{
    credentials::{fetch::Aws, metadata, sts::Fetched},
    settings::MetadataProtocol,
};

/// EC2's metadata service is on the same machine or nowhere: a pod that cannot reach it must not hang at its start.
const METADATA_CONNECT: Duration = Duration::from_secs(1);
const METADATA_ATTEMPTS: u32 = 2;
const METADATA_TOTAL: Duration = Duration::from_secs(3);

/// The metadata service is what is left when nothing is configured, so its failure is often not its own.
const METADATA_HINT: &str = "no other source is configured, and in a container the metadata service answers only \
                             where the instance's hop limit is 2 or more";

pub(super) const METADATA_SWITCH: &str = "AWS_EC2_METADATA_DISABLED";

/// The metadata service, in one of its protocols.
#[derive(Debug)]
struct Instance(MetadataProtocol);

pub(super) const ROW: Row = Row { name: "EC2 metadata", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, String> {
    if surroundings.is_true(METADATA_SWITCH) {
        return Ok(None);
    }
    if surroundings.metadata == MetadataProtocol::V1 && surroundings.is_true("AWS_EC2_METADATA_V1_DISABLED") {
        return Err(
            "the settings ask for EC2 metadata v1, and AWS_EC2_METADATA_V1_DISABLED is true".to_owned()
        );
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

    fn fetch<'a>(&'a self, aws: &'a Aws) -> Answer<'a, Result<Fetched, String>> {
        Box::pin(async move {
            let given = fetch(aws, self.0).await.map_err(|failure| match failure {
                metadata::Failure::Silent(reason) => format!("{reason}; {METADATA_HINT}"),
                metadata::Failure::Answered(reason) => reason,
            });
            // without a role, the last keys are still in force
            match aws.source.role {
                Some(_) => aws.instance_keys.or_last(given, SystemTime::now()),
                None => given,
            }
        })
    }
}

/// The keys of the instance.
///
/// Keys of EC2 outlive their expiry: where the service fails or gives expired ones, AWS wants them used until AWS
/// itself refuses them (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>).
pub(super) async fn fetch(aws: &Aws, protocol: MetadataProtocol) -> Result<Fetched, metadata::Failure> {
    let endpoint = metadata::endpoint(|name| aws.variable(name));
    let service = match protocol {
        MetadataProtocol::V1 => metadata::MetadataService::V1 { transport: &aws.transport, endpoint },
        MetadataProtocol::V2 => metadata::MetadataService::V2 {
            client: client(aws).map_err(metadata::Failure::Answered)?,
            endpoint,
        },
    };
    let credentials = metadata::fetch(&service).await?;
    Ok(Fetched { outlives_expiry: true, ..credentials.into() })
}

fn client(aws: &Aws) -> Result<imds::Client, String> {
    aws.refuse_empty(&["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"])?;
    Ok(imds::Client::builder()
        .configure(&aws.provider_config())
        .connect_timeout(METADATA_CONNECT)
        .max_attempts(METADATA_ATTEMPTS)
        .operation_timeout(METADATA_TOTAL)
        .build())
}
