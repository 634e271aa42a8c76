//! The section `tracing`: trace propagation (`message/trace.rs`) and the export of spans (`spans.rs`).

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    settings::{
        route::{
            environment_proxies::EnvironmentProxies,
            function_uri::FunctionUri,
            proxy_rule::{Direct, ProxyChoice},
            upstream::{Scheme, authorities},
        },
        source::{check::Checker, key_type::KeyType as _, reference::has_reference},
    },
    text::units::{WrittenDuration, WrittenShare},
};
use actix_http::header::{self, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

/// Headers that the exporter sets itself.
const EXPORTER_HEADERS: [HeaderName; 5] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

section! {
    /// Trace propagation and export.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Tracing, read as WrittenTracing, optional "a table about traces";

    made TracingParts {
        /// The share of traces without a sampling decision that are sampled, from 0 to 1; `None` leaves it to
        /// AWS.
        sample: Option<f64>,
        /// The collector of spans.
        otlp: Option<Otlp>,
    }

    /// Trace propagation: `traceparent` is forwarded with the sidecar's span as the parent, or starts a new
    /// trace if the client sends none, and `X-Amzn-Trace-Id` is sent to AWS too, unless the client sends its
    /// own. `false` forwards these headers unchanged, adds none, and logs no trace id.
    propagate: bool = true;
    /// Share of traces without a sampling decision that are sampled, 0 to 1: traces that start here, and
    /// those of an `X-Amzn-Trace-Id` without `Sampled`, as load balancers send it. Without this key AWS
    /// decides by its own rules: `X-Amzn-Trace-Id` gets no `Sampled`, and the sampled flag of `traceparent`
    /// is not set. With `otlp` the default is 1.
    sample: WrittenShare => _;
    /// OTLP/HTTP collector to which the spans of sampled requests are exported; none by default: `{ endpoint:
    /// "http://127.0.0.1:4318", headers: { api-key: $env://OTLP_KEY }, service_name: apigw-invoker, resource:
    /// { deployment.environment.name: prod }, timeout: 10s, ca_certificate: /tls/ca.crt }`.
    otlp: WrittenOtlp => _;
}

section! {
    /// A collector that speaks OTLP over HTTP (opentelemetry.io, OTLP specification 1.x).
    #[derive(Debug, Clone, PartialEq)]
    pub struct Otlp, read as WrittenOtlp, optional "a table about a collector, with its `endpoint`";

    made OtlpParts {
        /// The base URL; `/v1/traces` is appended, as to `OTEL_EXPORTER_OTLP_ENDPOINT`.
        endpoint: FunctionUri,
        /// Headers of each export request, which may contain secrets.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The resource attribute `service.name`.
        service_name: String,
        /// Further resource attributes.
        resource: BTreeMap<String, String>,
        /// PEM file with the certificate authorities to trust instead of the platform's.
        ca_certificate: Option<PathBuf>,
        /// The proxy on the way to the collector.
        proxy: ProxyChoice,
    }

    /// Base URL of the collector for OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is
    /// appended.
    endpoint: String, pattern("^[hH][tT][tT][pP][sS]?://[^@/?#]+(/[^?#]*)?$"), secret_query(), required()
        => _;
    /// Headers of each export request, such as an API key. Keep secrets out of files: `$env://NAME` or
    /// `$file:///path`.
    headers: BTreeMap<String, SecretString> => _;
    /// Resource attribute `service.name`.
    service_name: String = env!("CARGO_PKG_NAME"), open() => _;
    /// Further resource attributes, such as `deployment.environment.name: prod`.
    resource: BTreeMap<String, String>, open() => _;
    // default of `OTEL_EXPORTER_OTLP_TIMEOUT` in the OpenTelemetry specification
    /// Time limit of each step of an export.
    timeout: WrittenDuration [Duration::from_millis(100)..=Duration::from_mins(1)] = Duration::from_secs(10);
    /// PEM file with the certificate authorities to trust instead of the platform's.
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
        // with a collector all traces are sampled by default, as in OpenTelemetry
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
            FunctionUri::parse(text).filter(|uri| is_plain(uri) && !is_complete(uri.path.as_str()))
        })?;
        if self.ca_certificate.is_some() && endpoint.scheme == Scheme::Http {
            checker.at("ca_certificate").report("has no effect without TLS", "https, or remove the key");
        }
        let proxy = proxy_to(&endpoint, checker);
        let service_name = self.service_name.take().filter(|name| !name.is_empty());
        let parts = OtlpParts {
            endpoint,
            headers,
            service_name: checker.settled(declared!(WrittenOtlp, "service_name"), service_name),
            resource: self.resource.take().unwrap_or_default(),
            ca_certificate: self.ca_certificate.take().map(|file| authorities(file, checker)),
            proxy,
        };
        Some(settle(parts))
    }
}

/// The proxy of the environment on the way to the collector.
fn proxy_to(endpoint: &FunctionUri, checker: &mut Checker<'_>) -> ProxyChoice {
    let proxies = EnvironmentProxies::read(|name| checker.variable(name));
    let choice = proxies.choose(endpoint.scheme, &endpoint.host, endpoint.port);
    choice.unwrap_or_else(|unusable| {
        let expected = "http://HOST:PORT or http://USER:PASSWORD@HOST:PORT there, with escapes for what is \
                        special in a URL, or the collector's host in NO_PROXY";
        checker.at("endpoint").report(unusable.to_string(), expected);
        ProxyChoice::Direct(Direct::NotSet)
    })
}

/// True if the path already ends with what is appended to it.
fn is_complete(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("/v1/traces")
}

/// Mistakes never quote the values, which may be secrets.
fn headers(
    written: BTreeMap<String, SecretString>,
    checker: &mut Checker<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(written.len());
    for (name, value) in written {
        let mut at_name = checker.at(&name);
        let parsed = HeaderName::try_from(&name).ok().filter(|name| !EXPORTER_HEADERS.contains(name));
        let Some(header) = parsed.filter(|name| headers.iter().all(|(own, _)| own != name)) else {
            at_name.report("cannot be set", "the name of a header that is not made here, once");
            continue;
        };
        if has_reference(value.expose_secret()) {
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
