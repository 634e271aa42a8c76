//! The times of the certificates that the process shows others.
//!
//! `certificates.rs` tells the listener's while the process runs; those of the routes stand in the snapshot.

use super::families::{Families, number};
use crate::{
    metrics::Metrics,
    routing::UNROUTED,
    state::{
        certificates::{self, Setting},
        snapshot::Snapshot,
    },
    tls::Validity,
};

impl Metrics {
    pub(super) fn certificates(&self, families: &mut Families, snapshot: &Snapshot) {
        let listener = self.listener_certificate();
        let listener = listener.map(|validity| (Setting::Listener, UNROUTED, validity));
        let routes = certificates::of_routes(snapshot.routes_as_set.iter().map(|route| &**route));
        let routes = routes.map(|(route, validity)| (Setting::Client, route, validity));
        let all: Vec<_> = listener.into_iter().chain(routes).collect();
        let each = |of: fn(&Validity) -> u64| {
            all.iter().map(move |(setting, route, validity)| {
                ([("certificate", setting.name()), ("route", *route)], number(of(validity)))
            })
        };
        families.gauges(
            "apigw_invoker_certificate_expiry_timestamp_seconds",
            "Until when a certificate serves that is shown to others, in seconds since 1970.",
            each(|validity| validity.not_after),
        );
        families.gauges(
            "apigw_invoker_certificate_renewal_due_timestamp_seconds",
            "From when on that certificate should have been replaced: 30 days or a fifth of its lifetime before \
             its end, whichever is shorter.",
            each(|validity| validity.renewal_due),
        );
    }
}
