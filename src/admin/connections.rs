//! Connections to the admin port: a new one is always accepted, and closes the one that has been idle for longest where
//! all are in use. Each has a time limit for idleness.
//!
//! `admin.rs` runs [`serve`] around its pages. actix-web's own server stops accepting where all its connections are
//! taken, so probes would wait behind clients that hold theirs; and its time limits stand still while the machine's
//! clock is before 1970, since the task that moves them has panicked. The limits of this file use the monotonic clock.

use std::{
    cell::Cell,
    fmt::Debug,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_service::Service;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet, yield_now},
    time::{Instant, sleep, sleep_until},
};

use crate::system::{
    exhausted::FileLimit,
    fault_points,
    supervision::{Task, once},
};

/// Time limit of a connection without a byte of an answer: for a slow head, between two requests, and for a client that
/// reads nothing.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// Grace period of a new connection: until it ends or the first byte is received, other connections are closed first.
const GRACE: Duration = Duration::from_millis(5);
/// Pause before the next `accept` after the system has run out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// Interval of the warning about such failures.
const REMINDER: Duration = Duration::from_secs(10);

/// A connection as bytes, which notes when it was last of use.
#[derive(Debug)]
pub(super) struct WatchedConnection {
    stream: TcpStream,
    usage: Rc<Usage>,
}

#[derive(Debug)]
pub(super) struct Usage {
    /// Time at which it was accepted, a request began, or a part of an answer was sent. Further bytes of a slow head do
    /// not count.
    last: Cell<Instant>,
    /// End of the grace period for the first byte; `None` once a byte was received.
    grace: Cell<Option<Instant>>,
    /// The next byte read begins a request.
    is_between_requests: Cell<bool>,
    /// An answer is being made, which may take longer than a client may be silent.
    is_awaiting_us: Cell<bool>,
}

/// The time in which an answer is made.
#[derive(Debug)]
pub(super) struct ResponseGuard(Rc<Usage>);

/// The connections that are open.
#[derive(Default)]
struct OpenConnections {
    tasks: JoinSet<()>,
    known: Vec<(Rc<Usage>, AbortHandle)>,
    /// Time of the last warning about a failure to accept.
    logged: Option<Instant>,
}

/// Serves clients with `pages` and never returns; as many at a time as `most` says.
pub(super) async fn serve<S>(listener: TcpListener, most: impl Fn() -> usize, pages: S)
where
    S: Service<(WatchedConnection, Option<SocketAddr>), Response = ()> + 'static,
    S::Error: Debug,
{
    let pages = Rc::new(pages);
    let mut open = OpenConnections::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    open.make_room(most()).await;
                    open.admit(stream, peer, &pages);
                }
                Err(error) => open.recover(&error).await,
            },
            Some(_) = open.tasks.join_next() => open.forget_ended(),
            () = fault_points::wait("admin") => {}
        }
    }
}

impl OpenConnections {
    fn admit<S>(&mut self, stream: TcpStream, peer: SocketAddr, pages: &Rc<S>)
    where
        S: Service<(WatchedConnection, Option<SocketAddr>), Response = ()> + 'static,
        S::Error: Debug,
    {
        // an answer is written at once; without it, it takes longer
        let _ = stream.set_nodelay(true);
        let usage = Rc::new(Usage::new());
        let (pages, of_task) = (Rc::clone(pages), Rc::clone(&usage));
        let task = self.tasks.spawn_local(async move {
            let watched = WatchedConnection { stream, usage: Rc::clone(&of_task) };
            let serving = once(Task::Admin, "a request to the admin port", async {
                if let Err(error) = pages.call((watched, Some(peer))).await {
                    log::debug!("connection to the admin port failed: {error:?}");
                }
            });
            tokio::select! {
                () = serving => {}
                () = of_task.silence(LONGEST_SILENCE) => {}
            }
        });
        self.known.push((usage, task));
    }

    /// Closes the connections that have been of no use for longest, until there is room for one more.
    async fn make_room(&mut self, most: usize) {
        while self.known.len() >= most.max(1) {
            self.close_oldest().await;
        }
    }

    /// Closes the connection that has been idle for longest; false if none is open.
    ///
    /// Waits until the grace period of the oldest connection ends, so that a probe is answered even if other clients
    /// connect faster than its request arrives.
    async fn close_oldest(&mut self) -> bool {
        if let Some(grace) = self.oldest().and_then(|at| self.known[at].0.grace()) {
            sleep_until(grace).await;
        }
        let Some(at) = self.oldest() else { return false };
        self.known.swap_remove(at).1.abort();
        // its socket closes when the runtime comes to it
        yield_now().await;
        true
    }

    /// Place of the connection that is the first to be closed.
    fn oldest(&self) -> Option<usize> {
        let worth = |usage: &Usage| (usage.is_awaiting_us.get(), usage.grace().is_some(), usage.last.get());
        let oldest = self.known.iter().enumerate().min_by_key(|(_, (usage, _))| worth(usage));
        oldest.map(|(at, _)| at)
    }

    fn forget_ended(&mut self) {
        self.known.retain(|(_, task)| !task.is_finished());
    }

    /// After an error the next connection may be had at once, unless the system has run out of something.
    async fn recover(&mut self, error: &io::Error) {
        let is_clients = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if is_clients || (FileLimit::in_error(error).is_some() && self.close_oldest().await) {
            return;
        }
        if self.logged.is_none_or(|logged| logged.elapsed() >= REMINDER) {
            log::warn!("cannot accept connections on the admin port, retrying: {error}");
            self.logged = Some(Instant::now());
        }
        sleep(PAUSE).await;
    }
}

impl Usage {
    /// The usage of a connection that is accepted now.
    fn new() -> Self {
        let now = Instant::now();
        Self {
            last: Cell::new(now),
            grace: Cell::new(Some(now + GRACE)),
            is_between_requests: Cell::new(false),
            is_awaiting_us: Cell::new(false),
        }
    }

    /// End of the grace period, if it has not passed and no byte was received.
    fn grace(&self) -> Option<Instant> {
        self.grace.get().filter(|end| *end > Instant::now())
    }

    fn renew(&self) {
        self.last.set(Instant::now());
    }

    /// Resolves once there was no use for `longest`.
    async fn silence(&self, longest: Duration) {
        loop {
            if self.is_awaiting_us.get() {
                self.renew();
            }
            let until = self.last.get() + longest;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// An answer is being made until the result is dropped.
    pub(super) fn make(self: &Rc<Self>) -> ResponseGuard {
        self.is_awaiting_us.set(true);
        ResponseGuard(Rc::clone(self))
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        self.0.is_awaiting_us.set(false);
        self.0.renew();
    }
}

impl WatchedConnection {
    pub(super) fn usage(&self) -> Rc<Usage> {
        Rc::clone(&self.usage)
    }
}

impl AsyncRead for WatchedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.usage.grace.set(None);
            if self.usage.is_between_requests.replace(false) {
                self.usage.renew();
            }
        }
        polled
    }
}

impl AsyncWrite for WatchedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.usage.is_between_requests.set(true);
            self.usage.renew();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[actix_rt::test]
    async fn x8_a_client_that_waits_for_its_response_is_not_idle() {
        let usage = Rc::new(Usage::new());
        let longest = Duration::from_millis(20);
        let making = usage.make();
        assert!(timeout(10 * longest, usage.silence(longest)).await.is_err());
        drop(making);
        timeout(Duration::from_secs(20), usage.silence(longest)).await.unwrap();
    }

    #[actix_rt::test]
    async fn x8_a_new_connection_has_time_for_its_first_byte_before_it_is_closed_for_another() {
        let mut open = OpenConnections::default();
        for _ in 0..2 {
            let task = open.tasks.spawn_local(std::future::pending());
            open.known.push((Rc::new(Usage::new()), task));
        }
        let (probe, half_head) = (Rc::clone(&open.known[0].0), Rc::clone(&open.known[1].0));
        half_head.grace.set(None);
        assert_eq!(open.oldest(), Some(1));
        assert!(open.close_oldest().await);
        assert!(Rc::ptr_eq(&open.known[0].0, &probe));
        let begun = Instant::now();
        let left = probe.grace();
        assert!(open.close_oldest().await);
        assert!(open.known.is_empty() && left.is_none_or(|left| begun.elapsed() >= left - begun));
    }
}
