//! Which source of the chain is configured: a pure choice, and then only that one is used.
//!
//! `fetch.rs` asks anew before each fetch, since the shared files may have come or gone, and then fetches
//! from what was chosen. A source that is configured but fails is an error of that source. Falling through to the
//! next would sign as somebody else, as deeplake#3161 did with the role of its node.

use std::{fmt, path::PathBuf};

use aws_credential_types::Credentials;

use crate::settings::{DEFAULT_SESSION_NAME, MetadataProtocol};

/// One source of the chain.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// `AWS_ACCESS_KEY_ID` and its company.
    Environment(Credentials),
    /// A profile of the shared files.
    Profile(String),
    /// The endpoint that the container's platform offers.
    Container(Container),
    /// A role for a token that the cluster issued.
    WebIdentity(WebIdentity),
    /// EC2's metadata service.
    Metadata(MetadataProtocol),
}

/// The platforms whose endpoints give a container its keys; they differ in name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    Ecs,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` with a token in a file.
    PodIdentity,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` alone.
    Other,
}

/// What `AssumeRoleWithWebIdentity` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// Where the token is, which the cluster renews.
    pub token_file: PathBuf,
    /// The role that it is exchanged for.
    pub role_arn: String,
    /// How the session is called, as it is written.
    pub session_name: String,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(_) => f.write_str("environment"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Container(Container::Ecs) => f.write_str("ECS container"),
            Self::Container(Container::PodIdentity) => f.write_str("EKS Pod Identity"),
            Self::Container(Container::Other) => f.write_str("container endpoint"),
            Self::WebIdentity(_) => f.write_str("IRSA"),
            Self::Metadata(MetadataProtocol::V2) => f.write_str("EC2 metadata v2"),
            Self::Metadata(MetadataProtocol::V1) => f.write_str("EC2 metadata v1"),
        }
    }
}

/// Chooses the first source that is configured.
///
/// The order is that of Kong's plugin (K52 in the list of peers' behaviours): environment, profile, container, web
/// identity, EC2. The SDKs of AWS put web identity before the container
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>); the two orders differ only
/// in a pod that has both a Pod Identity association and an IRSA annotation, which then signs as Kong does.
///
/// # Errors
/// A source is configured by half or cannot be looked at, or none is and EC2's metadata service is ruled out.
pub fn choose(
    environment: impl Fn(&str) -> Option<String>,
    has_default_profile: Result<bool, String>,
    metadata: MetadataProtocol,
) -> Result<Choice, String> {
    // the SDKs take an empty variable for one that is not set, and pod templates set many empty ones
    let variable = |name: &str| environment(name).filter(|value| !value.trim().is_empty());

    let keys = pair(&variable, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")?;
    if let Some((id, secret)) = keys {
        let token = variable("AWS_SESSION_TOKEN");
        return Ok(Choice::Environment(Credentials::new(id, secret, token, None, "environment")));
    }
    if let Some(name) = variable("AWS_PROFILE") {
        return Ok(Choice::Profile(name));
    }
    if has_default_profile? {
        return Ok(Choice::Profile("default".to_owned()));
    }
    if variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some() {
        return Ok(Choice::Container(Container::Ecs));
    }
    if variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").is_some() {
        let has_token_file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").is_some();
        return Ok(Choice::Container(if has_token_file { Container::PodIdentity } else { Container::Other }));
    }
    if variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").is_some() {
        let missing =
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is set, but AWS_CONTAINER_CREDENTIALS_FULL_URI is not";
        return Err(missing.to_owned());
    }
    if let Some((token_file, role_arn)) = pair(&variable, "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")? {
        let session_name =
            variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned());
        return Ok(Choice::WebIdentity(WebIdentity {
            token_file: token_file.into(),
            role_arn,
            session_name,
        }));
    }
    metadata_service(&variable, metadata)
}

/// EC2's metadata service needs no configuration, so it is what is left, unless it is switched off.
fn metadata_service(
    variable: &impl Fn(&str) -> Option<String>,
    protocol: MetadataProtocol,
) -> Result<Choice, String> {
    let is_true = |name: &str| variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    if is_true("AWS_EC2_METADATA_DISABLED") {
        return Err(
            "no source is configured: there are no AWS_ACCESS_KEY_ID, profile, container endpoint or web \
                    identity, and AWS_EC2_METADATA_DISABLED is true"
                .to_owned(),
        );
    }
    if protocol == MetadataProtocol::V1 && is_true("AWS_EC2_METADATA_V1_DISABLED") {
        return Err(
            "the settings ask for EC2 metadata v1, and AWS_EC2_METADATA_V1_DISABLED is true".to_owned()
        );
    }
    Ok(Choice::Metadata(protocol))
}

/// Two variables that mean something together only.
fn pair(
    variable: &impl Fn(&str) -> Option<String>,
    first: &str,
    second: &str,
) -> Result<Option<(String, String)>, String> {
    match (variable(first), variable(second)) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(format!("{first} is set, but {second} is not")),
        (None, Some(_)) => Err(format!("{second} is set, but {first} is not")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hush")];
    const PROFILE: [(&str, &str); 1] = [("AWS_PROFILE", "work")];
    const ECS: [(&str, &str); 1] = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")];
    const FULL: [(&str, &str); 1] =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")];
    const TOKEN: [(&str, &str); 1] = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token")];
    const WEB: [(&str, &str); 2] =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")];

    fn chosen(variables: &[&[(&str, &str)]], default_profile: bool) -> Result<Choice, String> {
        let variables = variables.concat();
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        choose(get, Ok(default_profile), MetadataProtocol::V2)
    }

    fn named(variables: &[&[(&str, &str)]], default_profile: bool) -> String {
        chosen(variables, default_profile).unwrap().to_string()
    }

    #[test]
    fn k52_the_first_that_is_configured_is_taken() {
        let all: [&[(&str, &str)]; 6] = [&KEYS, &PROFILE, &ECS, &FULL, &TOKEN, &WEB];
        assert_eq!(named(&all, true), "environment");
        assert_eq!(named(&all[1..], true), "profile work");
        assert_eq!(named(&all[2..], true), "profile default");
        assert_eq!(named(&all[2..], false), "ECS container");
        assert_eq!(named(&all[3..], false), "EKS Pod Identity");
        assert_eq!(named(&[&FULL, &WEB], false), "container endpoint");
        assert_eq!(named(&all[5..], false), "IRSA");
        assert_eq!(named(&[], false), "EC2 metadata v2");
    }

    #[test]
    fn the_environment_gives_all_three_parts() {
        let token: [(&str, &str); 1] = [("AWS_SESSION_TOKEN", "hush-token")];
        let Choice::Environment(keys) = chosen(&[&KEYS, &token], false).unwrap() else { panic!() };
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("AKID", "hush"));
        assert_eq!((keys.session_token(), keys.expiry()), (Some("hush-token"), None));
        let shown = format!("{:?}", Choice::Environment(keys));
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn half_a_source_is_a_mistake_that_names_the_other_half() {
        for (variables, missing) in [
            (&KEYS[..1], "AWS_SECRET_ACCESS_KEY is not"),
            (&KEYS[1..], "AWS_ACCESS_KEY_ID is not"),
            (&WEB[..1], "AWS_ROLE_ARN is not"),
            (&WEB[1..], "AWS_WEB_IDENTITY_TOKEN_FILE is not"),
        ] {
            let reason = chosen(&[variables], false).unwrap_err();
            assert!(reason.ends_with(missing) && !reason.contains("hush"), "{reason}");
        }
        // even where a later source is whole
        assert!(chosen(&[&KEYS[..1], &WEB], true).is_err());
        let token_alone = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token")];
        let reason = chosen(&[&token_alone], false).unwrap_err();
        assert!(reason.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI is not"), "{reason}");
    }

    #[test]
    fn files_that_cannot_be_looked_at_matter_in_their_turn() {
        let get =
            |name: &str| KEYS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let broken = || Err("no such file".to_owned());
        assert_eq!(choose(get, broken(), MetadataProtocol::V2).unwrap().to_string(), "environment");
        assert_eq!(choose(|_| None, broken(), MetadataProtocol::V2).unwrap_err(), "no such file");
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let empty: Vec<(&str, &str)> =
            KEYS.iter().chain(&PROFILE).chain(&ECS).map(|(name, _)| (*name, " ")).collect();
        assert_eq!(named(&[&empty, &WEB], false), "IRSA");
    }

    #[test]
    fn the_metadata_service_can_be_switched_off() {
        let off: [(&str, &str); 1] = [("AWS_EC2_METADATA_DISABLED", "True")];
        assert!(chosen(&[&off], false).unwrap_err().contains("AWS_EC2_METADATA_DISABLED"));
        assert_eq!(named(&[&off, &ECS], false), "ECS container");
        let v1 = |value: &'static str| {
            choose(
                move |name| (name == "AWS_EC2_METADATA_V1_DISABLED").then(|| value.to_owned()),
                Ok(false),
                MetadataProtocol::V1,
            )
        };
        assert!(v1("true").is_err());
        assert_eq!(v1("false").unwrap().to_string(), "EC2 metadata v1");
    }

    #[test]
    fn a_web_identity_session_has_a_name() {
        let named: [(&str, &str); 1] = [("AWS_ROLE_SESSION_NAME", "shop/orders")];
        let name = |variables: &[&[(&str, &str)]]| match chosen(variables, false).unwrap() {
            Choice::WebIdentity(identity) => identity.session_name,
            other => panic!("{other}"),
        };
        assert_eq!(name(&[&WEB]), "apigw-invoker");
        assert_eq!(name(&[&WEB, &named]), "shop/orders");
    }
}
