//! The credential chain: the first configured source is chosen, and only that source is used.
//!
//! Each source has a file with a `ROW`, which finds it, and a [`ChainSource`], which fetches its keys.
//! `fetch.rs` chooses anew before each fetch, since the shared files may have changed. A configured source
//! that fails is an error; falling through to the next would sign with another identity, as deeplake#3161 did
//! with the role of its node.

mod container;
mod environment;
mod instance;
mod profile;
mod web_identity;

use std::{borrow::Cow, fmt};

use aws_credential_types::Credentials;
use futures_core::future::BoxFuture;

pub use self::{
    environment::Environment, instance::InstanceKeys, profile::Profile, web_identity::WebIdentity,
};
use super::fetch::{Aws, FetchError, Fetched};
use crate::settings::MetadataProtocol;

/// The sources in the order of precedence.
///
/// The order is that of Kong's plugin (K52 in the list of peers' behaviours): environment, profile,
/// container, web identity, EC2. AWS's SDKs have web identity before the container
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>); the orders differ only
/// in a pod with both a Pod Identity association and an IRSA annotation, which signs as with Kong.
const SOURCES: [Row; 5] = [environment::ROW, profile::ROW, container::ROW, web_identity::ROW, instance::ROW];

struct Row {
    /// The kind of source, as in its row of k8s/monitoring/README.md.
    name: &'static str,
    /// Returns `None` if the source is not configured.
    find: fn(&Surroundings<'_>) -> Result<Option<Choice>, FetchError>,
}

/// A configured source.
pub trait ChainSource: fmt::Debug + Send + Sync {
    /// The name for people.
    fn name(&self) -> Cow<'_, str>;

    fn fetch<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Fetched, FetchError>>;

    /// The keys, if they are known without a call.
    fn static_keys(&self) -> Option<&Credentials> {
        None
    }

    /// True if the keys certainly come from STS.
    fn uses_sts<'a>(&'a self, _: &'a Aws) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }
}

/// The chosen source.
pub type Choice = Box<dyn ChainSource>;

/// Environment and settings that decide which source is configured.
pub struct Surroundings<'a> {
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// True if the shared files have a usable profile `default`.
    pub has_default_profile: Result<bool, FetchError>,
    /// The protocol of EC2's metadata service.
    pub metadata: MetadataProtocol,
}

/// Chooses the first configured source.
///
/// # Errors
/// A source is configured in part or cannot be read, or none is and EC2's metadata service is disabled.
pub fn choose(surroundings: &Surroundings<'_>) -> Result<Choice, FetchError> {
    for source in SOURCES {
        if let Some(choice) = (source.find)(surroundings)? {
            return Ok(choice);
        }
    }
    // the last source needs no configuration
    let [others @ .., last, _] = &SOURCES;
    let others: Vec<&str> = others.iter().map(|source| source.name).collect();
    Err(FetchError::NotConfigured(format!(
        "no credential source is configured: found no {} or {}, and {} is true",
        others.join(", "),
        last.name,
        instance::METADATA_SWITCH
    )))
}

impl Surroundings<'_> {
    /// Treats an empty variable as not set, as the SDKs do: pod templates set many empty ones.
    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.trim().is_empty())
    }

    fn is_set(&self, name: &str) -> bool {
        self.variable(name).is_some()
    }

    fn is_true(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Two variables that need each other.
    fn pair(&self, first: &str, second: &str) -> Result<Option<(String, String)>, FetchError> {
        let half = |set, missing| FetchError::NotConfigured(format!("{set} is set, but {missing} is not"));
        match (self.variable(first), self.variable(second)) {
            (Some(one), Some(other)) => Ok(Some((one, other))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(half(first, second)),
            (None, Some(_)) => Err(half(second, first)),
        }
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

    fn chosen(variables: &[&[(&str, &str)]], default_profile: bool) -> Result<Choice, FetchError> {
        let variables = variables.concat();
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let metadata = MetadataProtocol::V2;
        choose(&Surroundings { environment: &get, has_default_profile: Ok(default_profile), metadata })
    }

    fn named(variables: &[&[(&str, &str)]], default_profile: bool) -> String {
        chosen(variables, default_profile).unwrap().name().into_owned()
    }

    #[test]
    fn k52_the_first_configured_source_is_chosen() {
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
    fn the_operators_page_lists_the_sources_in_their_order() {
        let page = include_str!("../../k8s/monitoring/README.md");
        let section = page.split("\n## Credentials\n").nth(1).unwrap();
        let table = section.lines().skip_while(|line| !line.starts_with("| a profile of the route |"));
        let rows = table.skip(1).map_while(|line| line.strip_prefix("| ")?.split(" |").next());
        assert_eq!(rows.collect::<Vec<_>>(), SOURCES.map(|source| source.name));
    }

    #[test]
    fn the_environment_has_all_three_parts() {
        let token: [(&str, &str); 1] = [("AWS_SESSION_TOKEN", "hush-token")];
        let choice = chosen(&[&KEYS, &token], false).unwrap();
        let keys = choice.static_keys().unwrap();
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("AKID", "hush"));
        assert_eq!((keys.session_token(), keys.expiry()), (Some("hush-token"), None));
        let shown = format!("{choice:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn the_error_of_half_a_source_names_the_missing_variable() {
        for (variables, missing) in [
            (&KEYS[..1], "AWS_SECRET_ACCESS_KEY is not"),
            (&KEYS[1..], "AWS_ACCESS_KEY_ID is not"),
            (&WEB[..1], "AWS_ROLE_ARN is not"),
            (&WEB[1..], "AWS_WEB_IDENTITY_TOKEN_FILE is not"),
        ] {
            let reason = chosen(&[variables], false).unwrap_err().to_string();
            assert!(reason.ends_with(missing) && !reason.contains("hush"), "{reason}");
        }
        // even if a later source is complete
        assert!(chosen(&[&KEYS[..1], &WEB], true).is_err());
        let token_alone = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token")];
        let reason = chosen(&[&token_alone], false).unwrap_err().to_string();
        assert!(reason.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI is not"), "{reason}");
    }

    #[test]
    fn unreadable_files_are_an_error_only_when_the_profile_has_its_turn() {
        let get =
            |name: &str| KEYS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let chosen = |environment: &dyn Fn(&str) -> Option<String>| {
            let has_default_profile = Err(FetchError::Sdk("no such file".to_owned()));
            choose(&Surroundings { environment, has_default_profile, metadata: MetadataProtocol::V2 })
        };
        assert_eq!(chosen(&get).unwrap().name(), "environment");
        assert_eq!(chosen(&|_| None).unwrap_err().to_string(), "no such file");
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let empty: Vec<(&str, &str)> =
            KEYS.iter().chain(&PROFILE).chain(&ECS).map(|(name, _)| (*name, " ")).collect();
        assert_eq!(named(&[&empty, &WEB], false), "IRSA");
    }

    #[test]
    fn a_variable_disables_the_metadata_service() {
        let off: [(&str, &str); 1] = [("AWS_EC2_METADATA_DISABLED", "True")];
        let reason = chosen(&[&off], false).unwrap_err().to_string();
        assert!(reason.starts_with("no credential source is configured: found no environment, "), "{reason}");
        assert!(reason.ends_with(", and AWS_EC2_METADATA_DISABLED is true"), "{reason}");
        assert_eq!(named(&[&off, &ECS], false), "ECS container");
        let v1 = |value: &'static str| {
            choose(&Surroundings {
                environment: &|name| (name == "AWS_EC2_METADATA_V1_DISABLED").then(|| value.to_owned()),
                has_default_profile: Ok(false),
                metadata: MetadataProtocol::V1,
            })
        };
        assert!(v1("true").is_err());
        assert_eq!(v1("false").unwrap().name(), "EC2 metadata v1");
    }
}
