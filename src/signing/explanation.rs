//! AWS's explanation of a rejected signature: the canonical request and the string to sign that AWS expected.
//!
//! The explanation is useful to the operator, but it contains the query and the session token, so the client
//! must not see it. Both backends remove it from the error text (`backend/api_gateway/refusal.rs`,
//! `backend/lambda/answer/refusal.rs`); `diagnosis.rs` compares it with what was signed.

use crate::{
    message::redaction::{REDACTED, is_secret},
    text::{
        json::{Json, JsonText},
        log_safe::{log_safe, push_log_safe},
    },
};

/// Start of the explanation.
const EXPLANATION: &str = "The Canonical String for this request should have been";
/// Start of its second half.
const STRING_TO_SIGN: &str = "The String-to-Sign should have been";

/// Splits an error text into the part that the client may see and the redacted explanation, if there is one.
pub fn split(text: &str) -> (&str, Option<String>) {
    match text.find(EXPLANATION) {
        Some(start) => (text[..start].trim_end(), Some(without_secrets(&text[start..]))),
        None => (text, None),
    }
}

/// True if bytes that are not an error text of AWS contain an explanation.
pub fn is_in(body: &[u8]) -> bool {
    body.windows(EXPLANATION.len()).any(|window| window == EXPLANATION.as_bytes())
}

/// The canonical request and the string to sign that AWS expected, unredacted: for comparison, never for the
/// log.
pub fn explanation(text: &str) -> Option<(&str, &str)> {
    let (_, explanation) = text.split_once(EXPLANATION)?;
    let (canonical, string_to_sign) = explanation.split_once(STRING_TO_SIGN)?;
    Some((quoted(canonical)?, quoted(string_to_sign)?))
}

/// The text between the first and the last `'`.
fn quoted(text: &str) -> Option<&str> {
    text.split_once('\'')?.1.rsplit_once('\'').map(|(quoted, _)| quoted)
}

/// The message of an error in JSON; the case of the member differs by service and error.
pub fn message(body: &str) -> Option<String> {
    let [lower, upper] = Json::members(body, ["message", "Message"]);
    lower.or(upper)?.text().map(JsonText::unescaped)
}

/// Redacts each line that is a secret header, and escapes control characters so that a line stays one line.
fn without_secrets(explanation: &str) -> String {
    // an error may have 256 KiB and is copied once
    let mut text = String::with_capacity(explanation.len());
    for line in explanation.lines() {
        if !text.is_empty() {
            text.push('\n');
        }
        let header = line.trim_start_matches(|char: char| !char.is_ascii_alphanumeric());
        let name = header.split_once(':').map(|(name, _)| name.to_ascii_lowercase());
        match name.filter(|name| is_secret(name)) {
            Some(name) => text.extend([&log_safe(&name, usize::MAX), ":", REDACTED]),
            None => push_log_safe(&mut text, line, usize::MAX),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_spelling_of_the_token_gets_through(
            before in "[a-z. \n]{0,12}",
            lines in prop::collection::vec((
                prop::sample::select(vec!["", "'", " ", "\"'\t"]),
                prop::sample::select(vec![
                    "x-amz-security-token:", "X-Amz-Security-Token:", "x-amz-date:", "é", "",
                ]),
                "hush[a-z\r\u{1b}é]{0,6}",
            ), 0..6),
        ) {
            let explanation: String = lines.iter().map(|(quote, name, value)| format!("\n{quote}{name}\
                {value}")).collect();
            let text = format!("{before}{EXPLANATION}{explanation}");
            let (told, explained) = split(&text);
            prop_assert_eq!(told, before.trim_end());
            let explained = explained.unwrap();
            let secrets = explained.lines().filter(|line| line.to_lowercase().contains("x-amz-security-token\
                :") && line.contains("hush"));
            prop_assert_eq!(secrets.count(), 0, "{}", explained);
            prop_assert!(explained.chars().all(|char| matches!(char, '\t' | '\n') || !char.is_control()));
        }

        #[test]
        fn a_text_without_an_explanation_stays_and_no_text_panics(text in any::<String>()) {
            prop_assert_eq!(split(&text), (&*text, None));
        }
    }
}
