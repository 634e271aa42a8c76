//! The Runtime API of one process, on a loopback port of its own ("Using the Lambda runtime API for custom
//! runtimes", Lambda developer guide).
//!
//! hyper serves it, because actix drops the trailers of a request, in which a runtime sends the error of a
//! streamed response that fails in the middle.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use actix_web::web::Bytes;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    MAX_ANSWER,
    slot::{Delivery, Piece, Refused, Reply, Slot},
    words,
};

const PREFIX: &str = "/2018-06-01/runtime/";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
/// Pause after a failed `accept`.
const PAUSE: Duration = Duration::from_millis(50);
/// Pieces of a streamed response that wait for the client.
const PIECES: usize = 8;

type Answer = Response<Full<Bytes>>;

/// Binds a free port and serves until `stop`.
pub async fn serve(slot: Rc<Slot>, stop: CancellationToken) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    actix_rt::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                // there are no more file descriptors
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let slot = Rc::clone(&slot);
            let service = service_fn(move |request| {
                let slot = Rc::clone(&slot);
                async move { Ok::<_, Infallible>(answer(&slot, request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            actix_rt::spawn(async move {
                // a process that is killed leaves its connection open
                let _ = connection.await;
            });
        }
    });
    Ok(address)
}

async fn answer(slot: &Slot, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    match (request.method(), &segments[..]) {
        (&Method::GET, ["invocation", "next"]) => next(slot).await,
        (&Method::POST, ["invocation", id, "response"]) => response(slot, id, request).await,
        (&Method::POST, ["invocation", id, "error"]) => failure(slot, id, request).await,
        (&Method::POST, ["init", "error"]) => {
            let kind = text(request.headers(), ERROR_TYPE);
            match whole(request.into_body())
                .await
                .map(|body| slot.fail_init(error_object(body, kind.as_deref())))
            {
                Ok(true) => accepted(),
                Ok(false) => refused(
                    StatusCode::FORBIDDEN,
                    "InvalidStateTransition",
                    "an error of the initialization after the first event was asked for",
                ),
                Err(answer) => answer,
            }
        }
        _ => refused(StatusCode::NOT_FOUND, "UnknownOperation", "the Runtime API has no such operation"),
    }
}

async fn next(slot: &Slot) -> Answer {
    let Ok(delivery) = slot.ask().await else {
        return refused(
            StatusCode::FORBIDDEN,
            "InvalidStateTransition",
            "another request for the next event took the place of this one",
        );
    };
    let mut answer = Response::builder()
        .header("Lambda-Runtime-Aws-Request-Id", &delivery.event.request_id)
        .header("Lambda-Runtime-Deadline-Ms", delivery.deadline_ms().to_string())
        .header("Lambda-Runtime-Invoked-Function-Arn", &delivery.event.arn)
        .header("Lambda-Runtime-Trace-Id", &delivery.event.trace_id)
        // awslambdaric 4.2.2 does not go on without it
        .header(CONTENT_TYPE, "application/json");
    let Delivery { event, .. } = delivery;
    if let Some(context) = event.client_context {
        answer = answer.header("Lambda-Runtime-Client-Context", context);
    }
    if let Some(tenant) = event.tenant_id {
        answer = answer.header("Lambda-Runtime-Aws-Tenant-Id", tenant);
    }
    answer.body(Full::new(event.payload)).unwrap_or_else(|_| {
        refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "the event has an invalid header")
    })
}

async fn response(slot: &Slot, id: &str, request: Request<Incoming>) -> Answer {
    let reply = match slot.answer(id) {
        Ok(reply) => reply,
        Err(why) => return refusal(why),
    };
    let (head, body) = request.into_parts();
    if text(&head.headers, RESPONSE_MODE).as_deref() == Some("streaming") {
        let (sender, receiver) = mpsc::channel(PIECES);
        let _ =
            reply.send(Reply::Streamed { content_type: text(&head.headers, "content-type"), body: receiver });
        return match stream(body, &sender).await {
            Some(()) => accepted(),
            None => refused(StatusCode::BAD_REQUEST, "StreamCutOff", "the streamed response was cut off"),
        };
    }
    match Limited::new(body, MAX_ANSWER + 1).collect().await.map(http_body_util::Collected::to_bytes) {
        Ok(body) if body.len() <= MAX_ANSWER => {
            let _ = reply.send(Reply::Returned(body));
            accepted()
        }
        Err(error) if error.downcast_ref::<http_body_util::LengthLimitError>().is_none() => {
            // dropping `reply` leaves the call to the end of the process or of its time
            refused(StatusCode::BAD_REQUEST, "BodyCutOff", "the response was cut off")
        }
        Ok(_) | Err(_) => {
            let _ = reply.send(Reply::Failed(words::too_large(MAX_ANSWER)));
            refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                "Exceeded maximum allowed payload size (6291556 bytes).",
            )
        }
    }
}

/// Passes the pieces of a streamed response on; `None` if it was cut off.
async fn stream(mut body: Incoming, sender: &mpsc::Sender<Piece>) -> Option<()> {
    let mut failure = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.ok()?;
        match frame.into_data() {
            // the client may be gone; the function runs to its end all the same
            Ok(data) => drop(sender.send(Piece::Data(data)).await),
            Err(frame) => failure = frame.into_trailers().ok().and_then(|trailers| in_trailers(&trailers)),
        }
    }
    let _ = sender.send(Piece::End(failure)).await;
    Some(())
}

/// The error object of a stream that failed in the middle, in base64.
fn in_trailers(trailers: &HeaderMap) -> Option<Bytes> {
    let kind = text(trailers, ERROR_TYPE)?;
    let body = text(trailers, ERROR_BODY).and_then(|body| BASE64_STANDARD.decode(body).ok());
    Some(error_object(body.unwrap_or_default().into(), Some(&kind)))
}

async fn failure(slot: &Slot, id: &str, request: Request<Incoming>) -> Answer {
    let kind = text(request.headers(), ERROR_TYPE);
    let reply = match slot.answer(id) {
        Ok(reply) => reply,
        Err(why) => return refusal(why),
    };
    match whole(request.into_body()).await {
        Ok(body) => {
            let _ = reply.send(Reply::Failed(error_object(body, kind.as_deref())));
            accepted()
        }
        Err(answer) => answer,
    }
}

/// The posted error object; one made of the header's type if the body is not JSON.
fn error_object(body: Bytes, kind: Option<&str>) -> Bytes {
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok();
    if is_json { body } else { words::error(kind.unwrap_or("Runtime.Unknown"), "") }
}

async fn whole(body: Incoming) -> Result<Bytes, Answer> {
    match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(_) => Err(refused(StatusCode::BAD_REQUEST, "BodyCutOff", "the body was cut off or is too large")),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The answers of AWS's Runtime Interface Emulator.
fn refusal(why: Refused) -> Answer {
    match why {
        Refused::InvalidRequestId => {
            refused(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
        }
        Refused::AnsweredBefore => refused(
            StatusCode::FORBIDDEN,
            "InvalidStateTransition",
            "Transition from InvocationResponse to InvocationResponse is not allowed.",
        ),
    }
}

fn accepted() -> Answer {
    answer_of(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Answer {
    answer_of(status, &json!({ "errorType": kind, "errorMessage": message }))
}

fn answer_of(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}
