//! `request_timeout`: when a request has to be over, from its head to the last byte of its answer.
//!
//! `proxy.rs` makes one for each request; `call.rs` applies it while AWS is called, `reply.rs` while the answer is
//! passed on.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use crate::{
    message::error::{ErrorKind, ProxyError},
    system::lazy_deadline::LazyDeadline,
};

/// When a request has to be over, if its route says so.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<End>);

#[derive(Debug, Clone, Copy)]
struct End {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    /// Counted from when the request's head had arrived.
    pub fn of(limit: Option<Duration>, head_arrived: std::time::Instant) -> Self {
        Self(limit.map(|limit| End { limit, at: Instant::from_std(head_arrived) + limit }))
    }

    /// Whether there is time for a pause, and some left after it.
    pub fn has_room_for(self, pause: Duration) -> bool {
        self.0.is_none_or(|end| Instant::now() + pause < end.at)
    }

    /// The result, or an error once time is up. The work is pinned where it is, since moved into this future, it would
    /// make every request's larger by its size.
    ///
    /// # Errors
    /// The future's own, or `UpstreamTimeout`.
    pub async fn run_within<T>(
        self,
        work: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
    ) -> Result<T, ProxyError> {
        match self.0 {
            None => work.await,
            Some(end) => timeout_at(end.at, work).await.unwrap_or_else(|_| Err(end.error())),
        }
    }

    /// For an answer that is passed on bit by bit.
    pub fn timer(self) -> Option<DeadlineTimer> {
        self.0.map(|end| DeadlineTimer { end, timer: LazyDeadline::ending(end.at) })
    }
}

impl End {
    fn error(self) -> ProxyError {
        let cause = format!("the request was not finished within request_timeout, {:?}", self.limit);
        ProxyError::new(ErrorKind::UpstreamTimeout, cause)
    }
}

#[derive(Debug)]
pub struct DeadlineTimer {
    end: End,
    timer: LazyDeadline,
}

impl DeadlineTimer {
    pub fn due(&self) -> Instant {
        self.end.at
    }

    /// The error, once time is up.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<ProxyError> {
        self.timer.poll(context).map(|()| self.end.error())
    }
}
