//! Converts a response of the Lambda API into the client's response.
//!
//! [`reply_mode`] decides by the head how much of the body is read before [`reply`] is called. The response
//! is one of four: a refusal by the API (`refusal.rs`), a function error (`function_error.rs`), a response
//! object with status and headers (`proxy_integration.rs`), or a body that is passed on, unchanged or through
//! `empty_arrays.rs`.

mod empty_arrays;
mod function_error;
mod header_lines;
mod members;
mod proxy_integration;
mod refusal;
#[cfg(test)]
mod tests;

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderValue},
};

use crate::{
    backend::{ClientReply, ReplyMode},
    client::{FUNCTION_ERROR, LOG_RESULT, ReplyBody, UpstreamReply, log_tail},
    message::{
        error::{ErrorKind, ProxyError},
        log_note::LogNote,
    },
    settings::{AnswerSettings, EmptyArraysMode, InvocationType, InvokeMode},
};

/// A refusal is one sentence, or contains the canonical request twice.
const MAX_REFUSAL: u64 = 64 << 10;
/// Above the API's own limit of 6,291,556 bytes (Lambda quotas).
const MAX_ANSWER: u64 = 8 << 20;
/// Maximum length of a quotation from the function's output, in characters.
const MAX_QUOTE: usize = 100;
/// Default content type of a streamed response, as with Function URLs.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub fn reply_mode(
    settings: AnswerSettings,
    invocation_type: InvocationType,
    invoke_mode: InvokeMode,
    upstream: &UpstreamReply,
) -> ReplyMode {
    if is_refusal(upstream.status) {
        return ReplyMode::Truncated { limit: MAX_REFUSAL };
    }
    if invocation_type != InvocationType::RequestResponse {
        // 202 and 204 contain no output of the function
        return ReplyMode::Streamed;
    }
    let failed = upstream.headers.contains_key(FUNCTION_ERROR);
    match invoke_mode {
        InvokeMode::ResponseStream => ReplyMode::Events { prelude: settings.is_proxy_integration && !failed },
        InvokeMode::Buffered
            if settings.is_proxy_integration
                || settings.empty_arrays_mode == EmptyArraysMode::Legacy
                || failed && settings.unhandled_status.is_some() =>
        {
            ReplyMode::Collected { limit: MAX_ANSWER }
        }
        InvokeMode::Buffered => ReplyMode::Streamed,
    }
}

/// Converts the response.
///
/// # Errors
/// The API refused the call, or the function's response is invalid for the route's mode.
pub fn reply(
    settings: AnswerSettings,
    invocation_type: InvocationType,
    invoke_mode: InvokeMode,
    mut upstream: UpstreamReply,
) -> Result<ClientReply, ProxyError> {
    let log_tail = take_log_tail(&mut upstream.headers);
    let reply = if is_refusal(upstream.status) {
        refusal::reply(settings.preserve_lambda_api_error_code, &upstream)
    } else if invocation_type == InvocationType::RequestResponse {
        function_reply(settings, invoke_mode, upstream)
    } else {
        Ok(unchanged(upstream))
    };
    match (log_tail, reply) {
        (None, reply) => reply,
        (Some(log_tail), Ok(mut reply)) => {
            reply.notes.push(log_tail);
            Ok(reply)
        }
        (log_tail, Err(error)) => Err(error.with_notes(log_tail)),
    }
}

/// Converts the output or the error of the function.
fn function_reply(
    settings: AnswerSettings,
    invoke_mode: InvokeMode,
    mut upstream: UpstreamReply,
) -> Result<ClientReply, ProxyError> {
    if let Some(kind) = upstream.headers.get(FUNCTION_ERROR).cloned() {
        return function_error::reply(settings, &kind, upstream);
    }
    if settings.is_proxy_integration {
        return proxy_integration::reply(settings.version, upstream);
    }
    if let (EmptyArraysMode::Legacy, ReplyBody::Whole(body)) =
        (settings.empty_arrays_mode, &mut upstream.body)
        && let Some(changed) = empty_arrays::as_objects(body)
    {
        *body = changed;
    }
    if invoke_mode == InvokeMode::ResponseStream && !upstream.headers.contains_key(header::CONTENT_TYPE) {
        upstream.headers.insert(header::CONTENT_TYPE, BYTES);
    }
    Ok(unchanged(upstream))
}

/// True for every status but success: the Invoke API has no redirects.
fn is_refusal(status: StatusCode) -> bool {
    status.as_u16() >= 300
}

fn unchanged(upstream: UpstreamReply) -> ClientReply {
    let UpstreamReply { status, headers, body, prelude: _ } = upstream;
    ClientReply { status, headers, body, length: None, notes: Vec::new() }
}

/// Moves the end of the function's log from the response into a note.
fn take_log_tail(headers: &mut HeaderMap) -> Option<LogNote> {
    let encoded = headers.remove(LOG_RESULT).next()?;
    log_tail(encoded.as_bytes())
}

/// Drops the body where the status allows none (RFC 9110, 15.3.5, 15.3.6, 15.4.5). `length` is the length
/// that the function stated, which a 304 may contain (RFC 9110, 8.6).
fn body_for(status: StatusCode, body: ReplyBody, length: Option<u64>) -> ReplyBody {
    match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => ReplyBody::None { length: None },
        StatusCode::NOT_MODIFIED => ReplyBody::None { length },
        _ => body,
    }
}

/// The error for a function's response that is invalid for the route's mode.
fn invalid(cause: impl Into<String>) -> ProxyError {
    ProxyError::new(ErrorKind::FunctionResponseInvalid, cause.into())
}
