//! HTTP/2 towards clients, by the `h2` crate: one task drives a connection, and one serves each of its
//! streams.
//!
//! ```text
//! http2/stream.rs      one request and its answer
//! http2/translate.rs   heads, in the terms of actix-http and back
//! http2/upload.rs      the request's body
//! http2/answer.rs      the response: coalescer.rs joins small pieces, pieces.rs counts what of them is written,
//!                      echo.rs asks what is read
//! http2/fields.rs      the filter that checks and rewrites the fields of requests before h2 reads them
//! ```
//!
//! `actix-http` has HTTP/2 too, but there a stream that the client resets runs on, a connection at the end of
//! the process is never told to go away, and the number of streams has no limit.
//!
//! `accept.rs` comes here with each connection that begins like HTTP/2, or agreed on it in TLS.

mod answer;
mod coalescer;
mod echo;
mod fields;
mod pieces;
mod stream;
mod translate;
mod upload;

use std::{
    fmt::Display,
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{
    Reason, RecvStream,
    server::{self, Connection, SendResponse},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use self::{
    echo::Echo,
    fields::{FieldFilter, Findings, Violation},
    pieces::Piece,
    stream::{Ending, Http2Exchange},
};
use super::{farewell::last_words, server::Server, transport::Transport};
use crate::{
    message::error::{ErrorKind, ProxyError},
    metrics::Metrics,
    proxy,
    settings::Limits,
    system::{lazy_deadline::LazyDeadline, supervision::Task},
};

/// Streams at a time (RFC 9113, 6.5.2 recommends no fewer than 100).
const MOST_STREAMS: u32 = 128;
/// Bytes that a client may send ahead on a stream, and on all of them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that wait to be written, on each stream.
const SEND_BUFFER: usize = 64 << 10;
/// A head of this size is answered 431 before it is looked at any closer. It is above `limits.max_head`.
const LONGEST_HEAD: u32 = 256 << 10;
/// Streams that a client may take back before they were answered, if they are most of all: what is more is
/// the flood of CVE-2023-44487, which would make a call to AWS of each.
const MOST_TAKEN_BACK: u32 = 100;
const LATE_HEAD: Violation = Violation {
    reason: Reason::ENHANCE_YOUR_CALM,
    cause: "request head not complete within limits.header_timeout",
};
/// How long a client has for its last words once it was told to go away.
const FAREWELL: Duration = Duration::from_secs(2);
/// SETTINGS without a setting, and GOAWAY with `HTTP_1_1_REQUIRED` before any stream (RFC 9113, 3.4, 6.8 and
/// 7).
const HTTP_1_1_REQUIRED: [u8; 26] =
    [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13];

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
    let transport = FieldFilter::new(transport, LONGEST_HEAD as usize);
    let findings = transport.findings();
    let mut connection = match timeout_at(due, builder.handshake(transport)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return broken(&error, &server.worker.metrics),
        Err(_) => return log::debug!("HTTP/2 handshake with a client timed out"),
    };
    let mut open = Open {
        echo: Echo::by(connection.ping_pong()),
        connection,
        findings,
        head_limit: HeadLimit { header_timeout: limits.header_timeout, timer: LazyDeadline::default() },
        streams: JoinSet::new(),
        served: 0,
        taken_back: 0,
        leaves_at: None,
        told: false,
    };
    open.run(server, limits, peer, is_secure).await;
}

/// Refuses a client that begins HTTP/2 where it is off, in HTTP/2, since it reads nothing else.
pub async fn turn_away(mut transport: Transport, metrics: &Metrics) {
    let cause = "HTTP/2 without TLS (h2c) is off on this listener: set `listen.h2c: true`";
    proxy::refused(&ProxyError::new(ErrorKind::InvalidRequest, cause), metrics);
    last_words(&mut transport, &HTTP_1_1_REQUIRED, FAREWELL).await;
}

/// A request, and where its response goes.
type Accepted = (http::Request<RecvStream>, SendResponse<Piece>);

/// Polls for the next request of a connection, and logs the end of a connection that breaks.
fn poll_accept(
    connection: &mut Connection<FieldFilter<Transport>, Piece>,
    findings: &Findings,
    head_limit: &mut HeadLimit,
    metrics: &Metrics,
    context: &mut Context<'_>,
) -> Poll<Option<Accepted>> {
    loop {
        let polled = connection.poll_accept(context);
        for fault in findings.trailers.take() {
            let cause = format!("resetting the HTTP/2 stream, invalid trailers: {}", fault.cause());
            proxy::refused(&ProxyError::new(ErrorKind::InvalidRequest, cause), metrics);
        }
        match polled {
            Poll::Ready(Some(Ok(accepted))) => return Poll::Ready(Some(accepted)),
            Poll::Ready(Some(Err(error))) => {
                broken(&error, metrics);
                return Poll::Ready(None);
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                let Violation { reason, cause } = match findings.violation.take() {
                    Some(violation) => violation,
                    None => ready!(head_limit.poll(findings, context)),
                };
                // the connection ends for it, and the limit of its head with it
                findings.unfinished.set(None);
                refused(cause, metrics);
                connection.abrupt_shutdown(reason);
            }
        }
    }
}

/// Logs the end of a connection that broke: as a refusal, unless the client has left.
fn broken(error: &h2::Error, metrics: &Metrics) {
    if error.is_io() || error.is_remote() {
        log::debug!("HTTP/2 connection of a client failed: {error}");
    } else {
        refused(error, metrics);
    }
}

/// Logs that a connection ends for bytes that its client sent.
fn refused(cause: impl Display, metrics: &Metrics) {
    let cause = format!("closing the HTTP/2 connection: {cause}");
    proxy::refused(&ProxyError::new(ErrorKind::InvalidRequest, cause), metrics);
}

/// The time limit of a head that has begun and is not complete.
struct HeadLimit {
    header_timeout: Duration,
    timer: LazyDeadline,
}

impl HeadLimit {
    /// The violation of a client that does not complete a head in time.
    fn poll(&mut self, findings: &Findings, context: &mut Context<'_>) -> Poll<Violation> {
        match findings.unfinished.get() {
            Some((_, since)) => self.timer.until(since + self.header_timeout),
            None => self.timer.forget(),
        }
        self.timer.poll(context).map(|()| LATE_HEAD)
    }
}

/// A connection and what runs on it.
struct Open {
    connection: Connection<FieldFilter<Transport>, Piece>,
    /// The findings of its filter.
    findings: Rc<Findings>,
    /// The limit of a head that does not come in one piece.
    head_limit: HeadLimit,
    echo: Echo,
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
        let metrics = &server.worker.metrics;
        loop {
            self.set_limit(limits.keep_alive);
            let leaves_at = self.leaves_at;
            tokio::select! {
                accepted = poll_fn(|context| {
                    poll_accept(&mut self.connection, &self.findings, &mut self.head_limit, metrics, context)
                }) => match accepted {
                    Some((request, respond)) => {
                        let exchange = Http2Exchange {
                            worker: Rc::clone(&server.worker),
                            echo: self.echo.share(),
                            send_timeout: limits.send_timeout,
                            max_uri: limits.max_uri,
                            peer,
                            is_secure,
                        };
                        self.streams.spawn_local(exchange.serve(request, respond));
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
            Ok(Ending::TakenBack) => self.taken_back += 1,
            // the hook has logged the place; the error quotes the panic's message, which may quote a client
            Err(error) if error.is_panic() => Task::Connection.count_failure(),
            Ok(Ending::Answered) | Err(_) => {}
        }
        if self.taken_back > MOST_TAKEN_BACK && self.taken_back > self.served / 2 {
            log::warn!("closing the HTTP/2 connection: too many stream resets");
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
    }
}
