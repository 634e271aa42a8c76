//! The client's headers for an event.
//!
//! They come from `message/inbound.rs` without those that never pass and with those that every hop adds; `host`
//! was taken out there, and is put back, since functions build their own links with it.

use std::borrow::Cow;

use actix_http::header::{HeaderName, HeaderValue};

use super::{pairs::Pairs, text::text};
use crate::message::inbound::InboundRequest;

/// All headers by their lower-case names: AWS writes them so for HTTP APIs, and actix keeps no other case.
pub fn headers(inbound: &InboundRequest) -> Pairs<'_> {
    let host = inbound.host.iter().map(|host| ("host", host));
    let others = inbound.headers.iter().map(|(name, value)| (name.as_str(), value));
    host.chain(others).map(|(name, value)| (name, text(value.as_bytes()))).collect()
}

/// The first value of a header.
pub fn header<'a>(inbound: &'a InboundRequest, name: &HeaderName) -> Option<Cow<'a, str>> {
    inbound.headers.get(name).map(|value| text(HeaderValue::as_bytes(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::lambda::payload::samples::{request, with_header};

    #[test]
    fn headers_come_by_name_with_the_host_and_their_repeats() {
        let mut inbound = request("GET", "/");
        for (name, value) in [("x-b", &b"2"[..]), ("cookie", b"c=1"), ("x-b", b"1"), ("x-a", b"gr\xF6n")] {
            inbound = with_header(inbound, name, value);
        }
        assert_eq!(
            serde_json::to_string(&headers(&inbound)).unwrap(),
            r#"{"cookie":"c=1","host":"shop.example.com:8080","x-a":"grön","x-b":["2","1"],"#.to_owned()
                + r#""x-request-id":"request-1"}"#
        );
    }
}
