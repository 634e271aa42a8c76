//! Loop detection by this process's name in `Via` (RFC 9110, 7.6.3).
//!
//! `proxy.rs` rejects a request that contains the name, `inbound.rs` adds it; `explain.rs` uses a fixed one.

use actix_http::{
    Version,
    header::{self, HeaderMap, HeaderValue},
};

use super::headers::append;

/// A process's name, and the element of `Via` for each HTTP version.
#[derive(Debug, Clone)]
pub struct Via {
    name: String,
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl Via {
    /// A name from a number that must be unique per process.
    #[expect(
        clippy::expect_used,
        reason = "a version and a name of letters, digits and dashes fit into a header"
    )]
    pub fn numbered(number: u64) -> Self {
        let name = format!("apigw-invoker-{number:016x}");
        let after =
            |version: &str| HeaderValue::from_str(&format!("{version} {name}")).expect("an element of Via");
        Self { http_10: after("1.0"), http_11: after("1.1"), http_2: after("2.0"), name }
    }

    /// True if a request with these headers has passed this process before.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let name = self.name.as_bytes();
        headers.get_all(header::VIA).any(|line| line.as_bytes().windows(name.len()).any(|own| own == name))
    }

    /// Appends the element for a request received with this HTTP version.
    pub fn add(&self, headers: &mut HeaderMap, version: Version) {
        let element = match version {
            Version::HTTP_10 => &self.http_10,
            Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        };
        append(headers, header::VIA, element.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_with_the_name_detects_its_own_via() {
        let (via, other) = (Via::numbered(1), Via::numbered(2));
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, HeaderValue::from_static("1.0 fred"));
        headers.append(header::VIA, HeaderValue::from_static("1.1 p.example.net (x)"));
        assert!(!via.is_in(&headers));
        via.add(&mut headers, Version::HTTP_2);
        assert!(via.is_in(&headers) && !other.is_in(&headers));
        let lines: Vec<_> = headers.get_all(header::VIA).map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, ["1.0 fred, 1.1 p.example.net (x), 2.0 apigw-invoker-0000000000000001"]);
        for (version, told) in [(Version::HTTP_10, "1.0 apigw-"), (Version::HTTP_11, "1.1 apigw-")] {
            let mut headers = HeaderMap::new();
            via.add(&mut headers, version);
            assert!(headers.get(header::VIA).unwrap().to_str().unwrap().starts_with(told));
        }
    }
}
