//! `request_timeout`: the deadline from a request's head to the last byte of its response.
//!
//! `call.rs` applies it to the call, `reply.rs` to the response's body.

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

/// The deadline of a request, if its route has one.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Expiry>);

#[derive(Debug, Clone, Copy)]
struct Expiry {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    /// The deadline `limit` after the arrival of the request's head.
    pub fn of(limit: Option<Duration>, head_arrived: std::time::Instant) -> Self {
        Self(limit.map(|limit| Expiry { limit, at: Instant::from_std(head_arrived) + limit }))
    }

    /// True if the deadline is later than the end of this pause.
    pub fn has_room_for(self, pause: Duration) -> bool {
        self.0.is_none_or(|end| Instant::now() + pause < end.at)
    }

    /// Runs `work` until the deadline. The future is passed pinned: by value it would enlarge every request's
    /// future.
    ///
    /// # Errors
    /// The error of `work`, or `UpstreamTimeout`.
    pub async fn run_within<T>(
        self,
        work: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
    ) -> Result<T, ProxyError> {
        match self.0 {
            None => work.await,
            Some(end) => timeout_at(end.at, work).await.unwrap_or_else(|_| Err(end.error())),
        }
    }

    /// A timer for a response's body.
    pub fn timer(self) -> Option<DeadlineTimer> {
        self.0.map(|end| DeadlineTimer { end, timer: LazyDeadline::ending(end.at) })
    }
}

impl Expiry {
    fn error(self) -> ProxyError {
        let cause = format!("the request was not finished within request_timeout, {:?}", self.limit);
        ProxyError::new(ErrorKind::UpstreamTimeout, cause)
    }
}

#[derive(Debug)]
pub struct DeadlineTimer {
    end: Expiry,
    timer: LazyDeadline,
}

impl DeadlineTimer {
    pub fn due(&self) -> Instant {
        self.end.at
    }

    /// Ready with the error at the deadline.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<ProxyError> {
        self.timer.poll(context).map(|()| self.end.error())
    }
}
