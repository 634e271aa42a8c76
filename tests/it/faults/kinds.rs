//! The kinds of routes through which a response passes: their settings, and the upstream response from which
//! a client reads [`BODY`]. `rows.rs` breaks that response in each of its rows.

use std::net::SocketAddr;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};

/// The body that a client reads from an intact response.
pub const BODY: &str = "0123456789";

/// A kind of route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// API Gateway, signed: the request's body is held, the response streams.
    Signed,
    /// API Gateway, unsigned: both bodies stream.
    Streamed,
    /// `Invoke`: the response streams.
    Invoke,
    /// `Invoke` with `is_proxy_integration`: the response is read completely first.
    Collected,
    /// `InvokeWithResponseStream`: the response is decoded from events.
    Events,
}

/// An upstream's response and the offsets of its parts.
pub struct Answer {
    bytes: Vec<u8>,
    head: usize,
    /// Offset of the middle of the body; the first event of a function ends there.
    middle: usize,
    /// Offset at which the client's response is complete: with events, before the end.
    enough: usize,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Signed, Self::Streamed, Self::Invoke, Self::Collected, Self::Events];
    pub const GATEWAYS: [Self; 2] = [Self::Signed, Self::Streamed];

    /// Name in routes and request ids.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// True if the head is forwarded as soon as it is received.
    pub fn passes_heads_on(self) -> bool {
        matches!(self, Self::Signed | Self::Streamed | Self::Invoke)
    }

    /// Settings of a route from `path` to an upstream, with additional keys of its section, one per line.
    pub fn route(self, path: &str, upstream: SocketAddr, secure: bool, keys: &str) -> String {
        let scheme = if secure { "https" } else { "http" };
        let gateway = format!("function_uri: {scheme}://{upstream}/\n");
        let lambda = format!(
            "host: {}\nport: {}\ndisable_https: {}\nfunction_name: f\naws_region: us-east-1\n\
             aws_key: AKIDEXAMPLE\naws_secret: s\n",
            upstream.ip(),
            upstream.port(),
            !secure
        );
        let (section, own) = match self {
            Self::Streamed => ("api_gateway", gateway),
            Self::Signed => (
                "api_gateway",
                format!("{gateway}authorization: {{ iam: {{ accesskey: AKIDEXAMPLE, secretkey: s }} }}\n"),
            ),
            Self::Invoke => ("lambda", lambda),
            Self::Collected => ("lambda", format!("{lambda}is_proxy_integration: true\n")),
            Self::Events => ("lambda", format!("{lambda}invoke_mode: response_stream\n")),
        };
        let indented: String = own.lines().chain(keys.lines()).map(|line| format!("  {line}\n")).collect();
        format!("uri: {path}\n{section}:\n{indented}")
    }

    /// `Content-Type` of the upstream's response.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Signed | Self::Streamed => "text/plain",
            Self::Invoke | Self::Collected => "application/json",
            Self::Events => "application/vnd.amazon.eventstream",
        }
    }

    /// The body in two pieces.
    pub fn pieces(self) -> [Vec<u8>; 2] {
        match self {
            Self::Signed | Self::Streamed | Self::Invoke => ["01234".into(), "56789".into()],
            Self::Collected => [br#"{"statusCode":200,"bo"#.into(), br#"dy":"0123456789"}"#.into()],
            Self::Events => [
                event("PayloadChunk", b"01234"),
                [event("PayloadChunk", b"56789"), event("InvokeComplete", b"{}")].concat(),
            ],
        }
    }

    /// A response with `Content-Length`.
    pub fn sized(self) -> Answer {
        let [first, second] = self.pieces();
        let length = first.len() + second.len();
        self.answer(&format!("Content-Length: {length}\r\n"), &first, &second, b"")
    }

    /// A response in two chunks.
    pub fn chunked(self) -> Answer {
        let [first, second] = self.pieces().map(|piece| chunk(&piece));
        self.answer("Transfer-Encoding: chunked\r\n", &first, &second, b"0\r\n\r\n")
    }

    /// A response delimited by the end of the connection.
    pub fn until_close(self) -> Answer {
        let [first, second] = self.pieces();
        self.answer("", &first, &second, b"")
    }

    fn answer(self, framing: &str, first: &[u8], second: &[u8], end: &[u8]) -> Answer {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{framing}\r\n", self.content_type());
        let bytes = [head.as_bytes(), first, second, end].concat();
        let enough = match self {
            // the CR LF after the chunk's data is not needed
            Self::Events if !end.is_empty() => bytes.len() - end.len() - 2,
            _ => bytes.len(),
        };
        Answer { head: head.len(), middle: head.len() + first.len(), enough, bytes }
    }
}

impl Answer {
    pub fn whole(self) -> Vec<u8> {
        self.bytes
    }

    pub fn half_head(self) -> Vec<u8> {
        let half = self.head / 2;
        self.up_to(half)
    }

    pub fn only_head(self) -> Vec<u8> {
        let head = self.head;
        self.up_to(head)
    }

    /// The response up to the middle of its body.
    pub fn half(self) -> Vec<u8> {
        let middle = self.middle;
        self.up_to(middle)
    }

    /// The response without its last byte.
    pub fn but_the_last_byte(self) -> Vec<u8> {
        let length = self.bytes.len() - 1;
        self.up_to(length)
    }

    /// The response without its last `bytes` bytes.
    pub fn without_the_last(self, bytes: usize) -> Vec<u8> {
        let length = self.bytes.len() - bytes;
        self.up_to(length)
    }

    pub fn up_to(mut self, length: usize) -> Vec<u8> {
        self.bytes.truncate(length);
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn head_length(&self) -> usize {
        self.head
    }

    /// True if a response cut here contains a byte of [`BODY`].
    pub fn has_body_byte(&self, cut: usize) -> bool {
        let body = self.bytes[self.head..].windows(2).position(|pair| pair == &BODY.as_bytes()[..2]);
        cut > self.head + body.expect("the body is in there")
    }

    /// True if a response cut here is complete for the client.
    pub fn is_enough(&self, cut: usize) -> bool {
        cut >= self.enough
    }

    /// The response with a part of its head replaced.
    pub fn with(self, from: &str, to: &str) -> Vec<u8> {
        let head = String::from_utf8(self.bytes[..self.head].to_vec()).unwrap();
        assert!(head.contains(from), "{from:?} is not in {head:?}");
        [head.replacen(from, to, 1).as_bytes(), &self.bytes[self.head..]].concat()
    }
}

/// Bytes as one chunk.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// One message of an event stream.
pub fn event(kind: &'static str, payload: &'static [u8]) -> Vec<u8> {
    let text = |text: &'static str| HeaderValue::String(text.into());
    let message = Message::new(payload)
        .add_header(Header::new(":message-type", text("event")))
        .add_header(Header::new(":event-type", text(kind)));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}
