//! The section `tracing`: what becomes of the traces that requests belong to.
//!
//! `process.rs` comes here with what is written; `message/trace.rs` does it, and `spans.rs` where a collector is told.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    settings::{
        route::{
            function_uri::FunctionUri,
            upstream::{Scheme, authorities},
        },
        source::{check::Checker, key_type::KeyType as _},
    },
    text::units::{WrittenDuration, WrittenShare},
};
use actix_http::header::{self, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

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

section! {
    /// Traces.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Tracing, read as WrittenTracing, optional "a table about traces";

    made TracingParts {
        /// The share of traces without a sampling decision that are recorded, from 0 to 1; `None` leaves it to AWS.
        sample: Option<f64>,
        /// The collector of spans.
        otlp: Option<Otlp>,
    }

    /// Requests take part in traces: a client's `traceparent` is passed on with a step of ours, another begins
    /// where there is none, and AWS is told by `X-Amzn-Trace-Id` too, unless the client does that itself. `false` makes
    /// and changes none of these headers, and names no trace in the log.
    propagate: bool = true;
    /// The share of traces without a sampling decision that are recorded, 0 to 1: those that begin here, and those of
    /// an `X-Amzn-Trace-Id` without `Sampled`, as load balancers make them. Without it AWS decides by its own rules:
    /// `X-Amzn-Trace-Id` has no `Sampled`, and the flag in `traceparent` is not set. With `otlp` it is 1 unless it is
    /// set.
    sample: WrittenShare => _;
    /// The OTLP/HTTP collector to which the spans of sampled requests are exported; none by default:
    /// `{ endpoint: "http://127.0.0.1:4318", headers: { api-key: $env://OTLP_KEY }, service_name: apigw-invoker,
    /// resource: { deployment.environment.name: prod }, timeout: 10s, ca_certificate: /tls/ca.crt }`.
    otlp: WrittenOtlp => _;
}

section! {
    /// A collector that speaks OTLP over HTTP (opentelemetry.io, OTLP specification 1.x).
    #[derive(Debug, Clone, PartialEq)]
    pub struct Otlp, read as WrittenOtlp, optional "a table about a collector, with its `endpoint`";

    made OtlpParts {
        /// Where it is; `/v1/traces` is added to the path, as to `OTEL_EXPORTER_OTLP_ENDPOINT`.
        endpoint: FunctionUri,
        /// The headers of each delivery, which may prove something.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The name of this process: `service.name`.
        service_name: String,
        /// More attributes of the process, by the names of OpenTelemetry's resources.
        resource: BTreeMap<String, String>,
        /// A PEM file of the authorities to trust instead of the platform's.
        ca_certificate: Option<PathBuf>,
    }

    /// Where it takes OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is added.
    endpoint: String, pattern("^[hH][tT][tT][pP][sS]?://[^@/?#]+(/[^?#]*)?$"), secret_query(), required() => _;
    /// Headers of each delivery, such as a collector's key; `$env://` and `$file://` keep it out of here.
    headers: BTreeMap<String, SecretString> => _;
    /// The name of this process, `service.name`.
    service_name: String = env!("CARGO_PKG_NAME"), open() => _;
    /// More attributes of the process, such as `deployment.environment.name: prod`.
    resource: BTreeMap<String, String>, open() => _;
    // what the OpenTelemetry specification proposes (`OTEL_EXPORTER_OTLP_TIMEOUT`)
    /// How long each step of a delivery may take.
    timeout: WrittenDuration [Duration::from_millis(100)..=Duration::from_mins(1)] = Duration::from_secs(10);
    /// A PEM file of the authorities to trust instead of the platform's.
    ca_certificate: String, open() => _;
}

impl Default for Tracing {
    fn default() -> Self {
        Self { propagate: bool::standard(declared!(WrittenTracing, "propagate")), sample: None, otlp: None }
    }
}

impl WrittenTracing {
    pub(in crate::settings) fn check(mut self, checker: &mut Checker<'_>) -> Tracing {
        let sample = checker.checked(declared!(WrittenTracing, "sample"), self.sample);
        if self.otlp.is_some() && self.propagate == Some(false) {
            checker.at("propagate").report("off, but `otlp` is set", "true, or no `otlp`");
        }
        let otlp = self.otlp.take().and_then(|otlp| otlp.check(&mut checker.at("otlp")));
        // whoever names a collector wants to see something (OpenTelemetry's default is to record all)
        let sample = sample.or(otlp.is_some().then_some(1.0));
        self.settled(checker)(TracingParts { sample, otlp })
    }
}

impl WrittenOtlp {
    fn check(mut self, checker: &mut Checker<'_>) -> Option<Otlp> {
        const EXPECTED: &str =
            "where the collector takes OTLP over HTTP, without /v1/traces, user and query: http://HOST:4318";
        let headers = headers(self.headers.take().unwrap_or_default(), &mut checker.at("headers"));
        let settle = self.settled(checker);
        let Some(endpoint) = self.endpoint.take() else {
            if !checker.has_error("endpoint") {
                checker.at("endpoint").report("missing", EXPECTED);
            }
            return None;
        };
        let endpoint = checker.parsed("endpoint", &endpoint, EXPECTED, |text| {
            let is_plain = |uri: &FunctionUri| uri.query.is_none() && uri.parameters().next().is_none();
            FunctionUri::parse(text).filter(|uri| is_plain(uri) && !is_whole(uri.path.as_str()))
        })?;
        if self.ca_certificate.is_some() && endpoint.scheme == Scheme::Http {
            checker.at("ca_certificate").report("has no effect without TLS", "https, or remove the key");
        }
        let service_name = self.service_name.take().filter(|name| !name.is_empty());
        let parts = OtlpParts {
            endpoint,
            headers,
            service_name: checker.settled(declared!(WrittenOtlp, "service_name"), service_name),
            resource: self.resource.take().unwrap_or_default(),
            ca_certificate: self.ca_certificate.take().map(|file| authorities(file, checker)),
        };
        Some(settle(parts))
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
        let mut at_name = checker.at(&name);
        let parsed = HeaderName::try_from(&name).ok().filter(|name| !OWN_HEADERS.contains(name));
        let Some(header) = parsed.filter(|name| headers.iter().all(|(own, _)| own != name)) else {
            at_name.report("cannot be set", "the name of a header that is not made here, once");
            continue;
        };
        if REFERENCES.iter().any(|reference| value.expose_secret().contains(reference)) {
            at_name.report("a reference in the middle of the value", "a reference to the whole value");
            continue;
        }
        match HeaderValue::from_str(value.expose_secret()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.push((header, value));
            }
            Err(_) => at_name.report("invalid value", "characters that a header can hold"),
        }
    }
    headers
}
