//! The agents that give a container its keys, as an operator knows them: their addresses, and cures for refusals.
//!
//! `fetch.rs` comes here when the SDK's provider has failed, which names no address.

use super::chain::Container;

/// Where the SDK looks without a host of its own (Task IAM role, ECS developer guide).
const ECS: &str = "http://169.254.170.2";
/// A segment of a path from this length on is an id, which entitles to the keys of a task.
const ID_LENGTH: usize = 16;
/// The SDK's words before a status that is none of success.
const STATUS: &str = "StatusCode(";

/// Why an agent gave no keys: its address and path, and what it answered.
pub fn told(container: Container, variable: impl Fn(&str) -> Option<String>, reason: &str) -> String {
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
