//! The client towards AWS: one per worker thread.
//!
//! [`Client::send`] writes the request's head (`request_head.rs`), takes a connection (`pool.rs`, or `dial.rs` anew),
//! speaks HTTP/1.1 over it (`exchange.rs`), and returns the answer's head with a body that streams (`response.rs`).
//! What the sidecar asks on its own account goes out by awc over the same dialler (`control_plane.rs`).

pub(crate) mod aws_error;
mod connection_limit;
mod control_plane;
mod dial;
mod endpoint;
mod event_stream;
mod exchange;
mod framing;
mod gathered;
mod log_tail;
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

pub(crate) use self::{
    connection_limit::ConnectionLimit,
    control_plane::{ControlAnswer, ControlClient, ControlLimits},
    dial::dial,
    endpoint::Secured,
    framing::{MAX_HEAD, MAX_HEADERS},
    log_tail::log_tail,
    probe::{Probed, Unreached, probe_all},
    reply::{ERROR_TYPE, FUNCTION_ERROR, LOG_RESULT},
    response::ResponseBody,
};
pub use self::{
    endpoint::{Endpoint, KeepAlive},
    event_stream::EventStream,
    reply::{ReplyBody, UpstreamReply},
    request_head::encode as encode_head,
};
use self::{
    exchange::Exchange,
    framing::{Framing, Head},
    pool::Pool,
    sending::Sending,
    stream::Stream,
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

/// Sends requests and keeps connections for one worker thread.
pub struct Client {
    pools: RefCell<HashMap<Arc<Endpoint>, Rc<Pool>>>,
    /// The pool that was used last: mostly it is the next one's too, and found without a hash.
    last: RefCell<Option<(Arc<Endpoint>, Rc<Pool>)>>,
    metrics: Arc<Metrics>,
    limit: Arc<ConnectionLimit>,
}

/// The connection that a call was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionReuse {
    /// None could be opened.
    #[default]
    None,
    /// One that earlier calls have left.
    Kept,
    /// One that was opened for it, in this time.
    New(Duration),
}

impl Client {
    /// One without connections, whose are counted in `metrics`; idle ones are closed where there is no room.
    pub fn new(limit: Arc<ConnectionLimit>, metrics: Arc<Metrics>) -> Self {
        Self { pools: RefCell::default(), last: RefCell::default(), metrics, limit }
    }

    /// Sends a request, signed if there are `signing_headers`, and waits for the head of the answer. The request is
    /// left as it was, to be sent again, unless its body passes as it arrives: that is then gone.
    ///
    /// A connection from the pool may have been closed at the other end in the same moment. Then, if nothing
    /// came back and sending twice does no harm, the request goes out once more on a fresh connection. The connection
    /// that was used is in `used`, also where sending then fails.
    ///
    /// # Errors
    /// Which step failed, with its cause.
    pub async fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        timeouts: Timeouts,
        request: &mut OutboundRequest,
        signing_headers: Option<&SigningHeaders>,
        used: &mut ConnectionReuse,
    ) -> Result<UpstreamReply, ProxyError> {
        // what was asked for is the same the second time (RFC 9110, 9.2.2)
        let is_repeatable = request.method.is_idempotent() && request.body.is_buffered();
        let pool = self.pool(endpoint);
        let mut kept = pool.take();
        loop {
            let head = request_head::encode(request, signing_headers, endpoint.keepalive.enabled)?;
            let may_be_stale = kept.is_some();
            let stream = match kept.take() {
                Some(stream) => {
                    *used = ConnectionReuse::Kept;
                    stream
                }
                None => {
                    *used = ConnectionReuse::None;
                    let begun = Instant::now();
                    let stream = self.open(&pool).await?;
                    *used = ConnectionReuse::New(begun.elapsed());
                    stream
                }
            };
            let sending = Sending::new(head, request.body.to_send());
            let mut exchange = Box::new(Exchange::new(stream, sending, request.method == Method::HEAD));
            let error = match answer(&mut exchange, timeouts.first_byte).await {
                Ok(head) => return Ok(reply(head, exchange, &pool, timeouts.idle)),
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

    /// A new connection, in the place of an idle one if there are as many as may be.
    async fn open(&self, pool: &Pool) -> Result<Stream, ProxyError> {
        if self.limit.is_full() {
            self.close_oldest();
        }
        match pool.open().await {
            // others than the connections to AWS have taken the last descriptor
            Err(error) if matches!(error.kind, ErrorKind::Overloaded(_)) && self.close_idle() => {
                pool.open().await
            }
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

    /// Closes every idle connection; whether there was one.
    fn close_idle(&self) -> bool {
        self.pools.borrow().values().fold(false, |any, pool| pool.close_idle() | any)
    }

    fn pool(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        if let Some((last, pool)) = &*self.last.borrow()
            && Arc::ptr_eq(last, endpoint)
        {
            return Rc::clone(pool);
        }
        let pool = self.known_or_new(endpoint);
        *self.last.borrow_mut() = Some((Arc::clone(endpoint), Rc::clone(&pool)));
        pool
    }

    fn known_or_new(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.get(endpoint) {
            return Rc::clone(pool);
        }
        // a new endpoint is rare, and may come with new settings that have no more use for another
        pools.retain(|_, pool| Rc::strong_count(pool) > 1 || !pool.is_empty());
        let metrics = self.metrics.endpoint(&endpoint.to_string());
        let pool = Pool::new(Arc::clone(endpoint), metrics, Arc::clone(&self.limit));
        pools.insert(Arc::clone(endpoint), Rc::clone(&pool));
        pool
    }
}

/// Sends a request and waits for the head of its answer. The limit counts from the last byte sent, so that a
/// large body on a slow line may take its time; while the client is waited for, it does not count, since that has
/// a limit of its own.
async fn answer(exchange: &mut Exchange, limit: Duration) -> Result<Head, ProxyError> {
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

/// The answer's head and its body, which owns the connection until it has been read.
fn reply(head: Head, exchange: Box<Exchange>, pool: &Rc<Pool>, idle_limit: Duration) -> UpstreamReply {
    let Head { status, headers, framing, content_length, .. } = head;
    let body = match framing {
        Framing::Empty => {
            pool.take_back(*exchange);
            ReplyBody::None { length: content_length }
        }
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
            ReplyBody::Stream(ResponseBody::new(exchange, Rc::clone(pool), content_length, idle_limit))
        }
    };
    UpstreamReply { status, headers, body, prelude: None }
}
