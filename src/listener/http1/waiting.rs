//! The wait for the next request of a connection: each phase has a time limit, and the drain shortens them
//! all.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::Request;
use tokio::time::Instant;

use super::{Http1Connection, request_reader::ConnectionEnd};
use crate::{
    message::error::{ErrorKind, ProxyError},
    proxy::draining::{Draining, Watcher},
    settings::Limits,
    system::lazy_deadline::LazyDeadline,
};

/// Time for a client to complete its request head during the drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

pub struct RequestWait {
    header_timeout: Duration,
    keep_alive: Duration,
    draining: Watcher,
    phase: WaitPhase,
    /// The drain has shortened the limit.
    is_drain: bool,
    deadline: LazyDeadline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitPhase {
    /// The limit is not set yet.
    New,
    /// The connection is new and has sent nothing.
    Fresh,
    /// Nothing of the next request has arrived.
    Idle,
    /// A part of its head has arrived.
    Head,
}

impl RequestWait {
    /// The wait for the first request, whose head is due at `due`.
    pub fn new(limits: &Limits, due: Instant, draining: &Draining) -> Self {
        Self {
            header_timeout: limits.header_timeout,
            keep_alive: limits.keep_alive,
            draining: draining.watch(),
            phase: WaitPhase::Fresh,
            is_drain: false,
            deadline: LazyDeadline::ending(due),
        }
    }

    /// The next request, or the reason why there is none.
    pub fn poll(
        &mut self,
        connection: &Http1Connection,
        keeps_spelling: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<Request, ConnectionEnd>> {
        let state = &mut *connection.0.borrow_mut();
        if let Poll::Ready(result) =
            state.reader.poll_request(&mut state.transport, &mut state.codec, keeps_spelling, context)
        {
            self.phase = WaitPhase::New;
            return Poll::Ready(result);
        }
        if state.reader.is_empty() {
            state.reader.shrink();
        }
        self.set_limit(state.reader.is_empty());
        if self.draining.poll(context).is_ready() {
            if self.phase == WaitPhase::Idle || self.draining.poll_abort(context).is_ready() {
                // nothing has arrived, and the kernel has no bytes either
                return Poll::Ready(Err(ConnectionEnd::Closed));
            }
            if !std::mem::replace(&mut self.is_drain, true) {
                self.deadline.until(Instant::now() + DRAIN_TIMEOUT.min(self.header_timeout));
            }
        }
        ready!(self.deadline.poll(context));
        Poll::Ready(Err(match self.phase {
            // a client that connected too late to be served gets no response
            WaitPhase::Fresh if self.is_drain => ConnectionEnd::Closed,
            WaitPhase::Fresh | WaitPhase::Head => ConnectionEnd::Refused(ProxyError::new(
                ErrorKind::RequestTimeout,
                "the request head did not arrive in time",
            )),
            WaitPhase::New | WaitPhase::Idle => ConnectionEnd::Closed,
        }))
    }

    fn set_limit(&mut self, is_empty: bool) {
        let (phase, limit) = match (self.phase, is_empty) {
            (WaitPhase::New, true) => (WaitPhase::Idle, Some(self.keep_alive)),
            (WaitPhase::New | WaitPhase::Idle, false) => (WaitPhase::Head, Some(self.header_timeout)),
            // the limit of a new connection includes its first head
            (WaitPhase::Fresh, false) => (WaitPhase::Head, None),
            (WaitPhase::Fresh | WaitPhase::Idle, true) | (WaitPhase::Head, _) => return,
        };
        self.phase = phase;
        if let Some(limit) = limit {
            self.deadline.until(Instant::now() + limit);
        }
    }
}
