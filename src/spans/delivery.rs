//! Deliveries of spans to a collector, one at a time: OTLP over HTTP, binary (opentelemetry.io, OTLP 1.x,
//! OTLP/HTTP).
//!
//! `spans/exporter.rs` passes a batch, which is sent by awc (`client/control_plane.rs`). Failed deliveries
//! are retried by the rules of the protocol; then the spans are dropped, counted and logged.

use std::{sync::Arc, time::Duration};

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceResponse, resource::v1::Resource};
use prost::Message as _;
use tokio::time::{Instant, sleep};

use super::{RequestSpan, otlp};
use crate::{
    client::{ControlAnswer, ControlClient, ControlLimits, Endpoint},
    message::error::{ErrorKind, ProxyError},
    metrics::Metrics,
    settings::Otlp,
    text::log_safe::log_safe,
};

const TYPE: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("apigw-invoker/", env!("CARGO_PKG_VERSION")));
/// The pauses between retries; other deliveries wait in the meantime.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// The longest `Retry-After` that is honoured; a longer one drops the delivery.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest response: a success has a few bytes, an error a sentence.
const LONGEST_ANSWER: usize = 16 << 10;

/// The interval in which failures are logged at most.
const TOLD_AGAIN: Duration = Duration::from_mins(1);
/// Characters of a collector's message that are logged.
const QUOTED: usize = 200;

pub(super) struct Delivery {
    client: ControlClient,
    endpoint: Arc<Endpoint>,
    limits: ControlLimits,
    path: String,
    headers: HeaderMap,
    resource: Resource,
    metrics: Arc<Metrics>,
    /// The last logged failure and its time.
    told: Option<(String, Instant)>,
}

/// A failed delivery.
struct ExportRefusal {
    cause: String,
    /// The pause before a retry; `None` if a retry is useless.
    again: Option<Duration>,
}

impl Delivery {
    pub(super) fn new(settings: &Otlp, endpoint: Arc<Endpoint>, metrics: Arc<Metrics>) -> Self {
        let Otlp { endpoint: uri, headers: own, timeout, .. } = settings;
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, AGENT);
        for (name, value) in own {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(header::CONTENT_TYPE, TYPE);
        headers.insert(header::HOST, uri.host_header());
        Self {
            client: ControlClient::new(Arc::clone(&endpoint), &metrics),
            endpoint,
            limits: ControlLimits { step: *timeout, answer: LONGEST_ANSWER },
            path: format!("{}/v1/traces", uri.path.as_str().trim_end_matches('/')),
            headers,
            resource: otlp::resource(settings),
            metrics,
            told: None,
        }
    }

    /// Delivers a batch, with retries; drops it in the end.
    pub(super) async fn deliver(&mut self, requests: &[RequestSpan]) {
        let count = requests.len() as u64;
        let body = Bytes::from(otlp::encode(&self.resource, requests));
        let mut pauses = PAUSES.iter();
        let refusal = loop {
            match self.post(body.clone()).await {
                Ok(rejected) => {
                    self.metrics.spans.recorded.delivered.add(count);
                    return self.tell(rejected);
                }
                Err(refusal) => match (refusal.again, pauses.next()) {
                    (Some(asked), Some(pause)) if asked <= LONGEST_PAUSE => sleep(asked.max(*pause)).await,
                    _ => break refusal,
                },
            }
        };
        self.metrics.spans.recorded.refused.add(count);
        self.tell(Some(format!("cannot export spans, dropping them: {}", refusal.cause)));
    }

    /// The time for which an idle connection is kept.
    pub(super) fn keeps_connection_for(&self) -> Duration {
        self.endpoint.keepalive.timeout
    }

    /// Closes the idle connection.
    pub(super) fn rest(&mut self) {
        self.client.close();
    }

    /// Logs a failure when it begins, when it changes, and when it ends.
    fn tell(&mut self, wrong: Option<String>) {
        let place = format!("tracing.otlp, {}{}", self.endpoint, self.path);
        match (wrong, &self.told) {
            (Some(wrong), Some((last, at))) if *last == wrong || at.elapsed() < TOLD_AGAIN => {}
            (Some(wrong), _) => {
                log::warn!("{place}: {wrong}");
                self.told = Some((wrong, Instant::now()));
            }
            (None, Some(_)) => {
                log::info!("{place}: exporting spans again");
                self.told = None;
            }
            (None, None) => {}
        }
    }

    /// The partial success of a delivery.
    async fn post(&mut self, body: Bytes) -> Result<Option<String>, ExportRefusal> {
        let answer = self.client.post(&self.path, self.headers.clone(), body, self.limits).await;
        let ControlAnswer { status, headers, body, .. } = answer.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok(rejected(&body));
        }
        let quoted = log_safe(String::from_utf8_lossy(&body).trim(), QUOTED);
        let quoted = if quoted.is_empty() { quoted } else { format!(": {quoted}") };
        Err(ExportRefusal {
            cause: format!("the collector answers {status}{quoted}"),
            again: again(status, &headers),
        })
    }

    fn unreachable(&self, error: &ProxyError) -> ExportRefusal {
        let cause = if error.kind == ErrorKind::UpstreamTimeout {
            format!("the collector did not answer within tracing.otlp.timeout, {:?}", self.limits.step)
        } else {
            error.to_string()
        };
        ExportRefusal { cause, again: Some(Duration::ZERO) }
    }
}

/// The response to an accepted delivery, of which the collector may have rejected some spans.
fn rejected(answer: &[u8]) -> Option<String> {
    let told = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let message = log_safe(&told.error_message, QUOTED);
    (told.rejected_spans > 0).then(|| format!("the collector has rejected some of the spans: {message}"))
}

/// The pause before a retry after this status; `None` for one that is not retryable (OTLP/HTTP, retryable
/// response codes).
fn again(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    const RETRYABLE: [StatusCode; 4] = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    let after = headers.get(HeaderName::from_static("retry-after")).and_then(|value| value.to_str().ok());
    let after = after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    RETRYABLE.contains(&status).then(|| after.unwrap_or_default())
}
