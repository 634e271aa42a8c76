//! The agents that give a container its keys, as an operator knows them: their addresses, and cures for refusals.

use std::borrow::Cow;

use aws_config::ecs::EcsCredentialsProvider;
use aws_credential_types::provider::ProvideCredentials as _;

use super::{Answer, ChainSource, Choice, Row, Surroundings};
use crate::credentials::{
    fetch::{Aws, provided},
    sdk_files,
    sts::Fetched,
};

/// The platforms whose endpoints give a container its keys; they differ in name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    Ecs,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` with a token in a file.
    PodIdentity,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` alone.
    Other,
}

/// Where the SDK looks without a host of its own (Task IAM role, ECS developer guide).
const ECS: &str = "http://169.254.170.2";
/// A segment of a path from this length on is an id, which entitles to the keys of a task.
const ID_LENGTH: usize = 16;
/// The SDK's words before a status that is none of success.
const STATUS: &str = "StatusCode(";

pub(super) const ROW: Row = Row { name: "container", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, String> {
    let has_token_file = surroundings.is_set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let container = if surroundings.is_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        Container::Ecs
    } else if surroundings.is_set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        if has_token_file { Container::PodIdentity } else { Container::Other }
    } else if has_token_file {
        let missing =
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is set, but AWS_CONTAINER_CREDENTIALS_FULL_URI is not";
        return Err(missing.to_owned());
    } else {
        return Ok(None);
    };
    Ok(Some(Box::new(container)))
}

impl ChainSource for Container {
    fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Ecs => "ECS container",
            Self::PodIdentity => "EKS Pod Identity",
            Self::Other => "container endpoint",
        }
        .into()
    }

    fn fetch<'a>(&'a self, aws: &'a Aws) -> Answer<'a, Result<Fetched, String>> {
        Box::pin(async move {
            aws.refuse_empty(&[
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            ])?;
            sdk_files::check_container_token(&aws.environment)?;
            let provider = EcsCredentialsProvider::builder().configure(&aws.provider_config()).build();
            let answer = provided(provider.provide_credentials()).await;
            // the SDK's words name no address
            let credentials = answer.map_err(|reason| told(*self, |name| aws.variable(name), &reason))?;
            Ok(credentials.into())
        })
    }
}

/// Why an agent gave no keys: its address and path, and what it answered.
fn told(container: Container, variable: impl Fn(&str) -> Option<String>, reason: &str) -> String {
    let place = place(container, variable);
    let status = reason.split_once(STATUS).and_then(|(_, rest)| rest.split_once(')'));
    let Some((status, _)) = status else { return format!("{place}: {reason}") };
    match container {
        Container::Ecs => format!("the agent at {place} answered {status}: has the task a role?"),
        Container::PodIdentity => format!(
            "the agent at {place} answered {status}: is there an association for this service account?"
        ),
        Container::Other => format!("{place} answered {status}"),
    }
}

/// The address and path, without the parts of a URL that may be secret.
fn place(container: Container, variable: impl Fn(&str) -> Option<String>) -> String {
    let url = match container {
        Container::Ecs => {
            let path = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").unwrap_or_default();
            format!("{ECS}{path}")
        }
        Container::PodIdentity | Container::Other => {
            variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").unwrap_or_default()
        }
    };
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path: String = path
        .split('/')
        .map(|segment| if segment.len() < ID_LENGTH { format!("/{segment}") } else { "/…".to_owned() })
        .collect();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_address_path_and_cure_are_told_and_no_id() {
        let told = |container, variable: &'static str, value: &'static str, reason| {
            told(container, move |asked| (asked == variable).then(|| value.to_owned()), reason)
        };
        let (relative, full) =
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let status = "Non-success status from HTTP credential provider: StatusCode(403)";
        assert_eq!(
            told(Container::PodIdentity, full, "http://169.254.170.23/v1/credentials", status),
            "the agent at http://169.254.170.23/v1/credentials answered 403: is there an association for this \
             service account?"
        );
        assert_eq!(
            told(Container::Ecs, relative, "/v2/credentials/8f3b1c5e-2d7a-4c6b", status),
            "the agent at http://169.254.170.2/v2/credentials/… answered 403: has the task a role?"
        );
        assert_eq!(
            told(Container::Other, full, "https://u:hush@keys.example:81/get?token=hush", "no answer"),
            "https://keys.example:81/get: no answer"
        );
    }
}
