//! Idle connections of one worker, kept for the next request to the same endpoint.
//!
//! `client.rs` takes one for each request, and the end of an exchange gives it back. The newest goes first, so that
//! spare ones stay idle long enough to be let go.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    connection_limit::ConnectionLimit, dial::dial, endpoint::Endpoint, exchange::Exchange, stream::Stream,
};
use crate::{
    message::error::ProxyError,
    metrics::EndpointMetrics,
    system::{
        fault_points,
        supervision::{Task, supervise_until_over},
    },
};

/// How often idle connections are looked at.
///
/// It is also how long the connections above `keepalive_pool` stay: the cap is on connections that have
/// nothing to do, not on those between two requests of a busy moment, which APISIX closes and opens anew.
const ROUND: Duration = Duration::from_secs(1);

/// The idle connections to one endpoint.
#[derive(Debug)]
pub struct Pool {
    pub endpoint: Arc<Endpoint>,
    /// What is counted of them.
    pub metrics: Arc<EndpointMetrics>,
    limit: Arc<ConnectionLimit>,
    idle: RefCell<Vec<Idle>>,
    watched: Cell<bool>,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
}

impl Pool {
    /// An empty pool, whose connections are counted in `limit`.
    pub fn new(
        endpoint: Arc<Endpoint>,
        metrics: Arc<EndpointMetrics>,
        limit: Arc<ConnectionLimit>,
    ) -> Rc<Self> {
        let (idle, watched) = (RefCell::default(), Cell::new(false));
        Rc::new(Self { endpoint, metrics, limit, idle, watched })
    }

    /// The connection that was used last, if one is still open.
    pub fn take(&self) -> Option<Stream> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut stream, .. }) = idle.pop() {
            self.metrics.idle.change(-1);
            if stream.is_idle() {
                self.metrics.reused.add(1);
                return Some(stream);
            }
            self.metrics.stale.add(1);
        }
        None
    }

    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// A new connection.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn open(&self) -> Result<Stream, ProxyError> {
        // counted while it opens: it has a socket then
        let place = self.limit.enter();
        let opened = dial(&self.endpoint).await.map(|stream| stream.counted(place));
        let count = if opened.is_ok() { &self.metrics.opened } else { &self.metrics.failed };
        count.add(1);
        opened
    }

    /// Since when the oldest of its connections has been idle.
    pub fn oldest(&self) -> Option<Instant> {
        self.idle.borrow().first().map(|idle| idle.since)
    }

    /// Closes the oldest idle connection.
    pub fn close_oldest(&self) {
        let mut idle = self.idle.borrow_mut();
        if !idle.is_empty() {
            idle.remove(0);
            self.metrics.idle.change(-1);
        }
    }

    /// Closes all idle connections; whether there was one.
    pub fn close_idle(&self) -> bool {
        let closed = std::mem::take(&mut *self.idle.borrow_mut()).len();
        self.metrics.idle.change(-signed(closed));
        closed > 0
    }

    /// Keeps the connection of an exchange that is over, if it is fit for another; otherwise it closes.
    pub fn take_back(self: &Rc<Self>, exchange: Exchange) {
        if let Some(stream) = exchange.into_reusable().filter(|_| self.endpoint.keepalive.enabled) {
            self.keep(stream);
        }
    }

    fn keep(self: &Rc<Self>, stream: Stream) {
        self.metrics.idle.change(1);
        self.idle.borrow_mut().push(Idle { stream, since: Instant::now() });
        if !self.watched.replace(true) {
            actix_rt::spawn(Rc::clone(self).watch());
        }
    }

    /// Lets connections go that are closed, too old or too many, until none is left.
    async fn watch(self: Rc<Self>) {
        supervise_until_over(Task::Worker, async || self.let_go_in_rounds().await).await;
        self.watched.set(false);
    }

    async fn let_go_in_rounds(&self) {
        while !self.idle.borrow().is_empty() {
            tokio::time::sleep(ROUND).await;
            fault_points::pass("pool");
            self.let_go(Instant::now());
            // a worker that needed one more had none of its own to close
            while self.limit.is_exceeded() && !self.is_empty() {
                self.close_oldest();
            }
        }
    }

    fn let_go(&self, now: Instant) {
        let keepalive = &self.endpoint.keepalive;
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain_mut(|idle| now.duration_since(idle.since) < keepalive.timeout && idle.stream.is_idle());
        // the oldest are at the front
        let cap = usize::try_from(keepalive.pool).unwrap_or(usize::MAX);
        let surplus = idle.len().saturating_sub(cap);
        let rested = idle.iter().take_while(|idle| now.duration_since(idle.since) >= ROUND).count();
        idle.drain(..surplus.min(rested));
        self.metrics.idle.change(-signed(before - idle.len()));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.metrics.idle.change(-signed(self.idle.get_mut().len()));
    }
}

/// No process has as many connections as this would cut.
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
