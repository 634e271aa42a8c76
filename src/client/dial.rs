//! Opens a connection: names resolved anew each time, every address tried, a proxy asked for a tunnel
//! (`tunnel.rs`) if there is one, then TLS.
//!
//! The steps share one time limit, and each failure says which step it was: a client that is told
//! `upstream_tls` looks at certificates, not at security groups.

use std::{io, sync::Arc};

use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{endpoint::Endpoint, stream::Stream, tunnel};
use crate::{
    error::{ErrorKind, ProxyError},
    settings::HostPort,
    tls::Tls,
};

/// Opens a connection to `endpoint` within its time limit.
///
/// # Errors
/// No address answers, the server cannot be verified, or it took too long.
pub async fn dial(endpoint: &Endpoint) -> Result<Stream, ProxyError> {
    let limit = endpoint.connect_timeout;
    let stream = timeout(limit, connect(endpoint)).await.unwrap_or_else(|_| {
        let through = endpoint.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}"));
        let cause = format!("no connection to {endpoint}{} within {limit:?}", through.unwrap_or_default());
        Err(ProxyError::new(ErrorKind::UpstreamTimeout, cause))
    });
    stream.map_err(ProxyError::before_sending)
}

async fn connect(endpoint: &Endpoint) -> Result<Stream, ProxyError> {
    let stream = match &endpoint.proxy {
        None => reach("", HostPort(&endpoint.host, endpoint.port)).await?,
        Some(proxy) => {
            let mut stream = reach("the proxy ", HostPort(&proxy.host, proxy.port)).await?;
            tunnel::open(&mut stream, proxy, endpoint).await?;
            stream
        }
    };
    match &endpoint.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => handshake(endpoint, tls, stream).await,
    }
}

/// Opens a connection to the first address that takes one.
async fn reach(role: &str, place: HostPort<'_>) -> Result<TcpStream, ProxyError> {
    let failed = |what: &str, error: &io::Error| {
        ProxyError::new(ErrorKind::UpstreamConnect, format!("{what} {role}{place}: {error}"))
    };
    let HostPort(host, port) = place;
    let addresses =
        tokio::net::lookup_host((host, port)).await.map_err(|error| failed("cannot resolve", &error))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // a request is written in one piece, so waiting for more to write only costs time
                stream
                    .set_nodelay(true)
                    .map_err(|error| failed("cannot set up the connection to", &error))?;
                return Ok(stream);
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(failed("cannot connect to", &last))
}

async fn handshake(endpoint: &Endpoint, tls: &Tls, stream: TcpStream) -> Result<Stream, ProxyError> {
    let failed =
        |error: String| ProxyError::new(ErrorKind::UpstreamTls, format!("no TLS with {endpoint}: {error}"));
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| failed(error.to_string()))?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(|error| {
        let failure = failed(error.to_string());
        if is_about_a_certificate(&error) { failure.lasting() } else { failure }
    })?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Whether the server cannot be trusted, and could not be a moment later.
fn is_about_a_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}
