//! Opens a connection: resolves the name, tries each address (`reach.rs`), opens a tunnel through the proxy
//! if there is one (`tunnel.rs`), then performs the TLS handshake.
//!
//! The steps share one timeout, and each failure names its step: an operator who reads `upstream_tls` checks
//! certificates, not security groups.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    connection_limit::ConnectionLimit,
    endpoint::{Endpoint, EndpointTls},
    reach::{ATTEMPT_DELAY, ConnectAttempts, first_to_answer},
    stream::UpstreamStream,
    tunnel,
};
use crate::{
    message::error::{ErrorKind, Overload, ProxyError},
    metrics::EndpointMetrics,
    settings::HostPort,
    system::{exhausted::FileLimit, tcp_keepalive},
    text::local_addresses::may_reach_this_machine,
    tls::failure::{self, HandshakePeer, TlsFailure},
};

/// Buffer limit of rustls: with a body of 64 KiB the head is written in the same system call, which rustls'
/// default prevents.
const TLS_BUFFER_LIMIT: usize = 128 << 10;

/// A step of opening a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DialStep {
    /// Name resolution.
    #[default]
    Resolve,
    /// TCP connect.
    Connect,
    /// Tunnel through the proxy.
    Tunnel,
    Tls,
}

/// The current step, or the one that failed.
#[derive(Debug, Default)]
pub struct DialProgress {
    pub step: DialStep,
    /// The next step for the operator after the proxy rejected the tunnel.
    pub cure: Option<&'static str>,
    pub handshake: Option<TlsFailure>,
    attempts: ConnectAttempts,
}

/// Opens a connection to `endpoint` within its `connect_timeout`.
///
/// # Errors
/// No address accepts the connection, the server cannot be verified, or the timeout expired.
pub async fn dial(endpoint: &Endpoint) -> Result<UpstreamStream, ProxyError> {
    let limit = endpoint.connect_timeout;
    dial_with_progress(endpoint, ("connect_timeout", limit), &mut DialProgress::default()).await
}

/// Opens a connection that counts towards `limit` and in `metrics`.
///
/// # Errors
/// No address accepts the connection, the server cannot be verified, or the timeout expired.
pub async fn dial_counted(
    endpoint: &Endpoint,
    limit: &Arc<ConnectionLimit>,
    metrics: &EndpointMetrics,
) -> Result<UpstreamStream, ProxyError> {
    // counted while it opens, because it has a socket already
    let permit = limit.enter();
    let opened = dial(endpoint).await.map(|stream| stream.counted(permit));
    let count = if opened.is_ok() { &metrics.opened } else { &metrics.failed };
    count.add(1);
    opened
}

/// Same as [`dial`] with another timeout; records the step in `progress`.
///
/// # Errors
/// No address accepts the connection, the server cannot be verified, or the timeout expired.
pub async fn dial_with_progress(
    endpoint: &Endpoint,
    (limit_name, limit): (&str, Duration),
    progress: &mut DialProgress,
) -> Result<UpstreamStream, ProxyError> {
    let connected = timeout(limit, connect(endpoint, progress)).await;
    let stream = connected.unwrap_or_else(|_| {
        let through = endpoint.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}"));
        let through = through.unwrap_or_default();
        let attempts = &progress.attempts;
        let cause =
            format!("no connection to {endpoint}{through} within {limit_name}, {limit:?} ({attempts})");
        Err(ProxyError::new(ErrorKind::UpstreamTimeout, cause))
    });
    stream.map_err(ProxyError::before_sending)
}

async fn connect(endpoint: &Endpoint, progress: &mut DialProgress) -> Result<UpstreamStream, ProxyError> {
    let stream = match &endpoint.proxy {
        None => {
            let is_guarded = endpoint.listed.as_ref().is_some_and(|listed| !listed.may_be_local);
            reach("", HostPort(&endpoint.host, endpoint.port), is_guarded, progress).await?
        }
        Some(proxy) => {
            let mut stream = reach("the proxy ", HostPort(&proxy.host, proxy.port), false, progress).await?;
            progress.step = DialStep::Tunnel;
            tunnel::open(&mut stream, proxy, endpoint, &mut progress.cure).await?;
            stream
        }
    };
    match &endpoint.tls {
        None => Ok(UpstreamStream::plain(stream)),
        Some(tls) => {
            progress.step = DialStep::Tls;
            handshake(endpoint, tls, stream, &mut progress.handshake).await
        }
    }
}

/// Connects to the first address that accepts; `is_guarded` if none may be of this machine.
async fn reach(
    role: &str,
    place: HostPort<'_>,
    is_guarded: bool,
    progress: &mut DialProgress,
) -> Result<TcpStream, ProxyError> {
    let failed = |what: &str, why: &dyn std::fmt::Display| {
        ProxyError::new(ErrorKind::UpstreamConnect, format!("{what} {role}{place}: {why}"))
    };
    let HostPort(host, port) = place;
    let out_of_files = |exhausted: FileLimit| {
        let cause = format!("no socket for a connection to {role}{place}: {exhausted}");
        // not a failure of the upstream, and a retry would need a socket too
        ProxyError::new(ErrorKind::Overloaded(Overload::Connections), cause).permanent()
    };
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| {
        let exhausted = FileLimit::in_error(&error).or_else(FileLimit::now);
        exhausted.map_or_else(|| failed("cannot resolve", &error), out_of_files)
    })?;
    progress.step = DialStep::Connect;
    let addresses: Vec<SocketAddr> = addresses.collect();
    // the connection uses these addresses, so the name cannot resolve to others after the check
    if let Some(local) = addresses.iter().find(|address| is_guarded && may_reach_this_machine(address.ip())) {
        let why = format!("{} belongs to this machine or its metadata service", local.ip());
        return Err(failed("refusing to connect to", &why).permanent());
    }
    let attempts = &mut progress.attempts;
    let Some(stream) = first_to_answer(addresses, ATTEMPT_DELAY, attempts).await else {
        let exhausted = attempts.errors().find_map(FileLimit::in_error);
        return Err(
            exhausted.map_or_else(|| failed("cannot connect to", &attempts.causes(place)), out_of_files)
        );
    };
    // a request is written in one piece, so Nagle's algorithm only adds latency
    let is_set_up = stream.set_nodelay(true).and_then(|()| tcp_keepalive::enable(&stream));
    is_set_up.map_err(|error| failed("cannot set up the connection to", &error))?;
    Ok(stream)
}

async fn handshake(
    endpoint: &Endpoint,
    tls: &EndpointTls,
    stream: TcpStream,
    failed: &mut Option<TlsFailure>,
) -> Result<UpstreamStream, ProxyError> {
    let connector = TlsConnector::from(Arc::clone(&tls.configuration));
    match connector.connect(tls.name.clone(), stream).await {
        Ok(mut stream) => {
            stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_LIMIT));
            Ok(UpstreamStream::tls(stream))
        }
        Err(error) => {
            let (name, authorities) = (tls.name.to_str(), tls.authorities.as_deref());
            let server = HandshakePeer { place: endpoint, name: &name, authorities };
            let failure = failed.insert(failure::of_handshake(&error, &server));
            let refusal = ProxyError::new(ErrorKind::UpstreamTls, failure.for_log());
            Err(if failure::is_about_a_certificate(&error) { refusal.permanent() } else { refusal })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::KeepAlive, tls::Configurations};

    fn dialled(host: &str, port: u16, is_secured: bool) -> Result<UpstreamStream, ProxyError> {
        let tls = is_secured.then(|| {
            let configuration = Configurations::default().get(false, None, None).unwrap();
            EndpointTls::with("api.example", configuration).unwrap()
        });
        let endpoint = Endpoint {
            host: host.into(),
            port,
            tls,
            proxy: None,
            connect_timeout: Duration::from_millis(200),
            keepalive: KeepAlive { enabled: false, pool: 1, timeout: Duration::ZERO },
            listed: None,
        };
        actix_rt::System::new().block_on(dial(&endpoint))
    }

    fn cause_of_failure(host: &str, port: u16, is_secured: bool) -> String {
        dialled(host, port, is_secured).expect_err("no server listens").to_string()
    }

    #[test]
    fn c5_a_connection_to_the_upstream_has_keep_alive() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = dialled("127.0.0.1", listener.local_addr().unwrap().port(), false).unwrap();
        tcp_keepalive::tests::assert_enabled(stream.tcp());
    }

    #[test]
    fn a_timeout_and_a_failed_connect_name_the_addresses_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cause = cause_of_failure("127.0.0.1", port, true);
        let expected = format!(
            "no connection to 127.0.0.1:{port} within connect_timeout, 200ms (127.0.0.1:{port}: connected)"
        );
        assert!(cause.contains(&expected), "{cause}");
        drop(listener);
        let cause = cause_of_failure("127.0.0.1", port, false);
        let expected = format!("cannot connect to 127.0.0.1:{port}: connection refused");
        assert!(cause.ends_with(&expected), "{cause}");
    }
}
