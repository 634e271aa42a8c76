//! The query of a signed request, rewritten to the form that every implementation of SigV4 signs alike.
//!
//! Implementations treat `+`, raw `*!()` and needless escapes differently. A query with strict RFC 3986
//! escapes has none of them. The order of pairs stays; `signing/canonical.rs` sorts a copy.

use std::{iter, mem};

use super::{is_unreserved, push_strict_part};

/// Parameters of a query-string signature, which AWS refuses beside a signature in the header.
const SIGNATURE_PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// A `+` is a blank in forms.
const PLUS: &str = "%20";

/// Appends the pairs of `query` to `strict` with strict escapes: `+` is a blank, a name alone gets its `=`,
/// empty pairs and the parameters of a client's signature are removed.
pub fn push_strict(query: &str, strict: &mut String) {
    if !is_strict(query) {
        return push_pairs(query, strict);
    }
    if follows_pair(strict) {
        strict.push('&');
    }
    strict.push_str(query);
}

/// True for a query that [`push_pairs`] keeps as it is, in one pass over its bytes; false also for a rare
/// other one, with a name that may be one of a signature.
fn is_strict(query: &str) -> bool {
    let (mut has_value, mut previous) = (false, b'&');
    for byte in query.bytes() {
        let stays = match byte {
            b'=' => !mem::replace(&mut has_value, true),
            b'&' => mem::replace(&mut has_value, false),
            b'x' | b'X' => previous != b'&',
            _ => is_unreserved(byte),
        };
        if !stays {
            return false;
        }
        previous = byte;
    }
    has_value
}

fn follows_pair(text: &str) -> bool {
    !matches!(text.as_bytes().last(), None | Some(b'?' | b'&'))
}

fn push_pairs(query: &str, strict: &mut String) {
    for (name, value) in pairs(query) {
        let end = strict.len();
        if follows_pair(strict) {
            strict.push('&');
        }
        let start = strict.len();
        push_strict_part(name, PLUS, strict);
        if is_of_signature(&strict[start..]) {
            strict.truncate(end);
            continue;
        }
        strict.push('=');
        push_strict_part(value, PLUS, strict);
    }
}

/// The names of the parameters that [`push_strict`] removes from `query`, each once, in strict escapes.
pub fn left_out(query: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (name, _) in pairs(query) {
        let mut text = String::with_capacity(name.len());
        push_strict_part(name, PLUS, &mut text);
        if is_of_signature(&text) && !names.contains(&text) {
            names.push(text);
        }
    }
    names
}

/// Names and values as written, without empty pairs.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(query);
    let pairs = iter::from_fn(move || {
        let (pair, behind) = split_at(rest?, b'&');
        rest = behind;
        Some(pair)
    });
    pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = split_at(pair, b'=');
        (name, value.unwrap_or_default())
    })
}

/// The texts before and after the first `separator`, which is ASCII. Most are too short for the search by
/// words of `split_once` to pay.
fn split_at(text: &str, separator: u8) -> (&str, Option<&str>) {
    match text.as_bytes().iter().position(|byte| *byte == separator) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// True if a name in strict escapes is a parameter of a query-string signature.
fn is_of_signature(name: &str) -> bool {
    let has_prefix =
        name.as_bytes().first_chunk().is_some_and(|start: &[u8; 6]| start.eq_ignore_ascii_case(b"X-Amz-"));
    has_prefix && SIGNATURE_PARAMETERS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strict(query: &str) -> String {
        let mut text = String::new();
        push_strict(query, &mut text);
        text
    }

    #[test]
    fn a11_escapes_become_strict_and_the_order_stays() {
        assert_eq!(
            strict("with%20space=a%2Fb%20c&multi=m2&multi=m1&flag&a=*&a-=x"),
            "with%20space=a%2Fb%20c&multi=m2&multi=m1&flag=&a=%2A&a-=x"
        );
    }

    #[test]
    fn every_spelling_of_a_byte_becomes_one() {
        assert_eq!(strict("a=b+c"), "a=b%20c");
        assert_eq!(strict("a=%2a%61%7e"), "a=%2Aa~");
        assert_eq!(strict("a=x/y&b=c=d"), "a=x%2Fy&b=c%3Dd");
        assert_eq!(strict("a=%ff%c3%a9"), "a=%FF%C3%A9");
        assert_eq!(strict("&a=1&&b=&"), "a=1&b=");
        assert_eq!(strict("a=|{};\"'"), "a=%7C%7B%7D%3B%22%27");
    }

    #[test]
    fn it_is_its_own_fixed_point() {
        let once = strict("b=2&a=1&a&c=x%2Fy&d=b+c&%zz=%");
        assert_eq!(strict(&once), once);
    }

    #[test]
    fn a_clients_signature_is_removed_from_the_query() {
        assert_eq!(strict("a=1&X-Amz-Signature=abc&x-amz-date=2026&X%2DAmz-Credential=k&b=2"), "a=1&b=2");
    }

    #[test]
    fn each_argument_of_a_signature_is_named_once_as_the_client_spelled_it() {
        let query =
            "a=1&X-Amz-Signature=abc&x-amz-date=2026&X%2DAmz-Credential=k&x-amz-date=2027&b=2&x-amz-meta=3";
        assert_eq!(left_out(query), ["X-Amz-Signature", "x-amz-date", "X-Amz-Credential"]);
    }

    proptest! {
        /// Escapes are whole: `message/head.rs` refuses all other queries.
        #[test]
        fn any_query_becomes_strict_and_means_what_it_meant(
            query in "([a-cX=&+;*~/\"|-]|%[0-7][0-9a-fA-F]|%[c-f][0-9]|x-amz-date=1|é){0,24}",
        ) {
            let once = strict(&query);
            prop_assert_eq!(&strict(&once), &once);
            let mut pairs = String::new();
            push_pairs(&query, &mut pairs);
            prop_assert_eq!(&pairs, &once);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=&".contains(&byte);
            let escapes_are_whole = crate::text::uri_syntax::escapes_are_whole(once.as_bytes());
            prop_assert!(once.bytes().all(plain) && escapes_are_whole, "{once}");
            let meant = |query: &str| -> Vec<(String, String)> {
                let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
                let is_signature = |name: &str| {
                    SIGNATURE_PARAMETERS.iter().any(|own| own.eq_ignore_ascii_case(name))
                };
                pairs.filter(|(name, _)| !is_signature(name)).collect()
            };
            prop_assert_eq!(meant(&once), meant(&query));
        }

        #[test]
        fn no_text_makes_it_panic(query in any::<String>()) {
            let _ = strict(&query);
        }
    }
}
