//! HTTP client for calls to AWS; one per worker thread.
//!
//! [`Client::send`] encodes the request's head (`request_head.rs`), takes a connection (`pool.rs`, or a new
//! one from `dial.rs`), speaks HTTP/1.1 over it (`exchange.rs`), and returns the response's head with a
//! streaming body (`response.rs`). Control-plane requests use awc over the same dialler (`control_plane.rs`).

pub(crate) mod aws_error;
mod blocking_get;
mod connection_limit;
mod control_plane;
mod dial;
mod endpoint;
mod event_stream;
mod exchange;
mod framing;
mod log_tail;
mod loopback;
mod piece_buffer;
mod pool;
mod probe;
mod reach;
mod reply;
mod request_head;
mod response;
mod sending;
mod stream;
mod tunnel;

use std::{
    cell::RefCell, collections::HashMap, future::poll_fn, pin::pin, rc::Rc, sync::Arc, task::Poll,
    time::Duration,
};

use actix_http::Method;
use tokio::time::{Instant, sleep_until};

#[cfg(test)]
pub(crate) use self::framing::{ParsedHead, parse as parse_head};
pub(crate) use self::{
    blocking_get::blocking_get,
    connection_limit::ConnectionLimit,
    control_plane::{AnswerEnd, ControlAnswer, ControlClient, ControlLimits},
    dial::dial,
    endpoint::EndpointTls,
    framing::{MAX_HEAD, MAX_HEADERS},
    log_tail::log_tail,
    loopback::send_once,
    probe::{ProbeFailure, probe_all},
    reply::{ERROR_TYPE, FUNCTION_ERROR, LOG_RESULT},
    response::ResponseBody,
};
use self::{
    dial::dial_counted,
    exchange::Exchange,
    framing::{BodyFraming, ResponseHead},
    pool::Pool,
    sending::Sending,
    stream::UpstreamStream,
};
pub use self::{
    endpoint::{Endpoint, KeepAlive, ListedHost},
    event_stream::EventStream,
    reply::{ReplyBody, UpstreamReply},
    request_head::encode as encode_head,
};
use crate::{
    message::{
        error::{ErrorKind, ProxyError},
        outbound::OutboundRequest,
    },
    metrics::Metrics,
    settings::Timeouts,
    signing::SigningHeaders,
    system::lazy_deadline::poll_due,
};

/// The most pools of one worker with idle connections to hosts that clients have named.
const MAX_NAMED_HOSTS: usize = 128;

/// Client of one worker thread, with a connection pool per endpoint.
pub struct Client {
    pools: RefCell<HashMap<Arc<Endpoint>, Rc<Pool>>>,
    /// The last pool used; consecutive requests usually have the same endpoint, and this saves a hash lookup.
    last: RefCell<Option<(Arc<Endpoint>, Rc<Pool>)>>,
    metrics: Arc<Metrics>,
    limit: Arc<ConnectionLimit>,
}

/// Origin of the connection that a call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionReuse {
    /// No connection could be opened.
    #[default]
    None,
    /// A pooled connection.
    Kept,
    /// A new connection, opened in this time.
    New(Duration),
}

/// The connection and the observer of a call.
#[derive(Default)]
pub struct SendRecord<'a> {
    pub connection: ConnectionReuse,
    pub heads: Option<&'a mut dyn HeadObserver>,
}

/// Gets the heads of a call as they are on the wire.
pub trait HeadObserver {
    /// Called again if the request is sent again on another connection.
    fn on_request_head(&mut self, head: &[u8]);
    fn on_reply_head(&mut self, head: &[u8]);
}

impl Client {
    /// Creates a client without connections. `limit` is shared by all workers.
    pub fn new(limit: Arc<ConnectionLimit>, metrics: Arc<Metrics>) -> Self {
        Self { pools: RefCell::default(), last: RefCell::default(), metrics, limit }
    }

    /// Sends a request, signed if there are `signing_headers`, and waits for the head of the response. The
    /// request can be sent again, unless its body streams.
    ///
    /// The peer may close a pooled connection at the same moment. If the request is idempotent and no byte of
    /// a response arrived, it is sent again on a new connection. `record` is set also if sending fails.
    ///
    /// # Errors
    /// The step that failed, with its cause.
    pub async fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        timeouts: Timeouts,
        request: &mut OutboundRequest,
        signing_headers: Option<&SigningHeaders>,
        record: &mut SendRecord<'_>,
    ) -> Result<UpstreamReply, ProxyError> {
        // a second identical request has the same effect (RFC 9110, 9.2.2)
        let is_repeatable = request.method.is_idempotent() && request.body.is_buffered();
        let pool = self.pool(endpoint);
        let mut pooled = pool.take();
        loop {
            let head = request_head::encode(request, signing_headers, endpoint.keepalive.enabled)?;
            if let Some(heads) = &mut record.heads {
                heads.on_request_head(&head);
            }
            let may_be_stale = pooled.is_some();
            let stream = match pooled.take() {
                Some(stream) => {
                    record.connection = ConnectionReuse::Kept;
                    stream
                }
                None => {
                    record.connection = ConnectionReuse::None;
                    let begun = Instant::now();
                    // boxed: it is rare, and would enlarge every request's future
                    let stream = Box::pin(self.open(&pool)).await?;
                    record.connection = ConnectionReuse::New(begun.elapsed());
                    stream
                }
            };
            let sending = Sending::new(head, request.body.to_send());
            let mut exchange = Box::new(Exchange::new(stream, sending, request.method == Method::HEAD));
            let error = match response_head(&mut exchange, timeouts.first_byte).await {
                Ok(head) => {
                    if let Some(heads) = &mut record.heads {
                        heads.on_reply_head(&head.bytes);
                    }
                    return Ok(reply(head, exchange, &pool, timeouts.idle));
                }
                Err(error) => error,
            };
            let was_stale = may_be_stale && !exchange.anything_received();
            if !is_repeatable || !was_stale || error.kind == ErrorKind::UpstreamTimeout {
                return Err(error);
            }
            pool.metrics.stale.add(1);
            log::debug!("{endpoint}: an idle connection was closed by the peer, retrying on a new one");
        }
    }

    /// Opens a connection; if the limit is reached, closes the oldest idle one first.
    async fn open(&self, pool: &Pool) -> Result<UpstreamStream, ProxyError> {
        if self.limit.is_full() {
            self.close_oldest();
        }
        let open = || dial_counted(&pool.endpoint, &self.limit, &pool.metrics);
        match open().await {
            // sockets of other components used the last file descriptor
            Err(error) if matches!(error.kind, ErrorKind::Overloaded(_)) && self.close_idle() => open().await,
            opened => opened,
        }
    }

    fn close_oldest(&self) {
        let pools = self.pools.borrow();
        let with_idle = pools.values().filter_map(|pool| Some((pool.oldest()?, pool)));
        if let Some((_, pool)) = with_idle.min_by_key(|(since, _)| *since) {
            pool.close_oldest();
        }
    }

    /// Closes every idle connection; returns true if there was one.
    fn close_idle(&self) -> bool {
        self.pools.borrow().values().fold(false, |any, pool| pool.close_idle() | any)
    }

    fn pool(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        if let Some((last, pool)) = &*self.last.borrow()
            && Arc::ptr_eq(last, endpoint)
        {
            return Rc::clone(pool);
        }
        let pool = self.find_or_create_pool(endpoint);
        *self.last.borrow_mut() = Some((Arc::clone(endpoint), Rc::clone(&pool)));
        pool
    }

    /// Drops the pool of a host named by a client that has been idle for longest, if there are too many.
    fn make_room(&self) {
        let mut pools = self.pools.borrow_mut();
        let named = || pools.iter().filter(|(endpoint, _)| endpoint.listed.is_some());
        if named().count() < MAX_NAMED_HOSTS {
            return;
        }
        let idle = named().filter_map(|(endpoint, pool)| Some((pool.oldest()?, endpoint)));
        let oldest = idle.min_by_key(|(since, _)| *since).map(|(_, endpoint)| Arc::clone(endpoint));
        if let Some(pool) = oldest.and_then(|endpoint| pools.remove(&endpoint)) {
            pool.close_idle();
        }
    }

    fn find_or_create_pool(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        if let Some(pool) = self.pools.borrow().get(endpoint) {
            return Rc::clone(pool);
        }
        if endpoint.listed.is_some() {
            self.make_room();
        }
        let mut pools = self.pools.borrow_mut();
        // a new endpoint is rare and may follow a reload that removed another one
        pools.retain(|_, pool| Rc::strong_count(pool) > 1 || !pool.is_empty());
        let metrics = self.metrics.endpoint(&endpoint.label());
        let pool = Pool::new(Arc::clone(endpoint), metrics, Arc::clone(&self.limit));
        pools.insert(Arc::clone(endpoint), Rc::clone(&pool));
        pool
    }
}

/// Sends the request and waits for the head of its response. The limit counts from the last byte sent, so
/// that a large body on a slow line may take its time; time spent waiting for the client's body, which has
/// its own limit, does not count.
async fn response_head(exchange: &mut Exchange, limit: Duration) -> Result<ResponseHead, ProxyError> {
    let mut timer = pin!(sleep_until(exchange.waiting_since() + limit));
    poll_fn(|context| {
        if let Poll::Ready(head) = exchange.poll_head(context) {
            return Poll::Ready(head);
        }
        poll_due(timer.as_mut(), || exchange.waiting_since() + limit, context).map(|()| {
            let cause = format!("no answer within first_byte_timeout, {limit:?}, of the request");
            Err(ProxyError::new(ErrorKind::UpstreamTimeout, cause))
        })
    })
    .await
}

/// The response's head and its body, which owns the connection until it has been read.
fn reply(
    head: ResponseHead,
    exchange: Box<Exchange>,
    pool: &Rc<Pool>,
    idle_limit: Option<Duration>,
) -> UpstreamReply {
    let ResponseHead { status, headers, framing, content_length, .. } = head;
    let body = if framing == BodyFraming::Empty {
        pool.take_back(*exchange);
        ReplyBody::None { length: content_length }
    } else {
        ReplyBody::Stream(ResponseBody::new(exchange, Rc::clone(pool), content_length, idle_limit))
    };
    UpstreamReply { status, headers, body, prelude: None }
}
