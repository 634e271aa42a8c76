//! Listening sockets, threads, and HTTP towards clients, around the one handler `proxy::serve`.
//!
//! ```text
//! sockets.rs       TCP, TCP with TLS (tls.rs) and Unix sockets: bound once, shared by
//! worker.rs        the threads, each of which runs
//! accept.rs        one loop for each socket, up to the limit of connections
//! proxy_protocol.rs the client that a proxy names before TLS and HTTP
//! refusal.rs       503 above that limit
//! transport.rs     a connection's bytes
//! http1.rs         HTTP/1.1, by actix-http's codec
//! http2.rs         HTTP/2, by h2
//! date.rs          the date that HTTP/1.1's codec writes
//! ```

pub mod accept;
pub mod date;
mod expectation;
mod http1;
mod http2;
mod proxy_protocol;
mod refusal;
pub(crate) mod request_target;
pub mod sockets;
mod transport;
pub mod worker;

use std::{cell::Cell, rc::Rc, time::Duration};

use crate::proxy::Worker;

/// Time for a client to send the rest of its request after the last response of a connection or a stream. A
/// close with unread bytes is a reset, and clients that receive it discard a response that they have not read
/// yet.
const LINGER: Duration = Duration::from_secs(2);

/// State that one worker serves the connections of one listening socket with.
pub struct Server {
    /// The handler of requests.
    worker: Rc<Worker>,
    /// Connections begin with a header of the PROXY protocol.
    proxy_protocol: bool,
    /// The source of `Date`.
    date_source: Rc<date::DateSource>,
    /// Connections that are being answered 503 because `max_connections` is reached.
    refusing: Rc<Cell<u32>>,
}
