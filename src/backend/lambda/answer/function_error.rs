//! Function errors: a 200 with `X-Amz-Function-Error` and the runtime's error object in the body.
//!
//! A route without proxy integration passes the response on with the header, as Kong does (`peers.md` R04 to
//! R08, H10).

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

/// Maximum length of the error type and message in the log, in characters.
const MAX_ACCOUNT: usize = 500;

/// Sets `unhandled_status`; without it, the response is passed on, or is an error with proxy integration.
pub fn reply(
    settings: AnswerSettings,
    kind: &HeaderValue,
    mut upstream: UpstreamReply,
) -> Result<ClientReply, ProxyError> {
    let text = match &upstream.body {
        ReplyBody::Whole(body) => failure(kind_text(kind), &account(body)),
        // the body is streamed and not read
        _ => kind_text(kind),
    };
    // R07: only unhandled errors get the status
    let status = settings.unhandled_status.filter(|_| kind.as_bytes() == b"Unhandled");
    match status {
        Some(status) => upstream.status = status,
        // R08: Kong fails to unwrap the error and ignores `unhandled_status`
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

/// Puts the kind before the account, unless the account begins with it, as with Lambda's own errors.
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

/// The error's type and message; some runtimes send only one of them.
fn account(body: &[u8]) -> String {
    let members = str::from_utf8(body).map(|body| Json::members(body, ["errorType", "errorMessage"]));
    let parts: Vec<String> = members
        .unwrap_or_default()
        .into_iter()
        .flatten()
        // a character has four bytes at most; one character more shows that the text was cut
        .filter_map(|part| part.text().map(|text| text.beginning(4 * (MAX_ACCOUNT + 1))))
        .collect();
    if parts.is_empty() { "no message".to_owned() } else { log_safe(&parts.join(": "), MAX_ACCOUNT) }
}
