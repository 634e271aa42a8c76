//! AWS keys in `Authorization: Basic` (RFC 7617): `ID:SECRET`, or `ID:SECRET:TOKEN` with a session token.
//!
//! The decoded text and the parsed keys are wiped when they are dropped, and no error quotes them.

use actix_http::header::HeaderValue;
use aws_credential_types::Credentials;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::settings::{is_key, is_swapped};

/// The most bytes of the base64 text. AWS gives no limit for session tokens; common ones have less than
/// 2 KiB.
const MAX_ENCODED: usize = 8 << 10;
/// The most characters of a key id (IAM API reference, `AccessKey`).
const MAX_KEY_ID: usize = 128;
/// The most characters of a secret; AWS's have 40.
const MAX_SECRET: usize = 256;
const NAME: &str = "client";

/// The keys in the value of `Authorization`.
///
/// # Errors
/// There are none; the text is for the client and contains nothing of the value.
pub fn parse(authorization: &HeaderValue) -> Result<Credentials, &'static str> {
    let (scheme, encoded) = split(authorization.as_bytes());
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err("Authorization has another scheme");
    }
    if encoded.len() > MAX_ENCODED {
        return Err("the keys are too long");
    }
    let decoded = STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| "the keys are not base64")?;
    let text = str::from_utf8(&decoded).map_err(|_| "the keys are not visible ASCII")?;
    let (id, rest) = text.split_once(':').ok_or("there is no colon between key id and secret")?;
    let (secret, token) = rest.split_once(':').unwrap_or((rest, ""));
    if !is_id(id) {
        return Err("the key id is missing or is no access key id");
    }
    if !is_key(secret) || secret.len() > MAX_SECRET {
        return Err("the secret is missing or is no secret access key");
    }
    // an empty one is an unset variable: curl -u "$ID:$SECRET:$TOKEN"
    let token = Some(token).filter(|token| !token.is_empty());
    if token.is_some_and(|token| !is_key(token)) {
        return Err("the session token is not visible ASCII");
    }
    Ok(Credentials::new(id, secret, token.map(str::to_owned), None, NAME))
}

/// The scheme, and what follows its spaces.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    (scheme, rest.trim_ascii_start())
}

/// Letters, digits and `_` (IAM API reference, `AccessKey`). Anything else would change the meaning of the
/// header that contains the id, and a secret in its place would be logged in part.
fn is_id(id: &str) -> bool {
    (1..=MAX_KEY_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !is_swapped(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn parsed(text: &[u8]) -> Result<Credentials, &'static str> {
        parse(&HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).unwrap())
    }

    #[test]
    fn id_and_secret_are_split_at_the_first_colon_and_the_token_at_the_second() {
        let keys = parsed(format!("AKIDEXAMPLE:{SECRET}").as_bytes()).unwrap();
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("AKIDEXAMPLE", SECRET));
        assert_eq!((keys.session_token(), keys.expiry()), (None, None));
        let keys = parsed(b"ASIA_1:s:to/ke+n==:x").unwrap();
        assert_eq!((keys.secret_access_key(), keys.session_token()), ("s", Some("to/ke+n==:x")));
        assert_eq!(parsed(b"AKID:s:").unwrap().session_token(), None);
    }

    #[test]
    fn the_scheme_is_basic_in_any_case_with_any_number_of_spaces() {
        for value in ["Basic QTpi", "basic QTpi", "BASIC   QTpi ", " Basic QTpi"] {
            assert!(parse(&HeaderValue::from_str(value).unwrap()).is_ok(), "{value}");
        }
        for value in ["", "Basic", "QTpi", "Bearer QTpi", "Basic\tQTpi", "AWS4-HMAC-SHA256 Credential=a"] {
            assert!(parse(&HeaderValue::from_str(value).unwrap()).is_err(), "{value}");
        }
    }

    #[test]
    fn malformed_keys_are_refused_with_a_reason() {
        let long = "x".repeat(9000);
        for (text, reason) in [
            (&b""[..], "no colon"),
            (b"AKID", "no colon"),
            (b":", "key id"),
            (b":secret", "key id"),
            (b"AKID:", "secret"),
            (b"AKID::token", "secret"),
            (b"AK/ID:secret", "key id"),
            (b"AKID, x=y:secret", "key id"),
            (b"AKID\r\nX: y:secret", "key id"),
            (b"AKID:sec\0ret", "secret"),
            (b"AKID:sec ret", "secret"),
            (b"AKID:secret:to\nken", "token"),
            (b"AKID:\xff", "visible ASCII"),
            ("ÄKID:secret".as_bytes(), "key id"),
            (format!("{SECRET}:AKIDEXAMPLE").as_bytes(), "key id"),
            (format!("{}:AKIDEXAMPLE", "s".repeat(40)).as_bytes(), "key id"),
            (format!("{}:secret", "A".repeat(129)).as_bytes(), "key id"),
            (format!("AKID:{}", "s".repeat(257)).as_bytes(), "secret"),
            (format!("AKID:secret:{long}").as_bytes(), "too long"),
        ] {
            let told = parsed(text).map(|_| ()).unwrap_err();
            assert!(told.contains(reason), "{}: {told}", text.escape_ascii());
        }
        for value in ["Basic QTpi=", "Basic QTp", "Basic QTp i", "Basic !", "Basic QT-_"] {
            let told = parse(&HeaderValue::from_str(value).unwrap()).map(|_| ()).unwrap_err();
            assert!(told.contains("base64"), "{value}: {told}");
        }
    }

    #[test]
    fn debug_of_parsed_keys_shows_neither_secret_nor_token() {
        let shown = format!("{:?}", parsed(b"AKID:hush-secret:hush-token").unwrap());
        assert!(!shown.contains("hush"), "{shown}");
    }

    proptest! {
        #[test]
        fn keys_put_together_are_taken_apart_again(
            id in "[A-Z0-9_]{1,39}",
            secret in "[!-9;-~]{1,60}",
            token in prop::option::of("[!-~]{1,900}"),
        ) {
            let text = token.iter().fold(format!("{id}:{secret}"), |text, token| format!("{text}:{token}"));
            let keys = parsed(text.as_bytes()).unwrap();
            prop_assert_eq!(keys.access_key_id(), id);
            prop_assert_eq!(keys.secret_access_key(), secret);
            prop_assert_eq!(keys.session_token(), token.as_deref());
        }

        #[test]
        fn no_value_makes_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parsed(&value);
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = parse(&value);
            }
        }
    }
}
