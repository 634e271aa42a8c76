//! The client towards AWS, the only user of `awc`: one per worker thread.
//!
//! [`Client::send`] takes a connection (`pool.rs`, or `dial.rs` anew), lets `awc` speak HTTP/1.1 over it under
//! the guards of `connection.rs`, and returns the answer's head with a body that streams (`response.rs`).
//! `awc` serves as the codec alone: connections, time limits and errors are decided here, because its pool
//! says neither whether a connection was used before nor whether anything was sent on it. `awc` finds the
//! connection meant for a request by a number in the place of the URI's host, which never reaches the wire.

mod connection;
mod dial;
mod endpoint;
mod event_stream;
mod framing;
mod log_tail;
mod pool;
mod reply;
mod response;
mod stream;
mod tunnel;

use std::{
    cell::RefCell,
    collections::HashMap,
    future::{Ready, poll_fn, ready},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use actix_http::{
    Method, Uri,
    body::{BoxBody, MessageBody, SizedStream},
    header,
    uri::{Authority, PathAndQuery, Scheme},
};
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection as Connected};
use awc::{ClientResponse, Connector, FrozenClientRequest, error::SendRequestError};
use bytes::Bytes;
use slab::Slab;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::dial::dial;
use self::{
    connection::Connection,
    framing::{Framing, Head, Malformed},
    pool::Pool,
};
pub use self::{
    endpoint::{Endpoint, KeepAlive},
    event_stream::{EventStream, Events},
    log_tail::log_tail,
    reply::{ERROR_TYPE, FUNCTION_ERROR, LOG_RESULT, ReplyBody, UpstreamReply},
    response::ResponseBody,
};
use crate::{
    error::{ErrorKind, ProxyError},
    proxy::{
        inbound::{Arrival, RequestBody},
        outbound::OutboundRequest,
    },
    settings::Timeouts,
};

/// Longer than any request: every time limit is kept here, so none of `awc`'s own may strike first.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// Sends requests and keeps connections for one worker thread.
pub struct Client {
    awc: awc::Client,
    connections: Connections,
    pools: RefCell<HashMap<Arc<Endpoint>, Rc<Pool>>>,
}

impl Default for Client {
    fn default() -> Self {
        let connections = Connections::default();
        let connector = Connector::new()
            .connector(connections.clone())
            .timeout(FOREVER)
            // nothing it might keep is ever there when it looks
            .conn_keep_alive(Duration::ZERO)
            .limit(0);
        let awc = awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish();
        Self { awc, connections, pools: RefCell::default() }
    }
}

impl Client {
    /// Sends a request and waits for the head of the answer.
    ///
    /// A connection from the pool may have been closed at the other end in the same moment. Then, if nothing
    /// came back and sending twice does no harm, the request goes out once more on a fresh connection.
    ///
    /// # Errors
    /// Which step failed, with its cause.
    pub async fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        timeouts: Timeouts,
        request: OutboundRequest,
    ) -> Result<UpstreamReply, ProxyError> {
        let pool = self.pool(endpoint);
        let place = Place::reserve(&self.connections);
        let repeatable = is_repeatable(&request);
        let to_head = request.method == Method::HEAD;
        let (request, mut body) = self.prepare(request, &place, endpoint.keepalive.enabled)?;
        let mut kept = pool.take();
        loop {
            let used_before = kept.is_some();
            let stream = match kept.take() {
                Some(stream) => stream,
                None => dial(endpoint).await?,
            };
            let connection = Connection::new(stream, to_head);
            place.put(connection.clone());
            let again = (used_before && repeatable).then(|| body.again()).flatten();
            match exchange(&request, body, &connection, timeouts.first_byte).await {
                Ok(response) => return reply(response, connection, &pool, timeouts.idle),
                Err(error) => match again {
                    Some(again)
                        if !connection.anything_received() && error.kind != ErrorKind::UpstreamTimeout =>
                    {
                        log::debug!("{endpoint}: a kept connection was closed, sending again on a new one");
                        body = again;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    fn pool(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.get(endpoint) {
            return Rc::clone(pool);
        }
        let pool = Pool::new(Arc::clone(endpoint));
        pools.insert(Arc::clone(endpoint), Rc::clone(&pool));
        pool
    }

    /// Turns a request into `awc`'s terms.
    fn prepare(
        &self,
        request: OutboundRequest,
        place: &Place<'_>,
        keep: bool,
    ) -> Result<(FrozenClientRequest, Body), ProxyError> {
        let internal = |error: String| ProxyError::new(ErrorKind::Internal, error);
        let path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(request.path_and_query))
            .map_err(|error| internal(format!("the request target cannot be sent: {error}")))?;
        let mut parts = actix_http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(place.authority()?);
        parts.path_and_query = Some(path_and_query);
        let uri = Uri::from_parts(parts).map_err(|error| internal(error.to_string()))?;
        let body = match request.body {
            RequestBody::Whole(bytes) => Body::Whole(bytes),
            RequestBody::Stream(stream) => Body::Stream {
                arrival: stream.arrival(),
                stream: BoxBody::new(SizedStream::new(stream.length, stream)),
            },
            // RFC 9110, 8.6: a method that has a meaning for a body says so when there is none
            RequestBody::Empty if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
                Body::Whole(Bytes::new())
            }
            RequestBody::Empty => Body::Absent,
        };
        let mut prepared = self.awc.request(request.method, uri).no_decompress();
        *prepared.headers_mut() = request.headers;
        if !keep {
            prepared = prepared.force_close();
        }
        let frozen = prepared.freeze().map_err(|error| internal(error.to_string()))?;
        Ok((frozen, body))
    }
}

/// Whether a request may be sent twice: what was asked for is the same the second time (RFC 9110, 9.2.2).
fn is_repeatable(request: &OutboundRequest) -> bool {
    request.method.is_idempotent()
}

/// A body in `awc`'s terms.
enum Body {
    Absent,
    Whole(Bytes),
    Stream {
        stream: BoxBody,
        /// How it comes in from the client.
        arrival: Rc<Arrival>,
    },
}

impl Body {
    /// The same body for a second time, if it is at hand.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Absent => Some(Self::Absent),
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Stream { .. } => None,
        }
    }

    fn into_message_body(self) -> BoxBody {
        match self {
            Self::Absent => BoxBody::new(actix_http::body::None::new()),
            Self::Whole(bytes) => bytes.boxed(),
            Self::Stream { stream, .. } => stream,
        }
    }
}

/// Sends a request and waits for the head of its answer. The limit counts from the last byte sent, so that a
/// large body on a slow line may take its time; while the client is waited for, it does not count, since that has
/// a limit of its own.
async fn exchange(
    request: &FrozenClientRequest,
    body: Body,
    connection: &Connection,
    limit: Duration,
) -> Result<ClientResponse, ProxyError> {
    let arrival = match &body {
        Body::Stream { arrival, .. } => Some(Rc::clone(arrival)),
        Body::Absent | Body::Whole(_) => None,
    };
    let mut sending = pin!(request.send_body(body.into_message_body()));
    let mut timer = pin!(sleep_until(connection.written_at() + limit));
    poll_fn(|context| {
        if let Poll::Ready(result) = sending.as_mut().poll(context) {
            return Poll::Ready(result.map_err(failed));
        }
        while timer.as_mut().poll(context).is_ready() {
            let arrived = arrival.as_ref().and_then(|arrival| arrival.last());
            let due = arrived.max(Some(connection.written_at())).unwrap_or_else(Instant::now) + limit;
            if due <= Instant::now() {
                let cause = format!("no answer within {limit:?} of the request");
                return Poll::Ready(Err(ProxyError::new(ErrorKind::UpstreamTimeout, cause)));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    })
    .await
}

/// What a failure of `awc` means for the client.
fn failed(error: SendRequestError) -> ProxyError {
    match error {
        SendRequestError::Body(error) => match error.downcast::<ProxyError>() {
            Ok(error) => *error,
            Err(error) => ProxyError::new(ErrorKind::InvalidBody, error.to_string()),
        },
        SendRequestError::Response(actix_http::error::ParseError::Io(error))
        | SendRequestError::Send(error) => response::broken(error),
        SendRequestError::Response(error) => ProxyError::new(ErrorKind::UpstreamProtocol, error.to_string()),
        error => ProxyError::new(ErrorKind::Internal, error.to_string()),
    }
}

/// The answer's head and its body, which owns the connection until it has been read.
fn reply(
    response: ClientResponse,
    connection: Connection,
    pool: &Rc<Pool>,
    idle_limit: Duration,
) -> Result<UpstreamReply, ProxyError> {
    let Some(Head { framing, content_length, .. }) = connection.head() else {
        return Err(ProxyError::new(ErrorKind::Internal, "an answer without its head"));
    };
    let status = response.status();
    let mut headers = header::HeaderMap::new();
    let mut payload = actix_http::Payload::None;
    let _ = response.map_body(|head, body| {
        headers = std::mem::take(&mut head.headers);
        payload = body;
        actix_http::Payload::<actix_http::BoxedPayloadStream>::None
    });
    let body =
        match framing {
            Framing::Empty => {
                if let Some(stream) = connection.into_reusable().filter(|_| pool.endpoint.keepalive.enabled) {
                    pool.keep(stream);
                }
                ReplyBody::None { length: content_length }
            }
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => ReplyBody::Stream(
                ResponseBody::new(payload, connection, Rc::clone(pool), content_length, idle_limit),
            ),
        };
    Ok(UpstreamReply { status, headers, body, prelude: None })
}

/// The connections that are in use, by the number under which `awc` asks for them.
#[derive(Debug, Clone, Default)]
struct Connections(Rc<RefCell<Slab<Option<Connection>>>>);

/// A number reserved for one request.
struct Place<'a> {
    connections: &'a Connections,
    number: usize,
}

impl<'a> Place<'a> {
    fn reserve(connections: &'a Connections) -> Self {
        let number = connections.0.borrow_mut().insert(None);
        Self { connections, number }
    }

    fn put(&self, connection: Connection) {
        if let Some(place) = self.connections.0.borrow_mut().get_mut(self.number) {
            *place = Some(connection);
        }
    }

    fn authority(&self) -> Result<Authority, ProxyError> {
        Authority::from_maybe_shared(Bytes::from(self.number.to_string()))
            .map_err(|error| ProxyError::new(ErrorKind::Internal, error.to_string()))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.connections.0.borrow_mut().try_remove(self.number);
    }
}

/// How `awc` gets the connection that is meant for its request.
impl Service<ConnectInfo<Uri>> for Connections {
    type Response = Connected<Uri, Connection>;
    type Error = ConnectError;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let number = info.hostname().parse::<usize>().ok();
        let connection = number.and_then(|number| self.0.borrow_mut().get_mut(number)?.take());
        ready(match connection {
            Some(connection) => Ok(Connected::new(info.request().clone(), connection)),
            None => Err(ConnectError::Unresolved),
        })
    }
}
