//! How a route reaches AWS: time limits, TLS, connections kept, another address, a proxy between, what happens when it
//! fails. The same keys for every backend.

use std::{path::PathBuf, time::Duration};

use actix_http::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    circuit_breaker::{CircuitBreakerSettings, WrittenCircuitBreaker},
    connect::{Connect, WrittenConnect},
    forward_proxy::ForwardProxy,
    retry::{RetrySettings, WrittenRetry},
};
use crate::settings::{process::limits::LONGEST, source::check::Checker};
use crate::text::units::WrittenDuration;
use crate::tls::{ClientIdentity, IdentityProblem};

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
    /// That of a connection which is encrypted, or not.
    pub fn of(is_secure: bool) -> Self {
        if is_secure { Self::Https } else { Self::Http }
    }

    /// As it stands in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that need not be written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The value of `Host` for an authority that the settings have checked.
#[expect(clippy::expect_used, reason = "the host of a route is a name or an address, which is visible ASCII")]
pub(in crate::settings) fn host_header(authority: &str) -> HeaderValue {
    HeaderValue::from_str(authority).expect("a checked host and its port")
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
    /// What a server that asks is shown of us.
    pub client_identity: Option<ClientIdentity>,
    /// Whether connections are used again.
    pub keepalive: bool,
    /// How many idle connections each worker keeps.
    pub keepalive_pool: u32,
    /// How long an idle connection is kept.
    pub keepalive_timeout: Duration,
    /// Where connections lead, if that is not the host that is called.
    pub connect: Connect,
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
pub(in crate::settings) struct WrittenUpstream {
    pub(in crate::settings) timeout: Option<WrittenDuration>,
    pub(in crate::settings) connect_timeout: Option<WrittenDuration>,
    pub(in crate::settings) first_byte_timeout: Option<WrittenDuration>,
    pub(in crate::settings) idle_timeout: Option<WrittenDuration>,
    pub(in crate::settings) ssl_verify: Option<bool>,
    pub(in crate::settings) ca_certificate: Option<String>,
    pub(in crate::settings) client_certificate: Option<String>,
    pub(in crate::settings) client_key: Option<SecretString>,
    pub(in crate::settings) connect: Option<WrittenConnect>,
    pub(in crate::settings) keepalive: Option<bool>,
    pub(in crate::settings) keepalive_pool: Option<u32>,
    pub(in crate::settings) keepalive_timeout: Option<WrittenDuration>,
    pub(in crate::settings) proxy_url: Option<SecretString>,
    pub(in crate::settings) request_timeout: Option<WrittenDuration>,
    pub(in crate::settings) retry: Option<WrittenRetry>,
    pub(in crate::settings) circuit_breaker: Option<WrittenCircuitBreaker>,
}

impl WrittenUpstream {
    /// `scheme` is that of the backend, if it is known.
    pub(in crate::settings) fn check(
        self,
        default_timeout: Duration,
        scheme: Option<Scheme>,
        checker: &mut Checker<'_>,
    ) -> UpstreamSettings {
        let client_identity = self.client_identity(scheme, checker);
        UpstreamSettings {
            timeouts: self.timeouts(default_timeout, checker),
            ssl_verify: self.ssl_verify.unwrap_or(true),
            ca_certificate: self.ca_certificate.map(|file| authorities(file, checker)),
            client_identity,
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
            connect: match self.connect {
                Some(connect) => connect.check(scheme, &mut checker.below("connect")),
                None => Connect::default(),
            },
            proxy: self.proxy_url.and_then(|url| proxy(&url, checker)),
            request_timeout: request_timeout(self.request_timeout, checker),
            retry: self.retry.unwrap_or_default().check(&mut checker.below("retry")),
            circuit_breaker: self
                .circuit_breaker
                .and_then(|written| written.check(&mut checker.below("circuit_breaker"))),
        }
    }

    fn timeouts(&self, default: Duration, checker: &mut Checker<'_>) -> Timeouts {
        // APISIX's lower bounds: below them a typo is likelier than an intention
        let range = SHORTEST..=LONGEST;
        let timeout = checker.duration("timeout", self.timeout, default, range.clone());
        let mut phase = |key, written| checker.duration(key, written, timeout, range.clone());
        Timeouts {
            connect: phase("connect_timeout", self.connect_timeout),
            first_byte: phase("first_byte_timeout", self.first_byte_timeout),
            idle: phase("idle_timeout", self.idle_timeout),
        }
    }

    /// The certificate and its key, which are nothing without each other.
    fn client_identity(&self, scheme: Option<Scheme>, checker: &mut Checker<'_>) -> Option<ClientIdentity> {
        const BOTH: [&str; 2] = ["client_certificate", "client_key"];
        let (certificate, key) = match (&self.client_certificate, &self.client_key) {
            (None, None) => return None,
            (Some(certificate), Some(key)) => (certificate, key.expose_secret()),
            (certificate, _) => {
                let [there, missing] = if certificate.is_some() { BOTH } else { [BOTH[1], BOTH[0]] };
                if !checker.is_wrong(missing) {
                    let problem = format!("missing, while {there} is there");
                    checker
                        .below(missing)
                        .mistake(problem, "both or none of client_certificate and client_key");
                }
                return None;
            }
        };
        if scheme == Some(Scheme::Http) {
            checker.below(BOTH[0]).mistake("there is no TLS to show it in", "none, or https");
            return None;
        }
        let (setting, written, expected, problem) = match ClientIdentity::read(certificate, key) {
            Ok(identity) => return Some(identity),
            Err(IdentityProblem::Certificate(problem)) => (
                BOTH[0],
                certificate.as_str(),
                "a PEM file with our certificate, those that vouch for it behind",
                problem,
            ),
            Err(IdentityProblem::Key(problem)) => {
                (BOTH[1], key, "a PEM file with the key of client_certificate", problem)
            }
        };
        let path = checker.quotable(setting, written);
        let problem = path.map_or_else(|| problem.clone(), |path| format!("{path}: {problem}"));
        checker.below(setting).mistake(problem, expected);
        None
    }
}

/// The file of the authorities to trust, which must hold some.
pub(in crate::settings) fn authorities(file: String, checker: &mut Checker<'_>) -> PathBuf {
    let file = PathBuf::from(file);
    if let Err(error) = crate::tls::read_authorities(&file) {
        let path = checker.quotable("ca_certificate", &file.display().to_string());
        let problem = path.map_or_else(|| error.to_string(), |path| format!("{path}: {error}"));
        checker.below("ca_certificate").mistake(problem, "a PEM file with certificates of authorities");
    }
    file
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
