//! A response's body as it arrives, with its idle timeout. The connection returns to the pool after the last
//! byte; otherwise it is closed.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Instant;

use super::{exchange::Exchange, pool::Pool};
use crate::{
    message::error::{ErrorKind, ProxyError},
    system::lazy_deadline::LazyDeadline,
};

/// A streaming body from AWS. Dropping it before its end closes the connection.
pub struct ResponseBody {
    /// `None` once the body is complete.
    exchange: Option<(Box<Exchange>, Rc<Pool>)>,
    length: Option<u64>,
    /// `None` for no limit.
    idle_limit: Option<Duration>,
    idle: LazyDeadline,
    /// Start of the current wait for a piece.
    waiting_since: Option<Instant>,
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("length", &self.length).finish_non_exhaustive()
    }
}

impl ResponseBody {
    pub(super) fn new(
        exchange: Box<Exchange>,
        pool: Rc<Pool>,
        length: Option<u64>,
        idle_limit: Option<Duration>,
    ) -> Self {
        Self {
            exchange: Some((exchange, pool)),
            length,
            idle_limit,
            idle: LazyDeadline::default(),
            waiting_since: None,
        }
    }

    /// The declared length.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<ProxyError> {
        let Some(limit) = self.idle_limit else { return Poll::Pending };
        let since = *self.waiting_since.get_or_insert_with(|| {
            let now = Instant::now();
            self.idle.until(now + limit);
            now
        });
        loop {
            ready!(self.idle.poll(context));
            // an upstream that responds during the upload may itself be waiting for the client's body
            let asked = self.exchange.as_ref().map(|(exchange, _)| exchange.waiting_since());
            let due = asked.map_or(since, |asked| since.max(asked)) + limit;
            if due <= Instant::now() {
                let cause = format!("nothing of the body arrived within idle_timeout, {limit:?}");
                return Poll::Ready(ProxyError::new(ErrorKind::UpstreamTimeout, cause));
            }
            self.idle.until(due);
        }
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, ProxyError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some((exchange, _)) = &mut this.exchange else { return Poll::Ready(None) };
        match exchange.poll_body(context) {
            Poll::Ready(Some(Ok(piece))) => {
                this.waiting_since = None;
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.exchange = None;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                if let Some((exchange, pool)) = this.exchange.take() {
                    pool.take_back(*exchange);
                }
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_idle(context).map(|error| {
                this.exchange = None;
                Some(Err(error))
            }),
        }
    }
}
