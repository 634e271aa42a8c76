//! A request's body: whole, read within its limits, or passed on as it arrives.
//!
//! `inbound.rs` reads one for each request; `body_pool.rs` has the room for those that are needed whole,
//! `client/sending.rs` sends it.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{Payload, RequestHead, Version, error::PayloadError, header};
use bytes::Bytes;
use futures_core::Stream;

use crate::{
    message::{
        body_pool::{BodyMemory, Buffer},
        error::{ErrorKind, ProxyError},
    },
    system::lazy_deadline::LazyDeadline,
};

/// Where a chunk of a body of unknown length makes the buffer start.
const FIRST_BUFFER: u64 = 16 << 10;

/// A connection that can read the body of its request straight to where it has to be, instead of in pieces that are
/// copied together.
pub trait DirectRead {
    /// Adds to `body` what has come, at least a byte and no more than `left`.
    ///
    /// # Errors
    /// The client has left.
    fn poll_into(
        &self,
        body: &mut Vec<u8>,
        left: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PayloadError>>;
}

/// The body of a request as its connection hands it over.
pub struct Incoming {
    /// The body in pieces.
    pub payload: Payload,
    /// The connection, if it can read the body in one piece.
    pub direct: Option<Box<dyn DirectRead>>,
}

impl From<Payload> for Incoming {
    fn from(payload: Payload) -> Self {
        Self { payload, direct: None }
    }
}

#[derive(Debug)]
pub enum RequestBody {
    Empty,
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
    pub fn is_buffered(&self) -> bool {
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
    pub mode: BodyMode,
    /// Bytes.
    pub max_size: u64,
    /// Until all of it is here.
    pub timeout: Duration,
}

/// What a request's head says about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeclaredLength {
    Nothing,
    Length(u64),
    Unknown,
}

impl DeclaredLength {
    pub(super) fn by(head: &RequestHead) -> Result<Self, ProxyError> {
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

/// Reads a body as far as `limits` demand.
///
/// # Errors
/// The body is too large, late, or broken.
pub(super) async fn read(
    Incoming { payload, direct }: &mut Incoming,
    declared: DeclaredLength,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<RequestBody, ProxyError> {
    let limit = limits.max_size;
    match declared {
        DeclaredLength::Nothing => Ok(RequestBody::Empty),
        DeclaredLength::Length(size) if size > limit => {
            Err(ErrorKind::PayloadTooLarge { what: "the body", limit, size }.into())
        }
        DeclaredLength::Length(length) if limits.mode == BodyMode::Streamed => {
            Ok(RequestBody::Stream(BodyStream {
                length,
                payload: BodyDeadline::new(std::mem::replace(payload, Payload::None), limits.timeout),
                arrival: Rc::default(),
            }))
        }
        DeclaredLength::Length(length) => match (direct, usize::try_from(length)) {
            (Some(direct), Ok(length)) => whole(&**direct, length, limits.timeout, memory).await,
            _ => collected(payload, Some(length), limits, memory).await,
        },
        DeclaredLength::Unknown => collected(payload, None, limits, memory).await,
    }
}

/// A body of this length, read to where it stays.
async fn whole(
    direct: &dyn DirectRead,
    length: usize,
    timeout: Duration,
    memory: &BodyMemory,
) -> Result<RequestBody, ProxyError> {
    let mut buffer = memory.take(length);
    let mut deadline = LazyDeadline::default();
    while buffer.as_ref().len() < length {
        let left = length - buffer.as_ref().len();
        poll_fn(|context| match direct.poll_into(buffer.bytes(), left, context) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|error| broken(&error))),
            Poll::Pending => poll_late(&mut deadline, timeout, context).map(Err),
        })
        .await?;
    }
    Ok(RequestBody::Whole(buffer.freeze()))
}

/// A body that comes in pieces.
async fn collected(
    payload: &mut Payload,
    length: Option<u64>,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<RequestBody, ProxyError> {
    let limit = limits.max_size;
    let mut payload = BodyDeadline::new(payload, limits.timeout);
    let mut whole: Option<Buffer> = None;
    while let Some(piece) = poll_fn(|context| payload.poll_piece(context)).await {
        let piece = piece?;
        let size = whole.as_ref().map_or(0, |whole| whole.as_ref().len()) as u64 + piece.len() as u64;
        if size > limit {
            return Err(ErrorKind::PayloadTooLarge { what: "the body", limit, size }.into());
        }
        if whole.is_none() && length == Some(size) {
            // it came at once, which needs no copy
            return Ok(RequestBody::Whole(piece));
        }
        let expected = usize::try_from(length.unwrap_or(FIRST_BUFFER)).unwrap_or_default();
        whole.get_or_insert_with(|| memory.take(expected)).bytes().extend_from_slice(&piece);
    }
    let whole = whole.filter(|whole| !whole.as_ref().is_empty());
    Ok(whole.map_or(RequestBody::Empty, |whole| RequestBody::Whole(whole.freeze())))
}

/// A body of known length that passes as it arrives.
pub struct BodyStream {
    pub length: u64,
    payload: BodyDeadline<Payload>,
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
        let piece = self.payload.poll_piece(context);
        self.arrival.waits.set(piece.is_pending());
        piece
    }
}

/// A payload that must have arrived by its deadline.
struct BodyDeadline<P> {
    payload: P,
    timeout: Duration,
    deadline: LazyDeadline,
}

impl<P: Stream<Item = Result<Bytes, PayloadError>> + Unpin> BodyDeadline<P> {
    fn new(payload: P, timeout: Duration) -> Self {
        Self { payload, timeout, deadline: LazyDeadline::default() }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        match Pin::new(&mut self.payload).poll_next(context) {
            Poll::Ready(piece) => Poll::Ready(piece.map(|piece| piece.map_err(|error| broken(&error)))),
            Poll::Pending => poll_late(&mut self.deadline, self.timeout, context).map(|late| Some(Err(late))),
        }
    }
}

/// The end of the time that a body may take, which begins when something of it is first waited for.
fn poll_late(deadline: &mut LazyDeadline, timeout: Duration, context: &mut Context<'_>) -> Poll<ProxyError> {
    deadline.begin(timeout);
    deadline.poll(context).map(|()| ErrorKind::RequestTimeout.into())
}

fn broken(error: &PayloadError) -> ProxyError {
    let cause = match error {
        PayloadError::Incomplete(None) => {
            "the client ended its connection before the end of its body".to_owned()
        }
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    ProxyError::new(ErrorKind::InvalidBody, cause)
}
