//! The search for secrets in a text, however the text escapes them.
//!
//! Clients and functions repeat secrets in queries, in JSON, in JSON within JSON and in base64. So a
//! character of a secret is found as itself, as `%2F`, `\/` or `\u002f`, and with doubled backslashes.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

use crate::message::redaction::REDACTED;

/// Shorter secrets are not searched for in base64: a few characters of it are found everywhere.
const LEAST_IN_BASE64: usize = 8;

/// A secret with the texts that stand around it and are shown.
#[derive(PartialEq, Eq)]
struct Sought {
    before: String,
    secret: String,
    after: String,
}

/// Secrets, ordered by their first byte, the longest first.
#[derive(Default)]
pub(super) struct SecretSearch {
    sought: Vec<Sought>,
    /// For each byte, true if a secret may begin with it; most bytes of a text begin none.
    begins: Vec<bool>,
}

/// The escapes that a text is read with: a secret may contain what looks like one.
#[derive(Clone, Copy)]
struct Escapes {
    percent: bool,
    backslash: bool,
}

const READINGS: [Escapes; 3] = [
    Escapes { percent: true, backslash: true },
    Escapes { percent: false, backslash: true },
    Escapes { percent: false, backslash: false },
];

/// A secret at the beginning of a text.
enum Found {
    /// The ends of the text before it, of itself, and of the text after it.
    Whole([usize; 3]),
    /// The text ends in it.
    Begun,
}

impl Sought {
    fn first(&self) -> u8 {
        self.before.bytes().chain(self.secret.bytes()).next().unwrap_or_default()
    }

    fn is_at(&self, text: &[u8], escapes: Escapes) -> Option<Found> {
        let mut at = 0;
        let mut ends = [0; 3];
        for (part, end) in [&self.before, &self.secret, &self.after].into_iter().zip(&mut ends) {
            for wanted in part.bytes() {
                match width_of(wanted, &text[at..], escapes) {
                    Some(0) => return (at > 0).then_some(Found::Begun),
                    Some(width) => at += width,
                    None => return None,
                }
            }
            *end = at;
        }
        Some(Found::Whole(ends))
    }
}

impl SecretSearch {
    /// Adds a secret that is found wherever it stands, in base64 too.
    pub fn add(&mut self, secret: &str) {
        self.add_between("", secret, "");
        if secret.len() >= LEAST_IN_BASE64 {
            for form in (0..3).flat_map(|skipped| base64_forms(secret, skipped)) {
                self.add_between("", &form, "");
            }
        }
    }

    /// Adds a secret that is found only between two texts.
    pub fn add_between(&mut self, before: &str, secret: &str, after: &str) {
        if !secret.is_empty() && secret != REDACTED {
            let [before, secret, after] = [before, secret, after].map(str::to_owned);
            self.sought.push(Sought { before, secret, after });
        }
    }

    /// Orders the secrets, once the last one was added.
    pub fn sort(&mut self) {
        self.sought.sort_by_cached_key(|sought| {
            let length = sought.before.len() + sought.secret.len() + sought.after.len();
            (sought.first(), std::cmp::Reverse(length), sought.secret.clone())
        });
        self.sought.dedup();
        self.begins = vec![false; 256];
        for first in self.sought.iter().map(Sought::first).chain(*b"%\\+") {
            self.begins[usize::from(first)] = true;
        }
    }

    /// The text without the secrets; one that is cut off ends before any part of a secret.
    pub fn left_out_of(&self, text: &str, is_cut: bool) -> String {
        let bytes = text.as_bytes();
        let mut shown = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match self.found(&bytes[at..], is_cut) {
                Some(Found::Whole([before, secret, after])) => {
                    shown.extend_from_slice(&bytes[at..at + before]);
                    shown.extend_from_slice(REDACTED.as_bytes());
                    shown.extend_from_slice(&bytes[at + secret..at + after]);
                    at += after;
                }
                Some(Found::Begun) => break,
                None => {
                    shown.push(*byte);
                    at += 1;
                }
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    fn found(&self, text: &[u8], is_cut: bool) -> Option<Found> {
        let written = *text.first()?;
        if !*self.begins.get(usize::from(written))? {
            return None;
        }
        let meant = unescaped(text).map_or(written, |(byte, _)| byte);
        let firsts = if meant == written { &[written][..] } else { &[meant, written] };
        firsts.iter().copied().find_map(|first| {
            let start = self.sought.partition_point(|sought| sought.first() < first);
            let own = self.sought[start..].iter().take_while(|sought| sought.first() == first);
            own.flat_map(|sought| READINGS.map(|escapes| sought.is_at(text, escapes)))
                .flatten()
                .find(|found| is_cut || matches!(found, Found::Whole(_)))
        })
    }
}

/// Bytes of a text that stand for the wanted byte; 0 if the text ends in them.
fn width_of(wanted: u8, text: &[u8], escapes: Escapes) -> Option<usize> {
    let Some(&first) = text.first() else { return Some(0) };
    let is_escape = (first == b'%' && escapes.percent) || (first == b'\\' && escapes.backslash);
    match unescaped(text).filter(|_| is_escape) {
        Some((byte, width)) if byte == wanted => return Some(width),
        None if is_escape && text.len() < 6 && first != wanted => return Some(0),
        _ => {}
    }
    if first == b'+' && wanted == b' ' && escapes.percent {
        return Some(1);
    }
    (first == wanted).then_some(1)
}

/// The byte that an escape at the beginning of a text stands for, and the escape's length.
fn unescaped(text: &[u8]) -> Option<(u8, usize)> {
    let hexadecimal = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    if text.first() == Some(&b'%') {
        return Some((hexadecimal(text.get(1..3)?)?, 3));
    }
    let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
    match text.get(slashes)? {
        _ if slashes == 0 => None,
        b'u' if text.get(slashes + 1..slashes + 3)? == b"00" => {
            Some((hexadecimal(text.get(slashes + 3..slashes + 5)?)?, slashes + 5))
        }
        quoted @ (b'"' | b'/') => Some((*quoted, slashes + 1)),
        _ if slashes.is_multiple_of(2) => Some((b'\\', 2)),
        _ => None,
    }
}

/// A secret in base64 after a number of other bytes, without the characters that these bytes and those after
/// the secret have a part in.
fn base64_forms(secret: &str, skipped: usize) -> [String; 2] {
    let bytes = [&[0; 2][..skipped], secret.as_bytes()].concat();
    let start = [0, 2, 3][skipped];
    let shared = usize::from(!bytes.len().is_multiple_of(3));
    [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD].map(|alphabet| {
        let text = alphabet.encode(&bytes);
        text[start..text.len() - shared].to_owned()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "hu/sh+\"hu<sh=%25";

    fn search(secrets: &[&str]) -> SecretSearch {
        let mut search = SecretSearch::default();
        for secret in secrets {
            search.add(secret);
        }
        search.sort();
        search
    }

    fn forms() -> Vec<String> {
        let json = serde_json::Value::from(SECRET).to_string();
        let json_in_json = serde_json::Value::from(&*json).to_string();
        let percent = percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC);
        let lower = percent.to_string().replace("%2F", "%2f").replace("%3C", "%3c");
        let all_escaped: String = SECRET.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        vec![
            SECRET.to_owned(),
            json.trim_matches('"').to_owned(),
            json.trim_matches('"').replace('/', "\\/").replace('<', "\\u003c"),
            json_in_json.trim_start_matches("\"\\\"").trim_end_matches("\\\"\"").to_owned(),
            percent.to_string(),
            lower,
            all_escaped,
        ]
    }

    #[test]
    fn a_secret_is_left_out_in_each_form() {
        let search = search(&[SECRET]);
        for form in forms() {
            let text = format!("a={form}&b");
            assert_eq!(search.left_out_of(&text, false), "a=(left out)&b", "{form}");
        }
    }

    #[test]
    fn a_cut_text_ends_before_a_secret_in_each_form() {
        let search = search(&[SECRET]);
        for form in forms() {
            for length in 1..form.len() {
                let text = format!("a={}", &form[..length]);
                let shown = search.left_out_of(&text, true);
                // a part of the first escape is no part of the secret
                assert!(shown == "a=" || (length < 6 && form.starts_with('\\')), "{text} {shown}");
            }
        }
    }

    #[test]
    fn a_cut_text_keeps_all_before_the_secret_that_it_ends_in() {
        let secrets: Vec<String> = ('a'..='z').map(|first| format!("{first}-secret-{first}")).collect();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        assert_eq!(search(&secrets).left_out_of("many words, b-sec", true), "many words, ");
    }

    #[test]
    fn a_secret_between_two_texts_is_left_out_only_there() {
        let mut search = SecretSearch::default();
        search.add_between("\"", "prod", "\"");
        search.add_between("key=", "abc", "");
        search.sort();
        let text = r#"prod {"a":"prod","b":"{\"c\":\"prod\"}","q":"key=abc&x=abc"}"#;
        let shown = r#"prod {"a":"(left out)","b":"{\"c\":\"(left out)\"}","q":"key=(left out)&x=abc"}"#;
        assert_eq!(search.left_out_of(text, false), shown);
    }

    proptest! {
        #[test]
        fn a_secret_in_base64_is_left_out(before in "[a-z?~]{0,5}", after in "[a-z?~]{0,5}") {
            let secret = "hush?~hush?~";
            let text = format!("{before}{secret}{after}");
            for alphabet in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
                let shown = search(&[secret]).left_out_of(&alphabet.encode(&text), false);
                prop_assert!(shown.contains(REDACTED), "{}", shown);
                prop_assert!(shown.len() <= REDACTED.len() + before.len() * 2 + after.len() * 2 + 8);
            }
        }

        #[test]
        fn any_text_without_a_secret_stays(text in "[%u0+\\\\\"/ -~é]{0,40}", is_cut: bool) {
            prop_assume!(!text.contains("01"));
            prop_assert_eq!(search(&["\u{1}secret"]).left_out_of(&text, is_cut), text);
        }
    }
}
