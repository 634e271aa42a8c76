//! Header filter of both directions: hop-by-hop headers, framing, and headers reserved by AWS.
//!
//! `inbound.rs` filters a request once, so that no backend ever sees a removed header. `client/framing.rs`
//! filters the head of a response, and the `lambda` backend the lines that a function describes.

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::{
    message::client_address::PeerTrust,
    text::header_names::{ClientProofs, VPC_PREFIX, is_hop_by_hop, is_meant_for_aws, is_request_only},
};

/// Request id in logs, in responses and in requests to AWS.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Removes from a client's headers the hop-by-hop headers, the framing, headers that would change the
/// meaning of the call at AWS, headers about the client of a peer that is not trusted, and, as `proofs` says,
/// the headers by which AWS recognises a caller.
pub fn clean_request(headers: &mut HeaderMap, trust: PeerTrust, proofs: ClientProofs) {
    let nominated = nominated(headers.get_all(header::CONNECTION));
    headers.retain(|name, _| why_dropped(name, &nominated, trust).is_none() && !proofs.drop(name.as_str()));
}

/// The reason why a client's header is removed, for `explain`; `None` if it passes.
pub fn why_not_passed(name: &HeaderName, all: &HeaderMap, trust: PeerTrust) -> Option<&'static str> {
    why_dropped(name, &nominated(all.get_all(header::CONNECTION)), trust)
}

fn why_dropped(name: &HeaderName, nominated: &[HeaderName], trust: PeerTrust) -> Option<&'static str> {
    let text = name.as_str();
    if is_hop_by_hop(text) {
        return Some("it concerns one connection (RFC 9110, 7.6.1)");
    }
    if is_request_only(text) {
        return Some("the sidecar sets it anew or answers it itself");
    }
    if is_meant_for_aws(text) || text.starts_with(VPC_PREFIX) {
        return Some("API Gateway and Lambda would act on it or refuse the call");
    }
    if is_about_the_client(name, trust) {
        return Some("the peer is not in listen.trusted_ips");
    }
    let is_nominated = nominated.contains(name) && !describes_the_client(name);
    is_nominated.then_some("the client's Connection header names it")
}

/// True for the headers by which proxies describe the client. They are for all recipients, so `Connection`
/// must not name them (RFC 9110, 7.6.1): a client behind a proxy that passes `Connection` on could remove its
/// address.
fn describes_the_client(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "forwarded" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port"
    )
}

/// Removes the hop-by-hop headers and `Content-Length` from the lines that a function describes.
pub fn clean_reply_lines(lines: &mut Vec<(HeaderName, HeaderValue)>) {
    let connection = lines.iter().filter(|(name, _)| *name == header::CONNECTION);
    let nominated = nominated(connection.map(|(_, value)| value));
    lines.retain(|(name, _)| !is_dropped_from_reply(name, &nominated));
}

fn is_dropped_from_reply(name: &HeaderName, nominated: &[HeaderName]) -> bool {
    is_hop_by_hop(name.as_str()) || *name == header::CONTENT_LENGTH || nominated.contains(name)
}

/// Appends an element to a comma-separated list that may span several lines, and joins the lines.
pub fn append(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, element);
        return;
    }
    let lines = headers.get_all(&name).chain([&element]).map(HeaderValue::as_bytes);
    let list = lines.collect::<Vec<_>>().join(&b", "[..]);
    // each part is a valid header value
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

/// Headers that only trusted proxies may set. `X-Forwarded-Proto` and the like are overwritten instead.
fn is_about_the_client(name: &HeaderName, trust: PeerTrust) -> bool {
    match trust {
        PeerTrust::Trusted => false,
        PeerTrust::Untrusted => matches!(name.as_str(), "forwarded" | "x-forwarded-for"),
        PeerTrust::Unconfigured => name.as_str() == "forwarded",
    }
}

/// The header names listed in `Connection`.
///
/// They must be removed before the sidecar adds its headers: `Connection: x-amz-date` must not remove a
/// signed header.
///
/// `keep-alive` is dropped anyway, and most connections name nothing else.
fn nominated<'a>(connection: impl Iterator<Item = &'a HeaderValue>) -> Vec<HeaderName> {
    connection
        .filter(|value| *value != "keep-alive")
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn clean_reply(headers: &mut HeaderMap) {
        let mut lines: Vec<_> = headers.drain().scan(None, named).collect();
        clean_reply_lines(&mut lines);
        for (name, value) in lines {
            headers.append(name, value);
        }
    }

    /// A line of `drain`, which names a repeated header once.
    fn named(
        last: &mut Option<HeaderName>,
        (name, value): (Option<HeaderName>, HeaderValue),
    ) -> Option<(HeaderName, HeaderValue)> {
        *last = name.or_else(|| last.take());
        Some((last.clone()?, value))
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hop_by_hop_framing_and_nominated_headers_do_not_pass() {
        let mut headers = map(&[
            ("connection", "close, X-One"),
            ("connection", "x-two,,"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("te", "trailers"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "localhost"),
            ("expect", "100-continue"),
            ("upgrade", "websocket"),
        ]);
        clean_request(&mut headers, PeerTrust::Unconfigured, ClientProofs::Pass);
        assert_eq!(names(&headers), ["x-three"]);
    }

    #[test]
    fn headers_that_aws_acts_on_do_not_pass() {
        let mut headers = map(&[
            ("x-http-method-override", "DELETE"),
            ("x-amzn-vpce-id", "vpce-1"),
            ("x-amzn-vpc-id", "vpc-1"),
            ("x-amzn-tls-version", "1.3"),
            ("x-amzn-cipher-suite", "x"),
            ("x-amzn-trace-id", "Root=1"),
        ]);
        clean_request(&mut headers, PeerTrust::Unconfigured, ClientProofs::Pass);
        assert_eq!(names(&headers), ["x-amzn-trace-id"]);
    }

    #[test]
    fn proofs_of_a_caller_pass_unless_the_route_replaces_them() {
        let proofs =
            ["authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-api-key"];
        for (treatment, left) in [
            (ClientProofs::Pass, &proofs[..]),
            (ClientProofs::Drop, &[]),
            (ClientProofs::DropAllButPayload, &["x-amz-content-sha256"]),
        ] {
            let mut headers = map(&proofs.map(|name| (name, "a")));
            clean_request(&mut headers, PeerTrust::Unconfigured, treatment);
            assert_eq!(names(&headers), left);
        }
    }

    #[test]
    fn headers_about_the_client_pass_from_trusted_proxies_alone() {
        for (trust, left) in [
            (PeerTrust::Trusted, &["forwarded", "x-forwarded-for", "x-real-ip"][..]),
            (PeerTrust::Untrusted, &["x-real-ip"]),
            (PeerTrust::Unconfigured, &["x-forwarded-for", "x-real-ip"]),
        ] {
            let mut headers = map(&[
                ("forwarded", "for=a"),
                ("x-forwarded-for", "a"),
                ("x-real-ip", "a"),
                ("forwarded", "b"),
            ]);
            clean_request(&mut headers, trust, ClientProofs::Pass);
            assert_eq!(names(&headers), left, "{trust:?}");
        }
    }

    #[test]
    fn repeated_headers_stay_repeated_and_in_order() {
        let mut headers = map(&[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("x-a", "2")]);
        clean_request(&mut headers, PeerTrust::Unconfigured, ClientProofs::Pass);
        let values = |name| headers.get_all(name).map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(values("cookie"), ["a=1", "b=2"]);
        assert_eq!(values("x-a"), ["1", "2"]);
    }

    #[test]
    fn a_functions_framing_and_nominated_headers_do_not_pass() {
        let mut headers = map(&[
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("content-length", "5"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        clean_reply(&mut headers);
        assert_eq!(names(&headers), ["set-cookie"]);
        assert_eq!(headers.get_all("set-cookie").count(), 2);
    }

    proptest! {
        #[test]
        fn hop_by_hop_headers_are_removed_and_the_others_keep_their_order(
            lines in prop::collection::vec((
                prop::sample::select(vec![
                    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
                    "proxy-connection", "content-length", "host", "x-a", "x-b", "cookie", "x-amzn-vpce-id",
                    "date",
                ]),
                prop::sample::select(vec![
                    "", "x-a", "X-B, close", "cookie,,x-a", "date;q=1", "te", "1", "\u{7f}é",
                ]),
            ), 0..12),
        ) {
            let mut all = HeaderMap::new();
            for (name, value) in &lines {
                if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                    all.append(HeaderName::from_static(name), value);
                }
            }
            let named: Vec<String> = all
                .get_all("connection")
                .flat_map(|value| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    value.split(',').map(|name| name.trim().to_lowercase()).collect::<Vec<_>>()
                })
                .collect();
            let clean_request = |headers: &mut HeaderMap| {
                clean_request(headers, PeerTrust::Unconfigured, ClientProofs::Pass);
            };
            let cleaners = [
                (clean_request as fn(&mut HeaderMap), &["host", "content-length"][..]),
                (clean_reply, &["content-length"]),
            ];
            for (clean, own) in cleaners {
                let mut cleaned = all.clone();
                clean(&mut cleaned);
                for name in [
                    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
                    "proxy-connection",
                ] {
                    prop_assert!(!cleaned.contains_key(name), "{name}");
                }
                prop_assert!(own.iter().all(|name| !cleaned.contains_key(*name)));
                for name in ["x-a", "x-b", "cookie", "date"] {
                    let before: Vec<_> = all.get_all(name).collect();
                    let after: Vec<_> = cleaned.get_all(name).collect();
                    let is_named = named.iter().any(|own| own == name);
                    prop_assert_eq!(after, if is_named { Vec::new() } else { before }, "{}", name);
                }
                let mut again = cleaned.clone();
                clean(&mut again);
                prop_assert_eq!(names(&again), names(&cleaned));
            }
        }
    }
}
