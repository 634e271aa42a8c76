//! Whether an answer is API Gateway's own, and what it then tells about the call (`Backend::verdict` of
//! `api_gateway.rs`).
//!
//! Any status may also come from the API's function, which has then run. API Gateway names its own reason in
//! `x-amzn-ErrorType`; where there is none, as with all that an HTTP API says, nobody can tell whose answer it is.

use actix_http::StatusCode;

use crate::{
    backend::verdict::Verdict,
    client::UpstreamReply,
    client::aws_error::{error_type, is_expiry, is_throttling},
};

/// What the head tells (Amazon API Gateway developer guide, gateway response types).
pub fn verdict(upstream: &UpstreamReply) -> Verdict {
    let is_for = |known: fn(&str) -> bool| error_type(&upstream.headers).is_some_and(known);
    match upstream.status {
        StatusCode::FORBIDDEN if is_for(is_expiry) => Verdict::KeysExpired,
        StatusCode::TOO_MANY_REQUESTS if is_for(is_throttling) => Verdict::Throttled,
        // 502 says that the function has answered what API Gateway does not understand
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            if is_for(|_| true) =>
        {
            Verdict::Unavailable
        }
        _ => Verdict::Final,
    }
}
