//! Refusals that are not about a signature: API keys, usage plans, policies, throttling.
//!
//! API Gateway has the same response for an unknown API key, a key without a usage plan and a request that
//! AWS WAF blocked (API Gateway developer guide, gateway response types), so the sentence lists all of them,
//! the likeliest first.

use std::borrow::Cow;

use super::{ApiKey, RefusedCall};
use crate::{
    client::UpstreamReply,
    client::aws_error::{AwsApi, error_type, is_throttling},
    text::json::Json,
};

/// The most bytes that are read of `Reason`; every known name is shorter.
const MAX_REASON: usize = 64;

/// Reasons of AWS to deny a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// API key, usage plan, resource policy, stage, or AWS WAF.
    Forbidden,
    /// An IAM policy or a resource policy.
    AccessDenied,
    /// The quota of a usage plan is used up.
    QuotaExhausted,
    /// Too many calls.
    Throttled,
}

impl Denial {
    /// Determines the denial from the head. A response without AWS's error type may come from the API's own
    /// function.
    pub(super) fn of(reply: &UpstreamReply) -> Option<Self> {
        if !reply.status.is_client_error() {
            return None;
        }
        let kind = error_type(&reply.headers)?;
        Some(match kind.strip_suffix("Exception").unwrap_or(kind) {
            "Forbidden" => Self::Forbidden,
            "AccessDenied" => Self::AccessDenied,
            "LimitExceeded" => Self::QuotaExhausted,
            _ if is_throttling(kind) => Self::Throttled,
            _ => return None,
        })
    }

    /// The value of the metric's label `reason`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::AccessDenied => "access_denied",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Throttled => "throttled",
        }
    }

    /// Cause and cure; `None` if only the client can correct it.
    pub(super) fn sentence(self, body: &str, call: &RefusedCall) -> Option<String> {
        let host = &call.host;
        Some(match self {
            Self::Forbidden => forbidden(call),
            Self::AccessDenied => return access_denied(body, call),
            Self::QuotaExhausted if call.caller.api == AwsApi::Lambda => {
                format!("a quota of the Lambda API at {host} is used up: check Lambda in Service Quotas")
            }
            Self::QuotaExhausted if call.api_key == ApiKey::None => format!(
                "a quota at {host} is used up, but the call has no API key and so no usage plan: check the \
                 quotas of the API and of any proxy that answers for AWS"
            ),
            Self::QuotaExhausted => format!(
                "the quota of the usage plan at {host} is used up, and calls with this API key fail until \
                 its period (day, week or month) ends: raise the quota in the usage plan, or use a key of \
                 another plan"
            ),
            Self::Throttled => format!("AWS throttled the call: {}", limit_exceeded(body, call)),
        })
    }
}

/// An API key, AWS WAF, a resource policy or a stage.
fn forbidden(call: &RefusedCall) -> String {
    let host = &call.host;
    if call.caller.api == AwsApi::Lambda {
        return format!(
            "AWS refused the call as forbidden: check the policy of the VPC endpoint of {host}, if there is \
             one, proxies and firewalls on the way, and that IAM allows lambda:InvokeFunction"
        );
    }
    match call.api_key {
        ApiKey::OfRoute => format!(
            "AWS refused the call as forbidden, although it has an API key: {host} does not know the key, \
             the key is disabled, or no usage plan associates it with this API and stage; compare \
             authorization.apikey with the usage plan. If the key is right: a rule of AWS WAF, the API's \
             resource policy, or an unknown stage in function_uri"
        ),
        ApiKey::OfClient => format!(
            "AWS refused the call as forbidden, although the client sent an API key: {host} does not know \
             the client's key, the key is disabled, or no usage plan associates it with this API and stage. \
             If the key is right: a rule of AWS WAF, the API's resource policy, or an unknown stage in \
             function_uri"
        ),
        ApiKey::None => format!(
            "AWS refused the call as forbidden, and it has no API key: if the method at {host} requires one, \
             set authorization.apikey. Otherwise: a rule of AWS WAF, the API's resource policy, or an \
             unknown stage in function_uri"
        ),
    }
}

/// An IAM policy, a resource policy, or an unsigned call of a method with IAM authorization.
fn access_denied(body: &str, call: &RefusedCall) -> Option<String> {
    let host = &call.host;
    if let Some(signed) = &call.signed {
        return Some(format!(
            "AWS denied access to {}: allow {} to its user or role in IAM, and \
             check the resource policy for a Deny",
            signed.key_name(),
            action(&signed.service, host)
        ));
    }
    // the client's own signature, or its credentials for an authorizer
    if call.is_signed_by_client || is_of_authorizer(body) {
        return None;
    }
    let cure = if call.caller.signs {
        "set client_authorization to `replace`, so that the route signs every call"
    } else {
        "set authorization.iam"
    };
    Some(format!(
        "AWS denied access to an unsigned call: the API at {host} requires IAM authorization ({cure}), or \
         its resource policy denies the call (allow execute-api:Invoke there)"
    ))
}

/// True for the message of a Lambda authorizer; IAM's message names an action (Amazon API Gateway developer
/// guide, gateway response type `ACCESS_DENIED`).
fn is_of_authorizer(body: &str) -> bool {
    let messages = Json::members(body, ["Message", "message"]).map(|message| message.and_then(Json::text));
    messages.into_iter().flatten().any(|message| {
        message.beginning(MAX_REASON).starts_with("User is not authorized to access this resource")
    })
}

/// The action that a policy must allow.
fn action(service: &str, host: &str) -> Cow<'static, str> {
    match service {
        "lambda" if host.contains(".lambda-url.") => {
            "lambda:InvokeFunctionUrl and lambda:InvokeFunction".into()
        }
        "lambda" => "lambda:InvokeFunction".into(),
        "execute-api" => "execute-api:Invoke".into(),
        _ => format!("the action of `{service}` that was called").into(),
    }
}

/// The limit that was exceeded, and how to raise it. Lambda names it in `Reason` (Lambda API reference,
/// `TooManyRequestsException`), API Gateway does not.
fn limit_exceeded(body: &str, call: &RefusedCall) -> String {
    let [reason] = Json::members(body, ["Reason"]).map(|reason| reason.and_then(Json::text));
    let reason = reason.map(|reason| reason.beginning(MAX_REASON)).unwrap_or_default();
    let is_of_lambda = call.caller.api == AwsApi::Lambda
        || call.signed.as_ref().is_some_and(|signed| signed.service == "lambda");
    match &*reason {
        "ReservedFunctionConcurrentInvocationLimitExceeded"
        | "ReservedFunctionInvocationRateLimitExceeded" => {
            "the function's reserved concurrency is used up; raise it, or limit the route with max_in_flight"
        }
        "ConcurrentInvocationLimitExceeded" | "FunctionInvocationRateLimitExceeded" => {
            "the account's concurrent executions in this region are used up; raise that quota of Lambda, or \
             limit the route with max_in_flight"
        }
        "CallerRateLimitExceeded" => {
            "the account calls the Lambda API more often than its quota allows; raise that quota, or call \
             less often"
        }
        _ if is_of_lambda => {
            "the function's or the account's concurrency is used up; raise it, or limit the route with \
             max_in_flight"
        }
        _ => {
            let plan = if call.api_key == ApiKey::None { "" } else { "the API key's usage plan, of " };
            return format!(
                "it exceeds the rate or burst of {plan}the stage or method at {}, or of the account in this \
                 region; raise that limit, or limit the route with max_in_flight",
                call.host
            );
        }
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use actix_http::{
        StatusCode,
        header::{HeaderMap, HeaderValue},
    };

    use super::{super::Caller, *};
    use crate::client::{ERROR_TYPE, ReplyBody};

    fn denial(status: u16, kind: &'static str) -> Option<Denial> {
        let mut headers = HeaderMap::new();
        headers.insert(ERROR_TYPE, HeaderValue::from_static(kind));
        let status = StatusCode::from_u16(status).unwrap();
        Denial::of(&UpstreamReply { status, headers, body: ReplyBody::None { length: None }, prelude: None })
    }

    #[test]
    fn k5_the_error_type_decides_and_a_success_or_an_unknown_type_is_no_denial() {
        for (status, kind, expected) in [
            (403, "ForbiddenException", Some(Denial::Forbidden)),
            (403, "ForbiddenException:http://internal.amazon.com/x", Some(Denial::Forbidden)),
            (403, "AccessDeniedException", Some(Denial::AccessDenied)),
            (429, "LimitExceededException", Some(Denial::QuotaExhausted)),
            (429, "TooManyRequestsException", Some(Denial::Throttled)),
            (400, "ThrottlingException", Some(Denial::Throttled)),
            // the owner of an API may choose another status for a refusal
            (418, "ForbiddenException", Some(Denial::Forbidden)),
            (200, "ForbiddenException", None),
            (401, "UnauthorizedException", None),
            (403, "", None),
        ] {
            assert_eq!(denial(status, kind), expected, "{status} {kind}");
        }
    }

    #[test]
    fn k5_lambda_names_the_limit_that_is_exceeded() {
        let call = RefusedCall { host: "h".into(), ..RefusedCall::default() };
        for (body, expected) in [
            (r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}"#, "reserved concurrency"),
            (r#"{"Reason":"ConcurrentInvocationLimitExceeded","message":"x"}"#, "concurrent executions"),
            (r#"{"Reason":"CallerRateLimitExceeded"}"#, "calls the Lambda API more often"),
            (r#"{"Reason":[1]}"#, "of the stage or method at h"),
            ("no JSON", "of the stage or method at h"),
        ] {
            let sentence = Denial::Throttled.sentence(body, &call).unwrap();
            assert!(sentence.contains(expected), "{body}: {sentence}");
        }
    }

    #[test]
    fn k5_no_advice_is_given_that_does_not_fit_the_route() {
        let caller = Caller { signs: true, api: AwsApi::Lambda, ..Caller::default() };
        let lambda = RefusedCall { host: "h".into(), caller, ..RefusedCall::default() };
        let bare = RefusedCall { host: "h".into(), ..RefusedCall::default() };
        let keyed = RefusedCall { api_key: ApiKey::OfRoute, host: "h".into(), ..RefusedCall::default() };
        let clients = RefusedCall { api_key: ApiKey::OfClient, host: "h".into(), ..RefusedCall::default() };
        for (call, without) in [
            (&lambda, &["apikey", "API key", "function_uri", "usage plan"][..]),
            (&bare, &["this API key", "API key's"]),
            (&clients, &["authorization.apikey"]),
            (&keyed, &["has no API key"]),
        ] {
            for denial in [Denial::Forbidden, Denial::QuotaExhausted, Denial::Throttled] {
                let sentence = denial.sentence("", call).unwrap();
                for words in without {
                    assert!(!sentence.contains(words), "{denial:?}: `{words}` in {sentence}");
                }
            }
        }
        let told = |body: &str, call: &RefusedCall| Denial::AccessDenied.sentence(body, call);
        let authorizers =
            r#"{"Message":"User is not authorized to access this resource with an explicit deny"}"#;
        assert_eq!(told(authorizers, &bare), None);
        assert!(told("", &bare).unwrap().contains("set authorization.iam"));
        let passes = RefusedCall { caller: Caller { signs: true, ..Caller::default() }, ..bare };
        assert!(!told("", &passes).unwrap().contains("set authorization.iam"));
        let by_client = RefusedCall { is_signed_by_client: true, ..passes };
        assert_eq!(told("", &by_client), None);
    }
}
