//! Where clients' connections come in: actix-web's own server layers (`actix-server`, `actix-http`) around
//! the one handler, `proxy::serve`.
//!
//! Its `App` stays out. It would match routes on a decoded copy of the path, which is not what is forwarded.

pub mod connection;
mod request_line;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, Request, error::DispatchError};
use actix_server::{Server, ServerBuilder};
use actix_service::{ServiceFactoryExt as _, fn_service};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use self::connection::ClientConnection;
use crate::{
    client::Client,
    proxy::{self, Worker},
    settings::{Limits, Settings},
    snapshot::Snapshot,
};

/// Connections that wait to be accepted; more are refused by the kernel.
const BACKLOG: i32 = 1024;
/// How long a client that was answered before it had sent its whole body may go on sending it, so that it
/// reads the answer instead of a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Binds the socket for clients.
///
/// # Errors
/// The address is taken, or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Serves clients from `listener` until the server is stopped.
///
/// # Errors
/// The socket cannot be used.
pub fn serve(
    listener: TcpListener,
    settings: &Settings,
    snapshot: Arc<Snapshot>,
    stopping: Arc<AtomicBool>,
) -> io::Result<Server> {
    let Settings { limits, workers, shutdown, .. } = settings;
    let limits = limits.clone();
    let pseudonym: Arc<str> = format!("apigw-invoker-{:016x}", fastrand::u64(..)).into();
    let per_worker =
        usize::try_from(limits.max_connections.div_ceil(u32::from(*workers))).unwrap_or(usize::MAX);
    // actix-server counts whole seconds
    let drain = shutdown.drain.as_millis().div_ceil(1000);
    let builder = Server::build()
        .workers(usize::from(*workers))
        .max_concurrent_connections(per_worker)
        .shutdown_timeout(u64::try_from(drain).unwrap_or(u64::MAX))
        .disable_signals();
    let draining = builder.graceful_shutdown_signal();
    let builder = listen(builder, listener, move || {
        let worker = Rc::new(Worker {
            snapshot: Arc::clone(&snapshot),
            client: Client::default(),
            stopping: Arc::clone(&stopping),
            pseudonym: Arc::clone(&pseudonym),
        });
        (worker, limits.clone(), draining.clone())
    })?;
    Ok(builder.run())
}

/// What each worker thread is given.
type PerWorker = (Rc<Worker>, Limits, actix_server::GracefulShutdownSignal);

fn listen(
    builder: ServerBuilder,
    listener: TcpListener,
    worker: impl Fn() -> PerWorker + Clone + Send + 'static,
) -> io::Result<ServerBuilder> {
    builder.listen("http", listener, move || {
        let (worker, limits, draining) = worker();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move { draining.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(limits.keep_alive))
            .client_request_timeout(limits.header_timeout)
            .client_disconnect_timeout(LINGER)
            // or else what is malformed behind a request would cost that request its answer; that a client which
            // closes its side has left is seen in `connection.rs`
            .h1_allow_half_closed(true)
            .on_connect_ext(|connection: &ClientConnection, data| {
                data.insert(connection.outbox());
            })
            .h1(fn_service(move |request: Request| proxy::serve(Rc::clone(&worker), request)));
        let max_uri = limits.max_uri;
        fn_service(move |stream: TcpStream| async move {
            stream.set_nodelay(true).map_err(DispatchError::Io)?;
            let peer = stream.peer_addr().ok();
            Ok((ClientConnection::new(stream, max_uri), peer))
        })
        .and_then(http)
    })
}
