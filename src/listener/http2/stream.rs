//! One request and its answer on a stream of HTTP/2, in the terms of `proxy::serve`.
//!
//! `http2.rs` runs it as a task. A client that takes its request back ends it, wherever it is, and with it the call to
//! AWS; an answer that breaks off resets the stream.

use std::{future::poll_fn, net::SocketAddr, pin::pin, rc::Rc, time::Duration};

use actix_http::{
    Response,
    body::{BodySize, MessageBody as _},
};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use tokio::time::{Instant, timeout_at};

use super::{pieces::Pieces, translate};
use crate::{
    error::ProxyError,
    metrics::Metrics,
    proxy::{self, Worker, reply::ClientBody},
};

/// Bytes of an answer in one frame.
const PIECE: usize = 16 << 10;

/// What a stream belongs to.
pub struct Exchange {
    /// Where it is served.
    pub worker: Rc<Worker>,
    /// How long a client may make no room for more of its answer.
    pub send_timeout: Duration,
    /// The client's address; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With an answer, or in the middle of one.
    Answered,
    /// The client took its request back before there was one.
    TakenBack,
}

impl Exchange {
    /// Serves one request.
    pub async fn serve(self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Ending {
        let request = match translate::request(request, self.peer) {
            Ok(request) => request,
            Err(error) => return refuse(&error, respond, &self.worker.metrics),
        };
        let response = tokio::select! {
            biased;
            _ = poll_fn(|context| respond.poll_reset(context)) => return Ending::TakenBack,
            Ok(response) = proxy::serve(Rc::clone(&self.worker), request, self.is_secure) => response,
        };
        if let Err(error) = self.send(response, respond).await {
            log::debug!("a client's stream ended: {error}");
        }
        Ending::Answered
    }

    async fn send(
        &self,
        response: Response<ClientBody>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let (response, body) = response.into_parts();
        let size = body.size();
        let is_over = matches!(size, BodySize::None | BodySize::Sized(0)) || !body.has_bytes();
        let mut stream = respond.send_response(translate::head(&response, size), is_over)?;
        if is_over {
            return Ok(());
        }
        let mut left = match size {
            BodySize::Sized(length) => Some(length),
            BodySize::None | BodySize::Stream => None,
        };
        let mut body = pin!(body);
        let mut pieces = Pieces::default();
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = poll_fn(|context| pieces.poll_next(body.as_mut(), context)) => chunk,
                _ = poll_fn(|context| stream.poll_reset(context)) => return Ok(()),
            };
            match chunk {
                Some(Ok(chunk)) => {
                    left = left.map(|left| left.saturating_sub(chunk.len() as u64));
                    let is_last = left == Some(0);
                    let due = body.due();
                    self.send_chunk(&mut stream, chunk, is_last, due).await?;
                    if is_last {
                        // it is asked once more, for what it does at its end
                        let end = poll_fn(|context| pieces.poll_next(body.as_mut(), context)).await;
                        if let Some(Err(_)) = end {
                            stream.send_reset(Reason::INTERNAL_ERROR);
                        }
                        return Ok(());
                    }
                }
                // the body has told the log why
                Some(Err(_)) => {
                    stream.send_reset(Reason::INTERNAL_ERROR);
                    return Ok(());
                }
                None => {
                    return match body.as_mut().get_mut().take_trailers() {
                        Some(trailers) => stream.send_trailers(translate::trailers(&trailers)),
                        None => stream.send_data(Bytes::new(), true),
                    };
                }
            }
        }
    }

    /// Sends a piece of a body as the client makes room for it, for as long as a client may make none, and until `due`,
    /// when the body is asked for what becomes of it.
    async fn send_chunk(
        &self,
        stream: &mut SendStream<Bytes>,
        mut chunk: Bytes,
        is_last: bool,
        due: Option<Instant>,
    ) -> Result<(), h2::Error> {
        let limit = self.send_timeout;
        while !chunk.is_empty() {
            stream.reserve_capacity(chunk.len().min(PIECE));
            let patience = Instant::now() + limit;
            let until = due.map_or(patience, |due| due.min(patience));
            let room = match timeout_at(until, poll_fn(|context| stream.poll_capacity(context))).await {
                Ok(Some(room)) => room?,
                // the client has taken the request back
                Ok(None) => return Err(Reason::CANCEL.into()),
                // the body says then that it is late
                Err(_) if until < patience => return Ok(()),
                Err(_) => {
                    log::info!("a client took nothing of its answer for {limit:?}: the stream ends");
                    stream.send_reset(Reason::CANCEL);
                    return Err(Reason::CANCEL.into());
                }
            };
            let piece = chunk.split_to(room.min(chunk.len()));
            stream.send_data(piece, is_last && chunk.is_empty())?;
        }
        Ok(())
    }
}

/// Answers what is no request. Nobody else does, or logs it.
fn refuse(error: &ProxyError, mut respond: SendResponse<Bytes>, metrics: &Metrics) -> Ending {
    let id = proxy::refused(error, metrics);
    let (response, body) = translate::refusal(error, &id);
    let sent = respond.send_response(response, false).and_then(|mut stream| stream.send_data(body, true));
    if let Err(error) = sent {
        log::debug!("a client's stream ended: {error}");
    }
    Ending::Answered
}
