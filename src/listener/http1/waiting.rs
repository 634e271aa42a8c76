//! The wait for the next request of a connection: each phase of it has a time limit, and the drain shortens them all.

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

/// How long a client has for the rest of its request when the process ends.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The wait for a request, which has a limit in each of its phases.
pub struct Waiting {
    header_timeout: Duration,
    keep_alive: Duration,
    draining: Watcher,
    phase: Phase,
    /// Whether the process is about to end, which has shortened the limit.
    is_last_call: bool,
    deadline: LazyDeadline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The limit is not set yet.
    New,
    /// Nothing has ever come.
    Fresh,
    /// Nothing of the next request has come.
    Idle,
    /// A part of its head has.
    Head,
}

impl Waiting {
    /// Waits for the first request, whose head is due at `due`.
    pub fn new(limits: &Limits, due: Instant, draining: &Draining) -> Self {
        Self {
            header_timeout: limits.header_timeout,
            keep_alive: limits.keep_alive,
            draining: draining.watch(),
            phase: Phase::Fresh,
            is_last_call: false,
            deadline: LazyDeadline::ending(due),
        }
    }

    /// The next request, or why there is none.
    pub fn poll(
        &mut self,
        connection: &Http1Connection,
        context: &mut Context<'_>,
    ) -> Poll<Result<Request, ConnectionEnd>> {
        let sides = &mut *connection.0.borrow_mut();
        if let Poll::Ready(result) =
            sides.reader.poll_request(&mut sides.transport, &mut sides.codec, context)
        {
            self.phase = Phase::New;
            return Poll::Ready(result);
        }
        if sides.reader.is_empty() {
            sides.reader.rest();
        }
        self.set_limit(sides.reader.is_empty());
        if self.draining.poll(context).is_ready() {
            if self.phase == Phase::Idle || self.draining.poll_abort(context).is_ready() {
                // nothing has come, and the kernel holds nothing either
                return Poll::Ready(Err(ConnectionEnd::Gone));
            }
            if !std::mem::replace(&mut self.is_last_call, true) {
                self.deadline.until(Instant::now() + LAST_CALL.min(self.header_timeout));
            }
        }
        ready!(self.deadline.poll(context));
        Poll::Ready(Err(match self.phase {
            // who came too late to be served has nothing to be told
            Phase::Fresh if self.is_last_call => ConnectionEnd::Gone,
            Phase::Fresh | Phase::Head => ConnectionEnd::Refused(ProxyError::new(
                ErrorKind::RequestTimeout,
                "the request head did not arrive in time",
            )),
            Phase::New | Phase::Idle => ConnectionEnd::Gone,
        }))
    }

    fn set_limit(&mut self, is_empty: bool) {
        let (phase, limit) = match (self.phase, is_empty) {
            (Phase::New, true) => (Phase::Idle, Some(self.keep_alive)),
            (Phase::New | Phase::Idle, false) => (Phase::Head, Some(self.header_timeout)),
            // the limit of a new connection is for its first head too
            (Phase::Fresh, false) => (Phase::Head, None),
            (Phase::Fresh | Phase::Idle, true) | (Phase::Head, _) => return,
        };
        self.phase = phase;
        if let Some(limit) = limit {
            self.deadline.until(Instant::now() + limit);
        }
    }
}
