//! An answer's body as it arrives, and the end of an exchange: the connection goes back to the pool after the
//! last byte, and is closed if that byte never comes.

use std::{
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{Payload, error::PayloadError};
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep};

use super::{Malformed, connection::Connection, pool::Pool};
use crate::error::{ErrorKind, ProxyError};

/// A body on its way from AWS. Dropping it before its end closes the connection.
pub struct ResponseBody {
    payload: Payload,
    connection: Option<(Connection, Rc<Pool>)>,
    length: Option<u64>,
    received: u64,
    idle_limit: Duration,
    /// Made when the body first keeps us waiting, then set anew each time it does.
    idle_timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("length", &self.length).finish_non_exhaustive()
    }
}

impl ResponseBody {
    pub(super) fn new(
        payload: Payload,
        connection: Connection,
        pool: Rc<Pool>,
        length: Option<u64>,
        idle_limit: Duration,
    ) -> Self {
        let connection = Some((connection, pool));
        Self { payload, connection, length, received: 0, idle_limit, idle_timer: None, waiting: false }
    }

    /// Its length, if the head says so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The body is over: was it whole, and what becomes of the connection?
    fn end(&mut self) -> Option<Result<Bytes, ProxyError>> {
        let (connection, pool) = self.connection.take()?;
        if let Some(length) = self.length.filter(|length| *length != self.received) {
            let cause = format!("{} of {length} bytes arrived", self.received);
            return Some(Err(ProxyError::new(ErrorKind::UpstreamTruncated, cause)));
        }
        if let Some(stream) = connection.into_reusable().filter(|_| pool.endpoint.keepalive.enabled) {
            pool.keep(stream);
        }
        None
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<ProxyError> {
        let limit = self.idle_limit;
        let timer = self.idle_timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !std::mem::replace(&mut self.waiting, true) {
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(context).map(|()| {
            ProxyError::new(ErrorKind::UpstreamTimeout, format!("nothing of the body arrived for {limit:?}"))
        })
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, ProxyError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match Pin::new(&mut this.payload).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                this.received += chunk.len() as u64;
                this.waiting = false;
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.connection = None;
                Poll::Ready(Some(Err(payload_broken(error))))
            }
            Poll::Ready(None) => Poll::Ready(this.end()),
            Poll::Pending => match this.poll_idle(context) {
                Poll::Ready(error) => {
                    this.connection = None;
                    Poll::Ready(Some(Err(error)))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

fn payload_broken(error: PayloadError) -> ProxyError {
    match error {
        PayloadError::Io(error) | PayloadError::Incomplete(Some(error)) => broken(error),
        error => ProxyError::new(ErrorKind::UpstreamProtocol, error.to_string()),
    }
}

/// What a broken connection means: a TLS session that was refused, an answer that is no HTTP, or one that ended
/// too soon.
pub(super) fn broken(error: io::Error) -> ProxyError {
    // in TLS 1.3 a server refuses us only after the handshake is over for us
    let tls = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
    let malformed = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Malformed>);
    match error.kind() {
        _ if tls => ProxyError::new(ErrorKind::UpstreamTls, error),
        _ if malformed => ProxyError::new(ErrorKind::UpstreamProtocol, error),
        // the chunked decoder
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            ProxyError::new(ErrorKind::UpstreamProtocol, error)
        }
        io::ErrorKind::UnexpectedEof => {
            ProxyError::new(ErrorKind::UpstreamTruncated, "the connection ended before the answer did")
        }
        _ => ProxyError::new(ErrorKind::UpstreamTruncated, error),
    }
}
