//! Takes clients' connections in, as many as there is room for, and finds out what each of them speaks.
//!
//! `worker.rs` runs one of these loops for each socket; from here a connection goes to `http1.rs` or `http2.rs`.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    http1, http2,
    server::Server,
    sockets::{Listener, Listening},
    tls::ServerTls,
    transport::{Socket, Transport},
};
use crate::{
    admission::Counted,
    error::{ErrorKind, ProxyError},
    metrics::Metrics,
    proxy,
    settings::Limits,
};

/// How long to wait before the next try when the system gives no more connections: one of ours may end by then.
const PAUSE: Duration = Duration::from_millis(100);
/// How often that is logged.
const REMINDER: Duration = Duration::from_secs(10);
/// Clients that are being told that there is no room for them; more are told nothing.
const MOST_TURNED_AWAY: usize = 64;
/// How long such a client has to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// The protocol of HTTP/2 in TLS (RFC 9113, 3.2).
const H2: &[u8] = b"h2";

/// Takes connections from one socket until the worker ends, and returns when the last of them has ended.
///
/// # Errors
/// The socket cannot be used.
pub async fn accept(server: Rc<Server>, listening: Listening) -> io::Result<()> {
    let door = Door::open(listening)?;
    let ends = server.draining.watch();
    let mut connections = JoinSet::new();
    let mut told = None;
    loop {
        tokio::select! {
            () = poll_fn(|context| ends.poll(context)) => break,
            incoming = door.accept() => match incoming {
                Ok(incoming) => admit(&server, incoming, &mut connections),
                Err(error) => pause_after(&error, &mut told).await,
            },
            Some(ended) = connections.join_next() => report(ended),
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

/// A socket in the hands of this thread's runtime.
struct Door {
    socket: DoorSocket,
    tls: Option<Arc<ServerTls>>,
    h2c: bool,
}

enum DoorSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client that has connected.
struct Incoming {
    stream: Stream,
    tls: Option<Arc<ServerTls>>,
    h2c: bool,
}

enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Door {
    fn open(Listening { listener, h2c }: Listening) -> io::Result<Self> {
        let (socket, tls) = match listener {
            Listener::Plain(listener) => (DoorSocket::Tcp(TcpListener::from_std(listener)?), None),
            Listener::Secure(listener, tls) => (DoorSocket::Tcp(TcpListener::from_std(listener)?), Some(tls)),
            Listener::Unix(listener) => (DoorSocket::Unix(UnixListener::from_std(listener)?), None),
        };
        Ok(Self { socket, tls, h2c })
    }

    async fn accept(&self) -> io::Result<Incoming> {
        let stream = match &self.socket {
            DoorSocket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Stream::Tcp(stream, peer)
            }
            DoorSocket::Unix(listener) => Stream::Unix(listener.accept().await?.0),
        };
        Ok(Incoming { stream, tls: self.tls.clone(), h2c: self.h2c })
    }

    /// Closes it. Clients that have connected by then are not turned away: the kernel would reset them.
    fn close(self) -> io::Result<Vec<Incoming>> {
        let Self { socket, tls, h2c } = self;
        let mut last = Vec::new();
        let mut take = |stream| last.push(Incoming { stream, tls: tls.clone(), h2c });
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

/// The next connection may be had at once, unless the system has run out of something. `told` is when that was logged.
async fn pause_after(error: &io::Error, told: &mut Option<Instant>) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    if told.is_none_or(|told| told.elapsed() >= REMINDER) {
        log::warn!("no more connections can be accepted for now: {error}");
        *told = Some(Instant::now());
    }
    sleep(PAUSE).await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        log::error!("a client's connection ended by a mistake of ours: {error}");
    }
}

fn admit(server: &Rc<Server>, incoming: Incoming, connections: &mut JoinSet<()>) {
    let server = Rc::clone(server);
    let snapshot = server.worker.current.get();
    match snapshot.room.try_enter() {
        Some(permit) => {
            connections.spawn_local(async move { serve(&server, &snapshot.limits, incoming, permit).await });
        }
        None => {
            server.worker.metrics.client_refused();
            let turned_away = server.turned_away.get();
            // nothing can be said before a handshake, which would need room itself
            if incoming.tls.is_none() && turned_away < MOST_TURNED_AWAY {
                server.turned_away.set(turned_away + 1);
                connections.spawn_local(async move {
                    let _ = timeout(FAREWELL, turn_away(incoming, &server.worker.metrics)).await;
                    server.turned_away.set(server.turned_away.get() - 1);
                });
            }
        }
    }
}

/// Tells a client that there is no room for it, and goes on reading so that it reads this and not a reset.
async fn turn_away(incoming: Incoming, metrics: &Metrics) -> io::Result<()> {
    let mut socket = match incoming.stream {
        Stream::Tcp(stream, _) => Socket::Tcp(stream),
        Stream::Unix(stream) => Socket::Unix(stream),
    };
    let cause = "as many connections as `limits.max_connections` allows";
    let error = ProxyError::new(ErrorKind::Overloaded, cause);
    let id = proxy::refused(&error, metrics);
    socket.write_all(&error.on_the_wire(&id)).await?;
    socket.shutdown().await?;
    let mut unread = [0; 1024];
    while socket.read(&mut unread).await? > 0 {}
    Ok(())
}

/// Serves one connection to its end, for as long as it takes up room.
async fn serve(server: &Rc<Server>, limits: &Limits, incoming: Incoming, _room: Counted) {
    let Incoming { stream, tls, h2c } = incoming;
    let due = Instant::now() + limits.header_timeout;
    let _counted = server.worker.metrics.client_connects();
    let (socket, peer) = match (stream, tls) {
        (Stream::Unix(stream), _) => (Socket::Unix(stream), None),
        (Stream::Tcp(stream, peer), tls) => {
            if let Err(error) = stream.set_nodelay(true) {
                log::debug!("a client left as it came: {error}");
                return;
            }
            let Some(tls) = tls else {
                return speak(server, limits, Socket::Tcp(stream), Some(peer), h2c, due).await;
            };
            // boxed like the others: the task of a connection is as large as the largest of its parts
            let greeting = in_time(server, due, TlsAcceptor::from(tls.current()).accept(stream));
            match Box::pin(greeting).await {
                Ok(stream) => (Socket::Tls(Box::new(stream)), Some(peer)),
                Err(error) => {
                    log::info!("no TLS with the client {peer}: {error}");
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
        Socket::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(H2),
        Socket::Tcp(_) | Socket::Unix(_) => false,
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
            sleep(FAREWELL).await;
        } => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
