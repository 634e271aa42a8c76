//! Where clients' connections come in: sockets, threads, and what is spoken on a connection, around the one handler
//! `proxy::serve`.
//!
//! ```text
//! sockets.rs       TCP, TCP with TLS (tls.rs), Unix: bound once, shared by
//! worker.rs        the threads, each of which runs
//! accept.rs        one loop for each socket, as long as there is room for connections
//! farewell.rs      503 where there is none
//! transport.rs     a connection's bytes
//! http1.rs         HTTP/1.1, by actix-http's codec
//! http2.rs         HTTP/2 by h2
//! date.rs          the date that HTTP/1.1's codec writes
//! ```

pub mod accept;
pub mod date;
mod expectation;
mod farewell;
mod http1;
mod http2;
pub(crate) mod request_target;
mod server;

pub mod sockets;
mod transport;
pub mod worker;

/// Time for a client to go on sending behind the last answer of a connection or a stream. An end with unread bytes is a
/// reset, on which clients lose an answer that they have not read yet.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
