//! AWS's explanation of a signature that it refused: the request as it should have been signed.
//!
//! That is worth gold to the operator, and holds the query and the session token, which are none of the
//! client's business. Both backends come here with the text of a refusal (`backend/api_gateway/refusal.rs`,
//! `backend/lambda/answer/refusal.rs`), and `diagnosis.rs` does, to compare it with what was signed.

use crate::{
    message::redaction::{LEFT_OUT, is_secret},
    text::{
        json::{Json, JsonText},
        log_safe::{log_safe, push_log_safe},
    },
};

/// Where the explanation begins.
const EXPLANATION: &str = "The Canonical String for this request should have been";
/// Where the second half of it does.
const STRING_TO_SIGN: &str = "The String-to-Sign should have been";
/// What the client or a short line may tell, and, if there is one, the explanation without the secrets in it.
pub fn split(text: &str) -> (&str, Option<String>) {
    match text.find(EXPLANATION) {
        Some(start) => (text[..start].trim_end(), Some(without_secrets(&text[start..]))),
        None => (text, None),
    }
}

/// Whether there is an explanation in bytes that are not a text of AWS's.
pub fn is_in(body: &[u8]) -> bool {
    body.windows(EXPLANATION.len()).any(|window| window == EXPLANATION.as_bytes())
}

/// The canonical request and the string to sign that AWS would have liked, token and all: for comparing, not for the
/// log.
pub fn explanation(text: &str) -> Option<(&str, &str)> {
    let (_, explanation) = text.split_once(EXPLANATION)?;
    let (canonical, string_to_sign) = explanation.split_once(STRING_TO_SIGN)?;
    let quoted = |text: &'_ str| -> Option<(usize, usize)> {
        let start = text.find('\'')? + 1;
        let end = text.rfind('\'')?;
        (start <= end).then_some((start, end))
    };
    let (start, end) = quoted(canonical)?;
    let canonical = &canonical[start..end];
    let (start, end) = quoted(string_to_sign)?;
    Some((canonical, &string_to_sign[start..end]))
}

/// The sentence of a refusal in JSON; the member's case differs by service and error.
pub fn message(body: &str) -> Option<String> {
    let [lower, upper] = Json::members(body, ["message", "Message"]);
    lower.or(upper)?.text().map(JsonText::unescaped)
}

/// Line by line, since that is how the canonical request reads; whatever else is in it stays on its line.
fn without_secrets(explanation: &str) -> String {
    // a refusal may be a quarter of a megabyte, and is copied once
    let mut text = String::with_capacity(explanation.len());
    for line in explanation.lines() {
        if !text.is_empty() {
            text.push('\n');
        }
        let header = line.trim_start_matches(|char: char| !char.is_ascii_alphanumeric());
        let name = header.split_once(':').map(|(name, _)| name.to_ascii_lowercase());
        match name.filter(|name| is_secret(name)) {
            Some(name) => text.extend([&log_safe(&name, usize::MAX), ":", LEFT_OUT]),
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
                prop::sample::select(vec!["x-amz-security-token:", "X-Amz-Security-Token:", "x-amz-date:", "é", ""]),
                "hush[a-z\r\u{1b}é]{0,6}",
            ), 0..6),
        ) {
            let explanation: String = lines.iter().map(|(quote, name, value)| format!("\n{quote}{name}{value}")).collect();
            let text = format!("{before}{EXPLANATION}{explanation}");
            let (told, explained) = split(&text);
            prop_assert_eq!(told, before.trim_end());
            let explained = explained.unwrap();
            let secrets = explained.lines().filter(|line| line.to_lowercase().contains("x-amz-security-token:") && line.contains("hush"));
            prop_assert_eq!(secrets.count(), 0, "{}", explained);
            prop_assert!(explained.chars().all(|char| matches!(char, '\t' | '\n') || !char.is_control()));
        }

        #[test]
        fn no_text_makes_it_panic_and_what_explains_nothing_stays(text in any::<String>()) {
            prop_assert_eq!(split(&text), (&*text, None));
        }
    }
}
