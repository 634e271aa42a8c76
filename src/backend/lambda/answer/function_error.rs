//! The function failed: the API answered 200 with `X-Amz-Function-Error` and the runtime's account of it.
//!
//! `answer.rs` comes here before it looks at what the mode demands of an answer, since this is none. A route
//! without proxy integration passes it with the header, as Kong does (`peers.md` R04 to R08, H10).

use actix_http::header::HeaderValue;
use log::Level;

use super::{body_for, unchanged};
use crate::{
    backend::ClientReply,
    client::{ReplyBody, UpstreamReply},
    message::{
        error::{ErrorKind, ProxyError},
        log_note::LogNote,
    },
    settings::AnswerSettings,
    text::{json::Json, log_safe::log_safe},
};

/// Characters of the function's own account that go to the log.
const LONGEST: usize = 500;

/// Gives a failure `unhandled_status`, or passes it as it is, or, where the client was promised an answer that
/// the function gives the shape of, makes it a failure of ours.
pub fn reply(
    settings: AnswerSettings,
    kind: &HeaderValue,
    mut upstream: UpstreamReply,
) -> Result<ClientReply, ProxyError> {
    let text = match &upstream.body {
        ReplyBody::Whole(body) => failure(kind_text(kind), &account(body)),
        // its account passes by without being read
        _ => kind_text(kind),
    };
    // R07: only what the function did not handle gets the status
    let status = settings.unhandled_status.filter(|_| kind.as_bytes() == b"Unhandled");
    match status {
        Some(status) => upstream.status = status,
        // R08: Kong tries to unwrap the error, and overlooks `unhandled_status` as it fails
        None if settings.is_proxy_integration => {
            return Err(ProxyError::new(ErrorKind::FunctionFailed, text));
        }
        None => {}
    }
    let mut reply = unchanged(upstream);
    reply.body = body_for(reply.status, reply.body, None);
    reply.notes.push(LogNote { level: Level::Warn, text: format!("the function failed: {text}") });
    Ok(reply)
}

/// The kind before the account, unless the error's type says the same, as Lambda's own errors do.
fn failure(kind: String, account: &str) -> String {
    match account.strip_prefix(&kind) {
        Some("") => kind,
        Some(rest) if rest.starts_with(": ") => account.to_owned(),
        _ => format!("{kind}: {account}"),
    }
}

fn kind_text(kind: &HeaderValue) -> String {
    log_safe(&String::from_utf8_lossy(kind.as_bytes()), 20)
}

/// The error's type and message; which of them there are differs by runtime.
fn account(body: &[u8]) -> String {
    let members = str::from_utf8(body).map(|body| Json::members(body, ["errorType", "errorMessage"]));
    let parts: Vec<String> = members
        .unwrap_or_default()
        .into_iter()
        .flatten()
        // a character has four bytes at most, and one more tells that there is more
        .filter_map(|part| part.text().map(|text| text.beginning(4 * (LONGEST + 1))))
        .collect();
    if parts.is_empty() { "no message".to_owned() } else { log_safe(&parts.join(": "), LONGEST) }
}
