//! One request and its answer on a stream of HTTP/2, in the terms of `proxy::serve`.
//!
//! `http2.rs` runs it as a task. A client that takes its request back ends it, wherever it is, and with it
//! the call to AWS. `upload.rs` reads the request's body, `answer.rs` sends the response.

use std::{
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use actix_http::{Request, Response};
use h2::{Reason, RecvStream, server::SendResponse};
use http::header;

use super::{
    answer,
    echo::Echo,
    pieces::Piece,
    translate,
    upload::{Upload, discarding},
};
use crate::{
    listener::expectation::asks_for_continue,
    message::error::ProxyError,
    metrics::Metrics,
    proxy::{self, Worker, reply::ClientBody},
};

/// What a stream belongs to.
pub struct Http2Exchange {
    /// Where it is served.
    pub worker: Rc<Worker>,
    /// The PINGs of its connection.
    pub echo: Echo,
    /// How long a client may make no room for more of its answer.
    pub send_timeout: Duration,
    /// Bytes of the longest path and query.
    pub max_uri: u64,
    /// The client's address; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With an answer, or in the middle of one.
    Answered,
    /// The client took its request back before there was one.
    TakenBack,
}

impl Http2Exchange {
    pub async fn serve(self, request: http::Request<RecvStream>, mut respond: SendResponse<Piece>) -> Ending {
        let (head, body) = request.into_parts();
        let expected = head.headers.get_all(header::EXPECT);
        let is_held_back = asks_for_continue(expected.iter().map(http::HeaderValue::as_bytes));
        let upload = Upload::of(body, is_held_back);
        let sent = match translate::request(&head, upload.clone(), self.peer, self.max_uri) {
            Ok(request) => {
                let Some(response) = self.response(request, upload.as_ref(), &mut respond).await else {
                    return Ending::TakenBack;
                };
                let sending = answer::send(response, &mut respond, &self.echo, self.send_timeout);
                discarding(upload.as_ref(), sending).await
            }
            Err(error) => {
                let is_head = head.method == http::Method::HEAD;
                refuse(&error, is_head, &mut respond, &self.worker.metrics)
            }
        };
        if let Err(error) = sent {
            log::debug!("HTTP/2 stream of a client ended: {error}");
        }
        if let Some(upload) = upload {
            upload.linger().await;
        }
        Ending::Answered
    }

    /// Waits for the response, unless the client takes its request back before. `h2` itself resets a stream whose body
    /// is not as long as its `content-length`: reading the body then fails, which is an answer for the log. A client
    /// that holds its body back is told to send it when the body is waited for, and not if the request is answered
    /// without it.
    async fn response(
        &self,
        mut request: Request,
        upload: Option<&Upload>,
        respond: &mut SendResponse<Piece>,
    ) -> Option<Response<ClientBody>> {
        let body = request.take_payload().into();
        let mut serving = pin!(proxy::serve(Rc::clone(&self.worker), request, body, self.is_secure));
        poll_fn(|context| {
            if let Poll::Ready(reset) = respond.poll_reset(context)
                && !(reset.is_ok_and(|reason| reason == Reason::PROTOCOL_ERROR)
                    && upload.is_some_and(Upload::is_unfinished))
            {
                return Poll::Ready(None);
            }
            if let Poll::Ready(result) = serving.as_mut().poll(context) {
                return Poll::Ready(result.ok());
            }
            if upload.is_some_and(Upload::takes_continue)
                && let Err(error) = respond.send_informational(translate::continue_head())
            {
                log::debug!("cannot send 100 Continue to a client: {error}");
            }
            Poll::Pending
        })
        .await
    }
}

/// Answers what is no request. Nobody else does, or logs it.
fn refuse(
    error: &ProxyError,
    is_head: bool,
    respond: &mut SendResponse<Piece>,
    metrics: &Metrics,
) -> Result<(), h2::Error> {
    let id = proxy::refused(error, metrics);
    let (response, body) = translate::refusal(error, &id);
    let mut stream = respond.send_response(response, is_head)?;
    if is_head { Ok(()) } else { stream.send_data(Piece::unfollowed(body), true) }
}
