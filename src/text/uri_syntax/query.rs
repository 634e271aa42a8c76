//! The query of a signed request, rewritten to the form that every implementation of SigV4 signs alike.
//!
//! Implementations treat `+`, raw `*!()` and needless escapes differently. A query with strict RFC 3986 escapes has none
//! of them. The order of pairs stays; `signing/canonical.rs` sorts a copy.

use super::{escape, push_encoded};

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

/// Appends the pairs of `query` to `strict` with strict escapes: `+` is a blank, a name alone gets its `=`, empty pairs
/// and the parameters of a client's signature are removed.
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "unreserved characters and escapes are ASCII"
)]
pub fn push_strict(query: &str, strict: &mut String) {
    let mut pair_text = Vec::with_capacity(query.len());
    for (name, value) in pairs(query) {
        pair_text.clear();
        push_strict_part(name, &mut pair_text);
        if is_of_signature(&pair_text) {
            continue;
        }
        pair_text.push(b'=');
        push_strict_part(value, &mut pair_text);
        if !strict.is_empty() && !strict.ends_with(['?', '&']) {
            strict.push('&');
        }
        strict.push_str(str::from_utf8(&pair_text).expect("an encoded pair"));
    }
}

/// The names of the parameters that [`push_strict`] removes from `query`, each once, in strict escapes.
pub fn left_out(query: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (name, _) in pairs(query) {
        let mut text = Vec::with_capacity(name.len());
        push_strict_part(name, &mut text);
        let name = String::from_utf8_lossy(&text).into_owned();
        if is_of_signature(&text) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Names and values as written, without empty pairs.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether a name in strict escapes is a parameter of a query-string signature.
fn is_of_signature(name: &[u8]) -> bool {
    SIGNATURE_PARAMETERS.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
}

fn push_strict_part(part: &str, text: &mut Vec<u8>) {
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match byte {
            b'+' => (b' ', after),
            _ => escape(rest).unwrap_or((byte, after)),
        };
        push_encoded(&[byte], b"", text);
        rest = after;
    }
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
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=&".contains(&byte);
            prop_assert!(once.bytes().all(plain) && crate::text::uri_syntax::escapes_are_whole(once.as_bytes()), "{once}");
            let meant = |query: &str| -> Vec<(String, String)> {
                let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
                pairs.filter(|(name, _)| !SIGNATURE_PARAMETERS.iter().any(|own| own.eq_ignore_ascii_case(name))).collect()
            };
            prop_assert_eq!(meant(&once), meant(&query));
        }

        #[test]
        fn no_text_makes_it_panic(query in any::<String>()) {
            let _ = strict(&query);
        }
    }
}
