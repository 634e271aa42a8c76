//! Leaves secrets out of a recorded request: those of the settings, and those of the client and of AWS in
//! headers and query arguments, also where a body repeats them.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;

use super::secret_search::SecretSearch;
use crate::{
    message::redaction::{self, REDACTED, is_secret},
    signing::explanation,
    state::inspector::{BodyStart, HeadLine, HeadLines, InspectedRequest},
};

/// Shorter secrets are left out only where they are a whole JSON string: they would be found everywhere.
const LEAST_ANYWHERE: usize = 6;
/// The end of the function's log in base64, which may repeat the event.
const LOG_RESULT: &str = "x-amz-log-result";

/// Names of a presigned request's arguments that let anyone send it.
const PRESIGNED: [&str; 2] = ["x-amz-signature", "x-amz-security-token"];
/// Separators of a query's pairs; some servers take `;` for `&`.
const SEPARATORS: [char; 2] = ['&', ';'];

/// The secrets of one request.
pub(super) struct Redactor<'a> {
    secrets: SecretSearch,
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
        let mut found = Self { secrets: SecretSearch::default(), sensitive: Vec::new() };
        for (before, secret, after) in request.hidden.texts() {
            match (before, after) {
                ("", "") => found.secrets.add(secret),
                _ => found.secrets.add_between(before, secret, after),
            }
        }
        let outgoing = request.outgoing.as_ref();
        let replies = request.attempts.iter().map(|attempt| &attempt.reply);
        let own = [&request.client.headers, &request.added_secrets, &request.response];
        let heads = own.into_iter().chain(replies);
        for line in heads.chain(outgoing.map(|outgoing| &outgoing.headers)).flat_map(HeadLines::iter) {
            if line.is_sensitive {
                found.sensitive.push(line.name);
            }
            if line.is_sensitive || is_secret_header(line.name) {
                found.add_header(&line);
            }
        }
        found.add_target(&request.client.target.0);
        found.add_target(outgoing.map_or("", |outgoing| &outgoing.path_and_query.0));
        // `Referer` has a query too
        for line in request.client.headers.iter().filter(|line| line.value.contains("://")) {
            found.add_target(&line.value);
        }
        found.secrets.sort();
        found
    }

    fn add_target(&mut self, target: &str) {
        if let Some(user) = user_info(target) {
            self.add(user);
            self.add(user.split_once(':').map_or("", |(_, password)| password));
        }
        let pairs = query(target).split(SEPARATORS).filter_map(|pair| pair.split_once('='));
        for (_, value) in pairs.filter(|(name, _)| is_secret_argument(name)) {
            self.add(value);
            let decoded = percent_decode_str(value).decode_utf8_lossy();
            self.add(&decoded);
            self.add(&decoded.replace('+', " "));
        }
    }

    fn add_header(&mut self, line: &HeadLine<'_>) {
        self.add(&line.value);
        if line.name.contains("cookie") {
            for pair in line.value.split(';').map(str::trim) {
                let value = pair.split_once('=').map_or("", |(_, value)| value);
                self.add(pair);
                // a value in quotes is the same without them (RFC 6265, 4.1.1)
                self.add(value.trim_matches('"'));
            }
        }
        // the scheme of `Authorization` is no secret, but its credentials alone are
        let (scheme, credentials) = line.value.split_once(' ').unwrap_or_default();
        self.add(credentials);
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = BASE64_STANDARD.decode(credentials.trim()).unwrap_or_default();
            let pair = String::from_utf8_lossy(&decoded);
            self.add(&pair);
            self.add(pair.split_once(':').map_or("", |(_, password)| password));
        }
        self.add(line.value.split_once("Signature=").map_or("", |(_, signature)| signature));
    }

    fn add(&mut self, secret: &str) {
        if secret.len() >= LEAST_ANYWHERE {
            self.secrets.add(secret);
        } else if secret.len() > 1 {
            self.secrets.add_between("\"", secret, "\"");
        }
    }

    /// A text without the secrets.
    pub fn text(&self, text: &str) -> String {
        without_presigned(&self.secrets.left_out_of(text, false))
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
                _ if is_secret_header(name) => REDACTED.to_owned(),
                // `Referer` and `Location` have queries too
                _ if value.contains("://") || value.starts_with('/') => self.target(&value),
                _ => self.text(&value),
            };
            (name.to_owned(), value)
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort();
        shown
    }

    /// A target without its user and password, and without the values of its secret arguments.
    pub fn target(&self, target: &str) -> String {
        let anonymous = user_info(target)
            .map(|user| target.replacen(&format!("://{user}@"), &format!("://{REDACTED}@"), 1));
        let target = anonymous.as_deref().unwrap_or(target);
        let Some((path, query)) = target.split_once('?') else { return self.text(target) };
        format!("{}?{}", self.text(path), self.query(query))
    }

    fn query(&self, query: &str) -> String {
        let shown = query.split_inclusive(SEPARATORS).map(|piece| match piece.split_once('=') {
            Some((name, value)) if is_secret_argument(name) => {
                let separator = value.strip_prefix(value.trim_end_matches(SEPARATORS)).unwrap_or_default();
                Cow::from(format!("{name}={REDACTED}{separator}"))
            }
            _ => Cow::from(piece),
        });
        self.text(&shown.collect::<String>())
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
        without_presigned(&self.secrets.left_out_of(text, is_cut))
    }
}

/// The text without the values of arguments that presign a request, as in the URL that a function returns.
fn without_presigned(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let names = PRESIGNED.iter().flat_map(|name| lower.match_indices(name));
    let mut ends: Vec<usize> = names.map(|(at, name)| at + name.len()).collect();
    ends.sort_unstable();
    let mut shown = String::with_capacity(text.len());
    let mut kept = 0;
    for end in ends {
        let after = &text[end..];
        // `=` of a query, `": "` of JSON, also within JSON, `: ` of a head
        let value = after.trim_start_matches(['"', '\\', ' ', ':', '=']);
        let separator = &after[..after.len() - value.len()];
        let is_value = |char: char| char.is_ascii_alphanumeric() || "%._~+/=-".contains(char);
        let rest = value.trim_start_matches(is_value);
        if end >= kept && separator.contains([':', '=']) && rest.len() < value.len() {
            shown.push_str(&text[kept..text.len() - value.len()]);
            shown.push_str(REDACTED);
            kept = text.len() - rest.len();
        }
    }
    shown.push_str(&text[kept..]);
    shown
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

/// User and password of an absolute target: `u:p` of `http://u:p@host/`.
fn user_info(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(user, _)| user).filter(|user| !user.is_empty())
}

fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

/// True for an argument that may hold a secret, such as `X-Amz-Signature` and `X-Amz-Security-Token`.
fn is_secret_argument(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase().replace('_', "-");
    is_secret(&name) || name.contains("credential") || name == "key" || name.ends_with("-key")
}

/// True for a header that may hold a secret, such as `X-Auth-Key`.
fn is_secret_header(name: &str) -> bool {
    let is_no_secret = matches!(name, "idempotency-key" | "sec-websocket-key" | "surrogate-key");
    is_secret(name) || (name.ends_with("-key") && !is_no_secret)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

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
    fn the_user_of_an_absolute_target_is_left_out() {
        let request = request(&[], "http://h:hush@h:1/a?b=hush");
        let redactor = Redactor::of(&request);
        assert_eq!(redactor.target(&request.client.target.0), "http://(left out)@h:1/a?b=hush");
        assert_eq!(user_info("/a?b=http://c@d"), Some("c"));
        assert_eq!(user_info("http://h/a@b"), None);
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
