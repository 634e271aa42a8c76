//! The observers of a request: the spans of a sampled trace, and the inspector's copy. Both are rare, so a
//! request has at most one box for them and checks one pointer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::header::HeaderValue;

use super::request_copy::RequestCopy;
use crate::{
    client::{Endpoint, UpstreamReply},
    message::{error::ProxyError, outbound::OutboundRequest},
    spans::{Recording, SpanEnd},
};

#[derive(Debug, Default)]
pub struct Observers {
    pub recording: Option<Box<Recording>>,
    pub copy: Option<Box<RequestCopy>>,
}

impl Observers {
    pub fn set_route(&mut self, id: &Arc<str>, pattern: &str, started: Instant) {
        if let Some(recording) = &mut self.recording {
            recording.set_route(id, pattern.to_owned());
        }
        if let Some(copy) = &mut self.copy {
            copy.set_route(id, pattern, started.elapsed());
        }
    }

    pub fn on_attempt_start(
        &mut self,
        outbound: &mut OutboundRequest,
        endpoint: &Endpoint,
        started: Instant,
    ) {
        if let Some(recording) = &mut self.recording {
            recording.on_attempt_start(outbound, endpoint.tls.is_some());
        }
        if let Some(copy) = &mut self.copy {
            copy.on_attempt_start(outbound, endpoint, started.elapsed());
        }
    }

    pub fn on_sent(&mut self, at: Duration) {
        if let Some(recording) = &mut self.recording {
            recording.on_sent(at);
        }
        if let Some(copy) = &mut self.copy {
            copy.on_sent(at);
        }
    }

    pub fn on_response_head(&mut self, reply: &UpstreamReply, id: Option<&HeaderValue>, started: Instant) {
        if let Some(recording) = &mut self.recording {
            recording.on_response_head(reply.status, id);
        }
        if let Some(copy) = &mut self.copy {
            copy.on_response_head(reply, started.elapsed());
        }
    }

    pub fn on_attempt_failed(&mut self, error: &ProxyError, at: Duration) {
        if let Some(recording) = &mut self.recording {
            recording.on_attempt_failed(error.code().name, at);
        }
        if let Some(copy) = &mut self.copy {
            copy.on_attempt_failed(error, at);
        }
    }

    pub fn on_attempt_end(&mut self, at: Duration) {
        if let Some(recording) = &mut self.recording {
            recording.on_attempt_end(at);
        }
        if let Some(copy) = &mut self.copy {
            copy.on_attempt_end(at);
        }
    }

    pub fn end(self, end: SpanEnd, bytes_in: u64) {
        if let Some(copy) = self.copy {
            copy.end(&end, bytes_in);
        }
        if let Some(recording) = self.recording {
            recording.end(end);
        }
    }
}
