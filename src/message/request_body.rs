//! A request's body: read whole within its limits, or streamed.
//!
//! `inbound.rs` reads one for each request, with buffers from `body_pool.rs`; `client/sending.rs` sends it.

mod observed_payload;

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

use self::observed_payload::ObservedPayload;
use crate::{
    message::{
        body_pool::{BodyMemory, PooledBuffer},
        error::{ErrorKind, ProxyError},
    },
    system::lazy_deadline::LazyDeadline,
};

/// Initial buffer size for a body of unknown length.
const INITIAL_BUFFER: u64 = 16 << 10;

/// A connection that can read a body directly into its final buffer, without pieces that must be copied
/// together.
pub trait DirectRead {
    /// Appends received bytes to `body`, at least one and at most `left`.
    ///
    /// # Errors
    /// The client has closed the connection.
    fn poll_into(
        &self,
        body: &mut Vec<u8>,
        left: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PayloadError>>;
}

/// A request's body before it is read.
pub struct Incoming {
    /// `Payload::None` without a body.
    pub payload: Payload,
    /// The connection, if it supports direct reads.
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
    /// Forwarded as it arrives.
    Stream(BodyStream),
}

impl RequestBody {
    /// The whole body; empty if it streams.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Empty | Self::Stream(_) => &[],
        }
    }

    /// True if the body can be sent again.
    pub fn is_buffered(&self) -> bool {
        !matches!(self, Self::Stream(_))
    }

    /// The body for one attempt. A whole body is shared; a streamed body is taken and cannot be sent again.
    #[must_use]
    pub fn to_send(&mut self) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(bytes.clone()),
            Self::Empty | Self::Stream(_) => std::mem::replace(self, Self::Empty),
        }
    }

    /// Its bytes; `None` for a streamed body of unknown length.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Stream(stream) => stream.length,
        }
    }

    /// The progress of a streamed body.
    pub fn progress(&self) -> Option<Rc<StreamProgress>> {
        if let Self::Stream(stream) = self { Some(Rc::clone(&stream.progress)) } else { None }
    }
}

/// How much of the body must be read before the request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// All of it: the signature covers the body.
    Buffered,
    /// None of it if its length is declared: API Gateway accepts no chunked body.
    Streamed,
    /// None of it; a body without a declared length is sent chunked.
    StreamedAlways,
    /// None of it; a body without a declared length is sent chunked if it is `aws-chunked` and declares its
    /// decoded length, otherwise refused, as by Amazon S3 (`MissingContentLength`).
    StreamedWithLength,
}

impl BodyMode {
    /// True if a body without a declared length is not read before the request is sent.
    fn streams_without_length(self) -> bool {
        matches!(self, Self::StreamedAlways | Self::StreamedWithLength)
    }
}

/// Limits of a request's body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    pub mode: BodyMode,
    /// Maximum bytes.
    pub max_size: u64,
    /// Timeout for the whole body; for each of its pieces in a mode that streams bodies of any length.
    pub timeout: Duration,
}

/// The length of the body as declared by the request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeclaredLength {
    Empty,
    Length(u64),
    Unknown {
        /// The head declares the length of the decoded `aws-chunked` body.
        decoded: bool,
    },
}

/// The length of the object in an `aws-chunked` body (Amazon S3 API reference, "Signature calculations:
/// transferring payload in multiple chunks").
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

impl DeclaredLength {
    pub(super) fn by(head: &RequestHead) -> Result<Self, ProxyError> {
        let headers = &head.headers;
        if let Some(length) = headers.get(header::CONTENT_LENGTH) {
            let length = length.to_str().ok().and_then(|text| text.trim().parse().ok());
            return match length {
                Some(0) => Ok(Self::Empty),
                Some(length) => Ok(Self::Length(length)),
                None => Err(ErrorKind::InvalidBody.into()),
            };
        }
        // without either header an HTTP/1 request has no body (RFC 9112, 6.3), even with `Upgrade`, for which
        // actix would read to the end of the connection
        let framed = headers.contains_key(header::TRANSFER_ENCODING) || head.version >= Version::HTTP_2;
        Ok(if framed { Self::Unknown { decoded: headers.contains_key(DECODED_LENGTH) } } else { Self::Empty })
    }
}

/// Reads a body as far as `limits` require.
///
/// # Errors
/// The body is too large, late or malformed.
pub(super) async fn read(
    Incoming { payload, direct }: &mut Incoming,
    declared: DeclaredLength,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<RequestBody, ProxyError> {
    let limit = limits.max_size;
    match declared {
        DeclaredLength::Empty => Ok(RequestBody::Empty),
        DeclaredLength::Length(size) if size > limit => {
            Err(ErrorKind::PayloadTooLarge { what: "the body", limit, size }.into())
        }
        DeclaredLength::Length(length) if limits.mode != BodyMode::Buffered => {
            let payload = BodyDeadline::new(std::mem::replace(payload, Payload::None), limits);
            Ok(RequestBody::Stream(BodyStream::new(Some(length), payload)))
        }
        DeclaredLength::Length(length) => match (direct, usize::try_from(length)) {
            (Some(direct), Ok(length)) => read_direct(&**direct, length, limits.timeout, memory).await,
            _ => collect(payload, Some(length), limits, memory).await,
        },
        DeclaredLength::Unknown { decoded } if limits.mode.streams_without_length() => {
            stream_without_length(payload, decoded, limits).await
        }
        DeclaredLength::Unknown { .. } => collect(payload, None, limits, memory).await,
    }
}

/// A body that is sent chunked. Its first piece shows that there is a body: the head of a request over HTTP/2
/// does not.
async fn stream_without_length(
    payload: &mut Payload,
    decoded: bool,
    limits: BodyLimits,
) -> Result<RequestBody, ProxyError> {
    let mut payload = BodyDeadline::new(std::mem::replace(payload, Payload::None), limits);
    let first = loop {
        match poll_fn(|context| payload.poll_piece(context)).await.transpose()? {
            None => return Ok(RequestBody::Empty),
            Some(piece) if piece.is_empty() => {}
            Some(piece) => break piece,
        }
    };
    if limits.mode == BodyMode::StreamedWithLength && !decoded {
        return Err(ErrorKind::LengthRequired.into());
    }
    Ok(RequestBody::Stream(BodyStream { first: Some(first), ..BodyStream::new(None, payload) }))
}

/// Reads a body of this length directly into its buffer.
async fn read_direct(
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
            Poll::Pending => poll_timeout(&mut deadline, timeout, context).map(Err),
        })
        .await?;
    }
    Ok(RequestBody::Whole(buffer.freeze()))
}

/// Collects a body that arrives in pieces.
async fn collect(
    payload: &mut Payload,
    length: Option<u64>,
    limits: BodyLimits,
    memory: &BodyMemory,
) -> Result<RequestBody, ProxyError> {
    let limit = limits.max_size;
    let mut payload = BodyDeadline::new(payload, limits);
    let mut whole: Option<PooledBuffer> = None;
    while let Some(piece) = poll_fn(|context| payload.poll_piece(context)).await {
        let piece = piece?;
        let size = whole.as_ref().map_or(0, |whole| whole.as_ref().len()) as u64 + piece.len() as u64;
        if size > limit {
            return Err(ErrorKind::PayloadTooLarge { what: "the body", limit, size }.into());
        }
        if whole.is_none() && length == Some(size) {
            // a single piece needs no copy
            return Ok(RequestBody::Whole(piece));
        }
        let expected = usize::try_from(length.unwrap_or(INITIAL_BUFFER)).unwrap_or_default();
        whole.get_or_insert_with(|| memory.take(expected)).bytes().extend_from_slice(&piece);
    }
    let whole = whole.filter(|whole| !whole.as_ref().is_empty());
    Ok(whole.map_or(RequestBody::Empty, |whole| RequestBody::Whole(whole.freeze())))
}

/// A body that is forwarded as it arrives.
pub struct BodyStream {
    /// `None` for a body that is sent chunked.
    pub length: Option<u64>,
    /// A piece that was read before the body is sent.
    first: Option<Bytes>,
    payload: BodyDeadline<Payload>,
    /// Shared with `proxy/call.rs`.
    pub progress: Rc<StreamProgress>,
}

/// The progress of a streamed body.
#[derive(Debug, Default)]
pub struct StreamProgress {
    /// True while the next piece has not arrived from the client.
    pub waits_for_client: Cell<bool>,
    /// Bytes that have arrived.
    pub received: Cell<u64>,
}

impl BodyStream {
    fn new(length: Option<u64>, payload: BodyDeadline<Payload>) -> Self {
        Self { length, first: None, payload, progress: Rc::default() }
    }

    /// Calls `see` with each piece, also one that was read before, and with `None` at the end of the body.
    pub fn observe(&mut self, mut see: impl FnMut(Option<&[u8]>) + 'static) {
        if let Some(first) = &self.first {
            see(Some(first));
        }
        let payload = std::mem::replace(&mut self.payload.payload, Payload::None);
        self.payload.payload = Payload::Stream { payload: Box::pin(ObservedPayload { payload, see }) };
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
        let piece = match self.first.take() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => self.payload.poll_piece(context),
        };
        self.progress.waits_for_client.set(piece.is_pending());
        let Poll::Ready(Some(Ok(piece))) = piece else { return piece };
        let size = self.progress.received.get() + piece.len() as u64;
        self.progress.received.set(size);
        let limit = self.payload.max_size;
        if size > limit {
            let too_large = ErrorKind::PayloadTooLarge { what: "the body", limit, size };
            return Poll::Ready(Some(Err(too_large.into())));
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

/// A payload with a timeout.
struct BodyDeadline<P> {
    payload: P,
    max_size: u64,
    timeout: Duration,
    /// True if the timeout counts the silence of the client, false if it counts the whole body.
    counts_silence: bool,
    deadline: LazyDeadline,
}

impl<P: Stream<Item = Result<Bytes, PayloadError>> + Unpin> BodyDeadline<P> {
    fn new(payload: P, limits: BodyLimits) -> Self {
        let BodyLimits { mode, max_size, timeout } = limits;
        let counts_silence = mode.streams_without_length();
        Self { payload, max_size, timeout, counts_silence, deadline: LazyDeadline::default() }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        match Pin::new(&mut self.payload).poll_next(context) {
            Poll::Ready(piece) => {
                if self.counts_silence {
                    self.deadline.forget();
                }
                Poll::Ready(piece.map(|piece| piece.map_err(|error| broken(&error))))
            }
            Poll::Pending => {
                poll_timeout(&mut self.deadline, self.timeout, context).map(|late| Some(Err(late)))
            }
        }
    }
}

/// Ready when the body's timeout expires. The timeout starts when the body is first waited for.
fn poll_timeout(
    deadline: &mut LazyDeadline,
    timeout: Duration,
    context: &mut Context<'_>,
) -> Poll<ProxyError> {
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
