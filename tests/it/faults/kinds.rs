//! The ways in which an answer passes through the sidecar, each with a route of its own: what it is configured with,
//! and what its upstream has to say so that a client reads [`BODY`]. `rows.rs` breaks that, row by row.

use std::net::SocketAddr;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};

/// What a client reads of an answer that nothing happened to.
pub const BODY: &str = "0123456789";

/// A way through the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// API Gateway, signed: the request's body is held, the answer streams.
    Signed,
    /// API Gateway, unsigned: both bodies stream.
    Streamed,
    /// `Invoke`: the answer streams.
    Invoke,
    /// `Invoke` with `is_proxy_integration`: the answer is read whole first.
    Collected,
    /// `InvokeWithResponseStream`: the answer is taken out of its events.
    Events,
}

/// An upstream's answer, and where its parts end.
pub struct Answer {
    bytes: Vec<u8>,
    head: usize,
    /// After the first half of the body; a function's first event is complete there.
    middle: usize,
    /// Where a client has all it needs: with events that is before the end.
    enough: usize,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Signed, Self::Streamed, Self::Invoke, Self::Collected, Self::Events];
    pub const GATEWAYS: [Self; 2] = [Self::Signed, Self::Streamed];

    /// Its name in routes and request ids.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether the client has the head as soon as the sidecar has.
    pub fn passes_heads_on(self) -> bool {
        matches!(self, Self::Signed | Self::Streamed | Self::Invoke)
    }

    /// The file of a route that takes `path` to an upstream, with more keys of its section, one a line.
    pub fn route(self, path: &str, upstream: SocketAddr, secure: bool, keys: &str) -> String {
        let scheme = if secure { "https" } else { "http" };
        let gateway = format!("function_uri: {scheme}://{upstream}/\n");
        let lambda = format!(
            "host: {}\nport: {}\ndisable_https: {}\nfunction_name: f\naws_region: us-east-1\naws_key: AKIDEXAMPLE\n\
             aws_secret: s\n",
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

    /// The type that its upstream has to send.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Signed | Self::Streamed => "text/plain",
            Self::Invoke | Self::Collected => "application/json",
            Self::Events => "application/vnd.amazon.eventstream",
        }
    }

    /// Its body in two pieces.
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

    /// An answer with `Content-Length`.
    pub fn sized(self) -> Answer {
        let [first, second] = self.pieces();
        let length = first.len() + second.len();
        self.answer(&format!("Content-Length: {length}\r\n"), &first, &second, b"")
    }

    /// An answer in two chunks.
    pub fn chunked(self) -> Answer {
        let [first, second] = self.pieces().map(|piece| chunk(&piece));
        self.answer("Transfer-Encoding: chunked\r\n", &first, &second, b"0\r\n\r\n")
    }

    /// An answer that ends with its connection.
    pub fn until_close(self) -> Answer {
        let [first, second] = self.pieces();
        self.answer("", &first, &second, b"")
    }

    fn answer(self, framing: &str, first: &[u8], second: &[u8], end: &[u8]) -> Answer {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{framing}\r\n", self.content_type());
        let bytes = [head.as_bytes(), first, second, end].concat();
        let enough = match self {
            // the line end after the chunk is not needed
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

    /// Up to the middle of the body.
    pub fn half(self) -> Vec<u8> {
        let middle = self.middle;
        self.up_to(middle)
    }

    /// All but the last byte.
    pub fn but_the_last_byte(self) -> Vec<u8> {
        let length = self.bytes.len() - 1;
        self.up_to(length)
    }

    /// All but its last bytes.
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

    /// Whether an answer cut here has a byte of [`BODY`].
    pub fn has_body_byte(&self, cut: usize) -> bool {
        let body = self.bytes[self.head..].windows(2).position(|pair| pair == &BODY.as_bytes()[..2]);
        cut > self.head + body.expect("the body is in there")
    }

    /// Whether an answer cut here is whole for a client.
    pub fn is_enough(&self, cut: usize) -> bool {
        cut >= self.enough
    }

    /// The same with something of its head changed.
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

/// One frame of an event stream.
pub fn event(kind: &'static str, payload: &'static [u8]) -> Vec<u8> {
    let text = |text: &'static str| HeaderValue::String(text.into());
    let message = Message::new(payload)
        .add_header(Header::new(":message-type", text("event")))
        .add_header(Header::new(":event-type", text(kind)));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}
