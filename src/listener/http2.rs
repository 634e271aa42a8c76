//! HTTP/2 towards clients, by the `h2` crate: one task drives a connection, and one serves each of its
//! streams.
//!
//! ```text
//! http2/stream.rs      one request and its response
//! http2/translate.rs   heads: `http`'s types of h2 to those of actix-http and back
//! http2/upload.rs      the request's body
//! http2/answer.rs      the response: coalescer.rs joins small pieces, pieces.rs counts the bytes that h2 has
//!                      written, echo.rs pings the client to learn that it has read them
//! http2/fields.rs      the filter that checks and rewrites the fields of requests before h2 reads them
//! ```
//!
//! `actix-http` has HTTP/2 too, but its requests run on after the client has reset the stream, it sends no
//! GOAWAY when the process ends, and the number of streams has no limit.
//!
//! `accept.rs` passes each connection here that begins with the preface of HTTP/2, or negotiated `h2` in TLS.

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
    stream::{Http2Exchange, StreamEnd},
};
use super::{Server, refusal::send_and_close, transport::Transport};
use crate::{
    message::{
        client_link::ClientLink,
        error::{ErrorKind, ProxyError},
    },
    metrics::Metrics,
    proxy,
    settings::Limits,
    system::{lazy_deadline::LazyDeadline, supervision::Task},
};

/// Streams at a time (RFC 9113, 6.5.2 recommends no fewer than 100).
const MAX_STREAMS: u32 = 128;
/// Bytes that a client may send ahead on a stream, and on all of them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a response that `h2` buffers, on each stream.
const SEND_BUFFER: usize = 64 << 10;
/// A head of this size is answered with 431 before it is parsed. It is above `limits.max_head`.
const MAX_HEAD: u32 = 256 << 10;
/// Streams that a client may reset before their response, if they are most of all: more is the flood of
/// CVE-2023-44487, which would make a call to AWS of each.
const MAX_EARLY_RESETS: u32 = 100;
const LATE_HEAD: Violation = Violation {
    reason: Reason::ENHANCE_YOUR_CALM,
    cause: "request head not complete within limits.header_timeout",
};
/// Time for a client to close the connection after GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(2);
/// SETTINGS without a setting, and GOAWAY with `HTTP_1_1_REQUIRED` before any stream (RFC 9113, 3.4, 6.8 and
/// 7).
const HTTP_1_1_REQUIRED: [u8; 26] =
    [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13];

/// Serves one connection to its end. The handshake is due at `due`.
pub async fn serve(
    server: &Rc<Server>,
    limits: &Limits,
    transport: Transport,
    peer: Option<SocketAddr>,
    due: Instant,
) {
    let link = transport.link();
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEAD);
    let transport = FieldFilter::new(transport, MAX_HEAD as usize);
    let findings = transport.findings();
    let mut connection = match timeout_at(due, builder.handshake(transport)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return log_failure(&error, &server.worker.metrics),
        Err(_) => return log::debug!("HTTP/2 handshake with a client timed out"),
    };
    let mut connection = Http2Connection {
        echo: Echo::new(connection.ping_pong()),
        requests: Requests {
            connection,
            findings,
            header_timeout: limits.header_timeout,
            head_timer: LazyDeadline::default(),
        },
        streams: JoinSet::new(),
        served: 0,
        early_resets: 0,
        close_at: None,
        is_going_away: false,
    };
    connection.run(server, limits, peer, link).await;
}

/// Refuses a client that begins HTTP/2 where it is off, in HTTP/2, which is all that the client reads.
pub async fn refuse(mut transport: Transport, metrics: &Metrics) {
    let cause = "HTTP/2 without TLS (h2c) is off on this listener: set `listen.h2c: true`";
    proxy::refused(&ProxyError::new(ErrorKind::InvalidRequest, cause), metrics);
    send_and_close(&mut transport, &HTTP_1_1_REQUIRED, GOAWAY_TIMEOUT).await;
}

/// Logs the failure of a connection: as a refused request, unless the client has closed it.
fn log_failure(error: &h2::Error, metrics: &Metrics) {
    if error.is_io() || error.is_remote() {
        log::debug!("HTTP/2 connection of a client failed: {error}");
    } else {
        log_violation(error, metrics);
    }
}

/// Logs that a connection ends for bytes that its client sent.
fn log_violation(cause: impl Display, metrics: &Metrics) {
    let cause = format!("closing the HTTP/2 connection: {cause}");
    proxy::refused(&ProxyError::new(ErrorKind::InvalidRequest, cause), metrics);
}

/// The receiving side of a connection.
struct Requests {
    connection: Connection<FieldFilter<Transport>, Piece>,
    /// The findings of its filter.
    findings: Rc<Findings>,
    header_timeout: Duration,
    /// The deadline of a head that has begun and is not complete.
    head_timer: LazyDeadline,
}

impl Requests {
    /// Polls for the next request with the sender of its response; `None` at the end of the connection, whose
    /// failure is logged.
    fn poll_next(
        &mut self,
        metrics: &Metrics,
        context: &mut Context<'_>,
    ) -> Poll<Option<(http::Request<RecvStream>, SendResponse<Piece>)>> {
        loop {
            let polled = self.connection.poll_accept(context);
            for fault in self.findings.trailers.take() {
                let cause = format!("resetting the HTTP/2 stream, invalid trailers: {}", fault.0);
                proxy::refused(&ProxyError::new(ErrorKind::InvalidRequest, cause), metrics);
            }
            if let Poll::Ready(accepted) = polled {
                let accepted = accepted.transpose().inspect_err(|error| log_failure(error, metrics));
                return Poll::Ready(accepted.unwrap_or_default());
            }
            let Violation { reason, cause } = match self.findings.violation.take() {
                Some(violation) => violation,
                None => ready!(self.poll_late_head(context)),
            };
            // the connection ends for it, and the deadline of its head with it
            self.findings.unfinished.set(None);
            log_violation(cause, metrics);
            self.connection.abrupt_shutdown(reason);
        }
    }

    /// Ready once an incomplete head is over its time limit.
    fn poll_late_head(&mut self, context: &mut Context<'_>) -> Poll<Violation> {
        match self.findings.unfinished.get() {
            Some((_, since)) => self.head_timer.until(since + self.header_timeout),
            None => self.head_timer.forget(),
        }
        self.head_timer.poll(context).map(|()| LATE_HEAD)
    }
}

/// A connection and its streams.
struct Http2Connection {
    requests: Requests,
    echo: Echo,
    streams: JoinSet<StreamEnd>,
    served: u32,
    early_resets: u32,
    /// The time at which a connection without streams is closed.
    close_at: Option<Instant>,
    /// GOAWAY was sent.
    is_going_away: bool,
}

impl Http2Connection {
    async fn run(
        &mut self,
        server: &Rc<Server>,
        limits: &Limits,
        peer: Option<SocketAddr>,
        link: ClientLink,
    ) {
        let draining = server.worker.draining.watch();
        let metrics = &server.worker.metrics;
        loop {
            self.set_close_at(limits.keep_alive);
            let close_at = self.close_at;
            tokio::select! {
                accepted = poll_fn(|context| self.requests.poll_next(metrics, context)) => match accepted {
                    Some((request, respond)) => {
                        let exchange = Http2Exchange {
                            worker: Rc::clone(&server.worker),
                            echo: self.echo.clone(),
                            send_timeout: limits.send_timeout,
                            max_uri: limits.max_uri,
                            peer,
                            link,
                        };
                        self.streams.spawn_local(exchange.serve(request, respond));
                    }
                    None => return,
                },
                Some(ended) = self.streams.join_next() => self.count(ended),
                () = async { sleep_until(close_at.unwrap_or_else(Instant::now)).await },
                    if close_at.is_some() =>
                {
                    if self.is_going_away {
                        return;
                    }
                    self.go_away();
                }
                () = poll_fn(|context| draining.poll(context)), if !self.is_going_away => self.go_away(),
            }
        }
    }

    /// Sets the deadline of a connection without streams; one with streams stays open.
    fn set_close_at(&mut self, keep_alive: Duration) {
        if !self.streams.is_empty() {
            self.close_at = None;
        } else if self.close_at.is_none() {
            let limit = if self.is_going_away { GOAWAY_TIMEOUT } else { keep_alive };
            self.close_at = Some(Instant::now() + limit);
        }
    }

    /// Sends GOAWAY: the client must begin no more streams here (RFC 9113, 6.8).
    fn go_away(&mut self) {
        self.is_going_away = true;
        self.close_at = None;
        self.requests.connection.graceful_shutdown();
    }

    fn count(&mut self, ended: Result<StreamEnd, tokio::task::JoinError>) {
        self.served += 1;
        match ended {
            Ok(StreamEnd::ResetEarly) => self.early_resets += 1,
            // the hook has logged the place; the error contains the panic's message, which may quote a client
            Err(error) if error.is_panic() => Task::Connection.count_failure(),
            Ok(StreamEnd::Answered) | Err(_) => {}
        }
        if self.early_resets > MAX_EARLY_RESETS && self.early_resets > self.served / 2 {
            log::warn!("closing the HTTP/2 connection: too many stream resets");
            self.requests.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
    }
}
