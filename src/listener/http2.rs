//! HTTP/2 towards clients, by the `h2` crate: one task drives a connection, and one serves each of its streams
//! (`http2/stream.rs`).
//!
//! `actix-http` has HTTP/2 too, but there a stream that the client resets runs on, a connection at the end of the
//! process is never told to go away, and the number of streams has no limit.
//!
//! `accept.rs` comes here with each connection that begins like HTTP/2, or agreed on it in TLS.

mod pieces;
mod stream;
mod translate;

use std::{future::poll_fn, net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use h2::{
    Reason,
    server::{self, Connection},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use self::stream::{Ending, Exchange};
use super::{server::Server, transport::Transport};
use crate::settings::Limits;

/// Streams at a time (RFC 9113, 6.5.2 recommends no fewer than 100).
const MOST_STREAMS: u32 = 128;
/// Bytes that a client may send ahead on a stream, and on all of them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that wait to be written, on each stream.
const SEND_BUFFER: usize = 64 << 10;
/// A head beyond it is answered 431 by `h2`, with no more words. It is above `limits.max_head`, which has them.
const LONGEST_HEAD: u32 = 256 << 10;
/// Streams that a client may take back before they were answered, if they are most of all: what is more is the flood
/// of CVE-2023-44487, which would make a call to AWS of each.
const MOST_TAKEN_BACK: u32 = 100;
/// How long a client has for its last words once it was told to go away.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves one connection to its end. Its beginning is due at `due`.
pub async fn serve(
    server: &Rc<Server>,
    limits: &Limits,
    transport: Transport,
    peer: Option<SocketAddr>,
    due: Instant,
) {
    let is_secure = transport.is_secure();
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(MOST_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(LONGEST_HEAD);
    let handshake = timeout_at(due, builder.handshake(transport)).await;
    let Ok(Ok(connection)) = handshake else {
        log::debug!("no HTTP/2 with a client that began it");
        return;
    };
    let mut open =
        Open { connection, streams: JoinSet::new(), served: 0, taken_back: 0, leaves_at: None, told: false };
    open.run(server, limits, peer, is_secure).await;
}

/// A connection and what runs on it.
struct Open {
    connection: Connection<Transport, Bytes>,
    streams: JoinSet<Ending>,
    served: u32,
    taken_back: u32,
    /// When it is closed if nothing else happens.
    leaves_at: Option<Instant>,
    /// Whether the client was told to go away.
    told: bool,
}

impl Open {
    async fn run(&mut self, server: &Rc<Server>, limits: &Limits, peer: Option<SocketAddr>, is_secure: bool) {
        let ends = server.draining.watch();
        loop {
            self.set_limit(limits.keep_alive);
            let leaves_at = self.leaves_at;
            tokio::select! {
                accepted = poll_fn(|context| self.connection.poll_accept(context)) => match accepted {
                    Some(Ok((request, respond))) => {
                        let exchange = Exchange {
                            worker: Rc::clone(&server.worker),
                            send_timeout: limits.send_timeout,
                            peer,
                            is_secure,
                        };
                        self.streams.spawn_local(exchange.serve(request, respond));
                    }
                    Some(Err(error)) => {
                        log::debug!("a client's HTTP/2 connection broke: {error}");
                        return;
                    }
                    None => return,
                },
                Some(ended) = self.streams.join_next() => self.count(ended),
                () = async { sleep_until(leaves_at.unwrap_or_else(Instant::now)).await }, if leaves_at.is_some() => {
                    if self.told {
                        return;
                    }
                    self.tell();
                }
                () = poll_fn(|context| ends.poll(context)), if !self.told => self.tell(),
            }
        }
    }

    /// A connection without streams is kept for a while, one with streams as long as they last.
    fn set_limit(&mut self, keep_alive: Duration) {
        if !self.streams.is_empty() {
            self.leaves_at = None;
        } else if self.leaves_at.is_none() {
            self.leaves_at = Some(Instant::now() + if self.told { FAREWELL } else { keep_alive });
        }
    }

    /// Tells the client to begin no more streams here (RFC 9113, 6.8).
    fn tell(&mut self) {
        self.told = true;
        self.leaves_at = None;
        self.connection.graceful_shutdown();
    }

    fn count(&mut self, ended: Result<Ending, tokio::task::JoinError>) {
        self.served += 1;
        match ended {
            Ok(Ending::Answered) => {}
            Ok(Ending::TakenBack) => self.taken_back += 1,
            Err(error) => log::error!("a client's stream ended by a mistake of ours: {error}"),
        }
        if self.taken_back > MOST_TAKEN_BACK && self.taken_back > self.served / 2 {
            log::warn!("a client takes most of its requests back: its connection is closed");
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
    }
}
