//! HTTP/1.1 towards clients: `actix-http`'s dispatcher around `proxy::serve`.
//!
//! `accept.rs` comes here with each connection that does not begin like HTTP/2. `actix-web`'s `App` stays out: it would
//! match routes on a decoded copy of the path, which is not what is forwarded.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use actix_http::{HttpService, KeepAlive, Request, error::DispatchError};
use actix_service::{Service as _, ServiceFactory as _, boxed, fn_service};

use super::{connection::ClientConnection, outbox::Outbox};
use crate::proxy::{self, Arrived, Worker};

/// How long a client that was answered before it had sent its whole body may go on sending it, so that it
/// reads the answer instead of a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Serves connections.
pub struct Http1(boxed::RcService<(ClientConnection, Option<SocketAddr>), (), DispatchError>);

impl Http1 {
    /// Hands all requests to `proxy::serve`.
    pub async fn new(worker: Rc<Worker>) -> Self {
        let service = HttpService::build()
            // the time limits are in `connection.rs`
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            // or else what is malformed behind a request would cost that request its answer; that a client which
            // closes its side has left is seen in `connection.rs`
            .h1_allow_half_closed(true)
            .on_connect_ext(|connection: &ClientConnection, data| {
                data.insert(connection.outbox());
                data.insert(Security(connection.is_secure()));
            })
            .h1(fn_service(move |request: Request| {
                let outbox = request.conn_data::<Outbox>().cloned().unwrap_or_default();
                let is_secure = request.conn_data::<Security>().is_some_and(|security| security.0);
                outbox.request_begins();
                proxy::serve(Rc::clone(&worker), request, Arrived { outbox, is_secure })
            }));
        match service.new_service(()).await {
            Ok(service) => Self(boxed::rc_service(service)),
            // nothing in it can fail
            Err(()) => Self(boxed::rc_service(fn_service(|_| async { Ok(()) }))),
        }
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, connection: ClientConnection, peer: Option<SocketAddr>) {
        if let Err(error) = self.0.call((connection, peer)).await {
            log::debug!("a client's connection ended: {error}");
        }
    }
}

/// Whether a connection is encrypted.
struct Security(bool);
