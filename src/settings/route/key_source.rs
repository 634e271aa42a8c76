//! The source of the credentials that a route signs with.
//!
//! Routes with an equal source share its credentials, and so one call to STS (`credentials.rs`).

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    endpoint_variant::EndpointVariant,
    proxy_rule::ProxyRule,
    roles_anywhere::{RolesAnywhereSettings, WrittenRolesAnywhere},
};
use crate::{
    settings::source::{
        declaration::VISIBLE,
        secrecy::Secrecy,
        shown::{REDACTED, Redacted, Show},
    },
    text::units::WrittenDuration,
};

/// True for a valid key or token, which must be valid in a header.
pub fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// True if the access key id looks like a secret access key (40 characters of base64), because the two were
/// swapped. Ids consist of letters, digits and `_` (IAM API reference, `AccessKey`).
pub fn is_swapped(id: &str) -> bool {
    id.len() == 40 || id.contains(['/', '+'])
}

/// The ARN of a role. The names of AWS's partitions begin with `aws`.
pub(super) const ROLE_ARN: &str = "^arn:aws(-[!-9;-~]*)?:iam::[0-9]{12}:role/[!-~]+$";
/// The characters that STS accepts (AWS STS API reference, `AssumeRole`).
const EXTERNAL_ID: &str = "^[A-Za-z0-9_+=,.@:/-]{2,1224}$";
/// A host and a port with nothing after them.
const STS_ENDPOINT: &str = r"^[hH][tT][tT][pP][sS]?://([^@/?#:]+|\[[^@/?#]+\])(:[0-9]{1,5})?/*$";
const SESSION_DURATION: RangeInclusive<Duration> = Duration::from_mins(15)..=Duration::from_hours(12);

section! {
    /// A source of credentials.
    #[derive(Debug, Clone, PartialEq)]
    pub struct CredentialSettings, read as WrittenCredentials, optional "a table about credentials";

    made CredentialParts {
        /// The provider of the first credentials.
        origin: CredentialProvider,
        /// The role to assume with them.
        role: Option<Role>,
        /// The region of STS.
        region: String,
        /// The URL of STS, instead of the region's endpoint.
        sts_endpoint: Option<String>,
        variant: EndpointVariant,
        /// The protocol of the EC2 metadata service.
        metadata: MetadataProtocol,
        /// The proxies on the way to STS and SSO.
        proxy: ProxyRule,
    }

    /// Session token of temporary credentials.
    session_token: SecretString, pattern(VISIBLE), secret() => |source| source.session_token();
    /// Profile of AWS's shared config and credentials files, instead of keys.
    profile: String, open() => |source| source.profile();
    /// X.509 certificate that IAM Roles Anywhere exchanges for keys, instead of keys; see
    /// "IAM Roles Anywhere".
    roles_anywhere: WrittenRolesAnywhere => |source| source.roles_anywhere();
    /// ARN of a role to assume with these credentials.
    assume_role_arn: String, pattern(ROLE_ARN) => |source| source.role.as_ref().map(|role| &role.arn);
    /// Session name of the assumed role in AWS's logs. Characters that STS does not accept become `-`.
    role_session_name: String, open() => |source| source.role.as_ref().map(|role| &role.session_name);
    /// External id that the role's trust policy requires.
    external_id: String, pattern(EXTERNAL_ID), secret()
        => |source| source.role.as_ref().map(|role| &role.external_id);
    /// Duration of a session of the assumed role; STS's default if not set.
    role_duration: WrittenDuration [SESSION_DURATION]
        => |source| source.role.as_ref().map(|role| role.duration);
    /// URL of STS; the region's endpoint by default.
    sts_endpoint_url: String, pattern(STS_ENDPOINT), secret_query() => |source| &source.sts_endpoint;
    // Kong's default is v1, which is open to server-side request forgery
    /// Protocol of the EC2 instance metadata service: `v2` with a session token, or `v1` without.
    imds_protocol_version: MetadataProtocol = MetadataProtocol::V2 => |source| source.metadata;
}

impl CredentialSettings {
    /// True if the credentials may come from STS. The chain and profiles may lead there, depending on the
    /// environment.
    pub fn calls_sts(&self) -> bool {
        self.role.is_some()
            || matches!(self.origin, CredentialProvider::Chain | CredentialProvider::Profile(_))
    }

    /// The access key id and its secret as views show them; both or none.
    pub(super) fn shown_keys(&self) -> [Option<&dyn Show>; 2] {
        match &self.origin {
            // mistakes quote the id, views redact it
            CredentialProvider::Keys(_) => [Some(&Redacted), Some(&Redacted)],
            CredentialProvider::Mounted(keys) => [Some(&keys.key), Some(&keys.secret)],
            CredentialProvider::RolesAnywhere(_)
            | CredentialProvider::Profile(_)
            | CredentialProvider::Chain => [None, None],
        }
    }

    fn session_token(&self) -> Option<&dyn Show> {
        match &self.origin {
            CredentialProvider::Keys(keys) => keys.session_token().map(|_| &Redacted as &dyn Show),
            CredentialProvider::Mounted(keys) => keys.session_token.as_ref().map(|token| token as &dyn Show),
            CredentialProvider::RolesAnywhere(_)
            | CredentialProvider::Profile(_)
            | CredentialProvider::Chain => None,
        }
    }

    fn roles_anywhere(&self) -> Option<&RolesAnywhereSettings> {
        if let CredentialProvider::RolesAnywhere(source) = &self.origin { Some(source) } else { None }
    }

    fn profile(&self) -> Option<&String> {
        if let CredentialProvider::Profile(profile) = &self.origin { Some(profile) } else { None }
    }
}

/// The provider of the first credentials.
#[derive(Debug, Clone, PartialEq)]
pub enum CredentialProvider {
    /// Keys in the route's settings.
    Keys(Credentials),
    /// Keys in files that the route's settings refer to.
    Mounted(MountedKeys),
    /// A certificate that IAM Roles Anywhere exchanges for keys.
    RolesAnywhere(RolesAnywhereSettings),
    /// A profile of AWS's shared files.
    Profile(String),
    /// The first configured of environment, profile, container, web identity and EC2.
    Chain,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub arn: String,
    /// The name of its sessions in AWS's logs.
    pub session_name: String,
    /// The external id that the role's trust policy requires.
    pub external_id: Option<String>,
    /// The duration of a session; `None` for STS's default.
    pub duration: Option<Duration>,
}

words! {
    /// The protocol of the EC2 instance metadata service.
    pub enum MetadataProtocol {
        /// Without a session token.
        V1 = "v1",
        /// With a session token, which a forged request (SSRF) cannot have.
        V2 = "v2",
    }
}

/// Keys of a route of which at least one part is in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct MountedKeys {
    pub key: MountedPart,
    pub secret: MountedPart,
    pub session_token: Option<MountedPart>,
}

/// A part of [`MountedKeys`].
#[derive(Debug, Clone)]
pub enum MountedPart {
    /// The value in the settings.
    Text(SecretString),
    /// The file with the value; a line end at its end does not belong to it.
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
