//! A recorded request as a command for the shell, with placeholders for secrets.

use actix_http::header;

use super::redactor::{BodyView, Redactor};
use crate::{message::redaction::REDACTED, state::inspector::InspectedRequest};

/// Takes the place of a secret, and of a body that is not wholly known.
const PLACEHOLDER: &str = "PLACEHOLDER";
/// Headers that `curl` writes itself, or that belong to the connection.
const OF_CONNECTION: [header::HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

/// Commands that repeat a request.
#[derive(Debug, serde::Serialize)]
pub(super) struct Copies {
    curl: String,
    explain: String,
}

impl Copies {
    /// `listener` is the address of `listen.http`.
    pub fn of(request: &InspectedRequest, redactor: &Redactor<'_>, listener: &str) -> Self {
        let client = &request.client;
        let target = placeholders(&redactor.target(&client.target.0));
        let mut options = Vec::new();
        if client.host != listener {
            options.extend(["-H".to_owned(), quoted(&format!("Host: {}", client.host))]);
        }
        for (name, value) in redactor.headers(&client.headers) {
            if !OF_CONNECTION.iter().any(|own| *own == name.as_str()) {
                options.extend(["-H".to_owned(), quoted(&format!("{name}: {}", placeholders(&value)))]);
            }
        }
        let data = data(&redactor.body(&client.body));
        let url = if target.starts_with('/') { format!("http://{listener}{target}") } else { target.clone() };
        let method = match client.method.as_str() {
            "HEAD" => "--head".to_owned(),
            method => format!("-X {}", quoted(method)),
        };
        let mut curl = vec!["curl --globoff --path-as-is".to_owned(), method, quoted(&url)];
        curl.extend(options.iter().cloned());
        curl.extend(data.iter().map(|data| format!("--data-binary {}", quoted(data))));
        let mut explain = vec!["apigw-invoker explain".to_owned(), quoted(&client.method), quoted(&target)];
        explain.extend(options);
        explain.extend(data.iter().map(|data| format!("--data {}", quoted(data))));
        Self { curl: curl.join(" "), explain: explain.join(" ") }
    }
}

/// The body, or a file to be written if it is cut or no text.
fn data(body: &BodyView) -> Option<String> {
    match &body.text {
        _ if body.bytes == 0 => None,
        Some(text) if !body.cut && !text.starts_with('@') => Some(placeholders(text)),
        _ => Some("@BODY".to_owned()),
    }
}

fn placeholders(text: &str) -> String {
    text.replace(REDACTED, PLACEHOLDER)
}

/// A word of a POSIX shell.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::inspector::{BodyStart, Secret};

    #[test]
    fn a_request_becomes_commands_with_placeholders() {
        let mut request = InspectedRequest::for_tests("r");
        request.client.method = "POST".to_owned();
        request.client.target = Secret("/a b?token=hush-hush&x=it's".to_owned());
        request.client.host = "api.example".to_owned();
        request.client.body = BodyStart::new(100);
        request.client.body.push(b"{\"a\": 'b'}");
        let copies = Copies::of(&request, &Redactor::of(&request), "127.0.0.1:9080");
        let target = r"b?token=PLACEHOLDER&x=it'\''s' -H 'Host: api.example'";
        let data = r#"'{"a": '\''b'\''}'"#;
        let curl = "curl --globoff --path-as-is -X POST 'http://127.0.0.1:9080/a";
        assert_eq!(copies.curl, format!("{curl} {target} --data-binary {data}"));
        assert_eq!(copies.explain, format!("apigw-invoker explain POST '/a {target} --data {data}"));
    }

    #[test]
    fn a_body_that_is_cut_or_no_text_is_a_file() {
        let view = |text: Option<&str>, cut| BodyView { bytes: 3, cut, text: text.map(str::to_owned) };
        for body in [view(None, false), view(Some("ab"), true), view(Some("@ab"), false)] {
            assert_eq!(data(&body).as_deref(), Some("@BODY"));
        }
        assert_eq!(data(&view(Some("abc"), false)).as_deref(), Some("abc"));
    }

    proptest! {
        #[test]
        fn a_shell_reads_a_quoted_word_back(text in "[ -~\n\té]{0,20}") {
            let command = format!("printf %s {}", quoted(&text));
            let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
