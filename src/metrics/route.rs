//! Counters of one route's requests.
//!
//! `proxy/record.rs` adds to it as a request goes along, `resilience/admission.rs` and `proxy/call.rs` for what they
//! refuse or repeat; `admin/exposition.rs` reads it.

use std::time::Duration;

use actix_http::{Method, StatusCode};
use prometheus::proto::MetricType;

use super::{
    table::{Sample, Value, counted, number, sample},
    values::{Counter, CounterByName, DurationHistogram, Gauge, counts},
};

/// The methods that are told apart, and the rest: a client may make up as many as it likes.
const METHODS: [&str; 8] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "OTHER"];
/// The classes of statuses; the last is for clients that left before there was one, as nginx has it.
const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "499"];

counted! {
    /// The counters of one route, named by its id.
    RouteMetrics(id) {
        requests: Requests["route", "method", "status"] = "apigw_invoker_requests_total",
            "Completed requests, by method and class of status; 499 if the client closed the connection \
             before the response.";
        in_flight: Gauge["route"] = "apigw_invoker_route_requests_in_flight",
            "Requests of the route in flight.";
        durations: DurationHistogram["route"] = "apigw_invoker_request_duration_seconds",
            "Duration of requests, from the request's head to the last byte of the response.";
        upstream_durations: DurationHistogram["route"] = "apigw_invoker_upstream_duration_seconds",
            "Duration of calls to AWS, from sending to the head of the response; only calls that got a \
             response.";
        bytes_in: Counter["route"] = "apigw_invoker_request_body_bytes_total",
            "Bytes of request bodies sent to AWS.";
        bytes_out: Counter["route"] = "apigw_invoker_response_body_bytes_total",
            "Bytes of response bodies sent to clients.";
        shed: Shed["route", "limit"] = "apigw_invoker_requests_shed_total",
            "Requests rejected because `max_in_flight` was reached, by the limit's owner.";
        errors: CounterByName["route", "code"] = "apigw_invoker_errors_total",
            "Failed requests, by error code.";
        retries: CounterByName["route", "reason"] = "apigw_invoker_retries_total",
            "Retries, by reason.";
        budget_exhausted: Counter["route"] = "apigw_invoker_retry_budget_exhausted_total",
            "Retries that were skipped because `retry.budget` was exhausted.";
        signing_failures: Counter["route"] = "apigw_invoker_signing_failures_total",
            "Calls that could not be signed.";
        signatures_refused: Counter["route"] = "apigw_invoker_signatures_refused_total",
            "Calls whose signature or keys AWS refused; the log has the cause.";
        denials: CounterByName["route", "reason"] = "apigw_invoker_calls_denied_total",
            "Calls that AWS refused for another reason than the signature, by reason; the log has the cause.";
    }
}

/// Requests by method and class of status.
#[derive(Debug, Default)]
pub struct Requests([[Counter; STATUSES.len()]; METHODS.len()]);

counts! {
    /// Requests that were turned away.
    Shed {
        /// As many as the process takes were in flight.
        process,
        /// As many as the route takes were in flight.
        route,
    }
}

impl RouteMetrics {
    pub fn begins(&self) {
        self.in_flight.change(1);
    }

    pub fn ends(&self) {
        self.in_flight.change(-1);
    }

    /// A request is over; without a status where the client left before there was one.
    pub fn served(&self, method: &Method, status: Option<StatusCode>, took: Duration) {
        self.requests.0[method_index(method)][status_index(status)].add(1);
        self.durations.observe(took);
    }

    /// The head of an answer came this long after the call was sent.
    pub fn answered(&self, after: Duration) {
        self.upstream_durations.observe(after);
    }

    /// Whether there was a request, or a refusal before one. Other routes have no samples: thousands of them would
    /// make pages of zeros.
    pub(crate) fn was_called(&self) -> bool {
        self.in_flight.get() > 0 || self.requests.all().next().is_some() || self.errors.all().next().is_some()
    }
}

impl Requests {
    /// Counts by method and class, as far as there were requests.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.0.iter().zip(METHODS).flat_map(|(counts, method)| {
            let counted =
                counts.iter().zip(STATUSES).map(move |(count, status)| (method, status, count.get()));
            counted.filter(|(.., count)| *count > 0)
        })
    }
}

impl Value for Requests {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(&self) -> Vec<Sample<'_>> {
        self.all().flat_map(|(method, status, count)| sample([method, status], number(count))).collect()
    }
}

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

fn status_index(status: Option<StatusCode>) -> usize {
    match status {
        // a function may answer with any number up to 999
        Some(status) => usize::from(status.as_u16() / 100).clamp(1, 5) - 1,
        None => STATUSES.len() - 1,
    }
}
