//! Which keys a route signs with: the description of a source, as the settings give it.
//!
//! Two routes with an equal source share one, and so one call to STS (`credentials.rs`).

use std::{path::PathBuf, time::Duration};

use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};

use super::{endpoint_variant::EndpointVariant, forward_proxy::ForwardProxy};

/// Whether a text can be a key or a token: they become parts of headers.
pub fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether an access key's id is rather a secret access key, which has 40 characters of base64: the two were
/// swapped. IDs consist of letters, digits and `_` (IAM API reference, `AccessKey`).
pub fn is_swapped(id: &str) -> bool {
    id.len() == 40 || id.contains(['/', '+'])
}

/// One source of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where the first keys come from.
    pub origin: Origin,
    /// The role that they are exchanged for.
    pub role: Option<Role>,
    /// The region of STS.
    pub region: String,
    /// `aws_sts_endpoint_url`: the regional endpoint's replacement.
    pub sts_endpoint: Option<String>,
    /// The kind of AWS's endpoints.
    pub variant: EndpointVariant,
    /// Which protocol the metadata service of EC2 is spoken to in.
    pub metadata: MetadataProtocol,
    /// The way to STS, where there is no straight one.
    pub proxy: Option<ForwardProxy>,
}

impl Source {
    /// Whether STS gives keys, as far as the settings tell: what the chain or a profile needs is in the environment.
    pub fn calls_sts(&self) -> bool {
        self.role.is_some() || matches!(self.origin, Origin::Chain | Origin::Profile(_))
    }
}

/// Where the first keys come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
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

/// The two protocols of EC2's metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetadataProtocol {
    /// With a session token, which a request that was smuggled out of an application cannot have.
    #[default]
    V2,
    /// Without, on request alone.
    V1,
}

/// A route's own keys, at least one part of which stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct MountedKeys {
    /// The access key id.
    pub key: Part,
    /// The secret access key.
    pub secret: Part,
    /// Of temporary keys.
    pub session_token: Option<Part>,
}

/// One part of them.
#[derive(Debug, Clone)]
pub enum Part {
    /// As it stands in the settings.
    Text(SecretString),
    /// In this file, without its last line end.
    File(PathBuf),
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(own), Self::Text(other)) => own.expose_secret() == other.expose_secret(),
            (Self::File(own), Self::File(other)) => own == other,
            _ => false,
        }
    }
}
