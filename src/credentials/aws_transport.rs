//! The HTTP client of the AWS SDK, on the connections of `client/dial.rs`: proxies and TLS verification work
//! as for routes.
//!
//! Connections are not pooled: the calls are minutes apart.

use std::{sync::Arc, time::Duration};

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
    message::error::ErrorKind,
    settings::{self, HostPort, ProxyRule},
    text::uri_syntax::{is_on_this_machine, without_brackets},
    tls::Tls,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Default for callers that set no timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Default for callers that set no timeout; from the request to the end of the response.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a response; keys and errors are a few KiB.
const MAX_RESPONSE: usize = 256 << 10;

/// TLS and proxy of the calls for keys.
#[derive(Debug, Clone)]
pub struct AwsTransport {
    pub tls: Tls,
    /// Not used for addresses of this machine.
    pub proxy: ProxyRule,
}

/// An [`AwsTransport`] with the timeouts of one caller.
#[derive(Debug)]
struct Connector {
    transport: AwsTransport,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl AwsTransport {
    pub fn client(&self) -> SharedHttpClient {
        let transport = self.clone();
        http_client_fn(move |settings: &HttpConnectorSettings, _| {
            SharedHttpConnector::new(Connector {
                transport: transport.clone(),
                connect_timeout: settings.connect_timeout().unwrap_or(CONNECT_TIMEOUT),
                response_timeout: settings.read_timeout().unwrap_or(RESPONSE_TIMEOUT),
            })
        })
    }

    /// The transport for the metadata services of the machine and the container, which uses no proxy of the
    /// environment, whatever their host: a proxy could return the keys of its own machine.
    #[must_use]
    pub fn to_metadata(&self) -> Self {
        Self { proxy: self.proxy.without_environment(), tls: Arc::clone(&self.tls) }
    }

    /// The endpoint that a request to `uri` connects to.
    ///
    /// # Errors
    /// The URI has no host, the host is no valid server name of TLS, or the proxy of the environment is not
    /// supported.
    pub fn endpoint(&self, uri: &Uri) -> Result<Endpoint, BoxError> {
        let host = without_brackets(uri.host().ok_or_else(|| format!("{uri} has no host"))?);
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let tls = is_https.then(|| EndpointTls::with(host, Arc::clone(&self.tls)));
        let scheme = settings::Scheme::of(is_https);
        let port = uri.port_u16().unwrap_or_else(|| scheme.default_port());
        let proxy = if is_on_this_machine(host) {
            None
        } else {
            self.proxy.choose(scheme, host, port)?.proxy().cloned()
        };
        Ok(Endpoint {
            host: host.to_owned(),
            port,
            tls: tls.transpose()?,
            proxy,
            connect_timeout: CONNECT_TIMEOUT,
            keepalive: KeepAlive { enabled: false, pool: 0, timeout: Duration::ZERO },
            listed: None,
        })
    }

    /// Sends a GET and reads the whole response.
    ///
    /// # Errors
    /// The connection failed, or it or the response took longer than `limit`.
    pub async fn get(&self, uri: Uri, limit: Duration) -> Result<Response<Bytes>, BoxError> {
        self.send(Request::get(uri).body(SdkBody::empty())?, limit).await
    }

    /// Sends a request and reads the whole response, for calls that the SDK does not have.
    ///
    /// # Errors
    /// The connection failed, or it or the response took longer than `limit`.
    pub async fn send(
        &self,
        request: Request<SdkBody>,
        limit: Duration,
    ) -> Result<Response<Bytes>, BoxError> {
        let connector =
            Connector { transport: self.clone(), connect_timeout: limit, response_timeout: limit };
        connector.exchange(request).await.map_err(ConnectorError::into_source)
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = Self { transport: self.transport.clone(), ..*self };
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let response = connector.exchange(request).await?;
            HttpResponse::try_from(response.map(SdkBody::from))
                .map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

impl Connector {
    /// Sends one request over a new connection.
    async fn exchange(&self, mut request: Request<SdkBody>) -> Result<Response<Bytes>, ConnectorError> {
        let endpoint = self.transport.endpoint(request.uri()).map_err(ConnectorError::io)?;
        let endpoint = Endpoint { connect_timeout: self.connect_timeout, ..endpoint };
        to_origin_form(&mut request).map_err(ConnectorError::io)?;
        let stream = dial(&endpoint).await.map_err(|error| match error.kind {
            ErrorKind::UpstreamTimeout => ConnectorError::timeout(error.into()),
            _ => ConnectorError::io(error.into()),
        })?;
        let broken = |error: hyper::Error| ConnectorError::io(error.into());
        let response = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            // the task ends with `sender` and the response's body
            let connection = tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, MAX_RESPONSE).collect().await.map_err(ConnectorError::io)?;
            connection.abort();
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let limit = self.response_timeout;
        let late = |_| Err(ConnectorError::timeout(format!("no answer within {limit:?}").into()));
        timeout(limit, response).await.unwrap_or_else(late)
    }
}

/// Moves the host from the request target to `Host`, as an origin server expects it (RFC 9112, 3.2.1).
fn to_origin_form(request: &mut Request<SdkBody>) -> Result<(), BoxError> {
    let uri = request.uri();
    let authority = authority(uri);
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).parse()?;
    request.headers_mut().insert(header::HOST, HeaderValue::try_from(authority)?);
    *request.uri_mut() = path;
    Ok(())
}

/// The `Host` header of a request to `uri`, without the default port.
pub fn authority(uri: &Uri) -> String {
    let is_default = matches!(
        (uri.scheme_str(), uri.port_u16()),
        (_, None) | (Some("https"), Some(443)) | (Some("http"), Some(80))
    );
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) if !is_default => HostPort(without_brackets(host), port).to_string(),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        credentials::tests::{FakeServer, transport},
        settings::{EnvironmentProxies, ForwardProxy},
    };

    #[test]
    fn the_host_is_in_the_header_alone() {
        let sent = |uri: &str| {
            let mut request = Request::get(uri).body(SdkBody::empty()).unwrap();
            to_origin_form(&mut request).unwrap();
            (request.uri().to_string(), request.headers()["host"].to_str().unwrap().to_owned())
        };
        assert_eq!(sent("https://a:443/b?c=d"), ("/b?c=d".into(), "a".into()));
        assert_eq!(sent("http://a:443"), ("/".into(), "a:443".into()));
        assert_eq!(sent("http://[fd00:ec2::254]/x"), ("/x".into(), "[fd00:ec2::254]".into()));
        assert_eq!(sent("http://[::1]:81/x"), ("/x".into(), "[::1]:81".into()));
    }

    #[actix_rt::test]
    async fn a_call_through_a_proxy_sends_the_proxys_password() {
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
        let transport =
            AwsTransport { proxy: ProxyRule::Url(ForwardProxy::parse(&text).unwrap()), ..transport() };
        let answer = transport.get("http://sts.test/x".parse().unwrap(), RESPONSE_TIMEOUT).await.unwrap();
        assert_eq!(&answer.body()[..], b"hi");
        assert_eq!(proxy.requests().len(), 2);
    }

    #[test]
    fn each_host_of_the_sdk_has_its_own_choice_of_the_proxy() {
        let variables =
            [("HTTPS_PROXY", "http://p:1"), ("HTTP_PROXY", "socks5://hush"), ("NO_PROXY", "sts.test")];
        let find =
            |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        let proxy = ProxyRule::Environment(EnvironmentProxies::read(find));
        let transport = AwsTransport { proxy, ..transport() };
        let through = |transport: &AwsTransport, uri: &str| {
            let endpoint = transport.endpoint(&uri.parse().unwrap()).map_err(|error| error.to_string());
            endpoint.map(|endpoint| endpoint.proxy.is_some())
        };
        assert_eq!(through(&transport, "https://portal.sso.us-east-1.amazonaws.com/x"), Ok(true));
        assert_eq!(through(&transport, "https://sts.test/"), Ok(false));
        let error = through(&transport, "http://keys.test/").unwrap_err();
        assert!(error.starts_with("HTTP_PROXY in the environment: ") && !error.contains("hush"), "{error}");
        for own in ["http://169.254.169.254/x", "http://[fd00:ec2::23]/x", "http://localhost:1/x"] {
            assert_eq!(through(&transport, own), Ok(false), "{own}");
        }
        // an endpoint with another name
        for other in ["http://metadata.test/", "https://keys.test/"] {
            assert_eq!(through(&transport.to_metadata(), other), Ok(false), "{other}");
        }
    }

    /// awc loses such a body (README.md, "Built with").
    #[actix_rt::test]
    async fn a_body_that_ends_with_the_connection_arrives_whole() {
        let server = FakeServer::start(|_| "HTTP/1.0 200 OK\r\n\r\n{\"Code\":\"Success\"}".to_owned()).await;
        let uri = format!("http://{}/", server.address).parse().unwrap();
        let answer = transport().get(uri, RESPONSE_TIMEOUT).await.unwrap();
        assert_eq!(&answer.body()[..], b"{\"Code\":\"Success\"}");
    }

    #[actix_rt::test]
    async fn a_server_that_never_answers_times_out() {
        let server = FakeServer::start(|_| String::new()).await;
        let uri = format!("http://{}/", server.address).parse().unwrap();
        let error = transport().get(uri, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 50ms");
    }

    #[actix_rt::test]
    async fn a_response_over_the_limit_is_an_error() {
        let server =
            FakeServer::start(|_| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_RESPONSE + 1))).await;
        let uri = format!("http://{}/", server.address).parse().unwrap();
        assert!(transport().get(uri, RESPONSE_TIMEOUT).await.is_err());
    }
}
