//! A client's request, read within its limits and cleaned, the same for every backend.
//!
//! `routing.rs` has chosen the route; a backend turns what is here into an outbound request.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use actix_http::{
    Method, Payload, Request, RequestHead, Uri, Version,
    error::PayloadError,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_core::Stream;

use super::{
    body_memory::{BodyMemory, Buffer},
    headers,
};
use crate::{
    backend::Target,
    error::{ErrorKind, ProxyError},
    trace::Trace,
};

/// Where a chunk of a body of unknown length makes the buffer start.
const FIRST_BUFFER: u64 = 16 << 10;

/// A request that may be forwarded.
#[derive(Debug)]
pub struct InboundRequest {
    /// Its method.
    pub method: Method,
    /// Its target as received: path and query are raw.
    pub uri: Uri,
    /// Where in the path the part after the route's prefix begins.
    pub remainder: Option<usize>,
    /// Its headers without those that never pass, and with `X-Forwarded-*`, `Via`, `X-Request-Id`
    /// and those of its trace.
    pub headers: HeaderMap,
    /// Its body.
    pub body: RequestBody,
    /// Its version of HTTP.
    pub version: Version,
    /// The host that the client meant, with its port if it gave one.
    pub host: Option<HeaderValue>,
    /// The client's address; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// When its head had arrived.
    pub received_at: SystemTime,
    /// Whether its headers tell of a trace that this call is a part of.
    pub is_traced: bool,
}

/// The body of a request.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// All of it.
    Whole(Bytes),
    /// Of known length, passed on as it arrives.
    Stream(BodyStream),
}

impl RequestBody {
    /// The bytes at hand, which is all of them unless it streams.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Empty | Self::Stream(_) => &[],
        }
    }

    /// Whether it can be sent a second time.
    pub fn is_at_hand(&self) -> bool {
        !matches!(self, Self::Stream(_))
    }

    /// The body for one sending: the same each time if it is at hand, and once if it passes as it arrives.
    #[must_use]
    pub fn to_send(&mut self) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(bytes.clone()),
            Self::Empty | Self::Stream(_) => std::mem::replace(self, Self::Empty),
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Stream(stream) => stream.length,
        }
    }
}

/// Whether a route needs the body before it can send anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// The signature covers it.
    Buffered,
    /// It may pass as it arrives, if its length is known beforehand: API Gateway takes no chunked body.
    Streamed,
}

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Whether it is buffered.
    pub mode: BodyMode,
    /// Bytes.
    pub max_size: u64,
    /// Until all of it is here.
    pub timeout: Duration,
}

impl BodyLimits {
    /// Those of a backend, with the time that the route gives.
    pub fn of(target: &Target, timeout: Duration) -> Self {
        Self { mode: target.body_mode, max_size: target.max_request_body, timeout }
    }
}

/// Who is on the other end of the client's connection, and what stands in `Via` for us.
#[derive(Debug)]
pub struct Hop<'a> {
    /// The client's address; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether its connection is encrypted.
    pub is_secure: bool,
    /// This process's name in `Via`.
    pub pseudonym: &'a str,
    /// Where the body is read to, if all of it is needed.
    pub memory: &'a BodyMemory,
    /// The request's id.
    pub request_id: &'a HeaderValue,
    /// The trace that the request belongs to.
    pub trace: Option<&'a Trace>,
    /// When its head had arrived.
    pub received_at: SystemTime,
}

impl InboundRequest {
    /// Takes a request apart, reading its body as far as `limits` demand.
    ///
    /// # Errors
    /// The body is too large, late, or broken.
    pub async fn read(
        mut request: Request,
        payload: &mut Payload,
        remainder: Option<usize>,
        hop: &Hop<'_>,
        limits: BodyLimits,
    ) -> Result<Self, ProxyError> {
        let head = request.head_mut();
        let announced = Announced::by(head)?;
        let body = read_body(payload, announced, limits, hop.memory).await?;
        let mut headers = std::mem::take(&mut head.headers);
        // that of an absolute target goes before the header (RFC 9112, 3.2.2)
        let host = match head.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => headers.get(header::HOST).cloned(),
        };
        headers::clean_request(&mut headers);
        say_who_forwards(&mut headers, host.clone(), head.version, hop);
        if let Some(trace) = hop.trace {
            trace.pass_on(&mut headers);
        }
        Ok(Self {
            method: std::mem::take(&mut head.method),
            uri: std::mem::take(&mut head.uri),
            remainder,
            headers,
            body,
            version: head.version,
            host,
            peer: hop.peer,
            received_at: hop.received_at,
            is_traced: hop.trace.is_some(),
        })
    }

    /// The path after the route's prefix, raw.
    pub fn remainder(&self) -> Option<&str> {
        self.remainder.map(|start| &self.uri.path()[start..])
    }
}

/// `X-Forwarded-For` grows, the other two say what was seen here: what a client claims about an earlier hop
/// is no more than a claim.
fn say_who_forwards(headers: &mut HeaderMap, host: Option<HeaderValue>, version: Version, hop: &Hop<'_>) {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    if let Some(peer) = hop.peer.map(|peer| address_text(peer.ip())) {
        append(headers, FORWARDED_FOR, &peer);
    }
    let scheme = if hop.is_secure { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    match host {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
    let received = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    append(headers, header::VIA, &format!("{received} {}", hop.pseudonym));
    headers.insert(headers::REQUEST_ID, hop.request_id.clone());
}

/// Adds an element to a comma-separated list that may span several lines.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    // every line was a header value before, and the element is ASCII
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

fn address_text(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// What a request's head says about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    Nothing,
    Length(u64),
    Unknown,
}

impl Announced {
    fn by(head: &RequestHead) -> Result<Self, ProxyError> {
        let headers = &head.headers;
        if let Some(length) = headers.get(header::CONTENT_LENGTH) {
            let length = length.to_str().ok().and_then(|text| text.trim().parse().ok());
            return match length {
                Some(0) => Ok(Self::Nothing),
                Some(length) => Ok(Self::Length(length)),
                None => Err(ErrorKind::InvalidBody.into()),
            };
        }
        // without either header an HTTP/1 request has no body (RFC 9112, 6.3), even if it asks for an upgrade,
        // for which actix would read on to the end of the connection
        let framed = headers.contains_key(header::TRANSFER_ENCODING) || head.version >= Version::HTTP_2;
        Ok(if framed { Self::Unknown } else { Self::Nothing })
    }
}

async fn read_body(
    payload: &mut Payload,
    announced: Announced,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<RequestBody, ProxyError> {
    let limit = limits.max_size;
    match announced {
        Announced::Nothing => return Ok(RequestBody::Empty),
        Announced::Length(size) if size > limit => {
            return Err(ErrorKind::PayloadTooLarge { what: "the body", limit, size }.into());
        }
        Announced::Length(length) if limits.mode == BodyMode::Streamed => {
            return Ok(RequestBody::Stream(BodyStream {
                length,
                payload: DeadlinedPayload::new(std::mem::replace(payload, Payload::None), limits.timeout),
                arrival: Rc::default(),
            }));
        }
        Announced::Length(_) | Announced::Unknown => {}
    }
    let mut payload = DeadlinedPayload::new(payload, limits.timeout);
    let mut whole: Option<Buffer> = None;
    while let Some(chunk) = poll_fn(|context| payload.poll_chunk(context)).await {
        let chunk = chunk?;
        let size = whole.as_ref().map_or(0, Buffer::len) as u64 + chunk.len() as u64;
        if size > limit {
            return Err(ErrorKind::PayloadTooLarge { what: "the body", limit, size }.into());
        }
        let expected = if let Announced::Length(length) = announced { length } else { FIRST_BUFFER };
        if whole.is_none() && announced == Announced::Length(size) {
            // it came in one piece, which needs no copy
            return Ok(RequestBody::Whole(chunk));
        }
        let buffer = whole.get_or_insert_with(|| memory.take(usize::try_from(expected).unwrap_or(0)));
        buffer.extend(&chunk);
    }
    Ok(whole
        .filter(|whole| !whole.is_empty())
        .map_or(RequestBody::Empty, |whole| RequestBody::Whole(whole.freeze())))
}

/// A body of known length that passes as it arrives.
pub struct BodyStream {
    /// Its length in bytes.
    pub length: u64,
    payload: DeadlinedPayload<Payload>,
    arrival: Rc<Arrival>,
}

/// How a streamed body is coming in, to be looked at from elsewhere.
#[derive(Debug, Default)]
pub struct Arrival {
    waits: Cell<bool>,
}

impl Arrival {
    /// Whether it is the client that everybody waits for.
    pub fn is_awaited(&self) -> bool {
        self.waits.get()
    }
}

impl BodyStream {
    /// How it is coming in.
    pub fn arrival(&self) -> Rc<Arrival> {
        Rc::clone(&self.arrival)
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, ProxyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = self.payload.poll_chunk(context);
        self.arrival.waits.set(chunk.is_pending());
        chunk
    }
}

/// A payload that must have arrived by its deadline. The timer starts when the first chunk is waited for.
struct DeadlinedPayload<P> {
    payload: P,
    timeout: Duration,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<P: Stream<Item = Result<Bytes, PayloadError>> + Unpin> DeadlinedPayload<P> {
    fn new(payload: P, timeout: Duration) -> Self {
        Self { payload, timeout, deadline: None }
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        match Pin::new(&mut self.payload).poll_next(context) {
            Poll::Ready(chunk) => Poll::Ready(chunk.map(|chunk| chunk.map_err(|error| broken(&error)))),
            Poll::Pending => {
                let timeout = self.timeout;
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                deadline.as_mut().poll(context).map(|()| Some(Err(ErrorKind::RequestTimeout.into())))
            }
        }
    }
}

fn broken(error: &PayloadError) -> ProxyError {
    ProxyError::new(ErrorKind::InvalidBody, error.to_string())
}
