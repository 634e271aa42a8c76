//! What becomes of an answer of the Lambda API.
//!
//! `lambda.rs` asks [`reply_mode`] when the head is here, and [`reply`] when as much of the body is as that said.
//! Four things can have come: a refusal of the API (`refusal.rs`), the news that the function failed
//! (`function_error.rs`), an answer that says status and headers itself (`proxy_integration.rs`), or one that
//! passes as it is, but for `empty_arrays.rs` on request. `proxy/reply.rs` sends the result to the client.

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
        headers,
        log_note::LogNote,
    },
    settings::{AnswerSettings, EmptyArraysMode, InvocationType, InvokeMode},
};

/// A refusal is one sentence, or two canonical requests.
const LONGEST_REFUSAL: u64 = 64 << 10;
/// The API's own limit is 6,291,556 bytes (Lambda quotas); here it only has to end somewhere.
const LONGEST_ANSWER: u64 = 8 << 20;
/// Characters that are quoted of what a function wrote.
const LONGEST_QUOTE: usize = 100;
/// The type of a stream whose type the function does not say, as a Function URL has it.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// How much of the answer's body has to be here before anything can be said.
pub fn reply_mode(
    settings: AnswerSettings,
    invocation_type: InvocationType,
    invoke_mode: InvokeMode,
    upstream: &UpstreamReply,
) -> ReplyMode {
    if is_refusal(upstream.status) {
        return ReplyMode::Truncated { limit: LONGEST_REFUSAL };
    }
    if invocation_type != InvocationType::RequestResponse {
        // nothing of a function's comes with 202 and 204
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
            ReplyMode::Collected { limit: LONGEST_ANSWER }
        }
        InvokeMode::Buffered => ReplyMode::Streamed,
    }
}

/// Turns what the Lambda API sent into the answer for the client.
///
/// # Errors
/// The API refused the call, or the function's answer is not what the mode demands.
pub fn reply(
    settings: AnswerSettings,
    invocation_type: InvocationType,
    invoke_mode: InvokeMode,
    mut upstream: UpstreamReply,
) -> Result<ClientReply, ProxyError> {
    let log_tail = take_log_tail(&mut upstream.headers);
    headers::clean_reply(&mut upstream.headers);
    let reply = if is_refusal(upstream.status) {
        refusal::reply(settings.preserve_lambda_api_error_code, &upstream)
    } else if invocation_type == InvocationType::RequestResponse {
        functions_reply(settings, invoke_mode, upstream)
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

/// What the function said, or that it failed.
fn functions_reply(
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
    if invoke_mode == InvokeMode::ResponseStream {
        if !upstream.headers.contains_key(header::CONTENT_TYPE) {
            upstream.headers.insert(header::CONTENT_TYPE, BYTES);
        }
    }
    Ok(unchanged(upstream))
}

/// Whether the API refused the call. It knows no redirects: what is no success is a refusal.
fn is_refusal(status: StatusCode) -> bool {
    status.as_u16() >= 300
}

fn unchanged(upstream: UpstreamReply) -> ClientReply {
    let UpstreamReply { status, headers, body, prelude: _ } = upstream;
    ClientReply { status, headers, body, length: None, notes: Vec::new() }
}

/// Takes the end of the function's log out of the answer, into ours.
fn take_log_tail(headers: &mut HeaderMap) -> Option<LogNote> {
    let encoded = headers.remove(LOG_RESULT).next()?;
    log_tail(encoded.as_bytes())
}

/// The body of an answer whose status somebody else chose: some have none (RFC 9110, 15.3.5, 15.3.6, 15.4.5).
/// `length` is what the function says of it, which a 304 may tell (RFC 9110, 8.6).
fn body_for(status: StatusCode, body: ReplyBody, length: Option<u64>) -> ReplyBody {
    match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => ReplyBody::None { length: None },
        StatusCode::NOT_MODIFIED => ReplyBody::None { length },
        _ => body,
    }
}

/// The function's answer is not what the route's mode demands, for this reason.
fn invalid(cause: impl Into<String>) -> ProxyError {
    ProxyError::new(ErrorKind::FunctionResponseInvalid, cause.into())
}
