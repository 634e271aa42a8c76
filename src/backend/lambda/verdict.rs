//! What an answer of the Lambda API tells about the call (`Backend::verdict` of `lambda.rs`).
//!
//! The status is always the API's own: a function's failure is a 200 with `X-Amz-Function-Error`.

use actix_http::StatusCode;

use crate::{
    backend::verdict::Verdict,
    client::UpstreamReply,
    client::aws_error::{error_type, is_expiry, is_throttling},
};

/// What the head tells (Lambda API reference, `Invoke`, errors).
pub fn verdict(upstream: &UpstreamReply) -> Verdict {
    if upstream.status.is_success() {
        return Verdict::Final;
    }
    let reason = error_type(&upstream.headers).unwrap_or_default();
    match upstream.status {
        StatusCode::TOO_MANY_REQUESTS => Verdict::Throttled,
        _ if is_throttling(reason) => Verdict::Throttled,
        StatusCode::FORBIDDEN if is_expiry(reason) => Verdict::KeysExpired,
        StatusCode::CONFLICT | StatusCode::BAD_GATEWAY if is_not_ready(reason) => Verdict::NotReady,
        StatusCode::REQUEST_TIMEOUT if is_slow_start(reason) => Verdict::SlowStart,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Verdict::Unavailable
        }
        _ => Verdict::Final,
    }
}

/// The function, its network or its snapshot is still being made.
fn is_not_ready(reason: &str) -> bool {
    matches!(
        reason,
        "CodeArtifactUserPendingException"
            | "EC2ThrottledException"
            | "ENILimitReachedException"
            | "ENINotReadyException"
            | "ResourceConflictException"
            | "ResourceNotReadyException"
            | "SnapStartNotReadyException"
            | "SubnetIPAddressLimitReachedException"
    )
}

/// A file system or snapshot was not there in time.
fn is_slow_start(reason: &str) -> bool {
    reason.ends_with("MountTimeoutException") || reason == "SnapStartTimeoutException"
}
