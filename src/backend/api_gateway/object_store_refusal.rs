//! Removes secrets from an error of Amazon S3.
//!
//! S3 repeats the canonical request of a signature that does not match, with the session token, and the token
//! that has expired or is invalid (Amazon S3 API reference, "Error responses"), so the client must not see
//! these elements. `diagnosis.rs` reads them before.

use actix_http::header;
use bytes::Bytes;

use crate::{
    backend::ReplyMode,
    client::{ReplyBody, UpstreamReply},
    text::flat_xml,
};

/// Elements with the canonical request, the session token, the signature or the key.
const SECRET: [&str; 7] = [
    "CanonicalRequest",
    "CanonicalRequestBytes",
    "StringToSign",
    "StringToSignBytes",
    "Token-0",
    "SignatureProvided",
    "AWSAccessKeyId",
];
/// An error has a few kilobytes: it contains the canonical request twice.
const MAX_REFUSAL: u64 = 256 << 10;
/// Takes the place of an error that cannot be searched.
const REFUSED: &[u8] =
    b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code></Error>";

/// Errors that may contain secrets are buffered, all other responses streamed.
pub fn reply_mode(upstream: &UpstreamReply) -> ReplyMode {
    if upstream.is_xml_refusal() { ReplyMode::Collected { limit: MAX_REFUSAL } } else { ReplyMode::Streamed }
}

/// Removes the secrets of an error. Any other response is unchanged.
pub fn without_secrets(upstream: &mut UpstreamReply) {
    if !upstream.is_xml_refusal() {
        return;
    }
    let ReplyBody::Whole(body) = &upstream.body else { return };
    let is_encoded = upstream.headers.contains_key(header::CONTENT_ENCODING);
    let text = str::from_utf8(body).ok().filter(|_| !is_encoded);
    let shortened = text.and_then(|text| flat_xml::without(text, &SECRET));
    upstream.headers.remove(header::CONTENT_ENCODING);
    upstream.body = ReplyBody::Whole(shortened.map_or(Bytes::from_static(REFUSED), Bytes::from));
}

#[cfg(test)]
mod tests {
    use actix_http::{
        StatusCode,
        header::{HeaderMap, HeaderValue},
    };

    use super::*;

    fn reply(status: StatusCode, content_type: &'static str, body: &'static [u8]) -> UpstreamReply {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        UpstreamReply { status, headers, body: ReplyBody::Whole(Bytes::from_static(body)), prelude: None }
    }

    fn shown(mut reply: UpstreamReply) -> String {
        without_secrets(&mut reply);
        let ReplyBody::Whole(body) = reply.body else { unreachable!("it was whole before") };
        String::from_utf8_lossy(&body).into_owned()
    }

    const MISMATCH: &[u8] = b"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKID</AWSAccessKeyId>\
        <StringToSign>AWS4</StringToSign><CanonicalRequest>GET\nx-amz-security-token:hush</CanonicalRequest>\
        <CanonicalRequestBytes>47 45 54</CanonicalRequestBytes><RequestId>1</RequestId></Error>";

    #[test]
    fn an_error_keeps_its_code_and_loses_its_secrets() {
        let refused = reply(StatusCode::FORBIDDEN, "application/xml", MISMATCH);
        assert_eq!(reply_mode(&refused), ReplyMode::Collected { limit: MAX_REFUSAL });
        let expected = "<Error><Code>SignatureDoesNotMatch</Code><RequestId>1</RequestId></Error>";
        assert_eq!(shown(refused), expected);
        let expired: &[u8] = b"<Error><Code>ExpiredToken</Code><Token-0>hush</Token-0></Error>";
        let expired = reply(StatusCode::BAD_REQUEST, "application/xml", expired);
        assert_eq!(shown(expired), "<Error><Code>ExpiredToken</Code></Error>");
    }

    #[test]
    fn an_error_that_cannot_be_searched_is_replaced() {
        for body in [&b"<Error><Token-0>hush"[..], b"\xff<Token-0>hush</Token-0>"] {
            let shown = shown(reply(StatusCode::FORBIDDEN, "application/xml", body));
            assert_eq!(shown.as_bytes(), REFUSED);
        }
        let mut encoded = reply(StatusCode::FORBIDDEN, "text/xml", MISMATCH);
        encoded.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(shown(encoded).as_bytes(), REFUSED);
    }

    #[test]
    fn other_responses_stay_as_they_are() {
        for (status, content_type) in [
            (StatusCode::OK, "application/xml"),
            (StatusCode::NOT_FOUND, "application/xml"),
            (StatusCode::FORBIDDEN, "text/html"),
        ] {
            let other = reply(status, content_type, MISMATCH);
            assert_eq!(reply_mode(&other), ReplyMode::Streamed);
            assert_eq!(shown(other).as_bytes(), MISMATCH);
        }
    }
}
