//! The observers of a request: the spans of a sampled trace, and the inspector's copy. Both are rare, so a
//! request has at most one box for them and checks one pointer.

use std::{cell::RefCell, sync::Arc, time::Instant};

use actix_http::header::HeaderValue;

use super::request_copy::RequestCopy;
use crate::{
    client::{Endpoint, UpstreamReply},
    message::{error::ProxyError, outbound::OutboundRequest},
    spans::{Recording, SpanEnd},
};

/// Limit of idle copies per thread; copies in use do not count.
const MAX_IDLE: usize = 16;

thread_local! {
    /// Boxes with a copy whose memory the next request uses.
    #[expect(clippy::vec_box, reason = "a request has a box")]
    static IDLE: RefCell<Vec<Box<Observers>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub struct Observers {
    pub recording: Option<Box<Recording>>,
    pub copy: Option<Box<RequestCopy>>,
}

impl Observers {
    /// The box of an earlier request, with its copy.
    pub fn take_idle() -> Option<Box<Self>> {
        IDLE.with_borrow_mut(Vec::pop)
    }

    pub fn set_route(&mut self, id: &Arc<str>, pattern: &str) {
        if let Some(recording) = &mut self.recording {
            recording.set_route(id, pattern.to_owned());
        }
        if let Some(copy) = &mut self.copy {
            copy.set_route(id, pattern);
        }
    }

    pub fn on_attempt_start(&mut self, outbound: &mut OutboundRequest, endpoint: &Endpoint) {
        if let Some(recording) = &mut self.recording {
            recording.on_attempt_start(outbound, endpoint.tls.is_some());
        }
        if let Some(copy) = &mut self.copy {
            copy.on_attempt_start(outbound, endpoint);
        }
    }

    pub fn on_sent(&mut self, at: Instant, started: Instant) {
        if let Some(recording) = &mut self.recording {
            recording.on_sent(at.duration_since(started));
        }
        if let Some(copy) = &mut self.copy {
            copy.on_sent(at);
        }
    }

    pub fn on_response_head(&mut self, reply: &UpstreamReply, id: Option<&HeaderValue>, at: Instant) {
        if let Some(recording) = &mut self.recording {
            recording.on_response_head(reply.status, id);
        }
        if let Some(copy) = &mut self.copy {
            copy.on_response_head(reply, at);
        }
    }

    pub fn on_attempt_failed(&mut self, error: &ProxyError, started: Instant) {
        let at = Instant::now();
        if let Some(recording) = &mut self.recording {
            recording.on_attempt_failed(error.code().name, at.duration_since(started));
        }
        if let Some(copy) = &mut self.copy {
            copy.on_attempt_failed(error, at);
        }
    }

    pub fn on_attempt_end(&mut self, started: Instant) {
        let at = Instant::now();
        if let Some(recording) = &mut self.recording {
            recording.on_attempt_end(at.duration_since(started));
        }
        if let Some(copy) = &mut self.copy {
            copy.on_attempt_end(at);
        }
    }

    pub fn end(mut self: Box<Self>, end: SpanEnd, bytes_in: u64) {
        if let Some(copy) = &mut self.copy {
            copy.end(&end, bytes_in);
        }
        if let Some(recording) = self.recording.take() {
            recording.end(end);
        }
        if self.copy.is_some() {
            IDLE.with_borrow_mut(|idle| {
                if idle.len() < MAX_IDLE {
                    idle.push(self);
                }
            });
        }
    }
}
