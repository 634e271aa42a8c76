//! Classifies a request body by `Content-Type` and `Content-Encoding`.
//!
//! Parameters and case are ignored. Kong and Envoy compare the whole header, so they do not recognise
//! `application/json; charset=utf-8` (`peers.md` K15, L06).

use actix_http::header::{self, HeaderMap, HeaderValue};

use crate::text::log_safe::log_safe;

/// For the log: the types that [`BodyKind::of`] parses.
const PARSED_TYPES: &str = "application/json, types that end in +json, application/x-www-form-urlencoded and \
    multipart/form-data, all without a Content-Encoding";
/// Maximum length of a client's header in the log, in characters.
const MAX_QUOTE: usize = 100;

/// A content type without its parameters, in the client's case; empty without the header.
#[derive(Debug, Clone, Copy)]
pub struct ContentType<'a>(&'a [u8]);

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json` and anything `+json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// A type that Kong's `forward_request_body` forwards as text.
    Raw,
    /// Another type, no type, or a content coding, with which the bytes are not in the format of the type.
    Other,
}

/// `peers.md` K13, K15.
const RAW: [&str; 5] = ["text/plain", "text/html", "application/xml", "text/xml", "application/soap+xml"];

/// The types that HTTP APIs forward as text, besides `text/*` (`aws.md` 3.2).
const TEXT: [&str; 3] = ["application/json", "application/xml", "application/javascript"];

impl<'a> ContentType<'a> {
    pub fn of(headers: &'a HeaderMap) -> Self {
        let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        Self(value[..end].trim_ascii())
    }

    /// True if an HTTP API forwards the body as text.
    pub fn is_text(self) -> bool {
        let main = self.0.first_chunk::<5>();
        main.is_some_and(|main| main.eq_ignore_ascii_case(b"text/"))
            || TEXT.iter().any(|known| self.is(known))
    }

    fn is(self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name.as_bytes())
    }

    fn is_json(self) -> bool {
        let suffix = self.0.last_chunk::<5>();
        self.is("application/json") || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
    }
}

impl BodyKind {
    pub fn of(headers: &HeaderMap) -> Self {
        let content_type = ContentType::of(headers);
        if is_coded(headers) {
            Self::Other
        } else if content_type.is_json() {
            Self::Json
        } else if content_type.is("application/x-www-form-urlencoded") {
            Self::Form
        } else if content_type.is("multipart/form-data") {
            Self::Multipart
        } else if RAW.iter().any(|raw| content_type.is(raw)) {
            Self::Raw
        } else {
            Self::Other
        }
    }
}

/// The log text for a body that cannot be parsed: its type and coding, and the accepted types.
pub fn unsupported(headers: &HeaderMap) -> String {
    let quoted = |value: &HeaderValue| log_safe(&String::from_utf8_lossy(value.as_bytes()), MAX_QUOTE);
    let came = headers.get(header::CONTENT_TYPE).map_or_else(|| "no Content-Type".to_owned(), quoted);
    let coding = headers.get(header::CONTENT_ENCODING).filter(|_| is_coded(headers));
    let coding = coding.map(|coding| format!(" with Content-Encoding {}", quoted(coding)));
    format!("the body has {came}{}; the route takes {PARSED_TYPES}", coding.unwrap_or_default())
}

fn is_coded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers
    }

    #[test]
    fn k15_parameters_and_case_do_not_matter() {
        for (content_type, kind) in [
            ("application/json", BodyKind::Json),
            ("Application/JSON ;charset=utf-8", BodyKind::Json),
            ("application/problem+Json", BodyKind::Json),
            ("application/x-www-form-urlencoded; charset=UTF-8", BodyKind::Form),
            ("multipart/form-data; boundary=x", BodyKind::Multipart),
            ("text/plain; charset=utf-8", BodyKind::Raw),
            ("TEXT/html", BodyKind::Raw),
            ("application/soap+xml;action=a", BodyKind::Raw),
            ("application/jsonp", BodyKind::Other),
            ("text/csv", BodyKind::Other),
            ("application/octet-stream", BodyKind::Other),
            ("", BodyKind::Other),
        ] {
            assert_eq!(BodyKind::of(&headers(content_type)), kind, "{content_type}");
        }
        assert_eq!(BodyKind::of(&HeaderMap::new()), BodyKind::Other);
    }

    #[test]
    fn a_body_in_a_coding_is_not_of_its_type() {
        for (coding, kind) in [
            ("identity", BodyKind::Json),
            ("", BodyKind::Json),
            ("gzip", BodyKind::Other),
            ("Identity, br", BodyKind::Other),
        ] {
            let mut headers = headers("application/json");
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            assert_eq!(BodyKind::of(&headers), kind, "{coding}");
        }
    }

    #[test]
    fn a_body_that_is_unsupported_is_told_with_its_type_and_those_that_are() {
        let mut coded = headers("application/json");
        coded.append(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        for (headers, came) in [
            (HeaderMap::new(), "the body has no Content-Type; the route takes application/json, "),
            (headers("text/csv"), "the body has text/csv; the route takes application/json, "),
            (coded, "the body has application/json with Content-Encoding gzip; the route takes "),
        ] {
            let text = unsupported(&headers);
            assert!(text.starts_with(came) && text.contains("multipart/form-data"), "{text}");
        }
    }

    #[test]
    fn l04_l05_l06_what_an_http_api_takes_for_text() {
        for text in ["text/plain", "Text/CSV", "application/json; charset=utf-8", "application/xml"] {
            assert!(ContentType::of(&headers(text)).is_text(), "{text}");
        }
        for other in ["", "text", "application/pdf", "application/problem+json", "image/svg+xml"] {
            assert!(!ContentType::of(&headers(other)).is_text(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn parameters_case_and_blanks_never_matter(
            name in "application/json|application/x-www-form-urlencoded|multipart/form-data|text/(plain|csv)|a/b\\+json|[a-z/+]{0,8}",
            upper in any::<bool>(),
            rest in "[ \t]{0,2}(;[ -~]{0,12})?",
        ) {
            let of = |text: &str| {
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(text).unwrap());
                (BodyKind::of(&headers), ContentType::of(&headers).is_text())
            };
            let spelled = if upper { name.to_uppercase() } else { name.clone() };
            prop_assert_eq!(of(&name), of(&(spelled + &rest)));
        }

        #[test]
        fn no_value_makes_it_panic(kind in prop::collection::vec(0x20..=0xff_u8, 0..24), coding in prop::collection::vec(0x20..=0xff_u8, 0..12)) {
            let mut headers = HeaderMap::new();
            if let (Ok(kind), Ok(coding)) = (HeaderValue::from_bytes(&kind), HeaderValue::from_bytes(&coding)) {
                headers.insert(header::CONTENT_TYPE, kind);
                headers.insert(header::CONTENT_ENCODING, coding);
            }
            let _ = (BodyKind::of(&headers), ContentType::of(&headers).is_text());
        }
    }
}
