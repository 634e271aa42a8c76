//! Metrics of the process's certificates.
//!
//! `state/certificates.rs` updates the validity of the listener's and of those that IAM Roles Anywhere
//! exchanges; the client certificates are in the snapshot.

use super::{exposition::Scrape, families::Exposed};
use crate::{
    metrics::table::{MetricRow, number, sample},
    routing::UNROUTED,
    state::certificates::{self, CertificateSetting},
    tls::Validity,
};

/// A certificate and the route that uses it.
pub(super) struct Certificate {
    setting: CertificateSetting,
    route: String,
    validity: Validity,
}

impl Exposed for Certificate {
    const ROWS: &'static [MetricRow<Self>] = &[
        MetricRow::gauge(
            "apigw_invoker_certificate_expiry_timestamp_seconds",
            &["certificate", "route"],
            "Expiry of each certificate that the sidecar presents or exchanges for keys, in Unix seconds.",
            |own| sample([own.setting.name(), &own.route], number(own.validity.not_after)),
        ),
        MetricRow::gauge(
            "apigw_invoker_certificate_renewal_due_timestamp_seconds",
            &["certificate", "route"],
            "When to replace the certificate, in Unix seconds: 30 days or a fifth of its lifetime before \
             its expiry, whichever is shorter.",
            |own| sample([own.setting.name(), &own.route], number(own.validity.renewal_due)),
        ),
    ];

    fn each(scrape: &Scrape, see: &mut dyn FnMut(&Self)) {
        let listener = scrape.snapshot.metrics.listener_certificate();
        let listener = listener.map(|validity| (CertificateSetting::Listener, UNROUTED, validity));
        let routes = certificates::of_routes(scrape.snapshot.routes_as_set.iter().map(|route| &**route));
        let routes = routes.map(|(route, validity)| (CertificateSetting::Client, route, validity));
        for (setting, route, validity) in listener.into_iter().chain(routes) {
            see(&Self { setting, route: route.to_owned(), validity });
        }
        for (route, validity) in scrape.snapshot.metrics.exchanged_certificates() {
            see(&Self { setting: CertificateSetting::Exchanged, route: route.to_string(), validity });
        }
    }
}
