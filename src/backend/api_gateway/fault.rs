//! Log note about a 5xx response that API Gateway generated itself.
//!
//! The function behind the API may return any 5xx status too; a response with `x-amzn-ErrorType` is API
//! Gateway's own (API Gateway developer guide, "Gateway response types").

use actix_http::StatusCode;
use log::Level;

use crate::{
    client::{
        UpstreamReply,
        aws_error::{error_type, log_word},
    },
    message::log_note::LogNote,
};

/// `None` for any other response.
pub fn note(upstream: &UpstreamReply) -> Option<LogNote> {
    if !upstream.status.is_server_error() {
        return None;
    }
    let kind = error_type(&upstream.headers).filter(|kind| !kind.is_empty())?;
    let cure = match upstream.status {
        StatusCode::BAD_GATEWAY => {
            "the answer of the API's function or backend is not one that API Gateway understands; the API's \
             execution log says more"
        }
        StatusCode::GATEWAY_TIMEOUT => {
            "the API's function or backend could not be reached, or did not answer within the integration's \
             timeout"
        }
        StatusCode::SERVICE_UNAVAILABLE => "AWS's Health Dashboard says whether the service is disturbed",
        _ => {
            "an authorizer or the configuration of the API may be wrong, which the API's execution log says; \
             otherwise look at AWS's Health Dashboard"
        }
    };
    let text = format!(
        "AWS answered with a failure of its own, {} {}: {cure}",
        upstream.status.as_u16(),
        log_word(kind)
    );
    Some(LogNote { level: Level::Error, text })
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderMap, HeaderValue};

    use super::*;
    use crate::client::{ERROR_TYPE, ReplyBody};

    #[test]
    fn k6_a_failure_of_awss_own_has_a_line_and_that_of_a_function_has_none() {
        for (status, kind, told) in [
            (500, Some("InternalServerErrorException"), Some("500 InternalServerErrorException: ")),
            (503, Some("ServiceUnavailableException:http://x/"), Some("503 ServiceUnavailableException: ")),
            (504, Some("a\tb=c"), Some("504 a\\tb\\u{3d}c: ")),
            (502, Some(""), None),
            (502, None, None),
            (403, Some("AccessDeniedException"), None),
            (200, Some("InternalServerErrorException"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert(ERROR_TYPE, HeaderValue::from_static(kind));
            }
            let (status, body) = (StatusCode::from_u16(status).unwrap(), ReplyBody::None { length: None });
            let found = note(&UpstreamReply { status, headers, body, prelude: None });
            assert_eq!(found.is_some(), told.is_some(), "{status} {kind:?}");
            if let (Some(found), Some(told)) = (found, told) {
                assert!(found.level == Level::Error && found.text.contains(told), "{found:?}");
            }
        }
    }
}
