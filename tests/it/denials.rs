//! Calls that AWS refuses for another reason than the signature: API keys, policies, quotas, throttling.

use super::support::{
    Upstream,
    exposition::Exposition,
    get,
    process::{ANY_PORT, Process, settings},
};

const KEYS: &str = "accesskey: AKIDEXAMPLE, secretkey: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// An upstream that refuses with this status, error type and body.
fn refusing(status: u16, kind: &str, body: &str) -> Upstream {
    Upstream::answering(&format!(
        "HTTP/1.1 {status} No\r\nx-amzn-ErrorType: {kind}\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn gateway(upstream: &Upstream, authorization: &str) -> String {
    let authorization = match authorization {
        "" => String::new(),
        some => format!("  authorization: {some}\n"),
    };
    format!(
        "uri: /*\napi_gateway:\n  function_uri: {}\n{authorization}  retry: {{ attempts: 1 }}\n",
        upstream.uri("/")
    )
}

fn function(upstream: &Upstream) -> String {
    format!(
        "uri: /*\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  host: {}\n  port: {}\n  \
         disable_https: true\n  aws_key: AKIDEXAMPLE\n  aws_secret: hush-secret\n  retry: {{ attempts: 1 \
         }}\n",
        upstream.address.ip(),
        upstream.address.port()
    )
}

/// Result of one refused call: the client's status, the log lines, and the counter of the reason.
struct Refused {
    status: u16,
    log: String,
    denied: u64,
    signatures: u64,
}

fn refused(route: &str, reason: &str) -> Refused {
    let directory = settings(ANY_PORT, &[("r", route)]);
    let (mut process, address) = Process::run(directory.path());
    let status = get(address, "/path").status;
    let metrics = Exposition::of(process.admin());
    let denied = metrics.count("apigw_invoker_calls_denied_total", &[("route", "r"), ("reason", reason)]);
    let signatures = metrics.count("apigw_invoker_signatures_refused_total", &[("route", "r")]);
    let log = process.stop();
    assert!(!log.contains("hush"), "{log}");
    Refused { status, log, denied, signatures }
}

const FORBIDDEN: &str = r#"{"message":"Forbidden"}"#;
const DENIED: &str =
    r#"{"Message":"User: arn:aws:iam::123456789012:user/x is not authorized to perform: y"}"#;

#[test]
#[expect(clippy::too_many_lines, reason = "one table, a row for each refusal")]
fn k5_each_refusal_by_an_api_is_a_warning_with_cause_and_cure_a_count_and_a_word_in_the_access_line() {
    let (key, iam) = ("{ apikey: hush-key }", format!("{{ iam: {{ {KEYS} }} }}"));
    for (status, kind, body, authorization, reason, told) in [
        (
            403,
            "ForbiddenException",
            FORBIDDEN,
            key,
            "forbidden",
            "AWS refused the call as forbidden, although it has an API key: 127.0.0.1",
        ),
        (
            403,
            "ForbiddenException",
            FORBIDDEN,
            "",
            "forbidden",
            "it has no API key: if the method at 127.0.0.1",
        ),
        (
            429,
            "LimitExceededException",
            r#"{"message":"Limit Exceeded"}"#,
            key,
            "quota_exhausted",
            "the quota of the usage plan at 127.0.0.1",
        ),
        (
            429,
            "TooManyRequestsException:http://internal.amazon.com/x",
            r#"{"message":"Too Many Requests"}"#,
            key,
            "throttled",
            "AWS throttled the call: it exceeds the rate or burst of the API key's usage plan",
        ),
        (
            403,
            "AccessDeniedException",
            DENIED,
            &iam,
            "access_denied",
            "AWS denied access to the access key that ends in MPLE: allow execute-api:Invoke",
        ),
    ] {
        let upstream = refusing(status, kind, body);
        let refused = refused(&gateway(&upstream, authorization), reason);
        assert_eq!((refused.status, refused.denied, refused.signatures), (status, 1, 0), "{kind}");
        let warnings: Vec<&str> = refused
            .log
            .lines()
            .filter(|line| line.contains("WARN ] ") && !line.contains("without TLS"))
            .collect();
        assert!(warnings.len() == 1 && warnings[0].contains(told), "{kind}: {told}\nis not in {warnings:?}");
        assert!(warnings[0].contains(" request_id=") && warnings[0].ends_with(" route=r"), "{warnings:?}");
        let kind = kind.split(':').next().unwrap();
        let access = refused.log.lines().find(|line| line.contains("GET /path")).unwrap();
        assert!(access.contains(&format!(" upstream_error_type={kind}")), "{access}");
    }
}

#[test]
fn k5_an_unsigned_call_that_is_denied_leads_to_iam_or_the_resource_policy() {
    let anonymous = r#"{"Message":"User: anonymous is not authorized to perform: execute-api:Invoke"}"#;
    let upstream = refusing(403, "AccessDeniedException", anonymous);
    let refused = refused(&gateway(&upstream, ""), "access_denied");
    assert_eq!((refused.status, refused.denied), (403, 1));
    let told = "AWS denied access to an unsigned call: the API at 127.0.0.1";
    let warning = refused.log.lines().find(|line| line.contains("WARN ] ") && line.contains(told));
    let warning = warning.unwrap_or_else(|| panic!("{}", refused.log));
    assert!(warning.contains("(set authorization.iam), or its resource policy denies the call"), "{warning}");
}

#[test]
fn k5_without_an_api_key_the_warning_does_not_mention_this_api_key() {
    for (kind, reason) in
        [("LimitExceededException", "quota_exhausted"), ("TooManyRequestsException", "throttled")]
    {
        let upstream = refusing(429, kind, "{}");
        let refused = refused(&gateway(&upstream, ""), reason);
        assert_eq!((refused.status, refused.denied), (429, 1), "{kind}");
        assert!(
            !refused.log.contains("this API key") && !refused.log.contains("API key's"),
            "{}",
            refused.log
        );
    }
}

#[test]
fn k5_lambda_names_the_limit_or_the_action_that_is_denied() {
    for (status, kind, body, reason, told) in [
        (
            429,
            "TooManyRequestsException",
            r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","message":"Rate Exceeded."}"#,
            "throttled",
            "AWS throttled the call: the function's reserved concurrency is used up",
        ),
        (
            403,
            "AccessDeniedException",
            DENIED,
            "access_denied",
            "MPLE: allow lambda:InvokeFunction to its user or role",
        ),
        (
            403,
            "ForbiddenException",
            FORBIDDEN,
            "forbidden",
            "AWS refused the call as forbidden: check the policy of the VPC endpoint",
        ),
    ] {
        let upstream = refusing(status, kind, body);
        let refused = refused(&function(&upstream), reason);
        assert_eq!((refused.status, refused.denied), (500, 1), "{kind}");
        assert!(!refused.log.contains("apikey") && !refused.log.contains("function_uri"), "{}", refused.log);
        assert!(
            refused.log.lines().any(|line| line.contains("WARN ] ") && line.contains(told)),
            "{}",
            refused.log
        );
        let access = refused.log.lines().find(|line| line.contains("GET /path")).unwrap();
        assert!(access.contains(&format!(" upstream_error_type={kind}")), "{access}");
    }
}

#[test]
fn k5_a_403_of_the_apis_function_or_for_the_client_is_not_a_warning() {
    let own = Upstream::answering("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n");
    let authorizers = r#"{"Message":"User is not authorized to access this resource with an explicit deny"}"#;
    let denied_by_authorizer = refusing(403, "AccessDeniedException", authorizers);
    let strange = refusing(403, "no word\tat all", "{}");
    for upstream in [own, denied_by_authorizer, strange] {
        let refused = refused(&gateway(&upstream, ""), "access_denied");
        assert_eq!((refused.status, refused.denied), (403, 0));
        assert!(!refused.log.contains("WARN ]"), "{}", refused.log);
        assert!(!refused.log.contains("no word"), "{}", refused.log);
    }
}
