//! Compares the request that AWS expected to be signed with the request that was signed, in the order of the
//! canonical request. Values of secret headers and query arguments are not quoted.

use super::SignedRequest;
use crate::{
    message::redaction::{REDACTED, is_secret},
    text::log_safe::log_safe,
};

/// The most characters of a quoted value.
const MAX_QUOTE: usize = 200;
const CHANGED: &str = "a proxy on the way may have changed it";

/// The six parts of a canonical request.
#[derive(Debug, PartialEq, Eq)]
struct CanonicalParts<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    signed_headers: &'a str,
    payload_hash: &'a str,
}

impl<'a> CanonicalParts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        let (method, path, query) = (lines.next()?, lines.next()?, lines.next()?);
        let mut headers = Vec::new();
        loop {
            match lines.next()? {
                "" => break,
                line => headers.push(line.split_once(':')?),
            }
        }
        Some(Self {
            method,
            path,
            query,
            headers,
            signed_headers: lines.next()?,
            payload_hash: lines.next()?.trim_end(),
        })
    }
}

/// The sentence for the log.
pub fn sentence(signed_request: &SignedRequest, canonical: &str, string_to_sign: &str) -> String {
    let ours = String::from_utf8_lossy(&signed_request.signing_input.canonical.text);
    let difference = match (CanonicalParts::of(canonical), CanonicalParts::of(&ours)) {
        (Some(aws), Some(own)) => request_difference(&aws, &own),
        _ => Some("the canonical request in AWS's answer cannot be parsed".to_owned()),
    };
    if let Some(difference) = difference {
        return format!(
            "AWS refused the signature because it received a different request than was signed: {difference}"
        );
    }
    if let Some(difference) =
        string_difference(string_to_sign.trim(), &signed_request.signing_input.string_to_sign)
    {
        return format!("AWS refused the signature: {difference}");
    }
    format!(
        "AWS refused the signature, although AWS and the sidecar signed the same request: the secret key \
         does not belong to {}",
        signed_request.key_name()
    )
}

/// The first part of the canonical request that differs.
fn request_difference(aws: &CanonicalParts<'_>, own: &CanonicalParts<'_>) -> Option<String> {
    let plain = |part: &str, aws: &str, own: &str| {
        (aws != own).then(|| {
            format!("{part}: AWS received {}, but {} was signed; {CHANGED}", quoted(aws), quoted(own))
        })
    };
    plain("method", aws.method, own.method)
        .or_else(|| plain("path", aws.path, own.path))
        .or_else(|| query_difference(aws.query, own.query))
        .or_else(|| header_difference(&aws.headers, &own.headers))
        .or_else(|| plain("signed headers", aws.signed_headers, own.signed_headers))
        .or_else(|| {
            let body = "payload hash (the body)";
            plain(body, aws.payload_hash, own.payload_hash)
        })
}

/// The first argument of the sorted queries that differs.
fn query_difference(aws: &str, own: &str) -> Option<String> {
    if aws == own {
        return None;
    }
    let (mut aws, mut own) = (aws.split('&'), own.split('&'));
    let (seen, signed) = loop {
        match (aws.next(), own.next()) {
            (aws, own) if aws == own && aws.is_some() => {}
            pairs => break pairs,
        }
    };
    let pair = |pair: Option<&str>| match pair.filter(|pair| !pair.is_empty()) {
        None => "no further argument".to_owned(),
        Some(pair) => match pair.split_once('=') {
            Some((name, _)) if is_secret(&name.to_ascii_lowercase()) => {
                format!("`{}={REDACTED}`", log_safe(name, MAX_QUOTE))
            }
            _ => quoted(pair),
        },
    };
    Some(format!("query: AWS received {}, but {} was signed; {CHANGED}", pair(seen), pair(signed)))
}

/// The first header that differs or that one side lacks.
fn header_difference(aws: &[(&str, &str)], own: &[(&str, &str)]) -> Option<String> {
    let value = |of: &[(&str, &str)], name: &str| {
        of.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
    };
    let names = own.iter().chain(aws).map(|(name, _)| *name);
    for name in names {
        let (seen, signed) = (value(aws, name), value(own, name));
        if seen == signed {
            continue;
        }
        let shown = |value: Option<String>| match value {
            None => "none".to_owned(),
            Some(_) if is_secret(name) => REDACTED.to_owned(),
            Some(value) => quoted(&value),
        };
        let name = log_safe(name, MAX_QUOTE);
        return Some(format!(
            "header {name}: AWS received {}, but {} was signed; {CHANGED}",
            shown(seen),
            shown(signed)
        ));
    }
    None
}

/// The first line of the string to sign that differs.
fn string_difference(aws: &str, own: &str) -> Option<String> {
    let lines = |text: &str| text.split('\n').map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let (aws, own) = (lines(aws), lines(own));
    for (at, part) in ["algorithm", "date", "scope", "hash of the canonical request"].iter().enumerate() {
        let (seen, signed) = (aws.get(at)?, own.get(at)?);
        if seen == signed {
            continue;
        }
        if *part == "scope" {
            return Some(scope_difference(seen, signed));
        }
        return Some(format!("{part}: AWS expected {}, but {} was signed", quoted(seen), quoted(signed)));
    }
    None
}

fn scope_difference(aws: &str, own: &str) -> String {
    let parts = ["date", "region", "service", "terminator"];
    let cures = ["", "; set aws_region", "; set `service`", ""];
    let pairs = aws.split('/').zip(own.split('/')).zip(parts.iter().zip(cures));
    for ((seen, signed), (part, cure)) in pairs {
        if seen != signed {
            return format!(
                "{part} of the scope: AWS expected {}, but {} was signed{cure}",
                quoted(seen),
                quoted(signed)
            );
        }
    }
    format!("scope: AWS expected {}, but {} was signed", quoted(aws), quoted(own))
}

fn quoted(text: &str) -> String {
    format!("`{}`", log_safe(text, MAX_QUOTE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "GET\n/a\na=1&b=2\nhost:h\nx-amz-date:20261120T120000Z\nx-amz-security-token:hush\n\n\
                       host;x-amz-date;x-amz-security-token\ne3b0";

    fn difference(aws: &str) -> Option<String> {
        request_difference(&CanonicalParts::of(aws).unwrap(), &CanonicalParts::of(OWN).unwrap())
    }

    #[test]
    fn the_first_part_that_differs_is_told_with_both_values() {
        assert_eq!(difference(OWN), None);
        for (from, to, told) in [
            ("GET\n", "PUT\n", "method: AWS received `PUT`, but `GET` was signed"),
            ("/a\n", "/b\n", "path: AWS received `/b`, but `/a` was signed"),
            ("b=2", "b=3", "query: AWS received `b=3`, but `b=2` was signed"),
            ("&b=2", "", "query: AWS received no further argument, but `b=2` was signed"),
            ("a=1", "a=1&api_token=hush", "query: AWS received `api_token=(left out)`, but `b=2` was signed"),
            ("a=1&b=2", "", "query: AWS received no further argument, but `a=1` was signed"),
            ("host:h", "host:i", "header host: AWS received `i`, but `h` was signed"),
            (
                "token:hush",
                "token:hushed",
                "header x-amz-security-token: AWS received (left out), but (left out) was signed",
            ),
            ("host:h\n", "", "header host: AWS received none, but `h` was signed"),
            (
                "host:h\n",
                "host:h\nx-amz-a:\u{1b}\n",
                "header x-amz-a: AWS received `\\u{1b}`, but none was signed",
            ),
            (
                "\n\nhost;",
                "\n\n",
                "signed headers: AWS received `x-amz-date;x-amz-security-token`, but `host;",
            ),
            ("e3b0", "ffff", "payload hash (the body): AWS received `ffff`, but `e3b0` was signed"),
        ] {
            let difference = difference(&OWN.replacen(from, to, 1)).unwrap();
            assert!(difference.starts_with(told), "{difference}\nis not\n{told}");
            assert!(!difference.contains("hush"), "{difference}");
        }
    }

    #[test]
    fn date_region_and_service_of_the_string_to_sign_are_told_apart() {
        let own = "AWS4-HMAC-SHA256\n20261120T120000Z\n20261120/us-east-1/execute-api/aws4_request\nabc";
        assert_eq!(string_difference(own, own), None);
        for (from, to, told) in [
            ("T12", "T13", "date: AWS expected `20261120T130000Z`, but `20261120T120000Z` was signed"),
            (
                "us-east-1",
                "eu-west-1",
                "region of the scope: AWS expected `eu-west-1`, but `us-east-1` was signed; set aws_region",
            ),
            (
                "execute-api",
                "lambda",
                "service of the scope: AWS expected `lambda`, but `execute-api` was signed; set `service`",
            ),
            ("abc", "abd", "hash of the canonical request: AWS expected `abd`, but `abc` was signed"),
        ] {
            assert_eq!(string_difference(&own.replacen(from, to, 1), own).as_deref(), Some(told));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_leaves_its_line(text in any::<String>(), lines in "([a-c:=&\
            '\u{1b}\r]{0,6}\n){0,12}") {
            for text in [&text, &lines] {
                if let Some(parts) = CanonicalParts::of(text) {
                    let own = CanonicalParts::of(OWN).unwrap();
                    let told = request_difference(&parts, &own).unwrap_or_default();
                    prop_assert!(!told.contains(|char: char| char.is_control() && char != '\t'), "{told:?}");
                }
                let _ = string_difference(text, OWN);
            }
        }
    }
}
