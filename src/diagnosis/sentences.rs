//! Causes of a refused signature from AWS's error type and message, for refusals without an expected request.

use actix_http::{StatusCode, header::HeaderMap};

use super::{Caller, SignatureRefusal, SignedRequest};
use crate::{
    client::aws_error::AwsApi,
    settings::service,
    signing::{
        KeyOwner,
        clock_skew::{ahead_of, skew_text},
    },
    text::{aws_endpoints::endpoint, aws_hosts::region_in, log_safe::log_safe},
};

/// The most characters of a quoted message.
const MAX_QUOTE: usize = 300;

/// Words of a message about the date of a signature; the last are Amazon S3's.
const DATE_REFUSED: [&str; 5] = [
    "Signature expired",
    "not yet current",
    "RequestTimeTooSkewed",
    "Request has expired",
    "difference between the request time and the current time",
];

/// The sentence for the log about a call that the route signed.
pub fn signed(
    reason: SignatureRefusal,
    message: &str,
    headers: &HeaderMap,
    signed_request: &SignedRequest,
    caller: Caller,
) -> String {
    let SignedRequest { host, has_token, .. } = signed_request;
    let key = signed_request.key_name();
    let is_callers = signed_request.owner == KeyOwner::Caller;
    match reason {
        SignatureRefusal::Signature => signature(message, headers, signed_request, caller),
        SignatureRefusal::Incomplete => format!(
            "AWS could not parse the signature{}: a proxy on the way may have changed Authorization or \
             X-Amz-Date",
            quoted(message)
        ),
        SignatureRefusal::Missing if caller.api == AwsApi::Lambda => format!(
            "AWS answered `Missing Authentication Token` to a signed call: {host} is not the Lambda API \
             (`host`), or a proxy removed Authorization"
        ),
        SignatureRefusal::Missing => format!(
            "AWS answered `Missing Authentication Token` to a signed call: the API at {host} has no such \
             path or method, or function_uri lacks the stage, or a proxy removed Authorization"
        ),
        SignatureRefusal::UnknownKey if *has_token => format!(
            "AWS does not know {key}, or the session token belongs to another \
             key: check that key, secret and token belong together, and that their partition \
             is that of {host}"
        ),
        SignatureRefusal::UnknownKey => format!(
            "AWS does not know {key}: it was deleted or deactivated, belongs to \
             another partition than {host}, or is temporary and its session token is missing in {}",
            if is_callers { "the caller's Authorization (`ID:SECRET:TOKEN`)" } else { "the settings" }
        ),
        SignatureRefusal::Expired if is_callers => {
            format!("AWS says that {key} has expired: the caller must send newer keys")
        }
        SignatureRefusal::Expired => format!(
            "AWS says that {key} has expired. Replace keys that are written in \
             the settings and reload, and keys of the environment and restart; keys of other sources are \
             fetched again now"
        ),
    }
}

/// The sentence for the log about a response whose only known cause is the scope of the signature.
pub fn doubtful_scope(status: StatusCode, signed_request: &SignedRequest) -> String {
    let SignedRequest { host, region, service, .. } = signed_request;
    let doubts = service::doubts(host, region, service).join("; ");
    format!("AWS answered {}, probably because of the signature's scope: {doubts}", status.as_u16())
}

/// The sentence for the log about a call that the route did not sign.
pub fn unsigned(reason: SignatureRefusal, caller: Caller) -> String {
    match reason {
        SignatureRefusal::Missing if caller.signs => {
            "AWS answered `Missing Authentication Token` to a call with the client's own Authorization: the \
             API has no such path or method, or function_uri lacks the stage, or the method requires a \
             signature; with client_authorization `replace` the route signs"
                .to_owned()
        }
        SignatureRefusal::Missing => {
            "AWS answered `Missing Authentication Token` to an unsigned call: the API has no such path or \
             method, or function_uri lacks the stage, or the method requires a signature and the route has \
             no authorization.iam"
                .to_owned()
        }
        _ => "AWS refused the client's own signature or credentials: the route did not sign the call"
            .to_owned(),
    }
}

/// The cause of a signature mismatch, from AWS's message and the clocks.
fn signature(message: &str, headers: &HeaderMap, signed_request: &SignedRequest, caller: Caller) -> String {
    let SignedRequest { host, region, dated, .. } = signed_request;
    let apart = ahead_of(*dated, headers);
    let by = apart
        .map(|apart| format!(", according to AWS's Date it is {} AWS's", skew_text(-apart)))
        .unwrap_or_default();
    if DATE_REFUSED.iter().any(|words| message.contains(words)) {
        return format!(
            "AWS refused the signature for its date{}: set this machine's clock right{by}",
            quoted(message)
        );
    }
    if message.contains("valid region") {
        let known = region_of(host).filter(|known| known != region);
        let cure = known.map_or_else(
            || "the one of the endpoint".to_owned(),
            |known| format!("{known}, which is in the host's name"),
        );
        return format!(
            "AWS refused the signature for its region, {region}: set aws_region to {cure} ({host})"
        );
    }
    if message.contains("correct service") || message.contains("This endpoint belongs to") {
        return wrong_service(message, signed_request, caller);
    }
    // Amazon S3 names the region or the service that it expects
    if message.contains("is wrong; expecting") {
        return format!(
            "AWS refused the signature for its region, {region}{}: set aws_region",
            quoted(message)
        );
    }
    if message.contains("SignedHeader") {
        return format!(
            "AWS refused the signature{}: a proxy on the way may have added the header",
            quoted(message)
        );
    }
    let is_late = apart.is_some_and(|apart| apart.abs() >= 60_000);
    let clock = if is_late { format!(" (likely{by})") } else { by };
    without_reason(message, &clock, signed_request)
}

/// The parts of a signature to check, the likeliest first.
fn without_reason(message: &str, clock: &str, signed_request: &SignedRequest) -> String {
    let SignedRequest { host, region, service, .. } = signed_request;
    let likely = |known: Option<&str>, signed: &str| match known {
        Some(known) if known != signed => format!(" (likely, the host's name says {known})"),
        _ => String::new(),
    };
    let region_of_host = likely(region_of(host), region);
    let service_of_host = likely(endpoint(host).map(|known| known.service), service);
    format!(
        "AWS refused the signature without a reason{}; check in this order: this machine's \
         clock{clock}; aws_region, {region}{region_of_host}; the service, {service}{service_of_host}; the \
         host, {host}; the secret of {}",
        quoted(message),
        signed_request.key_name()
    )
}

/// The service of a `lambda` route is fixed, so there the host is wrong.
fn wrong_service(message: &str, signed_request: &SignedRequest, caller: Caller) -> String {
    let cure = if caller.api == AwsApi::Lambda {
        format!("{} is not the Lambda API (`host`)", signed_request.host)
    } else if let Some(known) = endpoint(&signed_request.host) {
        format!("set `service` to {}, which is in the host's name", known.service)
    } else {
        "set `service`, execute-api for an API and lambda for a Function URL".to_owned()
    };
    format!(
        "AWS refused the signature for its service, {}{}: {cure}",
        signed_request.service,
        quoted(message)
    )
}

/// The region in the name of a host.
fn region_of(host: &str) -> Option<&str> {
    endpoint(host).map_or_else(|| region_in(host), |known| known.region)
}

/// AWS's message in brackets, if there is one.
fn quoted(message: &str) -> String {
    match message.trim() {
        "" => String::new(),
        words => format!(" (`{}`)", log_safe(words, MAX_QUOTE)),
    }
}
