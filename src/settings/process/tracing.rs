//! The section `tracing`: what becomes of the traces that requests belong to.
//!
//! `process.rs` comes here with what is written; `message/trace.rs` does it, and `spans.rs` where a collector is told.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use actix_http::header::{self, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::settings::{
    route::function_uri::FunctionUri,
    route::upstream::{Scheme, authorities},
    source::check::Checker,
};
use crate::text::units::{WrittenDuration, WrittenShare};

/// What the OpenTelemetry specification proposes (`OTEL_EXPORTER_OTLP_TIMEOUT`).
const TIMEOUT: Duration = Duration::from_secs(10);
/// Only a text that begins with one is a reference.
const REFERENCES: [&str; 3] = ["$env://", "$file://", "{vault://"];
/// Made anew for each delivery.
const OWN_HEADERS: [HeaderName; 5] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

/// Traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Whether requests take part in them.
    pub propagate: bool,
    /// How many of those that nobody has decided about are recorded, from 0 to 1; `None` leaves that to AWS.
    pub sample: Option<f64>,
    /// Who is told of what is recorded.
    pub otlp: Option<Otlp>,
}

/// A collector that speaks OTLP over HTTP (opentelemetry.io, OTLP specification 1.x).
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// Where it is; `/v1/traces` is added to the path, as to `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: FunctionUri,
    /// What it wants to be told with each delivery, which may prove something.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What this process is called: `service.name`.
    pub service_name: String,
    /// What else is said of it, by the names of OpenTelemetry's resources.
    pub resource: BTreeMap<String, String>,
    /// For each step of a delivery.
    pub timeout: Duration,
    /// A PEM file of the authorities to trust instead of the platform's.
    pub ca_certificate: Option<PathBuf>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { propagate: true, sample: None, otlp: None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about traces")]
pub(in crate::settings) struct WrittenTracing {
    propagate: Option<bool>,
    sample: Option<WrittenShare>,
    otlp: Option<WrittenOtlp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about a collector, with its `endpoint`")]
struct WrittenOtlp {
    endpoint: Option<String>,
    headers: Option<BTreeMap<String, SecretString>>,
    service_name: Option<String>,
    resource: Option<BTreeMap<String, String>>,
    timeout: Option<WrittenDuration>,
    ca_certificate: Option<String>,
}

impl WrittenTracing {
    pub(in crate::settings) fn check(self, checker: &mut Checker<'_>, default: &Tracing) -> Tracing {
        let share = |WrittenShare(share)| checker.number("sample", Some(share), 0.0, 0.0..=1.0);
        let sample = self.sample.map(share).or(default.sample);
        let propagate = self.propagate.unwrap_or(default.propagate);
        if self.otlp.is_some() && !propagate {
            checker.below("propagate").mistake("off, while `otlp` is there", "true, or no `otlp`");
        }
        let otlp = self.otlp.and_then(|otlp| otlp.check(&mut checker.below("otlp")));
        // whoever names a collector wants to see something (OpenTelemetry's default is to record all)
        let sample = sample.or(otlp.is_some().then_some(1.0));
        Tracing { propagate, sample, otlp }
    }
}

impl WrittenOtlp {
    fn check(self, checker: &mut Checker<'_>) -> Option<Otlp> {
        const EXPECTED: &str =
            "where the collector takes OTLP over HTTP, without /v1/traces, user and query: http://HOST:4318";
        let shortest = Duration::from_millis(100);
        let timeout = checker.duration("timeout", self.timeout, TIMEOUT, shortest..=Duration::from_mins(1));
        let headers = headers(self.headers.unwrap_or_default(), &mut checker.below("headers"));
        let Some(endpoint) = self.endpoint else {
            if !checker.is_wrong("endpoint") {
                checker.below("endpoint").mistake("missing", EXPECTED);
            }
            return None;
        };
        let endpoint = checker.parsed("endpoint", &endpoint, EXPECTED, |text| {
            FunctionUri::parse(text).filter(|uri| uri.query.is_none() && !is_whole(&uri.path))
        })?;
        if self.ca_certificate.is_some() && endpoint.scheme == Scheme::Http {
            checker.below("ca_certificate").mistake("there is no TLS to verify", "none, or https");
        }
        Some(Otlp {
            endpoint,
            headers,
            service_name: self
                .service_name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned()),
            resource: self.resource.unwrap_or_default(),
            timeout,
            ca_certificate: self.ca_certificate.map(|file| authorities(file, checker)),
        })
    }
}

/// Whether a path has what is added to it already.
fn is_whole(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("/v1/traces")
}

/// The values are never quoted: a collector's key is one of them.
fn headers(
    written: BTreeMap<String, SecretString>,
    checker: &mut Checker<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(written.len());
    for (name, value) in written {
        let mut at_name = checker.below(&name);
        let parsed = HeaderName::try_from(&name).ok().filter(|name| !OWN_HEADERS.contains(name));
        let Some(header) = parsed.filter(|name| headers.iter().all(|(own, _)| own != name)) else {
            at_name.mistake("cannot be set", "the name of a header that is not made here, once");
            continue;
        };
        if REFERENCES.iter().any(|reference| value.expose_secret().contains(reference)) {
            at_name.mistake("a reference in the middle of the value", "a reference to the whole value");
            continue;
        }
        match HeaderValue::from_str(value.expose_secret()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.push((header, value));
            }
            Err(_) => at_name.mistake("the value is wrong", "characters that a header can hold"),
        }
    }
    headers
}
