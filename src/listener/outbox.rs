//! What the answers on a connection and the connection itself tell each other.
//!
//! `proxy.rs` tells of each request and answer here, `connection.rs` looks: is what is about to be written ours, was
//! it the last byte of an answer, and what is the client waited for?

use std::{cell::Cell, rc::Rc};

use tokio::time::Instant;

use crate::error::{ErrorKind, ProxyError};

/// What a connection of HTTP/1.1 is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// The very first request.
    #[default]
    Fresh,
    /// The next request.
    Idle,
    /// The rest of a head.
    Head,
    /// Nothing that has a limit here: a request is being served, and its body has a limit of its own.
    Serving,
}

/// Whether what is about to be written on a connection is ours; shared with the answers under way on it.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Rc<State>);

#[derive(Debug, Default)]
struct State {
    phase: Cell<Phase>,
    requests: Cell<u32>,
    unwritten: Cell<bool>,
    bodies: Cell<u32>,
    aborted: Cell<bool>,
    closes: Cell<bool>,
    due: Cell<Option<Instant>>,
}

/// An answer of ours until it is dropped. If it is not over by then, the connection is reset.
#[derive(Debug)]
pub struct UnderWay {
    outbox: Outbox,
    is_over: bool,
}

impl Outbox {
    /// A request's head is here.
    pub fn request_begins(&self) {
        self.0.phase.set(Phase::Serving);
        self.0.requests.set(self.0.requests.get().wrapping_add(1));
    }

    /// An answer of ours begins.
    pub fn begin(&self) -> UnderWay {
        self.0.unwritten.set(true);
        self.0.bodies.set(self.0.bodies.get() + 1);
        UnderWay { outbox: self.clone(), is_over: false }
    }

    /// An answer says that it is the last of its connection.
    pub fn closes(&self) {
        self.0.closes.set(true);
    }

    /// What the client has sent behind an answer that said so is not served (RFC 9112, 9.6): it could not tell.
    ///
    /// # Errors
    /// An answer said so.
    pub fn refuse_behind_last_answer(&self) -> Result<(), ProxyError> {
        if self.0.closes.get() {
            let cause = "it came behind a request whose answer closes the connection";
            return Err(ProxyError::new(ErrorKind::Overloaded, cause));
        }
        Ok(())
    }

    /// What is waited for.
    pub(super) fn phase(&self) -> Phase {
        self.0.phase.get()
    }

    /// How many requests have come.
    pub(super) fn requests(&self) -> u32 {
        self.0.requests.get()
    }

    /// The first bytes of a head are here.
    pub(super) fn head_begins(&self) {
        self.0.phase.set(Phase::Head);
    }

    /// Whether the bytes that are about to be written are ours.
    pub(super) fn is_ours(&self) -> bool {
        self.0.unwritten.get()
    }

    /// When the answer that is being written has to be over, if it has to.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.due.get()
    }

    /// Whether an answer was dropped before its end.
    pub(super) fn is_aborted(&self) -> bool {
        self.0.aborted.get()
    }

    /// All that was to be written has been: was that the end of an answer? An interim `100 Continue` is none, since what
    /// follows it is a body.
    pub(super) fn written(&self) -> bool {
        let State { phase, unwritten, bodies, .. } = &*self.0;
        let is_answered = bodies.get() == 0 && unwritten.replace(false);
        if is_answered {
            phase.set(Phase::Idle);
        }
        is_answered
    }
}

impl UnderWay {
    /// Its last byte has been handed on.
    pub fn finish(&mut self) {
        self.is_over = true;
    }

    /// It has to be over by then, even if its client takes nothing: nobody asks for its next piece meanwhile.
    pub fn is_due(&self, at: Instant) {
        self.outbox.0.due.set(Some(at));
    }

    /// Whether its last byte has been handed on.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// A piece of its body is about to be written.
    pub fn goes_on(&self) {
        self.outbox.0.unwritten.set(true);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let State { bodies, aborted, due, .. } = &*self.outbox.0;
        bodies.set(bodies.get() - 1);
        due.set(None);
        if !self.is_over {
            aborted.set(true);
        }
    }
}
