//! The credential endpoints of containers: ECS, EKS Pod Identity, and others by
//! `AWS_CONTAINER_CREDENTIALS_FULL_URI`.

use std::borrow::Cow;

use aws_config::ecs::EcsCredentialsProvider;
use aws_credential_types::provider::ProvideCredentials as _;
use futures_core::future::BoxFuture;

use super::{ChainSource, Choice, Row, Surroundings};
use crate::credentials::{
    fetch::{Aws, FetchError, Fetched, provided},
    sdk_files,
};

/// The platforms differ only in their names and in the hint of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContainerEndpoint {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    Ecs,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` with a token in a file.
    PodIdentity,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` alone.
    Other,
}

/// The SDK's host for `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` (Task IAM role, ECS developer guide).
const ECS_HOST: &str = "http://169.254.170.2";
/// Path segments from this length on are ids, which grant access to the keys of a task.
const MIN_ID_LENGTH: usize = 16;
/// The SDK's text before the status of an error response.
const STATUS: &str = "StatusCode(";

pub(super) const ROW: Row = Row { name: "container", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, FetchError> {
    let has_token_file = surroundings.is_set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let container = if surroundings.is_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        ContainerEndpoint::Ecs
    } else if surroundings.is_set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        if has_token_file { ContainerEndpoint::PodIdentity } else { ContainerEndpoint::Other }
    } else if has_token_file {
        let missing =
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is set, but AWS_CONTAINER_CREDENTIALS_FULL_URI is not";
        return Err(FetchError::NotConfigured(missing.to_owned()));
    } else {
        return Ok(None);
    };
    Ok(Some(Box::new(container)))
}

impl ChainSource for ContainerEndpoint {
    fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Ecs => "ECS container",
            Self::PodIdentity => "EKS Pod Identity",
            Self::Other => "container endpoint",
        }
        .into()
    }

    fn fetch<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            aws.refuse_empty(&[
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            ])?;
            sdk_files::check_container_token(&aws.environment)?;
            let provider = EcsCredentialsProvider::builder().configure(&aws.metadata_config()).build();
            let answer = provided(provider.provide_credentials()).await;
            let credentials = answer.map_err(|reason| failure(*self, |name| aws.variable(name), &reason))?;
            Ok(credentials.into())
        })
    }
}

/// Adds the endpoint's address and path, which the SDK's text lacks, and a hint.
fn failure(
    container: ContainerEndpoint,
    variable: impl Fn(&str) -> Option<String>,
    reason: &str,
) -> FetchError {
    let call = address(container, variable);
    let status = reason.split_once(STATUS).and_then(|(_, rest)| rest.split_once(')'));
    let Some((status, _)) = status else { return FetchError::Unreachable(format!("{call}: {reason}")) };
    let text = match container {
        ContainerEndpoint::Ecs => format!("the agent at {call} answered {status}: has the task a role?"),
        ContainerEndpoint::PodIdentity => format!(
            "the agent at {call} answered {status}: is there an association for this service account?"
        ),
        ContainerEndpoint::Other => format!("{call} answered {status}"),
    };
    FetchError::Refused { call, code: status.to_owned(), text }
}

/// Address and path without the parts of the URL that may be secret.
fn address(container: ContainerEndpoint, variable: impl Fn(&str) -> Option<String>) -> String {
    let url = match container {
        ContainerEndpoint::Ecs => {
            let path = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").unwrap_or_default();
            format!("{ECS_HOST}{path}")
        }
        ContainerEndpoint::PodIdentity | ContainerEndpoint::Other => {
            variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").unwrap_or_default()
        }
    };
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path: String = path
        .split('/')
        .map(|segment| if segment.len() < MIN_ID_LENGTH { format!("/{segment}") } else { "/…".to_owned() })
        .collect();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_a_failure_names_address_path_and_hint_but_no_id() {
        let text = |container, variable: &'static str, value: &'static str, reason| {
            failure(container, move |name| (name == variable).then(|| value.to_owned()), reason).to_string()
        };
        let (relative, full) =
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let status = "Non-success status from HTTP credential provider: StatusCode(403)";
        assert_eq!(
            text(ContainerEndpoint::PodIdentity, full, "http://169.254.170.23/v1/credentials", status),
            "the agent at http://169.254.170.23/v1/credentials answered 403: is there an association for \
             this service account?"
        );
        assert_eq!(
            text(ContainerEndpoint::Ecs, relative, "/v2/credentials/8f3b1c5e-2d7a-4c6b", status),
            "the agent at http://169.254.170.2/v2/credentials/… answered 403: has the task a role?"
        );
        assert_eq!(
            text(
                ContainerEndpoint::Other,
                full,
                "https://u:hush@keys.example:81/get?token=hush",
                "no answer"
            ),
            "https://keys.example:81/get: no answer"
        );
    }
}
