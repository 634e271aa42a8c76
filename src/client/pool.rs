//! Pool of idle connections of one worker to one endpoint.
//!
//! `client.rs` takes a connection for each request; the end of an exchange returns it. The newest is taken
//! first, so that surplus connections stay idle long enough to be closed.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    connection_limit::ConnectionLimit, endpoint::Endpoint, exchange::Exchange, stream::UpstreamStream,
};
use crate::{
    metrics::EndpointMetrics,
    system::{
        fault_points,
        supervision::{Task, supervise_until_over},
    },
};

/// Interval at which idle connections are checked.
///
/// Connections above `keepalive_pool` stay open for this long too: the cap applies to connections without
/// work, not to those between two requests of a busy moment, which APISIX closes and reopens.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Pool {
    pub endpoint: Arc<Endpoint>,
    pub metrics: Arc<EndpointMetrics>,
    limit: Arc<ConnectionLimit>,
    idle: RefCell<Vec<IdleConnection>>,
    watched: Cell<bool>,
}

#[derive(Debug)]
struct IdleConnection {
    stream: UpstreamStream,
    since: Instant,
}

impl Pool {
    /// An empty pool; its connections count towards `limit`.
    pub fn new(
        endpoint: Arc<Endpoint>,
        metrics: Arc<EndpointMetrics>,
        limit: Arc<ConnectionLimit>,
    ) -> Rc<Self> {
        let (idle, watched) = (RefCell::default(), Cell::new(false));
        Rc::new(Self { endpoint, metrics, limit, idle, watched })
    }

    /// Takes the most recently used connection that is still open.
    pub fn take(&self) -> Option<UpstreamStream> {
        let mut idle = self.idle.borrow_mut();
        while let Some(IdleConnection { mut stream, .. }) = idle.pop() {
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

    /// Start of the idle time of the oldest connection.
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

    /// Closes all idle connections; returns true if there was one.
    pub fn close_idle(&self) -> bool {
        let closed = std::mem::take(&mut *self.idle.borrow_mut()).len();
        self.metrics.idle.change(-signed(closed));
        closed > 0
    }

    /// Returns the connection of a finished exchange to the pool if it can be reused; otherwise it closes.
    pub fn take_back(self: &Rc<Self>, exchange: Exchange) {
        if let Some(stream) = exchange.into_reusable().filter(|_| self.endpoint.keepalive.enabled) {
            self.keep(stream);
        }
    }

    fn keep(self: &Rc<Self>, stream: UpstreamStream) {
        self.metrics.idle.change(1);
        self.idle.borrow_mut().push(IdleConnection { stream, since: Instant::now() });
        if !self.watched.replace(true) {
            actix_rt::spawn(Rc::clone(self).watch());
        }
    }

    /// Closes stale, expired and surplus connections until the pool is empty.
    async fn watch(self: Rc<Self>) {
        supervise_until_over(Task::Worker, async || self.maintain().await).await;
        self.watched.set(false);
    }

    async fn maintain(&self) {
        while !self.idle.borrow().is_empty() {
            tokio::time::sleep(CHECK_INTERVAL).await;
            fault_points::pass("pool");
            self.close_expired(Instant::now());
            // another worker exceeded the limit because it had no idle connection to close
            while self.limit.is_exceeded() && !self.is_empty() {
                self.close_oldest();
            }
        }
    }

    fn close_expired(&self, now: Instant) {
        let keepalive = &self.endpoint.keepalive;
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain_mut(|idle| now.duration_since(idle.since) < keepalive.timeout && idle.stream.is_idle());
        // the oldest are at the front
        let cap = usize::try_from(keepalive.pool).unwrap_or(usize::MAX);
        let surplus = idle.len().saturating_sub(cap);
        let rested = idle.iter().take_while(|idle| now.duration_since(idle.since) >= CHECK_INTERVAL).count();
        idle.drain(..surplus.min(rested));
        self.metrics.idle.change(-signed(before - idle.len()));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.metrics.idle.change(-signed(self.idle.get_mut().len()));
    }
}

/// The conversion saturates only beyond any possible number of connections.
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
