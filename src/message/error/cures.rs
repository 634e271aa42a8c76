//! The cure of each error code that is not the client's mistake: the operator's next step, for the pages of
//! the admin port. The log line has the cause.

use super::ErrorCode;

/// Codes with their cures.
const CURES: [(&str, &str); 14] = [
    ("internal", "this is a bug of the sidecar: report it with the log lines of this request id"),
    (
        "lambda_rejected",
        "check function_name, qualifier, aws_region and the IAM permission lambda:InvokeFunction of the keys",
    ),
    ("upstream_connect", "run `apigw-invoker check --connect`, which tests DNS, TCP and the proxy"),
    (
        "upstream_tls",
        "run `apigw-invoker check --connect`, which tests TLS and names the certificate at fault",
    ),
    ("upstream_protocol", "check that host and port are those of an HTTP server, and the proxies on the way"),
    (
        "upstream_truncated",
        "check the proxies on the way; an upstream that closes idle connections needs a shorter \
         keepalive_timeout",
    ),
    (
        "function_response_invalid",
        "return `statusCode`, `headers` and `body` from the function, or turn is_proxy_integration off",
    ),
    (
        "function_failed",
        "look into the function's log: in CloudWatch, or in the log of `dev` for one on this machine",
    ),
    ("credentials_unavailable", "run `apigw-invoker check --credentials`, or look at /ready"),
    (
        "secret_unavailable",
        "look at /ready for the secret and the reason, or run `apigw-invoker check --credentials`",
    ),
    ("overloaded", "raise limits.max_in_flight or the route's max_in_flight, or limits.max_connections"),
    ("upstream_unavailable", "the circuit breaker closes once a call succeeds: see the failures before it"),
    ("upstream_timeout", "raise the timeouts of the route, or make the API or the function faster"),
    ("loop_detected", "the route's target is this sidecar itself: change function_uri or host"),
];

impl ErrorCode {
    /// The next step of an operator; `None` for mistakes of the client.
    pub fn cure(&self) -> Option<&'static str> {
        CURES.iter().find(|(code, _)| *code == self.name).map(|(_, cure)| *cure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::error::Side;

    #[test]
    fn every_code_that_is_not_the_clients_mistake_has_a_cure_and_no_other() {
        for code in ErrorCode::ALL {
            assert_eq!(code.cure().is_some(), code.side != Side::Client, "{}", code.name);
        }
        for (name, _) in CURES {
            assert!(ErrorCode::ALL.iter().any(|code| code.name == name), "{name}");
        }
    }
}
