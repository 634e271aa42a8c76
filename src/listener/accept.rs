//! Accepts clients' connections up to `limits.max_connections`, and detects their protocol.
//!
//! `worker.rs` runs one of these loops for each socket; each connection goes on in `http1.rs` or `http2.rs`.

use std::{
    fs::File,
    future::{Future, poll_fn},
    io, iter,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

use super::{
    Server, http1, http2, proxy_protocol, refusal,
    sockets::ListeningSocket,
    transport::{PlainSocket, Transport},
};
use crate::{
    message::client_link::ClientLink,
    metrics::Metrics,
    resilience::admission::InFlightGuard,
    settings::Limits,
    state::snapshot::Snapshot,
    system::{
        exhausted::{FileLimit, spare},
        fault_points,
        supervision::{Task, supervise},
    },
    tls::server::ServerTls,
};

/// The pause before the next accept when no more files can be opened: one of the process's own may be closed
/// by then.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The interval at which that is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The protocol name of HTTP/2 in TLS (RFC 9113, 3.2).
const H2: &[u8] = b"h2";

/// Accepts connections from one socket until the drain, and returns when the last of them has ended. A panic
/// of the loop restarts the loop; the connections survive it.
pub async fn accept(server: Rc<Server>, mut acceptor: Acceptor) {
    let draining = server.worker.draining.watch();
    let mut connections = JoinSet::new();
    tokio::select! {
        () = poll_fn(|context| draining.poll(context)) => {}
        () = supervise(Task::Worker, async || run(&server, &mut acceptor, &mut connections).await) => {}
    }
    for incoming in acceptor.close() {
        admit(&server, incoming, &mut connections);
    }
    while let Some(ended) = connections.join_next().await {
        count_panic(ended);
    }
}

/// Accepts connections, and never returns.
async fn run(server: &Rc<Server>, acceptor: &mut Acceptor, connections: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            incoming = poll_fn(|context| acceptor.poll_accept(context)) => match incoming {
                Ok(incoming) => admit(server, incoming, connections),
                Err(error) => recover(server, acceptor, &error).await,
            },
            Some(ended) = connections.join_next() => count_panic(ended),
            () = fault_points::wait("accept") => {}
        }
    }
}

/// A listening socket of this thread's runtime.
pub struct Acceptor {
    listener: Either<TcpListener, UnixListener>,
    name: Arc<str>,
    tls: Option<Arc<ServerTls>>,
    h2c: bool,
    /// A descriptor that is closed when no other is left, so that a client is refused and does not wait.
    spare: Option<File>,
    /// The time when a failure to accept was last logged.
    logged: Option<Instant>,
}

struct AcceptedConnection {
    socket: PlainSocket,
    /// The client's address; none on a Unix socket.
    peer: Option<SocketAddr>,
    /// Of the socket itself, without regard to TLS.
    link: ClientLink,
    tls: Option<Arc<ServerTls>>,
    h2c: bool,
}

impl Acceptor {
    /// # Errors
    /// No more files can be opened.
    pub fn new(ListeningSocket { socket, name, tls, h2c, .. }: ListeningSocket) -> io::Result<Self> {
        let listener = if socket.local_addr()?.is_unix() {
            Either::Right(UnixListener::from_std(socket.into())?)
        } else {
            Either::Left(TcpListener::from_std(socket.into())?)
        };
        Ok(Self { listener, name, tls, h2c, spare: spare().ok(), logged: None })
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<AcceptedConnection>> {
        let (socket, peer) = match &self.listener {
            Either::Left(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(context))?;
                (Either::Left(stream), Some(peer))
            }
            Either::Right(listener) => (Either::Right(ready!(listener.poll_accept(context))?.0), None),
        };
        Poll::Ready(Ok(self.accepted(socket, peer)))
    }

    fn accepted(&self, socket: PlainSocket, peer: Option<SocketAddr>) -> AcceptedConnection {
        let link = ClientLink::without_tls(peer);
        AcceptedConnection { socket, peer, link, tls: self.tls.clone(), h2c: self.h2c }
    }

    /// Accepts one client with the spare descriptor and refuses it at once; `false` if that was not possible.
    async fn refuse_one(&mut self, exhausted: FileLimit, metrics: &Metrics) -> bool {
        let Some(spare_file) = self.spare.take().or_else(|| spare().ok()) else { return false };
        drop(spare_file);
        // another thread may have been faster
        let accepted = poll_fn(|context| Poll::Ready(self.poll_accept(context))).await;
        let is_accepted = match accepted {
            Poll::Ready(Ok(incoming)) => {
                metrics.client_refused();
                if incoming.tls.is_none() {
                    refusal::send_at_once(&incoming.socket, exhausted.to_string(), metrics);
                }
                true
            }
            Poll::Ready(Err(_)) | Poll::Pending => false,
        };
        self.spare = spare().ok();
        is_accepted
    }

    /// Closes the socket, and returns the clients that have connected by now: the kernel would reset them.
    fn close(self) -> Vec<AcceptedConnection> {
        let listener = match &self.listener {
            Either::Left(listener) => SockRef::from(listener),
            Either::Right(listener) => SockRef::from(listener),
        };
        // without the runtime, which may not know of them yet
        let accept_one = || -> io::Result<AcceptedConnection> {
            let (socket, peer) = listener.accept()?;
            socket.set_nonblocking(true)?;
            let peer = peer.as_socket();
            let socket = match peer {
                Some(_) => Either::Left(TcpStream::from_std(socket.into())?),
                None => Either::Right(UnixStream::from_std(socket.into())?),
            };
            Ok(self.accepted(socket, peer))
        };
        iter::from_fn(|| accept_one().ok()).collect()
    }
}

/// Waits after an error if no more files can be opened; after other errors the next connection may come at
/// once.
async fn recover(server: &Server, acceptor: &mut Acceptor, error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    let exhausted = FileLimit::in_error(error);
    if acceptor.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
        let cure = exhausted.map(|exhausted| format!("; {exhausted}")).unwrap_or_default();
        log::warn!("{} cannot accept connections, retrying: {error}{cure}", acceptor.name);
        acceptor.logged = Some(Instant::now());
    }
    if let Some(exhausted) = exhausted
        && acceptor.refuse_one(exhausted, &server.worker.metrics).await
    {
        return;
    }
    sleep(RETRY_DELAY).await;
}

/// Counts a connection whose task panicked. The hook has logged the place; the error contains the panic's
/// message, which may quote a client.
fn count_panic(ended: Result<(), JoinError>) {
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
            // no answer is possible before a handshake, which would cost memory itself
            if incoming.tls.is_none() {
                refuse(server, &snapshot, incoming, connections);
            }
        }
    }
}

/// Answers 503 to a client above `limits.max_connections`.
fn refuse(
    server: Rc<Server>,
    snapshot: &Snapshot,
    incoming: AcceptedConnection,
    connections: &mut JoinSet<()>,
) {
    let capacity = &snapshot.capacity;
    let why = if capacity.shortage.is_some() { ", lowered for few open files (`ulimit -n`)," } else { "" };
    let cause = format!("limits.max_connections{why} is reached: {}", capacity.max_connections);
    let refusing = server.refusing.get();
    if refusing >= capacity.farewells {
        return refusal::send_at_once(&incoming.socket, cause, &server.worker.metrics);
    }
    server.refusing.set(refusing + 1);
    connections.spawn_local(async move {
        refusal::send(incoming.socket, cause, &server.worker.metrics).await;
        server.refusing.set(server.refusing.get() - 1);
    });
}

/// Serves one connection to its end: the header of the PROXY protocol and the TLS handshake if there are any,
/// then HTTP/1.1 or HTTP/2. The head of the first request is due within `limits.header_timeout`.
async fn serve(server: &Rc<Server>, limits: &Limits, incoming: AcceptedConnection, _permit: InFlightGuard) {
    let AcceptedConnection { mut socket, mut peer, link, tls, h2c } = incoming;
    let due = Instant::now() + limits.header_timeout;
    let _counted = server.worker.metrics.client_connects();
    fault_points::pass("connection");
    if let Either::Left(stream) = &socket
        && let Err(error) = stream.set_nodelay(true)
    {
        return log::debug!("client closed the connection before a request: {error}");
    }
    if server.proxy_protocol
        && let (Either::Left(stream), Some(proxy)) = (&mut socket, peer)
    {
        peer = Box::pin(named_client(server, due, stream, proxy)).await;
        if peer.is_none() {
            return;
        }
    }
    let (socket, is_h2) = match (socket, tls, peer) {
        (Either::Left(stream), Some(tls), Some(peer)) => {
            // boxed like the others: the task of a connection is as large as the largest of its parts
            let Some(stream) = Box::pin(handshake(server, due, &tls, stream, peer)).await else { return };
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
            (Either::Right(Box::new(stream)), is_h2)
        }
        (socket, ..) => (Either::Left(socket), false),
    };
    let mut transport = Transport::new(socket, link, limits.send_timeout);
    let has_preface = is_h2 || in_time(server, due, transport.begins_with_preface()).await.unwrap_or(false);
    if is_h2 || (has_preface && h2c) {
        Box::pin(http2::serve(server, limits, transport, peer, due)).await;
    } else if has_preface {
        Box::pin(http2::refuse(transport, &server.worker.metrics)).await;
    } else {
        Box::pin(http1::serve(server, limits, transport, peer, due)).await;
    }
}

/// The client that the header of the PROXY protocol names, or the proxy itself where it names none. `None` if
/// the connection must be closed, after a log line.
async fn named_client(
    server: &Server,
    due: Instant,
    stream: &mut TcpStream,
    proxy: SocketAddr,
) -> Option<SocketAddr> {
    if !server.worker.trusted_ips.trusts(Some(proxy.ip())) {
        log::info!(
            "closing the connection of {proxy}: listen.proxy_protocol accepts only listen.trusted_ips"
        );
        return None;
    }
    let error = match in_time(server, due, proxy_protocol::read(stream)).await {
        Ok(client) => return Some(client.unwrap_or(proxy)),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::InvalidData => log::info!("closing the connection of {proxy}: {error}"),
        io::ErrorKind::TimedOut => log::info!(
            "closing the connection of {proxy}: the header of the PROXY protocol did not arrive within \
             limits.header_timeout"
        ),
        // such as a load balancer's health check
        _ => log::debug!("client closed the connection before a request: {error}"),
    }
    None
}

/// Performs the TLS handshake; `None` if it failed, after a log line. A client that closes before the first
/// byte is logged at level debug, because load balancers check ports so.
async fn handshake(
    server: &Server,
    due: Instant,
    tls: &ServerTls,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    let closed = match in_time(server, due, stream.peek(&mut [0])).await {
        Ok(0) => Some(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(error),
        _ => None,
    };
    if let Some(error) = closed {
        log::debug!("client closed the connection before a request: {error}");
        return None;
    }
    match in_time(server, due, TlsAcceptor::from(tls.current()).accept(stream)).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            log::info!("TLS handshake with {peer} failed: {error}");
            None
        }
    }
}

/// Awaits the handshake or the first bytes of a client, until `due` or shortly after the drain has begun.
async fn in_time<T>(
    server: &Server,
    due: Instant,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let draining = server.worker.draining.watch();
    tokio::select! {
        result = timeout_at(due, work) => {
            result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        () = async {
            poll_fn(|context| draining.poll(context)).await;
            sleep(refusal::REFUSAL_TIMEOUT).await;
        } => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
