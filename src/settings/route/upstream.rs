//! The keys that all backends share: time limits, TLS, connections, proxy, retries, circuit breaker.

use std::{path::PathBuf, time::Duration};

use actix_http::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::{
    backend::UpstreamServer,
    connect::{Connect, WrittenConnect},
    environment_proxies::UnusableProxy,
    forward_proxy::HostPort,
    proxy_rule::{Direct, ProxyChoice, ProxyRule},
    retry::{RetrySettings, WrittenRetry},
};
use crate::settings::source::{check::Checker, key_type::DAY};
use crate::text::units::{OrNone, WrittenDuration};
use crate::tls::{ClientIdentity, IdentityProblem};

/// APISIX's lower bound of time limits: shorter ones are probably typos.
pub(in crate::settings) const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

const PROXY_URL: &str = concat!(
    r"^(none|[hH][tT][tT][pP]://([^:@/?#%\s][^@/?#\s]*@)?",
    r"([A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?)$"
);
/// A region or a service in the credential scope of a signature.
pub(in crate::settings) const SCOPE_WORD: &str = "^[a-z0-9-]+$";

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn of(is_secure: bool) -> Self {
        if is_secure { Self::Https } else { Self::Http }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

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
    /// Without progress in sending, then until the response's head has arrived.
    pub first_byte: Duration,
    /// Between two pieces of the response's body; `None` for no limit.
    pub idle: Option<Duration>,
}

section! {
    /// The shared settings of a backend's calls.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpstreamSettings, read as WrittenUpstream, optional "a table about connections to AWS";

    made UpstreamParts {
        timeouts: Timeouts,
        /// PEM file with the certificate authorities to trust instead of the platform's.
        ca_certificate: Option<PathBuf>,
        /// The client certificate for mutual TLS.
        client_identity: Option<ClientIdentity>,
        /// Connections are reused.
        keepalive: bool,
        /// How long an idle connection is kept open.
        keepalive_timeout: Duration,
        /// The server to connect to, if it is not the endpoint's host.
        connect: Connect,
        /// The proxy on the way to the endpoint.
        proxy: ProxyChoice,
        /// The choice of the proxy for other hosts.
        proxy_rule: ProxyRule,
        /// For a whole request, from its head to the last byte of the response.
        request_timeout: Option<Duration>,
        retry: RetrySettings,
        circuit_breaker: Option<CircuitBreakerSettings>,
    }

    /// Default of `connect_timeout`, `first_byte_timeout` and `idle_timeout`.
    timeout: WrittenDuration [SHORTEST_TIMEOUT..=DAY] => _;
    /// Time limit of name resolution, TCP, a proxy's tunnel and TLS together, over all addresses of the host;
    /// `timeout` by default.
    connect_timeout: WrittenDuration [SHORTEST_TIMEOUT..=DAY] => |upstream| upstream.timeouts.connect;
    /// Time limit without progress while the request is sent, then of the wait for the response's head;
    /// `timeout` by default.
    first_byte_timeout: WrittenDuration [SHORTEST_TIMEOUT..=DAY] => |upstream| upstream.timeouts.first_byte;
    /// Time limit between two pieces of the response's body; `timeout` by default. `none` for no limit, as
    /// event streams with long silences need it.
    idle_timeout: OrNone<WrittenDuration> [SHORTEST_TIMEOUT..=DAY]
        => |upstream| OrNone(upstream.timeouts.idle);
    /// Time limit of the whole request, from its head to the last byte of the response, including retries and
    /// their pauses; `0` or `none` for no limit. No limit by default, because a streamed response may last as
    /// long as its function runs.
    request_timeout: OrNone<WrittenDuration> [SHORTEST_TIMEOUT..=DAY]
        => |upstream| upstream.request_timeout;
    /// Retries of failed calls; see "Retries".
    retry: WrittenRetry => |upstream| upstream.retry;
    /// Circuit breaker of the route; none without this section.
    circuit_breaker: WrittenCircuitBreaker => |upstream| upstream.circuit_breaker;
    /// Verify the server's certificate; `false` causes a warning.
    ssl_verify: bool = true;
    /// PEM file with the certificate authorities to trust instead of the platform's.
    ca_certificate: String, open() => |upstream| &upstream.ca_certificate;
    /// Client certificate for servers that require mutual TLS, such as custom domains: a PEM file with the
    /// certificate, followed by its intermediate certificates, or a reference to that text. Read at the
    /// start.
    client_certificate: String, secret_unless_path()
        => |upstream| upstream.client_identity.as_ref().map(|_| "");
    /// Private key of `client_certificate`: a PEM file, or a reference to its text.
    client_key: SecretString, secret_unless_path()
        => |upstream| upstream.client_identity.as_ref().map(|_| "");
    /// Server to connect to, if it is not the endpoint's host.
    connect: WrittenConnect => |upstream| &upstream.connect;
    // APISIX's default
    /// Maximum number of connections that each worker keeps once they have been idle for a second.
    keepalive_pool: u32 [1..=100_000] = 5;
    /// HTTP proxy that opens a tunnel (`CONNECT`) to the endpoint and resolves its name: `http://HOST:PORT`,
    /// or `http://USER:PASSWORD@HOST:PORT`; port 80 by default. `none` for no proxy. Without this key the
    /// environment decides (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`); see "Proxies".
    proxy_url: SecretString, pattern(PROXY_URL), secret() => |upstream| &upstream.proxy;
}

section! {
    /// The settings of a circuit breaker.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct CircuitBreakerSettings, read as WrittenCircuitBreaker,
        present "a table with `failures` and `open_for`";

    /// Number of consecutive failures that opens the circuit breaker; `0` for no circuit breaker.
    failures: u32 [0..=10_000] = 5;
    /// How long the circuit breaker stays open before a probe request is let through (half-open).
    open_for: WrittenDuration [SHORTEST_TIMEOUT..=DAY] = Duration::from_secs(10);
}

/// The values of a backend's section that `WrittenUpstream` does not contain.
#[derive(Debug, Clone, Copy)]
pub(in crate::settings) struct BackendConnection<'a> {
    /// The default of `timeout`.
    pub(in crate::settings) timeout: Duration,
    /// The scheme; `None` if it is invalid.
    pub(in crate::settings) scheme: Option<Scheme>,
    /// The server; `None` if it is invalid.
    pub(in crate::settings) server: Option<UpstreamServer<'a>>,
    /// Connections are reused.
    pub(in crate::settings) keepalive: bool,
    /// How long an idle connection is kept open.
    pub(in crate::settings) keepalive_timeout: Duration,
}

impl WrittenUpstream {
    pub(in crate::settings) fn check(
        &mut self,
        own: BackendConnection<'_>,
        checker: &mut Checker<'_>,
    ) -> UpstreamSettings {
        let BackendConnection { timeout, scheme, server, keepalive, keepalive_timeout } = own;
        let circuit_breaker =
            checker.checked(declared!(WrittenUpstream, "circuit_breaker"), self.circuit_breaker.take());
        let request_timeout =
            checker.checked(declared!(WrittenUpstream, "request_timeout"), self.request_timeout);
        let connect = match self.connect.take() {
            Some(connect) => connect.check(scheme, &mut checker.at("connect")),
            None => Connect::default(),
        };
        let (proxy, proxy_rule) = self.proxy(server, &connect, checker);
        let parts = UpstreamParts {
            timeouts: self.timeouts(timeout, checker),
            ca_certificate: self.ca_certificate.take().map(|file| authorities(file, checker)),
            client_identity: self.client_identity(scheme, checker),
            keepalive,
            keepalive_timeout,
            connect,
            proxy,
            proxy_rule,
            request_timeout: request_timeout.flatten(),
            retry: self.retry.take().unwrap_or_default().check(&mut checker.at("retry")),
            // 0 in a route turns off the circuit breaker of `defaults`
            circuit_breaker: circuit_breaker.filter(|breaker| breaker.failures > 0),
        };
        self.settled(checker)(parts)
    }

    fn timeouts(&self, default: Duration, checker: &mut Checker<'_>) -> Timeouts {
        let all = checker.checked(declared!(WrittenUpstream, "timeout"), self.timeout).unwrap_or(default);
        let idle = checker.checked(declared!(WrittenUpstream, "idle_timeout"), self.idle_timeout);
        let mut phase = |key, written| checker.checked(key, written).unwrap_or(all);
        Timeouts {
            connect: phase(declared!(WrittenUpstream, "connect_timeout"), self.connect_timeout),
            first_byte: phase(declared!(WrittenUpstream, "first_byte_timeout"), self.first_byte_timeout),
            idle: idle.unwrap_or(Some(all)),
        }
    }

    /// The proxy on the way to the server, and the rule for other hosts.
    fn proxy(
        &mut self,
        server: Option<UpstreamServer<'_>>,
        connect: &Connect,
        checker: &mut Checker<'_>,
    ) -> (ProxyChoice, ProxyRule) {
        let direct = ProxyChoice::Direct(Direct::NotSet);
        let url = self.proxy_url.take();
        let rule = ProxyRule::check(url.as_ref().map(ExposeSecret::expose_secret), checker);
        let Some(UpstreamServer { scheme, host, port }) = server else { return (direct, rule) };
        let HostPort(host, port) = connect.place(host, port);
        match rule.choose(scheme, host, port) {
            Ok(choice) => (choice, rule),
            Err(unusable) => {
                checker.at("proxy_url").report(unusable.to_string(), UnusableProxy::EXPECTED);
                // reported once, not for STS again
                (direct, ProxyRule::Off)
            }
        }
    }

    /// The client certificate with its key; each requires the other.
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
                "a PEM file with the client certificate, followed by its intermediate certificates",
                problem,
            ),
            Err(IdentityProblem::Key(problem)) => {
                (BOTH[1], key, "a PEM file with the key of client_certificate", problem)
            }
        };
        checker.report_file(setting, written, &problem, expected);
        None
    }
}

/// The file of `ca_certificate`, which must contain a certificate.
pub(in crate::settings) fn authorities(file: String, checker: &mut Checker<'_>) -> PathBuf {
    let file = PathBuf::from(file);
    if let Err(error) = crate::tls::read_authorities(&file) {
        let expected = "a PEM file with certificates of authorities";
        checker.report_file("ca_certificate", &file.display().to_string(), &error, expected);
    }
    file
}
