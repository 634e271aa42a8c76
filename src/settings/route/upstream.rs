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
use crate::settings::source::{check::Checker, key_type::DAY};
use crate::text::units::WrittenDuration;
use crate::tls::{ClientIdentity, IdentityProblem};

/// APISIX's lower bound of time limits: below it a typo is likelier than an intention.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);

/// The URL of an HTTP proxy.
const PROXY: &str = concat!(
    r"^[hH][tT][tT][pP]://([^:@/?#%\s][^@/?#\s]*@)?",
    r"([A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?$"
);
/// A region or a service, which are parts of a signature's scope.
pub(in crate::settings) const SCOPE_WORD: &str = "^[a-z0-9-]+$";

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

section! {
    /// How to reach AWS, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpstreamSettings, read as WrittenUpstream, optional "a table about the way to AWS";

    made UpstreamParts {
        /// Time limits.
        timeouts: Timeouts,
        /// A PEM file of the authorities to trust instead of the platform's.
        ca_certificate: Option<PathBuf>,
        /// The certificate that a server is shown if it asks for one.
        client_identity: Option<ClientIdentity>,
        /// Connections are used again.
        keepalive: bool,
        /// How long an idle connection is kept.
        keepalive_timeout: Duration,
        /// Where connections lead, if that is not the host that is called.
        connect: Connect,
        /// The proxy that every connection goes through.
        proxy: Option<ForwardProxy>,
        /// For a whole request, from its head to the last byte of the answer.
        request_timeout: Option<Duration>,
        /// The repetition of calls that fail.
        retry: RetrySettings,
        /// When calls are not even tried.
        circuit_breaker: Option<CircuitBreakerSettings>,
    }

    /// Each of the next three, where it is not set.
    timeout: WrittenDuration [SHORTEST..=DAY] => _;
    /// Name resolution, TCP, a proxy's tunnel and TLS together, whichever of the name's addresses answers; `timeout` by
    /// default.
    connect_timeout: WrittenDuration [SHORTEST..=DAY] => |upstream| upstream.timeouts.connect;
    /// Without progress in sending, then until the answer's head has arrived; `timeout` by default.
    first_byte_timeout: WrittenDuration [SHORTEST..=DAY] => |upstream| upstream.timeouts.first_byte;
    /// Between two pieces of the answer's body; `timeout` by default.
    idle_timeout: WrittenDuration [SHORTEST..=DAY] => |upstream| upstream.timeouts.idle;
    /// The whole request, from its head to the last byte of the answer, repeated calls and pauses among it; `0` for
    /// none. None by default, since a streamed answer may rightly last for as long as its function runs.
    request_timeout: WrittenDuration [SHORTEST..=DAY], or_none() => |upstream| upstream.request_timeout;
    /// Which calls are made again, how often and when; see "Retries".
    retry: WrittenRetry => |upstream| upstream.retry;
    /// When calls are not even tried. Without the section they always are.
    circuit_breaker: WrittenCircuitBreaker => |upstream| upstream.circuit_breaker;
    /// The server's certificate is verified; `false` is warned of.
    ssl_verify: bool = true;
    /// A PEM file of the authorities to trust instead of the platform's.
    ca_certificate: String, open() => |upstream| &upstream.ca_certificate;
    /// A PEM file of a certificate, with those that vouch for it behind, or its text by reference: shown to a server
    /// that asks who calls, as custom domains with mutual TLS do. Read at the start.
    client_certificate: String, secret_unless_path() => |upstream| upstream.client_identity.as_ref().map(|_| "");
    /// A PEM file with the key of `client_certificate`, or its text by reference.
    client_key: SecretString, secret_unless_path() => |upstream| upstream.client_identity.as_ref().map(|_| "");
    /// Where connections lead, if that is not the host that is called.
    connect: WrittenConnect => |upstream| &upstream.connect;
    // APISIX's default
    /// How many connections stay in each worker once they have been idle for a second.
    keepalive_pool: u32 [1..=100_000] = 5;
    /// An HTTP proxy that is asked for a tunnel (`CONNECT`) to the endpoint and resolves its name:
    /// `http://HOST:PORT`, or `http://USER:PASSWORD@HOST:PORT`; port 80 if none is given.
    proxy_url: SecretString, pattern(PROXY), secret() => |upstream| &upstream.proxy;
}

/// The part of a backend's own that its keys about the way to AWS need.
#[derive(Debug, Clone, Copy)]
pub(in crate::settings) struct OwnWay {
    /// The default of `timeout`.
    pub(in crate::settings) timeout: Duration,
    /// Plain or over TLS, if it is known.
    pub(in crate::settings) scheme: Option<Scheme>,
    /// Connections are used again.
    pub(in crate::settings) keepalive: bool,
    /// How long an idle connection is kept.
    pub(in crate::settings) keepalive_timeout: Duration,
}

impl WrittenUpstream {
    pub(in crate::settings) fn check(&mut self, own: OwnWay, checker: &mut Checker<'_>) -> UpstreamSettings {
        let OwnWay { timeout, scheme, keepalive, keepalive_timeout } = own;
        let circuit_breaker =
            checker.checked(declared!(WrittenUpstream, "circuit_breaker"), self.circuit_breaker.take());
        let request_timeout =
            checker.checked(declared!(WrittenUpstream, "request_timeout"), self.request_timeout);
        let parts = UpstreamParts {
            timeouts: self.timeouts(timeout, checker),
            ca_certificate: self.ca_certificate.take().map(|file| authorities(file, checker)),
            client_identity: self.client_identity(scheme, checker),
            keepalive,
            keepalive_timeout,
            connect: match self.connect.take() {
                Some(connect) => connect.check(scheme, &mut checker.at("connect")),
                None => Connect::default(),
            },
            proxy: self.proxy_url.take().and_then(|url| proxy(&url, checker)),
            request_timeout: request_timeout.filter(|limit| !limit.is_zero()),
            retry: self.retry.take().unwrap_or_default().check(&mut checker.at("retry")),
            // a route turns off with 0 what `defaults` turns on
            circuit_breaker: circuit_breaker.filter(|breaker| breaker.failures > 0),
        };
        self.settled(checker)(parts)
    }

    fn timeouts(&self, default: Duration, checker: &mut Checker<'_>) -> Timeouts {
        let all = checker.checked(declared!(WrittenUpstream, "timeout"), self.timeout).unwrap_or(default);
        let mut phase = |key, written| checker.checked(key, written).unwrap_or(all);
        Timeouts {
            connect: phase(declared!(WrittenUpstream, "connect_timeout"), self.connect_timeout),
            first_byte: phase(declared!(WrittenUpstream, "first_byte_timeout"), self.first_byte_timeout),
            idle: phase(declared!(WrittenUpstream, "idle_timeout"), self.idle_timeout),
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
                if !checker.has_error(missing) {
                    let problem = format!("missing, but `{there}` is set");
                    checker.at(missing).report(problem, "both or none of client_certificate and client_key");
                }
                return None;
            }
        };
        if scheme == Some(Scheme::Http) {
            checker.at(BOTH[0]).report("has no effect without TLS", "https, or remove the key");
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
        checker.at(setting).report(problem, expected);
        None
    }
}

/// The file of the authorities to trust, which must hold some.
pub(in crate::settings) fn authorities(file: String, checker: &mut Checker<'_>) -> PathBuf {
    let file = PathBuf::from(file);
    if let Err(error) = crate::tls::read_authorities(&file) {
        let path = checker.quotable("ca_certificate", &file.display().to_string());
        let problem = path.map_or_else(|| error.to_string(), |path| format!("{path}: {error}"));
        checker.at("ca_certificate").report(problem, "a PEM file with certificates of authorities");
    }
    file
}

fn proxy(url: &SecretString, checker: &mut Checker<'_>) -> Option<ForwardProxy> {
    let proxy = ForwardProxy::parse(url.expose_secret());
    proxy.map_err(|problem| checker.at("proxy_url").report(problem, ForwardProxy::EXPECTED)).ok()
}
