//! Takes clients' connections in, as many as there is room for, and finds out what each of them speaks.
//!
//! `worker.rs` runs one of these loops for each socket; from here a connection goes to `http1.rs` or `http2.rs`.

use std::{
    fs::File,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::{
    farewell, http1, http2,
    server::Server,
    sockets::{Listener, Listening},
    transport::{Socket, Transport},
};
use crate::{
    metrics::Metrics,
    proxy::draining::Watcher,
    resilience::admission::Counted,
    settings::Limits,
    state::snapshot::Snapshot,
    system::{
        exhausted::{Exhausted, spare},
        fault_points,
        supervision::{Restarts, Task, TaskEnd, catch_in},
    },
    tls::server::ServerTls,
};

/// How long to wait before the next try when the system gives no more connections: one of ours may end by then.
const PAUSE: Duration = Duration::from_millis(100);
/// How often that is logged.
const REMINDER: Duration = Duration::from_secs(10);
/// The protocol of HTTP/2 in TLS (RFC 9113, 3.2).
const H2: &[u8] = b"h2";

/// Takes connections from one socket until the worker ends, and returns when the last of them has ended. Those that
/// it has taken outlive a panic of the loop, which starts again.
///
/// # Errors
/// The socket cannot be used.
pub async fn accept(server: Rc<Server>, mut door: Door) -> io::Result<()> {
    let ends = server.draining.watch();
    let mut connections = JoinSet::new();
    let mut restarts = Restarts::of(Task::Worker);
    while let Err(panicked) = catch_in(take(&server, &ends, &mut door, &mut connections)).await {
        let pause = restarts.failed(&TaskEnd::Panicked(panicked));
        tokio::select! {
            () = poll_fn(|context| ends.poll(context)) => break,
            () = sleep(pause) => restarts.started(),
        }
    }
    for incoming in door.close()? {
        admit(&server, incoming, &mut connections);
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    Ok(())
}

/// Takes connections until the drain begins.
async fn take(server: &Rc<Server>, ends: &Watcher, door: &mut Door, connections: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            () = poll_fn(|context| ends.poll(context)) => return,
            incoming = door.accept() => match incoming {
                Ok(incoming) => admit(server, incoming, connections),
                Err(error) => recover(server, door, &error).await,
            },
            Some(ended) = connections.join_next() => report(ended),
            () = fault_points::wait("accept") => {}
        }
    }
}

/// A socket in the hands of this thread's runtime.
pub struct Door {
    socket: DoorSocket,
    name: Arc<str>,
    tls: Option<Arc<ServerTls>>,
    h2c: bool,
    /// Closed where there is no other descriptor left, so that a client can be refused instead of kept
    /// waiting.
    spare: Option<File>,
    /// When a failure to accept was last logged.
    logged: Option<Instant>,
}

enum DoorSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client that has connected.
struct AcceptedConnection {
    stream: Stream,
    tls: Option<Arc<ServerTls>>,
    h2c: bool,
}

enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream, _) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Door {
    /// Takes a socket into this thread's runtime.
    ///
    /// # Errors
    /// The process has as many open files as it may.
    pub fn open(Listening { listener, name, h2c }: Listening) -> io::Result<Self> {
        let (socket, tls) = match listener {
            Listener::Plain(listener) => (DoorSocket::Tcp(TcpListener::from_std(listener)?), None),
            Listener::Secure(listener, tls) => (DoorSocket::Tcp(TcpListener::from_std(listener)?), Some(tls)),
            Listener::Unix(listener) => (DoorSocket::Unix(UnixListener::from_std(listener)?), None),
        };
        Ok(Self { socket, name, tls, h2c, spare: spare().ok(), logged: None })
    }

    async fn accept(&self) -> io::Result<AcceptedConnection> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<AcceptedConnection>> {
        let stream = match &self.socket {
            DoorSocket::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(context))?;
                Stream::Tcp(stream, peer)
            }
            DoorSocket::Unix(listener) => Stream::Unix(ready!(listener.poll_accept(context))?.0),
        };
        Poll::Ready(Ok(AcceptedConnection { stream, tls: self.tls.clone(), h2c: self.h2c }))
    }

    /// Accepts one client with the spare descriptor and refuses it at once; whether that was possible.
    async fn refuse_one(&mut self, exhausted: Exhausted, metrics: &Metrics) -> bool {
        let Some(spare_file) = self.spare.take().or_else(|| spare().ok()) else { return false };
        drop(spare_file);
        // another thread may have been faster
        let accepted = poll_fn(|context| Poll::Ready(self.poll_accept(context))).await;
        let is_accepted = match accepted {
            Poll::Ready(Ok(incoming)) => {
                metrics.client_refused();
                if incoming.tls.is_none() {
                    farewell::brief(&incoming.stream, exhausted.to_string(), metrics);
                }
                true
            }
            Poll::Ready(Err(_)) | Poll::Pending => false,
        };
        self.spare = spare().ok();
        is_accepted
    }

    /// Closes it. Clients that have connected by then are not turned away: the kernel would reset them.
    fn close(self) -> io::Result<Vec<AcceptedConnection>> {
        let Self { socket, tls, h2c, .. } = self;
        let mut last = Vec::new();
        let mut take = |stream| last.push(AcceptedConnection { stream, tls: tls.clone(), h2c });
        // asked of the kernel itself: the runtime may not have been told of them yet
        match socket {
            DoorSocket::Tcp(listener) => {
                let listener = listener.into_std()?;
                while let Ok((stream, peer)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    take(Stream::Tcp(TcpStream::from_std(stream)?, peer));
                }
            }
            DoorSocket::Unix(listener) => {
                let listener = listener.into_std()?;
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    take(Stream::Unix(UnixStream::from_std(stream)?));
                }
            }
        }
        Ok(last)
    }
}

/// After an error the next connection may be had at once, unless the system has run out of something.
async fn recover(server: &Server, door: &mut Door, error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    let exhausted = Exhausted::in_error(error);
    if door.logged.is_none_or(|logged| logged.elapsed() >= REMINDER) {
        let cure = exhausted.map(|exhausted| format!("; {exhausted}")).unwrap_or_default();
        log::warn!("{} cannot accept connections, retrying: {error}{cure}", door.name);
        door.logged = Some(Instant::now());
    }
    if let Some(exhausted) = exhausted
        && door.refuse_one(exhausted, &server.worker.metrics).await
    {
        return;
    }
    sleep(PAUSE).await;
}

/// Counts a connection whose task panicked. The hook has logged the place; the error quotes the panic's message,
/// which may quote a client.
fn report(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        Task::Connection.count_failure();
    }
}

fn admit(server: &Rc<Server>, incoming: AcceptedConnection, connections: &mut JoinSet<()>) {
    let server = Rc::clone(server);
    let snapshot = server.worker.current.get();
    match snapshot.client_connections.try_enter() {
        Some(permit) => {
            connections.spawn_local(async move { serve(&server, &snapshot.limits, incoming, permit).await });
        }
        None => {
            server.worker.metrics.client_refused();
            // nothing can be said before a handshake, which would need room itself
            if incoming.tls.is_none() {
                turn_away(server, &snapshot, incoming.stream, connections);
            }
        }
    }
}

/// Tells a client that there is no room for it.
fn turn_away(server: Rc<Server>, snapshot: &Snapshot, stream: Stream, connections: &mut JoinSet<()>) {
    let capacity = &snapshot.capacity;
    let why = if capacity.shortage.is_some() { ", lowered for few open files (`ulimit -n`)," } else { "" };
    let cause = format!("limits.max_connections{why} is reached: {}", capacity.max_connections);
    let turned_away = server.turned_away.get();
    if turned_away >= capacity.farewells {
        return farewell::brief(&stream, cause, &server.worker.metrics);
    }
    server.turned_away.set(turned_away + 1);
    let socket = match stream {
        Stream::Tcp(stream, _) => Either::Left(stream),
        Stream::Unix(stream) => Either::Right(stream),
    };
    connections.spawn_local(async move {
        farewell::patient(socket, cause, &server.worker.metrics).await;
        server.turned_away.set(server.turned_away.get() - 1);
    });
}

/// Serves one connection to its end, for as long as it takes up room.
async fn serve(server: &Rc<Server>, limits: &Limits, incoming: AcceptedConnection, _permit: Counted) {
    let AcceptedConnection { stream, tls, h2c } = incoming;
    let due = Instant::now() + limits.header_timeout;
    let _counted = server.worker.metrics.client_connects();
    fault_points::pass("connection");
    let (socket, peer) = match (stream, tls) {
        (Stream::Unix(stream), _) => (Either::Left(Either::Right(stream)), None),
        (Stream::Tcp(stream, peer), tls) => {
            if let Err(error) = stream.set_nodelay(true) {
                log::debug!("client closed the connection before a request: {error}");
                return;
            }
            let Some(tls) = tls else {
                return speak(server, limits, Either::Left(Either::Left(stream)), Some(peer), h2c, due).await;
            };
            // boxed like the others: the task of a connection is as large as the largest of its parts
            let greeting = in_time(server, due, TlsAcceptor::from(tls.current()).accept(stream));
            match Box::pin(greeting).await {
                Ok(stream) => (Either::Right(Box::new(stream)), Some(peer)),
                Err(error) => {
                    log::info!("TLS handshake with {peer} failed: {error}");
                    return;
                }
            }
        }
    };
    speak(server, limits, socket, peer, h2c, due).await;
}

/// Finds out which version of HTTP the client speaks. The head of its first request is due at `due`.
async fn speak(
    server: &Rc<Server>,
    limits: &Limits,
    socket: Socket,
    peer: Option<SocketAddr>,
    h2c: bool,
    due: Instant,
) {
    let agreed = match &socket {
        Either::Right(stream) => stream.get_ref().1.alpn_protocol() == Some(H2),
        Either::Left(_) => false,
    };
    let mut transport = Transport::new(socket, limits.send_timeout);
    let begins = agreed || in_time(server, due, transport.begins_with_preface()).await.unwrap_or(false);
    if agreed || (begins && h2c) {
        Box::pin(http2::serve(server, limits, transport, peer, due)).await;
    } else if begins {
        Box::pin(http2::turn_away(transport, &server.worker.metrics)).await;
    } else {
        Box::pin(http1::serve(server, limits, transport, peer, due)).await;
    }
}

/// What a client has to do before its first request takes no longer than that may take.
async fn in_time<T>(
    server: &Server,
    due: Instant,
    greeting: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let ends = server.draining.watch();
    tokio::select! {
        result = timeout_at(due, greeting) => {
            result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        () = async {
            poll_fn(|context| ends.poll(context)).await;
            sleep(farewell::PATIENCE).await;
        } => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
