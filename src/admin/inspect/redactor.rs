//! Leaves secrets out of a recorded request: those of the settings, and those of the client and of AWS in
//! headers and query arguments, also where a body repeats them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{
    message::redaction::{self, REDACTED, is_secret},
    settings::length_of_begun,
    signing::explanation,
    state::inspector::{BodyStart, HeadLine, HeadLines, InspectedRequest},
    text::uri_syntax::query::pairs,
};

/// Shorter secrets are left out only where they are a whole JSON string: they would be found everywhere.
const LEAST_ANYWHERE: usize = 6;
/// The end of the function's log in base64, which may repeat the event.
const LOG_RESULT: &str = "x-amz-log-result";

/// The secrets of one request.
pub(super) struct Redactor<'a> {
    request: &'a InspectedRequest,
    /// Texts, the longest first.
    secrets: Vec<String>,
    /// Names of headers that the settings mark as secrets.
    sensitive: Vec<&'a str>,
}

/// The beginning of a body, without secrets.
#[derive(Debug, serde::Serialize)]
pub(super) struct BodyView {
    /// Bytes of the whole body.
    pub bytes: u64,
    /// The body is longer than `text`.
    pub cut: bool,
    /// `null` if it is no UTF-8.
    pub text: Option<String>,
}

impl<'a> Redactor<'a> {
    pub fn of(request: &'a InspectedRequest) -> Self {
        let mut found = Self { request, secrets: Vec::new(), sensitive: Vec::new() };
        let outgoing = request.outgoing.as_ref();
        let replies = request.attempts.iter().map(|attempt| &attempt.reply);
        let own = [&request.client.headers, &request.added_secrets, &request.response];
        let heads = own.into_iter().chain(replies);
        for line in heads.chain(outgoing.map(|outgoing| &outgoing.headers)).flat_map(HeadLines::iter) {
            if line.is_sensitive {
                found.sensitive.push(line.name);
            }
            if line.is_sensitive || is_secret(line.name) {
                found.add_header(&line);
            }
        }
        for target in [Some(&request.client.target.0), outgoing.map(|outgoing| &outgoing.path_and_query.0)] {
            for (name, value) in pairs(query(target.map_or("", String::as_str))) {
                if is_secret_argument(name) {
                    found.add(value);
                    found.add(&percent_decode_str(value).decode_utf8_lossy());
                }
            }
        }
        found.secrets.sort_by_key(|secret| (std::cmp::Reverse(secret.len()), secret.clone()));
        found.secrets.dedup();
        found
    }

    fn add_header(&mut self, line: &HeadLine<'_>) {
        self.add(&line.value);
        if line.name.contains("cookie") {
            for pair in line.value.split(';').map(str::trim) {
                self.add(pair);
                self.add(pair.split_once('=').map_or("", |(_, value)| value));
            }
        }
        // the scheme of `Authorization` is no secret, but its credentials alone are
        self.add(line.value.split_once(' ').map_or("", |(_, credentials)| credentials));
        self.add(line.value.split_once("Signature=").map_or("", |(_, signature)| signature));
    }

    fn add(&mut self, secret: &str) {
        if secret.len() > 1 && secret != REDACTED {
            self.secrets.push(secret.to_owned());
        }
    }

    /// A text without the secrets.
    pub fn text(&self, text: &str) -> String {
        let mut text = self.request.hidden.left_out_of(text, REDACTED);
        for secret in &self.secrets {
            let quoted = Value::from(secret.as_str()).to_string();
            if secret.len() >= LEAST_ANYWHERE {
                text = text.replace(secret.as_str(), REDACTED).replace(quoted.trim_matches('"'), REDACTED);
            } else {
                text = text.replace(&quoted, &format!("\"{REDACTED}\""));
            }
        }
        text
    }

    /// Names and values of headers, sorted by name.
    pub fn headers(&self, lines: &HeadLines) -> Vec<(String, String)> {
        let shown = lines.iter().map(|HeadLine { name, value, is_sensitive }| {
            let sensitive: &[&str] = if is_sensitive { &[name] } else { &self.sensitive };
            let value = match name {
                LOG_RESULT => format!("({} bytes)", value.len()),
                _ if is_secret(name) || sensitive.contains(&name) => {
                    redaction::header_value(name, &value, sensitive)
                }
                _ => self.text(&value),
            };
            (name.to_owned(), value)
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort();
        shown
    }

    /// A target without the values of its secret arguments.
    pub fn target(&self, target: &str) -> String {
        let Some((path, query)) = target.split_once('?') else { return self.text(target) };
        format!("{}?{}", self.text(path), self.query(query))
    }

    fn query(&self, query: &str) -> String {
        let shown = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret_argument(name) => Cow::from(format!("{name}={REDACTED}")),
            _ => Cow::from(pair),
        });
        self.text(&shown.collect::<Vec<_>>().join("&"))
    }

    /// The canonical request of a signature, ours or the one that AWS expected.
    pub fn canonical_request(&self, text: &str) -> String {
        let text = redaction::canonical_request(text, &self.sensitive);
        let lines = text.split('\n').enumerate().map(|(at, line)| match at {
            2 => self.query(line),
            _ => self.text(line),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn body(&self, body: &BodyStart) -> BodyView {
        BodyView {
            bytes: body.total,
            cut: body.is_cut(),
            text: whole_characters(body).map(|text| self.cut_text(text, body.is_cut())),
        }
    }

    /// The text of a body that may be cut in the middle of a secret.
    fn cut_text(&self, text: &str, is_cut: bool) -> String {
        // AWS repeats what it received, the session token included; the signature has it redacted
        let text = if explanation::is_in(text.as_bytes()) { explanation::split(text).0 } else { text };
        if !is_cut {
            return self.text(text);
        }
        let mut shown = text;
        loop {
            // the last character of a whole secret may begin it again, so what is left is looked at once more
            let begun = self.length_of_begun(shown);
            if begun == 0 {
                return self.text(shown);
            }
            shown = &shown[..shown.len() - begun];
        }
    }

    /// The length of the longest end of a text that begins a secret.
    fn length_of_begun(&self, text: &str) -> usize {
        let own = self.secrets.iter().map(|secret| {
            let quoted = Value::from(secret.as_str()).to_string();
            length_of_begun(text, secret).max(length_of_begun(text, &quoted))
        });
        own.max().unwrap_or_default().max(self.request.hidden.length_of_begun(text))
    }
}

/// The text of a body, without the beginning of a character at the end of a cut one.
fn whole_characters(body: &BodyStart) -> Option<&str> {
    match str::from_utf8(body.bytes()) {
        Ok(text) => Some(text),
        Err(error) if body.is_cut() && error.error_len().is_none() => {
            str::from_utf8(&body.bytes()[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

/// True for an argument that may hold a secret, such as `X-Amz-Signature` and `X-Amz-Security-Token`.
fn is_secret_argument(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase().replace('_', "-");
    is_secret(&name) || name.contains("credential") || name == "key" || name.ends_with("-key")
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::state::inspector::Secret;

    fn request(headers: &[(&str, &str)], target: &str) -> InspectedRequest {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let mut request = InspectedRequest::for_tests("r");
        request.client.headers = HeadLines::of(&map);
        request.client.target = Secret(target.to_owned());
        request
    }

    fn body(limit: usize, text: &str) -> BodyStart {
        let mut body = BodyStart::new(limit);
        body.push(text.as_bytes());
        body
    }

    #[test]
    fn secrets_of_the_client_are_left_out_wherever_a_text_repeats_them() {
        let request = request(
            &[
                ("authorization", "Bearer hush-bearer"),
                ("cookie", "a=hush-cookie; b=hu"),
                ("x-api-key", "hush\"quote"),
                ("accept", "text/html"),
            ],
            "/a?X-Amz-Signature=hush%2Dsignature&x=1&api_key=hush-argument",
        );
        let redactor = Redactor::of(&request);
        let event = serde_json::json!({
            "headers": { "Authorization": "Bearer hush-bearer", "Cookie": "a=hush-cookie; b=hu" },
            "cookies": ["a=hush-cookie", "b=hu"],
            "token": "hush-bearer",
            "key": "hush\"quote",
            "rawQueryString": "X-Amz-Signature=hush%2Dsignature&x=1",
            "queryStringParameters": { "X-Amz-Signature": "hush-signature", "api_key": "hush-argument" },
        });
        let shown = redactor.body(&body(10_000, &event.to_string())).text.unwrap();
        assert!(!shown.contains("hu"), "{shown}");
        assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{shown}");
        let headers = redactor.headers(&request.client.headers);
        assert!(!format!("{headers:?}").contains("hu"), "{headers:?}");
        assert!(headers.contains(&("accept".to_owned(), "text/html".to_owned())));
        let target = redactor.target(&request.client.target.0);
        assert_eq!(target, "/a?X-Amz-Signature=(left out)&x=1&api_key=(left out)");
    }

    #[test]
    fn a_secret_that_is_cut_off_is_left_out_too() {
        // a whole secret that ends as it begins, and one that begins another
        let headers = [("authorization", "hush-hush-hush"), ("x-api-key", "hush-hush")];
        let request = request(&headers, "/");
        let redactor = Redactor::of(&request);
        let text = "{\"a\":\"hush-hush-hush\"}";
        for limit in 0..text.len() {
            let shown = redactor.body(&body(limit, text));
            assert!(shown.cut && !shown.text.unwrap().contains("hu"), "{limit}");
        }
        assert_eq!(redactor.body(&body(100, text)).text.unwrap(), "{\"a\":\"(left out)\"}");
    }

    #[test]
    fn bytes_that_are_no_text_are_not_shown_and_a_cut_character_is_dropped() {
        let request = request(&[], "/");
        let redactor = Redactor::of(&request);
        let mut binary = BodyStart::new(10);
        binary.push(&[0xff, 0]);
        assert_eq!((redactor.body(&binary).text, redactor.body(&binary).bytes), (None, 2));
        assert_eq!(redactor.body(&body(2, "aé")).text.unwrap(), "a");
    }
}
