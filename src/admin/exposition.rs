//! Everything that `/metrics` says, by name: what was counted, and what can be asked for at that moment.
//!
//! `admin.rs` asks for the text. The README has the same names in a table, and a test compares the two.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    families::{Families, number},
    process,
};
use crate::{
    credentials::{CredentialSource, State},
    logging,
    metrics::{Count, EndpointMetrics, Metrics, RouteMetrics},
    resilience::circuit_breaker,
    state::snapshot::{Route, Snapshot},
    system::supervision::Task,
};

impl Metrics {
    /// All of it in Prometheus's text format; `snapshot` has the routes in force.
    ///
    /// # Errors
    /// A name or a label is none that Prometheus takes.
    pub fn text(&self, snapshot: &Snapshot) -> prometheus::Result<String> {
        let mut families = Families::default();
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1.0)];
        families.gauges("apigw_invoker_build_info", "1, with the version of the program.", version);
        let mut routes = self.routes();
        routes.push(Arc::clone(&self.unrouted));
        routes.retain(|route| route.was_called());
        requests(&mut families, &routes);
        families.collect(&self.whole);
        families.collect(&self.upstream);
        traffic(&mut families, &routes);
        failures(&mut families, &routes);
        breakers(&mut families, snapshot.routes.routes());
        credentials(&mut families, snapshot.routes.routes());
        self.certificates(&mut families, snapshot);
        self.upstream_connections(&mut families);
        self.client_connections(&mut families);
        self.settings(&mut families);
        clock(&mut families, snapshot.routes.routes());
        tasks(&mut families);
        process::describe(&mut families);
        families.text()
    }

    fn upstream_connections(&self, families: &mut Families) {
        let endpoints = self.endpoints();
        let each = |of: fn(&EndpointMetrics) -> &Count| {
            endpoints
                .iter()
                .map(move |(name, endpoint)| ([("endpoint", &**name)], number(of(endpoint).get())))
        };
        families.counters(
            "apigw_invoker_upstream_connections_opened_total",
            "Connections to AWS that were opened.",
            each(|endpoint| &endpoint.opened),
        );
        families.counters(
            "apigw_invoker_upstream_connection_failures_total",
            "Connections to AWS that could not be opened.",
            each(|endpoint| &endpoint.failed),
        );
        families.counters(
            "apigw_invoker_upstream_connections_reused_total",
            "Calls on a connection that was there already.",
            each(|endpoint| &endpoint.reused),
        );
        families.counters(
            "apigw_invoker_upstream_connections_stale_total",
            "Kept connections that were closed when they were to be used.",
            each(|endpoint| &endpoint.stale),
        );
        let idle = endpoints.iter().map(|(name, endpoint)| {
            let idle = u64::try_from(endpoint.idle()).unwrap_or(0);
            ([("endpoint", &**name)], number(idle))
        });
        families.gauges("apigw_invoker_upstream_connections_idle", "Kept connections to AWS.", idle);
    }

    fn client_connections(&self, families: &mut Families) {
        let load = |count: &std::sync::atomic::AtomicU64| number(count.load(Ordering::Relaxed));
        families.gauge(
            "apigw_invoker_client_connections",
            "Connections of clients.",
            load(&self.connections),
        );
        families.counter(
            "apigw_invoker_client_connections_total",
            "Connections of clients that were accepted.",
            load(&self.connections_accepted),
        );
        families.counter(
            "apigw_invoker_client_connections_refused_total",
            "Connections of clients beyond `limits.max_connections`.",
            load(&self.connections_refused),
        );
    }

    fn settings(&self, families: &mut Families) {
        let reloads = &self.reloads;
        families.gauge(
            "apigw_invoker_settings_generation",
            "How often settings were put in force, the start being the first.",
            number(reloads.generation()),
        );
        families.counters(
            "apigw_invoker_settings_reloads_total",
            "Changed settings that were read, by outcome.",
            [("applied", &reloads.applied), ("rejected", &reloads.rejected)]
                .map(|(outcome, count)| ([("outcome", outcome)], number(count.get()))),
        );
        families.gauge(
            "apigw_invoker_settings_last_reload_successful",
            "0 while what is written is wrong, and the settings before it serve on.",
            number(reloads.last_was_right()),
        );
        families.gauge(
            "apigw_invoker_settings_in_force_timestamp_seconds",
            "Since when the settings are in force, in seconds since 1970.",
            number(reloads.in_force_since()),
        );
        let spans = &self.spans;
        families.counters(
            "apigw_invoker_recorded_requests_total",
            "Requests that `tracing.otlp` was to be told of, by outcome.",
            [("delivered", &spans.delivered), ("refused", &spans.refused), ("dropped", &spans.dropped)]
                .map(|(outcome, count)| ([("outcome", outcome)], number(count.get()))),
        );
        families.counter(
            "apigw_invoker_log_lines_dropped_total",
            "Lines of the log that nobody read in time.",
            number(logging::dropped_lines()),
        );
    }
}

/// One number for all endpoints: they are AWS's, and it is our clock that goes wrong.
fn clock(families: &mut Families, routes: &[Arc<Route>]) {
    let known = routes.iter().filter_map(|route| route.signing.as_ref()?.clock.offset());
    families.gauge(
        "apigw_invoker_clock_skew_seconds",
        "How far AWS's clock is ahead of ours; 0 until that is known.",
        known.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0),
    );
}

type Routes = [Arc<RouteMetrics>];

/// A sample for each route.
fn by_route(
    routes: &Routes,
    of: impl Fn(&RouteMetrics) -> u64,
) -> impl Iterator<Item = ([(&str, &str); 1], f64)> {
    routes.iter().map(move |route| ([("route", &*route.id)], number(of(route))))
}

fn requests(families: &mut Families, routes: &Routes) {
    let requests = routes.iter().flat_map(|route| {
        route.requests().map(|(method, status, count)| {
            ([("route", &*route.id), ("method", method), ("status", status)], number(count))
        })
    });
    families.counters(
        "apigw_invoker_requests_total",
        "Requests that are over, by method and class of status; 499 for clients that left before an answer.",
        requests,
    );
    families.gauge(
        "apigw_invoker_requests_in_flight",
        "Requests that are not over.",
        number(routes.iter().map(|route| route.in_flight()).sum()),
    );
    families.gauges(
        "apigw_invoker_route_requests_in_flight",
        "Requests of the route that are not over.",
        by_route(routes, RouteMetrics::in_flight),
    );
}

fn traffic(families: &mut Families, routes: &Routes) {
    families.counters(
        "apigw_invoker_request_body_bytes_total",
        "Bytes of bodies sent to AWS.",
        by_route(routes, |route| route.bytes_in.get()),
    );
    families.counters(
        "apigw_invoker_response_body_bytes_total",
        "Bytes of bodies passed on to clients.",
        by_route(routes, |route| route.bytes_out.get()),
    );
}

fn failures(families: &mut Families, routes: &Routes) {
    let shed = routes.iter().flat_map(|route| {
        [("process", &route.shed_by_process), ("route", &route.shed_by_route)]
            .map(|(limit, count)| ([("route", &*route.id), ("limit", limit)], number(count.get())))
    });
    families.counters(
        "apigw_invoker_requests_shed_total",
        "Requests turned away at once, by whose `max_in_flight` was reached.",
        shed,
    );
    let errors = routes.iter().flat_map(|route| {
        route.errors.all().map(|(code, count)| ([("route", &*route.id), ("code", code)], number(count)))
    });
    families.counters("apigw_invoker_errors_total", "Failures, by the code of our answer.", errors);
    let retries = routes.iter().flat_map(|route| {
        route
            .retries
            .all()
            .map(|(reason, count)| ([("route", &*route.id), ("reason", reason)], number(count)))
    });
    families.counters("apigw_invoker_retries_total", "Calls that were made again, by reason.", retries);
    families.counters(
        "apigw_invoker_retry_budget_exhausted_total",
        "Calls that were not made again because `retry.budget` was used up.",
        by_route(routes, |route| route.budget_exhausted.get()),
    );
    families.counters(
        "apigw_invoker_signing_failures_total",
        "Calls that could not be signed.",
        by_route(routes, |route| route.signing_failures.get()),
    );
    families.counters(
        "apigw_invoker_signatures_refused_total",
        "Calls whose signature or keys AWS has refused; the log says why.",
        by_route(routes, |route| route.signatures_refused.get()),
    );
    let denials = routes.iter().flat_map(|route| {
        let counted = route.denials.all();
        counted.map(|(reason, count)| ([("route", &*route.id), ("reason", reason)], number(count)))
    });
    families.counters(
        "apigw_invoker_calls_denied_total",
        "Calls that AWS has refused for another reason than their signature; the log says why.",
        denials,
    );
}

fn breakers(families: &mut Families, routes: &[Arc<Route>]) {
    let now = Instant::now();
    let states = routes.iter().filter(|route| route.metrics.was_called()).filter_map(|route| {
        let state = match route.circuit_breaker.as_ref()?.state(now) {
            circuit_breaker::State::Closed => 0.0,
            circuit_breaker::State::Open => 1.0,
            circuit_breaker::State::Trying => 2.0,
        };
        Some(([("route", &*route.id)], state))
    });
    families.gauges(
        "apigw_invoker_circuit_breaker_state",
        "0 closed, 1 open, 2 open and ready for a call that decides.",
        states,
    );
}

fn credentials(families: &mut Families, routes: &[Arc<Route>]) {
    let now = SystemTime::now();
    let sources: Vec<(&str, &CredentialSource, State)> = routes
        .iter()
        .filter_map(|route| {
            let source = &route.signing.as_ref()?.credentials;
            let state = source.status(now).state;
            // alerts on missing, expired and soon expiring keys come before somebody calls the route
            let has_trouble = !matches!(state, State::Ready(_)) || source.refresh_failures() > 0;
            let is_shown = has_trouble || route.metrics.was_called();
            is_shown.then_some((&*route.id, source, state))
        })
        .collect();
    families.gauges(
        "apigw_invoker_credentials_ready",
        "1 if the route has keys to sign with, 0 if not.",
        sources.iter().map(|(id, _, state)| {
            ([("route", *id)], if matches!(state, State::Ready(_)) { 1.0 } else { 0.0 })
        }),
    );
    families.gauges(
        "apigw_invoker_credentials_expiry_timestamp_seconds",
        "Until when the route's keys serve, in seconds since 1970; none for keys that do not expire.",
        sources.iter().filter_map(|(id, _, state)| {
            let State::Ready(ready) = state else { return None };
            let expiry = ready.expires?.duration_since(UNIX_EPOCH).ok()?;
            Some(([("route", *id)], expiry.as_secs_f64()))
        }),
    );
    families.gauges(
        "apigw_invoker_credentials_past_expiry",
        "1 while the route signs with keys of EC2's metadata service that have expired, for want of others.",
        sources.iter().map(|(id, _, state)| {
            let is_past = matches!(state, State::Ready(ready) if ready.is_past_expiry);
            ([("route", *id)], if is_past { 1.0 } else { 0.0 })
        }),
    );
    families.counters(
        "apigw_invoker_credentials_refresh_failures_total",
        "Attempts to fetch the route's keys that failed; routes with the same source share them.",
        sources.iter().map(|(id, source, _)| ([("route", *id)], number(source.refresh_failures()))),
    );
}

fn tasks(families: &mut Families) {
    families.counters(
        "apigw_invoker_task_failures_total",
        "Tasks of the process that panicked or ended; all but `connection` were started again.",
        Task::ALL.map(|task| ([("task", task.name())], number(task.failures()))),
    );
}
