//! Which keys a route signs with: the description of a source, as the settings give it.
//!
//! Two routes with an equal source share one, and so one call to STS (`credentials.rs`).

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{endpoint_variant::EndpointVariant, forward_proxy::ForwardProxy};
use crate::{
    settings::source::{
        declaration::VISIBLE,
        secrecy::Secrecy,
        shown::{REDACTED, Redacted, Show},
    },
    text::units::WrittenDuration,
};

/// Whether a text can be a key or a token: they become parts of headers.
pub fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether an access key's id is rather a secret access key, which has 40 characters of base64: the two were
/// swapped. IDs consist of letters, digits and `_` (IAM API reference, `AccessKey`).
pub fn is_swapped(id: &str) -> bool {
    id.len() == 40 || id.contains(['/', '+'])
}

/// The ARN of a role. AWS's partitions have names that begin with `aws`.
const ROLE: &str = "^arn:aws(-[!-9;-~]*)?:iam::[0-9]{12}:role/[!-~]+$";
/// Characters that STS takes (AWS STS API reference, `AssumeRole`).
const EXTERNAL_ID: &str = "^[A-Za-z0-9_+=,.@:/-]{2,1224}$";
/// A host and a port with nothing after them.
const STS_ENDPOINT: &str = r"^[hH][tT][tT][pP][sS]?://([^@/?#:]+|\[[^@/?#]+\])(:[0-9]{1,5})?/*$";
const SESSIONS: RangeInclusive<Duration> = Duration::from_mins(15)..=Duration::from_hours(12);

section! {
    /// One source of keys.
    #[derive(Debug, Clone, PartialEq)]
    pub struct CredentialSettings, read as WrittenCredentials, optional "a table about keys";

    made CredentialParts {
        /// Where the first keys come from.
        origin: CredentialProvider,
        /// The role that they are exchanged for.
        role: Option<Role>,
        /// The region of STS.
        region: String,
        /// `aws_sts_endpoint_url`: the regional endpoint's replacement.
        sts_endpoint: Option<String>,
        /// The kind of AWS's endpoints.
        variant: EndpointVariant,
        /// Which protocol the metadata service of EC2 is spoken to in.
        metadata: MetadataProtocol,
        /// The way to STS, where there is no straight one.
        proxy: Option<ForwardProxy>,
    }

    /// The token of temporary keys.
    session_token: SecretString, pattern(VISIBLE), secret() => |source| source.session_token();
    /// A profile of the shared files instead of keys.
    profile: String, open() => |source| source.profile();
    /// A role to assume with those keys.
    assume_role_arn: String, pattern(ROLE) => |source| source.role.as_ref().map(|role| &role.arn);
    /// The name of the role's sessions in AWS's logs; what STS would refuse in it becomes `-`.
    role_session_name: String, open() => |source| source.role.as_ref().map(|role| &role.session_name);
    /// The external id that the role's owner demands.
    external_id: String, pattern(EXTERNAL_ID), secret() => |source| source.role.as_ref().map(|role| &role.external_id);
    /// How long a session lasts; STS decides by default.
    role_duration: WrittenDuration [SESSIONS] => |source| source.role.as_ref().map(|role| role.duration);
    /// Where STS is; the region's by default.
    sts_endpoint_url: String, pattern(STS_ENDPOINT), secret_query() => |source| &source.sts_endpoint;
    // Kong's default is v1; a token costs nothing and closes a hole
    /// `v1` for a metadata service without tokens.
    imds_protocol_version: MetadataProtocol = MetadataProtocol::V2 => |source| source.metadata;
}

impl CredentialSettings {
    /// Whether STS gives keys, as far as the settings tell: what the chain or a profile needs is in the environment.
    pub fn calls_sts(&self) -> bool {
        self.role.is_some()
            || matches!(self.origin, CredentialProvider::Chain | CredentialProvider::Profile(_))
    }

    /// The access key id and its secret, as far as they are shown: both of them or none.
    pub(super) fn shown_keys(&self) -> [Option<&dyn Show>; 2] {
        match &self.origin {
            // the id is quoted in mistakes, and hidden where it is in force
            CredentialProvider::Keys(_) => [Some(&Redacted), Some(&Redacted)],
            CredentialProvider::Mounted(keys) => [Some(&keys.key), Some(&keys.secret)],
            CredentialProvider::Profile(_) | CredentialProvider::Chain => [None, None],
        }
    }

    fn session_token(&self) -> Option<&dyn Show> {
        match &self.origin {
            CredentialProvider::Keys(keys) => keys.session_token().map(|_| &Redacted as &dyn Show),
            CredentialProvider::Mounted(keys) => keys.session_token.as_ref().map(|token| token as &dyn Show),
            CredentialProvider::Profile(_) | CredentialProvider::Chain => None,
        }
    }

    fn profile(&self) -> Option<&String> {
        if let CredentialProvider::Profile(profile) = &self.origin { Some(profile) } else { None }
    }
}

/// Where the first keys come from.
#[derive(Debug, Clone, PartialEq)]
pub enum CredentialProvider {
    /// The route's own settings.
    Keys(Credentials),
    /// The route's own settings, which point to files.
    Mounted(MountedKeys),
    /// A profile of the shared files.
    Profile(String),
    /// The first of these that is configured: environment, profile, container, web identity, EC2.
    Chain,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// How its sessions are called in AWS's logs.
    pub session_name: String,
    /// What the role's owner demands to be told.
    pub external_id: Option<String>,
    /// How long a session lasts; STS decides if it is not said.
    pub duration: Option<Duration>,
}

words! {
    /// The two protocols of EC2's metadata service.
    pub enum MetadataProtocol {
        /// Without a token, on request alone.
        V1 = "v1",
        /// With a session token, which a request that was smuggled out of an application cannot have.
        V2 = "v2",
    }
}

/// A route's own keys, at least one part of which stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct MountedKeys {
    /// The access key id.
    pub key: MountedPart,
    /// The secret access key.
    pub secret: MountedPart,
    /// Of temporary keys.
    pub session_token: Option<MountedPart>,
}

/// One part of them.
#[derive(Debug, Clone)]
pub enum MountedPart {
    /// As it stands in the settings.
    Text(SecretString),
    /// In this file, without its last line end.
    File(PathBuf),
}

impl Show for MountedPart {
    fn show(&self, _: Secrecy) -> Value {
        match self {
            Self::Text(_) => REDACTED.into(),
            Self::File(path) => format!("$file://{}", path.display()).into(),
        }
    }
}

impl PartialEq for MountedPart {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(own), Self::Text(other)) => own.expose_secret() == other.expose_secret(),
            (Self::File(own), Self::File(other)) => own == other,
            _ => false,
        }
    }
}
