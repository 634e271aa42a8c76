//! The way to STS and to the endpoints that give keys: HTTP for the AWS SDK, over the connections of
//! `client/dial.rs`, so that certificates are verified and `proxy_url` is meant here as everywhere else.
//!
//! `fetch.rs` makes one for each source. Nothing is kept between calls, which are minutes apart.

use std::{net::IpAddr, sync::Arc, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
        http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::{
    client::{Endpoint, EndpointTls, KeepAlive, dial},
    message::error::{ErrorKind, ProxyError},
    settings::{ForwardProxy, HostPort},
    text::uri_syntax::{is_loopback, without_brackets},
    tls::Tls,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Unless the caller of the connector says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys and errors are a few KiB.
const MAX_ANSWER: usize = 256 << 10;

/// How requests for keys get where they go.
#[derive(Debug, Clone)]
pub struct AwsTransport {
    pub tls: Tls,
    /// What stands between here and AWS; never between here and what is on this machine.
    pub proxy: Option<ForwardProxy>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    Dial(ProxyError),
    /// The connection broke, or what came was no HTTP.
    Exchange(BoxError),
    /// Nothing came for so long.
    Slow(Duration),
}

/// An [`AwsTransport`] with the time limits of one caller.
#[derive(Debug)]
struct Connector {
    transport: AwsTransport,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

impl AwsTransport {
    /// This way as the AWS SDK's HTTP client.
    pub fn client(&self) -> SharedHttpClient {
        let transport = self.clone();
        http_client_fn(move |settings: &HttpConnectorSettings, _| {
            SharedHttpConnector::new(Connector {
                transport: transport.clone(),
                connect_timeout: settings.connect_timeout().unwrap_or(CONNECT_TIMEOUT),
                answer_timeout: settings.read_timeout().unwrap_or(ANSWER_TIMEOUT),
            })
        })
    }

    /// Where a request to this URL goes.
    ///
    /// # Errors
    /// It names no host.
    pub fn endpoint(&self, uri: &Uri) -> Result<Endpoint, String> {
        let connector = Connector {
            transport: self.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
        };
        connector.endpoint(uri).map_err(|error| error.to_string())
    }

    /// One request without a body and its whole answer, for what the SDK cannot do.
    ///
    /// # Errors
    /// There is no whole answer within `limit`, which holds for the connection and for the answer.
    pub async fn get(&self, uri: Uri, limit: Duration) -> Result<Response<Bytes>, BoxError> {
        let request = Request::get(uri).body(SdkBody::empty())?;
        let connector = Connector { transport: self.clone(), connect_timeout: limit, answer_timeout: limit };
        connector.exchange(request).await.map_err(|failure| match failure {
            Failure::Dial(error) => error.into(),
            Failure::Exchange(error) => error,
            Failure::Slow(limit) => slow(limit),
        })
    }
}

fn slow(limit: Duration) -> BoxError {
    format!("no answer within {limit:?}").into()
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = Self { transport: self.transport.clone(), ..*self };
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let response = connector.exchange(request).await.map_err(|failure| match failure {
                Failure::Dial(error) if error.kind == ErrorKind::UpstreamTimeout => {
                    ConnectorError::timeout(error.into())
                }
                Failure::Dial(error) => ConnectorError::io(error.into()),
                Failure::Exchange(error) => ConnectorError::io(error),
                Failure::Slow(limit) => ConnectorError::timeout(slow(limit)),
            })?;
            HttpResponse::try_from(response.map(SdkBody::from))
                .map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

impl Connector {
    /// One request over a connection of its own.
    async fn exchange(&self, mut request: Request<SdkBody>) -> Result<Response<Bytes>, Failure> {
        let endpoint = self.endpoint(request.uri()).map_err(Failure::Exchange)?;
        on_the_wire(&mut request).map_err(Failure::Exchange)?;
        let stream = dial(&endpoint).await.map_err(Failure::Dial)?;
        let broken = |error: hyper::Error| Failure::Exchange(error.into());
        let answer = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            // ends with `sender` and the answer's body, so with this future
            let connection = tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(Failure::Exchange)?;
            connection.abort();
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(self.answer_timeout, answer).await.unwrap_or(Err(Failure::Slow(self.answer_timeout)))
    }

    fn endpoint(&self, uri: &Uri) -> Result<Endpoint, BoxError> {
        let host = uri.host().ok_or_else(|| format!("{uri} has no host"))?;
        let host = without_brackets(host);
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let tls = is_https.then(|| EndpointTls::with(host, Arc::clone(&self.transport.tls)));
        Ok(Endpoint {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            tls: tls.transpose()?,
            proxy: self.transport.proxy.clone().filter(|_| !is_on_this_machine(host)),
            connect_timeout: self.connect_timeout,
            keepalive: KeepAlive { enabled: false, pool: 0, timeout: Duration::ZERO },
        })
    }
}

/// Names the host in the header alone, as a server that is no proxy expects it (RFC 9112, 3.2.1).
fn on_the_wire(request: &mut Request<SdkBody>) -> Result<(), BoxError> {
    let uri = request.uri();
    let is_default = matches!(
        (uri.scheme_str(), uri.port_u16()),
        (_, None) | (Some("https"), Some(443)) | (Some("http"), Some(80))
    );
    let host = uri.host().unwrap_or_default();
    let authority = match uri.port_u16() {
        Some(port) if !is_default => HostPort(without_brackets(host), port).to_string(),
        _ => host.to_owned(),
    };
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).parse()?;
    request.headers_mut().insert(header::HOST, HeaderValue::try_from(authority)?);
    *request.uri_mut() = path;
    Ok(())
}

/// Whether an address is this machine's, or one that the platform answers on each machine: EC2's metadata service,
/// the endpoints of ECS and of EKS Pod Identity. A proxy has others there, and would give its own keys.
fn is_on_this_machine(host: &str) -> bool {
    let is_platforms = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        // fd00:ec2::254 and fd00:ec2::23
        IpAddr::V6(address) => address.is_unicast_link_local() || address.segments()[..2] == [0xfd00, 0x0ec2],
    };
    is_loopback(host) || host.parse().is_ok_and(is_platforms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        credentials::fakes::{FakeServer, transport},
        settings::ForwardProxy,
    };

    #[test]
    fn the_platforms_own_addresses_are_never_asked_through_a_proxy() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::23",
            "fd00:ec2::254",
            "127.0.0.1",
            "::1",
            "localhost",
        ] {
            assert!(is_on_this_machine(host), "{host}");
        }
        for host in ["sts.eu-west-1.amazonaws.com", "10.0.0.1", "fd00:1::1", "169.253.0.1"] {
            assert!(!is_on_this_machine(host), "{host}");
        }
    }

    #[test]
    fn the_host_is_in_the_header_alone() {
        let sent = |uri: &str| {
            let mut request = Request::get(uri).body(SdkBody::empty()).unwrap();
            on_the_wire(&mut request).unwrap();
            (request.uri().to_string(), request.headers()["host"].to_str().unwrap().to_owned())
        };
        assert_eq!(sent("https://a:443/b?c=d"), ("/b?c=d".into(), "a".into()));
        assert_eq!(sent("http://a:443"), ("/".into(), "a:443".into()));
        assert_eq!(sent("http://[fd00:ec2::254]/x"), ("/x".into(), "[fd00:ec2::254]".into()));
        assert_eq!(sent("http://[::1]:81/x"), ("/x".into(), "[::1]:81".into()));
    }

    #[actix_rt::test]
    async fn an_answer_comes_through_a_proxy_that_is_told_its_password() {
        let proxy = FakeServer::start(|request| {
            if request.starts_with("CONNECT sts.test:80 ") {
                assert!(request.contains("Proxy-Authorization: Basic dTpw\r\n"), "{request}");
                "HTTP/1.1 200 OK\r\n\r\n".to_owned()
            } else {
                assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_owned()
            }
        })
        .await;
        let text = format!("http://u:p@{}", proxy.address);
        let transport = AwsTransport { proxy: Some(ForwardProxy::parse(&text).unwrap()), ..transport() };
        let answer = transport.get("http://sts.test/x".parse().unwrap(), ANSWER_TIMEOUT).await.unwrap();
        assert_eq!(&answer.body()[..], b"hi");
        assert_eq!(proxy.requests().len(), 2);
    }

    #[actix_rt::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let server = FakeServer::start(|_| String::new()).await;
        let uri = format!("http://{}/", server.address).parse().unwrap();
        let error = transport().get(uri, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 50ms");
    }

    #[actix_rt::test]
    async fn an_answer_without_end_is_given_up() {
        let server =
            FakeServer::start(|_| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_ANSWER + 1))).await;
        let uri = format!("http://{}/", server.address).parse().unwrap();
        assert!(transport().get(uri, ANSWER_TIMEOUT).await.is_err());
    }
}
