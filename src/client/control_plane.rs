//! HTTP client for control-plane requests, which the sidecar sends for itself: the export of spans, and the
//! settings from a source.
//!
//! awc speaks HTTP/1.1 over connections of `dial.rs`, so addresses, proxy, TLS and authorities work as
//! everywhere else. Control-plane requests use awc; the data path never does: awc passes a truncated body on
//! as complete, loses a body that ends with its connection, and reads no response before the request is sent.
//! A collector's response is a status and a short error text, and a bundle of settings shows by itself that
//! it is complete; a lost request is retried.
//!
//! The server is not trusted: head, body and the time for each are limited, redirects are not followed, and a
//! connection is closed if its response has no clear end.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use actix_http::{
    Method, StatusCode, Uri,
    error::PayloadError,
    header::{self, HeaderMap},
};
use actix_service::fn_service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::{
    ClientResponse, SendClientRequest,
    error::{ConnectError as NoConnection, SendRequestError},
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream as _;
use tokio::time::{Instant, sleep_until};

use super::{
    connection_limit::ConnectionLimit, dial::dial_counted, endpoint::Endpoint, stream::UpstreamStream,
};
use crate::{
    message::error::{ErrorKind, ProxyError},
    metrics::{EndpointMetrics, Metrics},
    system::lazy_deadline::poll_due,
};

/// A client for one endpoint, with at most one idle connection.
pub struct ControlClient {
    awc: awc::Client,
    connections: Rc<Connections>,
}

/// A response; the body may be truncated.
#[derive(Debug)]
pub struct ControlAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The beginning of the body, at most [`ControlLimits::answer`] bytes.
    pub body: Bytes,
    pub end: AnswerEnd,
}

/// The end of a response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerEnd {
    /// All of it has arrived, as far as its `Content-Length` shows that.
    Complete,
    /// The body has [`ControlLimits::answer`] bytes or more.
    Limit,
    /// The body took longer than [`ControlLimits::step`].
    Late,
    /// The connection ended before the body did.
    Truncated,
}

/// Limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct ControlLimits {
    /// Timeout from the open connection to the head of the response, and again for the body.
    pub step: Duration,
    /// Maximum bytes of the body to read; the rest is dropped.
    pub answer: usize,
}

/// Opens connections for awc and counts them.
struct Connections {
    endpoint: Arc<Endpoint>,
    metrics: Arc<EndpointMetrics>,
    open: Arc<ConnectionLimit>,
    /// Connections counted as idle in the metrics.
    idle: Cell<u32>,
    /// A connection is being opened.
    is_dialling: Cell<bool>,
    /// When the last one was opened.
    opened: Cell<Option<Instant>>,
}

impl ControlClient {
    /// A client without connections; `metrics` counts those that it opens.
    pub fn new(endpoint: Arc<Endpoint>, metrics: &Metrics) -> Self {
        let connections = Rc::new(Connections {
            metrics: metrics.endpoint(&endpoint.to_string()),
            endpoint,
            open: Arc::default(),
            idle: Cell::new(0),
            is_dialling: Cell::new(false),
            opened: Cell::new(None),
        });
        Self { awc: awc_over(&connections), connections }
    }

    /// Posts a body to this path and query, with these headers, among them `Host`.
    ///
    /// # Errors
    /// A step failed: connecting, the proxy's tunnel, TLS, sending, or reading the head of the response.
    pub async fn post(
        &mut self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        limits: ControlLimits,
    ) -> Result<ControlAnswer, ProxyError> {
        self.send(Method::POST, path, headers, Some(body), limits).await
    }

    /// Gets this path and query, with these headers, among them `Host`.
    ///
    /// # Errors
    /// A step failed, as in [`Self::post`]. A body that is not complete is no error, see
    /// [`ControlAnswer::end`].
    pub async fn get(
        &mut self,
        path: &str,
        headers: HeaderMap,
        limits: ControlLimits,
    ) -> Result<ControlAnswer, ProxyError> {
        self.send(Method::GET, path, headers, None, limits).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
        limits: ControlLimits,
    ) -> Result<ControlAnswer, ProxyError> {
        // the dialler performs TLS; for awc every connection is plain HTTP/1.1, so that its HTTP/2 (h2 0.3)
        // is never used
        let uri = Uri::try_from(format!("http://{}{path}", self.connections.endpoint));
        let uri = uri.map_err(|error| ProxyError::new(ErrorKind::Internal, error))?;
        let mut request = self.awc.request(method, uri).no_decompress();
        if !self.connections.endpoint.keepalive.enabled {
            request = request.force_close();
        }
        *request.headers_mut() = headers;
        let had_idle = self.connections.take();
        let sending = match body {
            Some(body) => request.send_body(body),
            None => request.send(),
        };
        let answer = match self.connections.head(sending, limits.step).await {
            Ok(answer) => Ok(read(answer.timeout(limits.step), limits.answer).await),
            Err(error) => Err(error),
        };
        if !answer.as_ref().is_ok_and(ControlAnswer::has_an_end) {
            self.close();
        }
        self.connections.put_back(had_idle);
        answer
    }

    /// Closes the idle connection, if there is one.
    pub fn close(&mut self) {
        self.awc = awc_over(&self.connections);
        self.connections.count_idle(0);
    }
}

impl Drop for ControlClient {
    fn drop(&mut self) {
        self.connections.count_idle(0);
    }
}

impl ControlAnswer {
    /// True for a final response that declares its length. awc takes an interim response for the final one,
    /// and a response without a length for one without a body; the bytes that follow would start the next
    /// response.
    fn has_an_end(&self) -> bool {
        let has = |name| self.headers.contains_key(name);
        let has_length = has(header::CONTENT_LENGTH) || has(header::TRANSFER_ENCODING);
        match self.status {
            StatusCode::NO_CONTENT => true,
            // awc waits for a body if there is a length
            StatusCode::NOT_MODIFIED => !has_length,
            status => !status.is_informational() && has_length && self.end == AnswerEnd::Complete,
        }
    }
}

impl Connections {
    async fn open(&self) -> Result<UpstreamStream, ProxyError> {
        self.is_dialling.set(true);
        let opened = dial_counted(&self.endpoint, &self.open, &self.metrics).await;
        self.is_dialling.set(false);
        self.opened.set(Some(Instant::now()));
        opened
    }

    /// Starts a request, which uses the idle connection; returns true if there was one.
    fn take(&self) -> bool {
        let had_idle = self.idle.get() > 0;
        self.count_idle(0);
        self.is_dialling.set(false);
        self.opened.set(None);
        had_idle
    }

    /// Ends a request and counts its connection as reused, stale or idle.
    fn put_back(&self, had_idle: bool) {
        if had_idle {
            let was_stale = self.opened.get().is_some() || self.is_dialling.get();
            let count = if was_stale { &self.metrics.stale } else { &self.metrics.reused };
            count.add(1);
        }
        self.count_idle(self.open.count());
    }

    fn count_idle(&self, idle: u32) {
        self.metrics.idle.change(i64::from(idle) - i64::from(self.idle.replace(idle)));
    }

    /// Time at which the current request got a new connection; `None` if it reuses one.
    fn waiting_since(&self) -> Option<Instant> {
        if self.is_dialling.get() { Some(Instant::now()) } else { self.opened.get() }
    }

    /// Reads the head of the response. The limit starts once the connection is open; dialling has its own
    /// timeout.
    async fn head(
        &self,
        mut sending: SendClientRequest,
        limit: Duration,
    ) -> Result<ClientResponse, ProxyError> {
        let begun = Instant::now();
        let mut timer = pin!(sleep_until(begun + limit));
        poll_fn(|context| {
            if let Poll::Ready(answer) = Pin::new(&mut sending).poll(context) {
                return Poll::Ready(answer.map_err(failure));
            }
            poll_due(timer.as_mut(), || self.waiting_since().unwrap_or(begun) + limit, context).map(|()| {
                let cause = format!("no answer within {limit:?} of the request");
                Err(ProxyError::new(ErrorKind::UpstreamTimeout, cause))
            })
        })
        .await
    }
}

/// An awc client over these connections. Redirects are off: their targets are not configured.
fn awc_over(connections: &Rc<Connections>) -> awc::Client {
    let keepalive = connections.endpoint.keepalive;
    let connections = Rc::clone(connections);
    let dialler = fn_service::<_, _, _, _, _, ()>(move |asked: ConnectInfo<Uri>| {
        let connections = Rc::clone(&connections);
        async move {
            let opened = connections.open().await;
            let opened = opened.map_err(|error| ConnectError::Io(io::Error::other(error)));
            Ok::<_, ConnectError>(Connection::new(asked.request().clone(), opened?))
        }
    });
    // the dialler has its own timeout
    let connector = awc::Connector::new().connector(dialler).timeout(Duration::MAX);
    let connector = connector.conn_keep_alive(keepalive.timeout).conn_lifetime(Duration::MAX);
    awc::Client::builder().connector(connector).disable_redirects().disable_timeout().finish()
}

/// Reads the body up to the limit. A longer, truncated or late body is no error.
async fn read(mut answer: ClientResponse, most: usize) -> ControlAnswer {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = BytesMut::new();
    let end = loop {
        if status == StatusCode::NOT_MODIFIED {
            break AnswerEnd::Complete;
        }
        match poll_fn(|context| Pin::new(&mut answer).poll_next(context)).await {
            None => break AnswerEnd::Complete,
            Some(Err(PayloadError::Io(error))) if error.kind() == io::ErrorKind::TimedOut => {
                break AnswerEnd::Late;
            }
            Some(Err(_)) => break AnswerEnd::Truncated,
            Some(Ok(piece)) => {
                let room = most - body.len();
                body.extend_from_slice(&piece[..piece.len().min(room)]);
                if body.len() == most {
                    break AnswerEnd::Limit;
                }
            }
        }
    };
    let is_short = declared_length(&headers).is_some_and(|declared| declared > body.len() as u64);
    let end = if end == AnswerEnd::Complete && is_short && status != StatusCode::NOT_MODIFIED {
        AnswerEnd::Truncated
    } else {
        end
    };
    ControlAnswer { status, headers, body: body.freeze(), end }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn failure(error: SendRequestError) -> ProxyError {
    match error {
        SendRequestError::Connect(NoConnection::Io(error)) => match error.downcast::<ProxyError>() {
            Ok(own) => own,
            Err(error) => ProxyError::new(ErrorKind::UpstreamConnect, error),
        },
        SendRequestError::Connect(NoConnection::Disconnected) => {
            ProxyError::new(ErrorKind::UpstreamTruncated, "the connection ended before the answer's head did")
        }
        SendRequestError::Send(error) => {
            ProxyError::new(ErrorKind::UpstreamTruncated, format!("the connection broke: {error}"))
        }
        other => ProxyError::new(ErrorKind::UpstreamProtocol, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        thread::{self, JoinHandle},
    };

    use super::*;
    use crate::{
        client::{EndpointTls, KeepAlive},
        settings::ForwardProxy,
        tls::Configurations,
    };

    const LIMITS: ControlLimits = ControlLimits { step: Duration::from_secs(20), answer: 8 };

    fn endpoint(host: &str, port: u16) -> Endpoint {
        let keepalive = KeepAlive { enabled: true, pool: 1, timeout: Duration::from_secs(30) };
        let (host, connect_timeout) = (host.to_owned(), LIMITS.step);
        Endpoint { host, port, tls: None, proxy: None, connect_timeout, keepalive, listed: None }
    }

    fn posted(endpoint: Endpoint) -> Result<ControlAnswer, ProxyError> {
        actix_rt::System::new().block_on(async {
            let mut client = ControlClient::new(Arc::new(endpoint), &Metrics::new());
            client.post("/v1/traces?a=b", HeaderMap::new(), Bytes::from_static(b"spans"), LIMITS).await
        })
    }

    /// A server that reads a request and writes a response, repeatedly; returns the requests.
    fn server(answers: &'static [&'static str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reading = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = answers.iter().map(|answer| {
                let mut read = [0; 1000];
                let length = stream.read(&mut read).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&read[..length]).into_owned()
            });
            read.collect()
        });
        (address, reading)
    }

    #[test]
    fn a_request_goes_through_the_proxy() {
        let (address, proxy) =
            server(&["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nhi"]);
        let proxy_url = ForwardProxy::parse(&format!("http://u:p@{address}")).unwrap();
        let answer = posted(Endpoint { proxy: Some(proxy_url), ..endpoint("collector.test", 4318) }).unwrap();
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::ACCEPTED, &b"hi"[..]));
        let read = proxy.join().unwrap();
        assert!(read[0].starts_with("CONNECT collector.test:4318 HTTP/1.1\r\n"), "{read:?}");
        assert!(read[0].contains("\r\nProxy-Authorization: Basic dTpw\r\n"), "{read:?}");
        assert!(read[1].starts_with("POST /v1/traces?a=b HTTP/1.1\r\n"), "{read:?}");
        assert!(!read[1].to_ascii_lowercase().contains("encoding"), "{read:?}");
    }

    #[test]
    fn a_failed_step_of_the_dialler_keeps_its_error_kind() {
        let error = posted(endpoint("127.0.0.1", 1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UpstreamConnect);
        assert!(error.to_string().contains("cannot connect to 127.0.0.1:1: connection refused"), "{error}");
        let (address, server) = server(&["HTTP/1.1 400 Bad Request\r\n\r\n"]);
        let configuration = Configurations::default().get(true, None, None).unwrap();
        let tls = Some(EndpointTls::with("collector.test", configuration).unwrap());
        let error = posted(Endpoint { tls, ..endpoint("127.0.0.1", address.port()) }).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UpstreamTls);
        server.join().unwrap();
    }

    fn got(answer: &'static str) -> ControlAnswer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
            // `…` keeps the connection open
            if answer.ends_with('…') {
                thread::sleep(Duration::from_secs(5));
            }
        });
        let limits = ControlLimits { step: Duration::from_millis(300), answer: 8 };
        actix_rt::System::new().block_on(async {
            let endpoint = endpoint("127.0.0.1", address.port());
            let mut client = ControlClient::new(Arc::new(endpoint), &Metrics::new());
            client.get("/b", HeaderMap::new(), limits).await.unwrap()
        })
    }

    #[test]
    fn a_body_that_is_truncated_late_or_too_long_is_not_complete() {
        for (answer, end) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", AnswerEnd::Complete),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", AnswerEnd::Complete),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", AnswerEnd::Truncated),
            ("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n…", AnswerEnd::Late),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabcdefghi", AnswerEnd::Limit),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", AnswerEnd::Complete),
            // awc would wait for the body that a 304 never has
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n…", AnswerEnd::Complete),
        ] {
            assert_eq!(got(answer).end, end, "{answer}");
        }
    }

    #[test]
    fn a_body_is_read_up_to_the_limit() {
        let (address, _server) = server(&["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n123456789"]);
        assert_eq!(&posted(endpoint("127.0.0.1", address.port())).unwrap().body[..], b"12345678");
    }
}
