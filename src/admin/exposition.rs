//! The page of `/metrics`: all counters, and the values that are computed at a scrape.
//!
//! `admin.rs` registers one collector for all of them, and the `prometheus` crate sorts and encodes the page.
//! [`TABLE`] lists all rows; `certificates.rs`, `credentials.rs` and `process.rs` declare some of them. Tests
//! compare the rows with the table of k8s/monitoring/README.md and with the dashboard.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{
    certificates::Certificate,
    credentials::RouteKeys,
    families::{self, Exposed, MetricGroup},
    process::Process,
};
use crate::{
    logging,
    metrics::{
        ClientMetrics, EndpointMetrics, ReloadMetrics, RouteMetrics, SecretMetrics, SourceCounts,
        SpanMetrics,
        table::{MetricRow, number, sample},
    },
    resilience::circuit_breaker::CircuitState,
    state::{
        current::Current,
        snapshot::{Route, Snapshot},
    },
    system::supervision::Task,
};

/// Every metric, grouped by the type of the measured value.
const TABLE: &[MetricGroup] = &[
    MetricGroup::of::<RouteMetrics>(),
    MetricGroup::of::<Route>(),
    MetricGroup::of::<RouteKeys>(),
    MetricGroup::of::<Certificate>(),
    MetricGroup::of::<EndpointMetrics>(),
    MetricGroup::of::<ClientMetrics>(),
    MetricGroup::of::<ReloadMetrics>(),
    MetricGroup::of::<SourceCounts>(),
    MetricGroup::of::<SpanMetrics>(),
    MetricGroup::of::<SecretMetrics>(),
    MetricGroup::of::<Scrape>(),
    MetricGroup::of::<Process>(),
];

/// The state at the time of a scrape.
pub(super) struct Scrape {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) now: SystemTime,
    /// The counters of routes with requests, removed routes that are still in use among them.
    called: Vec<Arc<RouteMetrics>>,
}

/// The collector of all metrics.
struct Exposition {
    current: Arc<Current>,
    descs: Vec<Desc>,
}

/// The registry of all metrics.
///
/// # Errors
/// A name or label is not valid in Prometheus, or a name is declared twice.
pub(super) fn registry(current: &Arc<Current>) -> prometheus::Result<Registry> {
    let descs = TABLE.iter().flat_map(|group| (group.declared)()).map(families::desc);
    let exposition = Exposition { current: Arc::clone(current), descs: descs.collect::<Result<_, _>>()? };
    let registry = Registry::new();
    registry.register(Box::new(exposition))?;
    Ok(registry)
}

impl Collector for Exposition {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let scrape = Scrape::new(self.current.get());
        TABLE.iter().flat_map(|group| (group.families)(&scrape)).collect()
    }
}

impl Scrape {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        let mut called = snapshot.metrics.routes();
        called.push(Arc::clone(&snapshot.metrics.unrouted));
        called.retain(|route| route.was_called());
        Self { snapshot, now: SystemTime::now(), called }
    }

    /// The largest skew of all endpoints. One number is enough: AWS's clocks are right, and this machine's is
    /// wrong.
    fn clock_skew(&self) -> f64 {
        let routes = self.snapshot.routes.routes();
        let known = routes.iter().filter_map(|route| route.signing.as_ref()?.clock.offset());
        known.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0)
    }
}

impl Exposed for Scrape {
    const ROWS: &'static [MetricRow<Self>] = &[
        MetricRow::gauge(
            "apigw_invoker_build_info",
            &["version"],
            "Always 1; the label is the version of the program.",
            |_| sample([env!("CARGO_PKG_VERSION")], 1.0),
        ),
        MetricRow::gauge("apigw_invoker_requests_in_flight", &[], "Requests in flight.", |scrape| {
            sample([], number(scrape.called.iter().map(|route| route.in_flight.get()).sum()))
        }),
        MetricRow::gauge(
            "apigw_invoker_clock_skew_seconds",
            &[],
            "Clock skew: how far AWS's clock is ahead of this machine's; 0 until it is known.",
            |scrape| sample([], scrape.clock_skew()),
        ),
        MetricRow::counter(
            "apigw_invoker_log_lines_dropped_total",
            &[],
            "Log lines dropped because standard error was read too slowly.",
            |_| sample([], number(logging::dropped_lines())),
        ),
        MetricRow::counter(
            "apigw_invoker_task_failures_total",
            &["task"],
            "Tasks of the process that panicked or ended unexpectedly; all but `connection` are restarted.",
            |_| {
                let failures = |task: Task| sample([task.name()], number(task.failures()));
                Task::ALL.into_iter().flat_map(failures).collect()
            },
        ),
    ];

    fn each(scrape: &Scrape, see: &mut dyn FnMut(&Self)) {
        see(scrape);
    }
}

impl Exposed for Route {
    const ROWS: &'static [MetricRow<Self>] = &[MetricRow::gauge(
        "apigw_invoker_circuit_breaker_state",
        &["route"],
        "State of the circuit breaker: 0 closed, 1 open, 2 half-open.",
        |route| {
            let state = route.circuit_state(Instant::now()).map(|state| match state {
                CircuitState::Closed => 0.0,
                CircuitState::Open => 1.0,
                CircuitState::HalfOpen => 2.0,
            });
            sample([&route.id], state)
        },
    )];

    fn each(scrape: &Scrape, see: &mut dyn FnMut(&Self)) {
        let called = scrape.snapshot.routes.routes().iter().filter(|route| route.metrics.was_called());
        called.for_each(|route| see(route));
    }
}

/// Declares where the counters of a type are found at a scrape.
macro_rules! exposed {
    ($($counted:ty: |$scrape:ident| $counters:expr;)*) => {$(
        impl Exposed for $counted {
            const ROWS: &'static [MetricRow<Self>] = Self::ROWS;

            fn each($scrape: &Scrape, see: &mut dyn FnMut(&Self)) {
                for counters in $counters {
                    see(counters);
                }
            }
        }
    )*};
}

exposed! {
    RouteMetrics: |scrape| &scrape.called;
    EndpointMetrics: |scrape| &scrape.snapshot.metrics.endpoints();
    ClientMetrics: |scrape| [&scrape.snapshot.metrics.clients];
    ReloadMetrics: |scrape| [&scrape.snapshot.metrics.reloads.counted];
    SourceCounts: |scrape| scrape.snapshot.metrics.source.in_use().as_slice();
    SpanMetrics: |scrape| [&scrape.snapshot.metrics.spans];
    SecretMetrics: |scrape| [&scrape.snapshot.metrics.secrets];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus::proto::MetricType;

    use super::*;

    fn names() -> BTreeSet<&'static str> {
        TABLE.iter().flat_map(|group| (group.declared)()).map(|declared| declared.name).collect()
    }

    #[test]
    fn every_row_has_a_unique_valid_name_and_only_counters_end_in_total() {
        let mut seen = BTreeSet::new();
        for declared in TABLE.iter().flat_map(|group| (group.declared)()) {
            let name = declared.name;
            families::desc(declared).unwrap();
            assert!(seen.insert(name), "{name} is there twice");
            assert_eq!(declared.kind == MetricType::COUNTER, name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn the_operators_page_has_a_row_for_every_metric_and_no_other() {
        let page = include_str!("../../k8s/monitoring/README.md");
        let section = page.split("\n## Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let told = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(told.collect::<BTreeSet<_>>(), names());
    }

    #[test]
    fn the_dashboard_names_every_metric_of_ours() {
        let dashboard = include_str!("../../k8s/monitoring/dashboard.json");
        for name in names().iter().filter(|name| name.starts_with("apigw_invoker_")) {
            assert!(dashboard.contains(name), "{name}");
        }
    }
}
