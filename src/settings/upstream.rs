//! How a route reaches AWS: time limits, TLS, connections kept, a proxy between, what happens when it fails. The
//! same keys for every backend.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    check::Checker,
    circuit_breaker::{CircuitBreakerSettings, WrittenCircuitBreaker},
    forward_proxy::ForwardProxy,
    limits::LONGEST,
    retry::{RetrySettings, WrittenRetry},
    units::WrittenDuration,
};

/// APISIX's defaults.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_mins(1);
const KEEPALIVE_POOL: u32 = 5;
/// APISIX's lower bound: below it a typo is likelier than an intention.
const SHORTEST: Duration = Duration::from_millis(100);

/// Plain or over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The port that need not be written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The time limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For name resolution, TCP, a proxy's tunnel and TLS together.
    pub connect: Duration,
    /// Without progress in sending, then until the answer's head has arrived.
    pub first_byte: Duration,
    /// Between two pieces of the answer's body.
    pub idle: Duration,
}

/// How to reach AWS, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Time limits.
    pub timeouts: Timeouts,
    /// Whether the server's certificate is verified.
    pub ssl_verify: bool,
    /// A PEM file of the authorities to trust instead of the platform's.
    pub ca_certificate: Option<PathBuf>,
    /// Whether connections are used again.
    pub keepalive: bool,
    /// How many idle connections each worker keeps.
    pub keepalive_pool: u32,
    /// How long an idle connection is kept.
    pub keepalive_timeout: Duration,
    /// The proxy that every connection goes through.
    pub proxy: Option<ForwardProxy>,
    /// For a whole request, from its head to the last byte of the answer.
    pub request_timeout: Option<Duration>,
    /// What becomes of calls that fail.
    pub retry: RetrySettings,
    /// When calls are not even tried.
    pub circuit_breaker: Option<CircuitBreakerSettings>,
}

/// The keys as written, gathered from the backend's own section.
#[derive(Debug, Default)]
pub(super) struct WrittenUpstream {
    pub(super) timeout: Option<WrittenDuration>,
    pub(super) connect_timeout: Option<WrittenDuration>,
    pub(super) first_byte_timeout: Option<WrittenDuration>,
    pub(super) idle_timeout: Option<WrittenDuration>,
    pub(super) ssl_verify: Option<bool>,
    pub(super) ca_certificate: Option<String>,
    pub(super) keepalive: Option<bool>,
    pub(super) keepalive_pool: Option<u32>,
    pub(super) keepalive_timeout: Option<WrittenDuration>,
    pub(super) proxy_url: Option<SecretString>,
    pub(super) request_timeout: Option<WrittenDuration>,
    pub(super) retry: Option<WrittenRetry>,
    pub(super) circuit_breaker: Option<WrittenCircuitBreaker>,
}

impl WrittenUpstream {
    pub(super) fn check(self, default_timeout: Duration, checker: &mut Checker<'_>) -> UpstreamSettings {
        let timeouts = SHORTEST..=LONGEST;
        let timeout = checker.duration("timeout", self.timeout, default_timeout, timeouts.clone());
        let mut phase = |key, written| checker.duration(key, written, timeout, timeouts.clone());
        let timeouts = Timeouts {
            connect: phase("connect_timeout", self.connect_timeout),
            first_byte: phase("first_byte_timeout", self.first_byte_timeout),
            idle: phase("idle_timeout", self.idle_timeout),
        };
        let ca_certificate = self.ca_certificate.map(PathBuf::from);
        if let Some(file) = &ca_certificate
            && let Err(error) = crate::tls::read_authorities(file)
        {
            let expected = "a PEM file with certificates of authorities";
            let problem = if checker.is_quotable("ca_certificate") {
                format!("{}: {error}", file.display())
            } else {
                error.to_string()
            };
            checker.below("ca_certificate").mistake(problem, expected);
        }
        UpstreamSettings {
            timeouts,
            ssl_verify: self.ssl_verify.unwrap_or(true),
            ca_certificate,
            keepalive: self.keepalive.unwrap_or(true),
            keepalive_pool: checker.number(
                "keepalive_pool",
                self.keepalive_pool,
                KEEPALIVE_POOL,
                1..=100_000,
            ),
            keepalive_timeout: checker.duration(
                "keepalive_timeout",
                self.keepalive_timeout,
                KEEPALIVE_TIMEOUT,
                Duration::from_secs(1)..=LONGEST,
            ),
            proxy: self.proxy_url.and_then(|url| proxy(&url, checker)),
            request_timeout: request_timeout(self.request_timeout, checker),
            retry: self.retry.unwrap_or_default().check(&mut checker.below("retry")),
            circuit_breaker: self
                .circuit_breaker
                .and_then(|written| written.check(&mut checker.below("circuit_breaker"))),
        }
    }
}

/// None by default, since a streamed answer may rightly last for as long as its function runs.
fn request_timeout(written: Option<WrittenDuration>, checker: &mut Checker<'_>) -> Option<Duration> {
    let limit = checker.duration("request_timeout", written, Duration::ZERO, Duration::ZERO..=LONGEST);
    if limit.is_zero() {
        return None;
    }
    if limit < SHORTEST {
        checker.below("request_timeout").mistake("too short to be of use", "at least 100ms, or 0 for none");
    }
    Some(limit)
}

fn proxy(url: &SecretString, checker: &mut Checker<'_>) -> Option<ForwardProxy> {
    let proxy = ForwardProxy::parse(url.expose_secret());
    proxy.map_err(|problem| checker.below("proxy_url").mistake(problem, ForwardProxy::EXPECTED)).ok()
}
