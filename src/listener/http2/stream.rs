//! Serves one stream of HTTP/2: a request and its response, by `proxy::serve`.
//!
//! `http2.rs` runs it as a task. A client that resets the stream aborts the task, and with it the call to
//! AWS. `upload.rs` reads the request's body, `answer.rs` sends the response.

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
    message::{client_link::ClientLink, error::ProxyError},
    metrics::Metrics,
    proxy::{self, Worker, reply::ClientBody},
};

/// The context of one stream.
pub struct Http2Exchange {
    pub worker: Rc<Worker>,
    /// The PINGs of its connection.
    pub echo: Echo,
    /// The longest time in which a client may read nothing of its response.
    pub send_timeout: Duration,
    /// The limit of path and query in bytes.
    pub max_uri: u64,
    /// The client's address; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    pub link: ClientLink,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// After a response, or in the middle of one.
    Answered,
    /// The client reset the stream before the response.
    ResetEarly,
}

impl Http2Exchange {
    pub async fn serve(
        self,
        request: http::Request<RecvStream>,
        mut respond: SendResponse<Piece>,
    ) -> StreamEnd {
        let (head, body) = request.into_parts();
        let expected = head.headers.get_all(header::EXPECT);
        let is_held_back = asks_for_continue(expected.iter().map(http::HeaderValue::as_bytes));
        let upload = Upload::of(body, is_held_back);
        let sent = match translate::request(&head, upload.clone(), self.peer, self.max_uri) {
            Ok(request) => {
                let Some(response) = self.response(request, upload.as_ref(), &mut respond).await else {
                    return StreamEnd::ResetEarly;
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
        StreamEnd::Answered
    }

    /// Waits for the response; `None` if the client resets the stream first. `h2` itself resets a stream
    /// whose body is not as long as its `content-length`: reading the body then fails, and that error is the
    /// response. `100 Continue` is sent when a reader waits for the body, so not for a response that does not
    /// need the body.
    async fn response(
        &self,
        mut request: Request,
        upload: Option<&Upload>,
        respond: &mut SendResponse<Piece>,
    ) -> Option<Response<ClientBody>> {
        let body = request.take_payload().into();
        let mut serving = pin!(proxy::serve(Rc::clone(&self.worker), request, body, self.link));
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
                && let Err(error) =
                    respond.send_informational(translate::with_status(http::StatusCode::CONTINUE))
            {
                log::debug!("cannot send 100 Continue to a client: {error}");
            }
            Poll::Pending
        })
        .await
    }
}

/// Sends and logs the error for a head that is not a valid request.
fn refuse(
    error: &ProxyError,
    is_head: bool,
    respond: &mut SendResponse<Piece>,
    metrics: &Metrics,
) -> Result<(), h2::Error> {
    let id = proxy::refused(error, metrics);
    let (response, body) = translate::refusal(error, &id);
    let mut stream = respond.send_response(response, is_head)?;
    if is_head { Ok(()) } else { stream.send_data(Piece::uncounted(body), true) }
}
