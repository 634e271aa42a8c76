//! Streams and connections that `h2` itself refuses, and why.
//!
//! `h2` resets a stream for a malformed head, and ends a connection for worse, before anybody sees a request,
//! and it gives the reason to `tracing` alone. The subscriber here keeps these reasons for `http2.rs`, which
//! logs them as any refusal. The warnings of other libraries go to `log`, as they would without a subscriber.
//!
//! Only `h2` decides what it refuses: `:path` and `:authority` have to pass `http::Uri`, and a name or value
//! that `http::HeaderName` and `http::HeaderValue` do not take fails the decoding of the whole connection. To
//! narrow that down to the stream (RFC 9113, 8.1.1), or to escape a path first, takes a header decoder that
//! hands over raw fields.

use std::{cell::Cell, fmt, sync::Once};

use tracing_core::{
    Event, Level, LevelFilter, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use crate::error::{ErrorKind, ProxyError};

thread_local! {
    /// The refusals of the call of `h2` that is running on this thread, if one is.
    static NOTED: Cell<Option<Vec<ProxyError>>> = const { Cell::new(None) };
}

/// Runs one call of `h2` and returns the refusals in it.
pub fn noted<T>(call: impl FnOnce() -> T) -> (T, Vec<ProxyError>) {
    static SUBSCRIBES: Once = Once::new();
    SUBSCRIBES.call_once(|| {
        if tracing_core::dispatcher::set_global_default(tracing_core::Dispatch::new(Reasons)).is_err() {
            log::debug!("another subscriber was set before");
        }
    });
    NOTED.set(Some(Vec::new()));
    let result = call();
    (result, NOTED.take().unwrap_or_default())
}

/// The subscriber.
struct Reasons;

impl Reasons {
    /// The reasons are events of `h2` that have a message and nothing else; those of each frame have more.
    fn is_reason(metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::DEBUG
            && metadata.target().starts_with("h2::")
            && metadata.fields().len() == 1
    }
}

impl Subscriber for Reasons {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && (*metadata.level() <= Level::WARN || Self::is_reason(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        let metadata = event.metadata();
        if !Self::is_reason(metadata) {
            let level = if *metadata.level() == Level::ERROR { log::Level::Error } else { log::Level::Warn };
            log::log!(target: metadata.target(), level, "{}", message.0);
        } else if let Some(mut noted) = NOTED.take() {
            noted.extend(refusal(&message.0));
            NOTED.set(Some(noted));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message of an event, with its other fields behind it.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// Reasons that quote what the client sent, which may be a secret in a query, or that do not say what to do.
const IN_OTHER_WORDS: [(&str, &str); 5] = [
    (
        "malformed headers: malformed path",
        "HTTP/2: the stream is reset, since `:path` has a byte that RFC 3986 wants escaped",
    ),
    (
        "malformed headers: malformed authority",
        "HTTP/2: the stream is reset, since `:authority` is no host. gRPC clients send the path of a Unix \
         socket there, unless they are given another authority (grpc.default_authority: localhost)",
    ),
    ("malformed headers: malformed scheme", "HTTP/2: the stream is reset, since `:scheme` is no scheme"),
    (
        "connection error PROTOCOL_ERROR -- failed HPACK decoding; err=Hpack(InvalidUtf8)",
        "HTTP/2: the connection and all its streams end, since a header's name has a capital or another byte \
         that is not allowed in names, or a value has a control byte",
    ),
    (
        "too_many_continuations",
        "HTTP/2: the connection ends, since a head comes in too many CONTINUATION frames",
    ),
];

/// What `h2` refused, if the message is about that. A body that belies its length belongs to a request that
/// has its own line.
fn refusal(message: &str) -> Option<ProxyError> {
    if let Some((_, cause)) = IN_OTHER_WORDS.iter().find(|(beginning, _)| message.starts_with(beginning)) {
        return Some(ProxyError::new(ErrorKind::InvalidRequest, *cause));
    }
    if message.starts_with("stream error REQUEST_HEADER_FIELDS_TOO_LARGE") {
        return Some(ErrorKind::HeadersTooLarge.into());
    }
    let stream = message.strip_prefix("stream error PROTOCOL_ERROR -- ");
    let stream =
        stream.filter(|reason| !(reason.starts_with("recv_data") || reason.starts_with("recv_trailers")));
    if let Some(reason) = stream.or_else(|| message.strip_prefix("malformed headers: ")) {
        let cause = format!("HTTP/2: the stream is reset: {}", reason.trim_end_matches(';'));
        return Some(ProxyError::new(ErrorKind::InvalidRequest, cause));
    }
    let reason = message.strip_prefix("connection error ")?;
    let cause = format!("HTTP/2: the connection and all its streams end: {}", reason.trim_end_matches(';'));
    Some(ProxyError::new(ErrorKind::InvalidRequest, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x9_a_refused_path_is_not_quoted_and_frames_are_no_refusals() {
        let told = |message| refusal(message).map(|error| error.to_string());
        let path = told("malformed headers: malformed path (\"/?secret=<\"): invalid uri character").unwrap();
        assert!(path.contains("`:path`") && !path.contains("secret"), "{path}");
        let other = told("malformed headers: missing method").unwrap();
        assert!(other.ends_with("the stream is reset: missing method"), "{other}");
        let connection = told("connection error PROTOCOL_ERROR -- invalid stream ID 0;").unwrap();
        assert!(connection.ends_with("end: PROTOCOL_ERROR -- invalid stream ID 0"), "{connection}");
        for message in [
            "received settings ACK; applying Settings",
            "stream error PROTOCOL_ERROR -- recv_data: content-length overflow; stream=1;",
        ] {
            assert_eq!(told(message), None);
        }
    }
}
