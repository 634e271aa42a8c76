//! Counters of one route's requests.
//!
//! `proxy/record.rs` counts each step of a request, `resilience/admission.rs` rejected requests and
//! `proxy/call.rs` retries; `admin/exposition.rs` reads the counters.

use std::time::Duration;

use actix_http::{Method, StatusCode};
use prometheus::proto::MetricType;

use super::{
    last_failure::LastFailure,
    table::{MetricValue, Sample, counted, number, sample},
    values::{Counter, CounterByKey, CounterByName, DurationHistogram, Gauge, counts},
};

/// The values of the label `method`. All other methods are `OTHER`, because a client can invent any number of
/// them.
const METHODS: [&str; 8] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "OTHER"];
/// The values of the label `status`. 499 is nginx's code for a client that closed the connection before the
/// response.
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
    beside {
        /// For the status page.
        last_failure: LastFailure;
    }
}

/// Requests by method and class of status.
#[derive(Debug, Default)]
pub struct Requests(CounterByKey<(&'static str, &'static str)>);

counts! {
    /// Requests rejected by a limit of requests in flight.
    Shed {
        /// `limits.max_in_flight` was reached.
        process,
        /// The route's `max_in_flight` was reached.
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

    /// Counts a completed request; `status` is `None` if the client closed the connection before the
    /// response.
    pub fn served(&self, method: &Method, status: Option<StatusCode>, took: Duration) {
        self.requests.0.count((method_label(method), status_label(status)));
        self.durations.observe(took);
    }

    /// Observes the time from sending a call to the response head.
    pub fn answered(&self, after: Duration) {
        self.upstream_durations.observe(after);
    }

    /// Completed requests, and those of them that were answered with a status of 5xx.
    pub(crate) fn completed(&self) -> (u64, u64) {
        self.requests.all().fold((0, 0), |(all, failed), (_, status, count)| {
            (all + count, failed + if status == "5xx" { count } else { 0 })
        })
    }

    /// Calls that AWS refused, because of the signature or for another reason.
    pub(crate) fn refused(&self) -> u64 {
        self.signatures_refused.get() + self.denials.all().map(|(_, count)| count).sum::<u64>()
    }

    /// True after the first request or error. Routes without requests have no samples, so that thousands of
    /// unused routes do not fill the page with zeros.
    pub(crate) fn was_called(&self) -> bool {
        self.in_flight.get() > 0 || self.requests.all().next().is_some() || self.errors.all().next().is_some()
    }
}

impl Requests {
    /// The counts that are not 0, by method and class of status.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.0.all().map(|((method, status), count)| (method, status, count))
    }
}

impl MetricValue for Requests {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(&self) -> Vec<Sample<'_>> {
        self.all().flat_map(|(method, status, count)| sample([method, status], number(count))).collect()
    }
}

fn method_label(method: &Method) -> &'static str {
    let own = METHODS.iter().find(|name| **name == method.as_str());
    own.unwrap_or(&METHODS[METHODS.len() - 1])
}

fn status_label(status: Option<StatusCode>) -> &'static str {
    match status {
        // a function may return any status up to 999
        Some(status) => STATUSES[usize::from(status.as_u16() / 100).clamp(1, 5) - 1],
        None => STATUSES[STATUSES.len() - 1],
    }
}
