//! Opens a connection: names resolved anew each time, every address tried (`reach.rs`), a proxy asked for a tunnel
//! (`tunnel.rs`) if there is one, then TLS.
//!
//! The steps share one time limit, and each failure says which step it was: a client that is told
//! `upstream_tls` looks at certificates, not at security groups.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    endpoint::{Endpoint, Secured},
    reach::{ATTEMPT_DELAY, ConnectAttempts, first_to_answer},
    stream::Stream,
    tunnel,
};
use crate::{
    message::error::{ErrorKind, ProxyError},
    settings::HostPort,
    system::{exhausted::FileLimit, tcp_keepalive},
    tls::failure::{self, HandshakePeer, TlsFailure},
};

/// Bytes that are encrypted before they are written: with a body of 64 KiB its head goes out in one system call,
/// which it would not with what rustls proposes.
const AT_ONCE: usize = 128 << 10;

/// A step on the way to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DialStep {
    /// Names become addresses.
    #[default]
    Resolve,
    /// An address takes a connection.
    Connect,
    /// The proxy gives a tunnel.
    Tunnel,
    Tls,
}

/// The step that is under way, or that failed.
#[derive(Debug, Default)]
pub struct DialProgress {
    pub step: DialStep,
    /// The cure for a refusal of the proxy.
    pub cure: Option<&'static str>,
    pub handshake: Option<TlsFailure>,
    attempts: ConnectAttempts,
}

/// Opens a connection to `endpoint` within its time limit.
///
/// # Errors
/// No address answers, the server cannot be verified, or it took too long.
pub async fn dial(endpoint: &Endpoint) -> Result<Stream, ProxyError> {
    let limit = endpoint.connect_timeout;
    dial_noting(endpoint, ("connect_timeout", limit), &mut DialProgress::default()).await
}

/// The same within another limit, with the step that it came to in `progress`.
///
/// # Errors
/// No address answers, the server cannot be verified, or it took too long.
pub async fn dial_noting(
    endpoint: &Endpoint,
    (limit_name, limit): (&str, Duration),
    progress: &mut DialProgress,
) -> Result<Stream, ProxyError> {
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

async fn connect(endpoint: &Endpoint, progress: &mut DialProgress) -> Result<Stream, ProxyError> {
    let stream = match &endpoint.proxy {
        None => reach("", HostPort(&endpoint.host, endpoint.port), progress).await?,
        Some(proxy) => {
            let mut stream = reach("the proxy ", HostPort(&proxy.host, proxy.port), progress).await?;
            progress.step = DialStep::Tunnel;
            tunnel::open(&mut stream, proxy, endpoint, &mut progress.cure).await?;
            stream
        }
    };
    match &endpoint.tls {
        None => Ok(Stream::plain(stream)),
        Some(tls) => {
            progress.step = DialStep::Tls;
            handshake(endpoint, tls, stream, &mut progress.handshake).await
        }
    }
}

/// Opens a connection to the first address that takes one.
async fn reach(
    role: &str,
    place: HostPort<'_>,
    progress: &mut DialProgress,
) -> Result<TcpStream, ProxyError> {
    let failed = |what: &str, why: &dyn std::fmt::Display| {
        ProxyError::new(ErrorKind::UpstreamConnect, format!("{what} {role}{place}: {why}"))
    };
    let HostPort(host, port) = place;
    let out_of_files = |exhausted: FileLimit| {
        let cause = format!("no socket for a connection to {role}{place}: {exhausted}");
        // nothing that the upstream has done, and another attempt would only ask for one more
        ProxyError::new(ErrorKind::Overloaded, cause).lasting()
    };
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| {
        let exhausted = FileLimit::in_error(&error).or_else(FileLimit::now);
        exhausted.map_or_else(|| failed("cannot resolve", &error), out_of_files)
    })?;
    progress.step = DialStep::Connect;
    let attempts = &mut progress.attempts;
    let Some(stream) = first_to_answer(addresses.collect(), ATTEMPT_DELAY, attempts).await else {
        let exhausted = attempts.errors().find_map(FileLimit::in_error);
        return Err(
            exhausted.map_or_else(|| failed("cannot connect to", &attempts.causes(place)), out_of_files)
        );
    };
    // a request is written in one piece, so waiting for more to write only costs time
    let is_set_up = stream.set_nodelay(true).and_then(|()| tcp_keepalive::enable(&stream));
    is_set_up.map_err(|error| failed("cannot set up the connection to", &error))?;
    Ok(stream)
}

async fn handshake(
    endpoint: &Endpoint,
    tls: &Secured,
    stream: TcpStream,
    failed: &mut Option<TlsFailure>,
) -> Result<Stream, ProxyError> {
    let connector = TlsConnector::from(Arc::clone(&tls.configuration));
    match connector.connect(tls.name.clone(), stream).await {
        Ok(mut stream) => {
            stream.get_mut().1.set_buffer_limit(Some(AT_ONCE));
            Ok(Stream::tls(stream))
        }
        Err(error) => {
            let (name, authorities) = (tls.name.to_str(), tls.authorities.as_deref());
            let server = HandshakePeer { place: endpoint, name: &name, authorities };
            let failure = failed.insert(failure::of_handshake(&error, &server));
            let refusal = ProxyError::new(ErrorKind::UpstreamTls, failure.for_log());
            Err(if failure::is_about_a_certificate(&error) { refusal.lasting() } else { refusal })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::KeepAlive, tls::Configurations};

    fn dialled(host: &str, port: u16, is_secured: bool) -> Result<Stream, ProxyError> {
        let tls = is_secured.then(|| {
            let configuration = Configurations::default().get(false, None, None).unwrap();
            Secured::with("api.example", configuration).unwrap()
        });
        let endpoint = Endpoint {
            host: host.into(),
            port,
            tls,
            proxy: None,
            connect_timeout: Duration::from_millis(200),
            keepalive: KeepAlive { enabled: false, pool: 1, timeout: Duration::ZERO },
        };
        actix_rt::System::new().block_on(dial(&endpoint))
    }

    fn cause_of_failure(host: &str, port: u16, is_secured: bool) -> String {
        dialled(host, port, is_secured).expect_err("nobody is there").to_string()
    }

    #[test]
    fn c5_a_connection_to_the_upstream_has_keep_alive() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = dialled("127.0.0.1", listener.local_addr().unwrap().port(), false).unwrap();
        tcp_keepalive::tests::assert_enabled(stream.tcp());
    }

    #[test]
    fn the_addresses_that_were_tried_are_told_when_time_is_up_and_when_none_answers() {
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
