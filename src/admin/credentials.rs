//! Metrics of the routes' credentials.

use std::{sync::Arc, time::UNIX_EPOCH};

use super::{exposition::Scrape, families::Exposed};
use crate::{
    credentials::CredentialState,
    metrics::table::{MetricRow, number, sample},
    state::snapshot::Route,
};

/// A route that signs, and the state of its credentials.
pub(super) struct RouteKeys {
    route: Arc<Route>,
    state: CredentialState,
    refresh_failures: u64,
}

impl Exposed for RouteKeys {
    const ROWS: &'static [MetricRow<Self>] = &[
        MetricRow::gauge(
            "apigw_invoker_credentials_ready",
            &["route"],
            "1 if the route has credentials to sign with, 0 if not.",
            |keys| {
                sample(
                    [&keys.route.id],
                    if matches!(keys.state, CredentialState::Ready(_)) { 1.0 } else { 0.0 },
                )
            },
        ),
        MetricRow::gauge(
            "apigw_invoker_credentials_expiry_timestamp_seconds",
            &["route"],
            "Expiry of the route's credentials, in Unix seconds; no sample if they do not expire.",
            |keys| sample([&keys.route.id], keys.expiry()),
        ),
        MetricRow::gauge(
            "apigw_invoker_credentials_past_expiry",
            &["route"],
            "1 while the route signs with expired credentials because the EC2 metadata service returns no \
             newer ones.",
            |keys| {
                let is_past = matches!(&keys.state, CredentialState::Ready(ready) if ready.is_past_expiry);
                sample([&keys.route.id], if is_past { 1.0 } else { 0.0 })
            },
        ),
        MetricRow::counter(
            "apigw_invoker_credentials_refresh_failures_total",
            &["route"],
            "Failed attempts to fetch the route's credentials; routes with the same source share the count.",
            |keys| sample([&keys.route.id], number(keys.refresh_failures)),
        ),
    ];

    fn each(scrape: &Scrape, see: &mut dyn FnMut(&Self)) {
        for route in scrape.snapshot.routes.routes() {
            let Some(signing) = &route.signing else { continue };
            let state = signing.credentials.status(scrape.now).state;
            let refresh_failures = signing.credentials.refresh_failures();
            // alerts on missing or expiring credentials must come before the first request of a route
            let has_trouble = !matches!(state, CredentialState::Ready(_)) || refresh_failures > 0;
            if has_trouble || route.metrics.was_called() {
                see(&Self { route: Arc::clone(route), state, refresh_failures });
            }
        }
    }
}

impl RouteKeys {
    fn expiry(&self) -> Option<f64> {
        let CredentialState::Ready(ready) = &self.state else { return None };
        Some(ready.expires?.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
    }
}
