//! What is remembered of a request for its line in the access log.
//!
//! The record travels with the request and then in the answer's body; wherever it is dropped, the request is
//! over and the line is written, also for a client that left in the middle.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::{HttpMessage as _, Method, Request, StatusCode, Uri, header::HeaderValue};
use bytes::Bytes;

use super::headers::REQUEST_ID;
use crate::{client::UpstreamReply, error::ProxyError, excerpt::excerpt, remark::Remark};

/// What nginx logs for a client that closed the connection before it was answered.
const CLIENT_GONE: u16 = 499;

/// One request's line in the making.
#[derive(Debug)]
pub struct Record {
    enabled: bool,
    request_id: HeaderValue,
    method: Method,
    uri: Uri,
    route: Option<Arc<str>>,
    started: Instant,
    sent: Option<Instant>,
    attempts: u32,
    upstream: Option<Upstream>,
    status: Option<StatusCode>,
    code: Option<&'static str>,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Debug)]
struct Upstream {
    after: Duration,
    request_id: Option<HeaderValue>,
}

impl Record {
    /// Starts with a request's head.
    pub fn begin(request: &Request, enabled: bool) -> Self {
        Self {
            enabled,
            request_id: request_id(request),
            method: request.method().clone(),
            uri: request.uri().clone(),
            route: None,
            started: Instant::now(),
            sent: None,
            attempts: 0,
            upstream: None,
            status: None,
            code: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// When its head had arrived.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The request's id.
    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// Its id as text.
    pub fn request_id_text(&self) -> &str {
        // ours are ASCII, and a client's is only taken if it is
        self.request_id.to_str().unwrap_or_default()
    }

    /// Which route took it.
    pub fn route(&mut self, id: &Arc<str>) {
        self.route = Some(Arc::clone(id));
    }

    /// The request is about to be sent, for the first time or again.
    pub fn sent(&mut self, bytes: u64) {
        self.attempts += 1;
        self.bytes_in = bytes;
        self.sent = Some(Instant::now());
    }

    /// The head of AWS's answer is here.
    pub fn answered(&mut self, reply: &UpstreamReply) {
        let id = ["x-amzn-requestid", "apigw-requestid"].iter().find_map(|name| reply.headers.get(*name));
        let id = id.filter(|id| is_request_id(id.as_bytes()));
        self.upstream = self.sent.map(|sent| Upstream { after: sent.elapsed(), request_id: id.cloned() });
    }

    /// An attempt is followed by another, for this reason.
    pub fn repeats(&self, attempt: u32, reason: &str) {
        log::info!(
            request_id = self.request_id_text(), route = self.route.as_deref().unwrap_or("-"), attempt = attempt;
            "calling again: {}", excerpt(reason, usize::MAX)
        );
    }

    /// An attempt that might have been followed by another is not, for this reason.
    pub fn stays_unrepeated(&self, reason: &str) {
        log::debug!(
            request_id = self.request_id_text(), route = self.route.as_deref().unwrap_or("-");
            "not calling again: {reason}"
        );
    }

    /// The status that the client sees.
    pub fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Bytes of the answer's body passed on.
    pub fn passed_on(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    /// It failed, before the answer or in the middle of it: logged here and nowhere else.
    pub fn fail(&mut self, error: &ProxyError) {
        self.code = Some(error.code());
        error.log(self.request_id_text(), self.route.as_deref());
    }

    /// What the operator should know about it.
    pub fn remark(&self, remark: &Remark) {
        remark.log(self.request_id_text(), self.route.as_deref().unwrap_or("-"));
    }

    fn write(&self) {
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        let mut optional = String::new();
        if let Some(Upstream { after, request_id }) = &self.upstream {
            let _ = write!(optional, " upstream_ms={}", milliseconds(*after));
            if let Some(id) = request_id.as_ref().and_then(|id| id.to_str().ok()) {
                let _ = write!(optional, " upstream_request_id={id}");
            }
        }
        if self.attempts > 1 {
            let _ = write!(optional, " attempts={}", self.attempts);
        }
        if let Some(code) = self.code {
            let _ = write!(optional, " code={code}");
        }
        log::info!(
            target: "access",
            "{} {} {status} route={} ms={} in={} out={} request_id={}{optional}",
            self.method,
            // without the query, which may hold what is nobody else's business
            Some(self.uri.path()).filter(|path| !path.is_empty()).unwrap_or("-"),
            self.route.as_deref().unwrap_or("-"),
            milliseconds(self.started.elapsed()),
            self.bytes_in,
            self.bytes_out,
            self.request_id_text(),
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.enabled && log::log_enabled!(target: "access", log::Level::Info) {
            self.write();
        }
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1000.0)
}

/// The client's id if it is one, a new one otherwise.
pub fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes()));
    given.cloned().unwrap_or_else(|| {
        HeaderValue::from_maybe_shared(Bytes::from(new_request_id()))
            .unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}

/// An id for a request that has none: 32 hexadecimal digits at random.
pub fn new_request_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Short and plain enough for a log line and a header.
fn is_request_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}
