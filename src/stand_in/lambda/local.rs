//! Calls of functions that run on this machine.

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode, web::Bytes};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    answers::with_ids,
    frames,
    invocation::{Invocation, InvocationKind, Mode},
};
use crate::stand_in::{
    functions::streamed_body::StreamedBody,
    runtime::{Answer, Event, Functions, Outcome, Piece},
};

/// Runs the function, or queues the event.
pub async fn invoke(invocation: Invocation, name: String, functions: &Functions) -> HttpResponse {
    let Invocation { input, mode, kind, tail, .. } = invocation;
    let request_id = input.request_id;
    let event = Event {
        function: name,
        payload: input.raw,
        request_id: request_id.clone(),
        arn: input.arn,
        trace_id: input.trace_id,
        client_context: input.client_context.map(|context| context.to_string()),
        tenant_id: input.tenant_id,
    };
    match kind {
        InvocationKind::Event => {
            functions.queue(event);
            return with_ids(StatusCode::ACCEPTED, &request_id).finish();
        }
        InvocationKind::DryRun => return with_ids(StatusCode::NO_CONTENT, &request_id).finish(),
        InvocationKind::RequestResponse => {}
    }
    let mut head = with_ids(StatusCode::OK, &request_id);
    head.insert_header(("X-Amz-Executed-Version", input.version));
    let answer = functions.invoke(event).await;
    match mode {
        Mode::Buffered => buffered(head, answer, tail).await,
        Mode::ResponseStream => streamed(head, answer, tail),
    }
}

async fn buffered(mut head: HttpResponseBuilder, answer: Answer, tail: bool) -> HttpResponse {
    let Answer { outcome, log } = answer;
    let (body, is_failed) = match outcome {
        Outcome::Returned(body) => (body, false),
        Outcome::Failed(error) => (error, true),
        Outcome::Streamed { body, .. } => whole(body).await,
    };
    if is_failed {
        head.insert_header(("X-Amz-Function-Error", "Unhandled"));
    }
    if tail {
        head.insert_header(("X-Amz-Log-Result", BASE64_STANDARD.encode(log)));
    }
    head.content_type("application/json").body(body)
}

/// The whole output of a function that streams, or its error.
async fn whole(mut body: mpsc::Receiver<Piece>) -> (Bytes, bool) {
    let mut output = Vec::new();
    while let Some(piece) = body.recv().await {
        match piece {
            Piece::Data(data) => output.extend_from_slice(&data),
            Piece::End(Some(error)) => return (error, true),
            Piece::End(None) => break,
        }
    }
    (output.into(), false)
}

fn streamed(mut head: HttpResponseBuilder, answer: Answer, tail: bool) -> HttpResponse {
    let frames = StreamedBody::by(async move |writer| {
        let Answer { outcome, log } = answer;
        let mut failure: Option<Value> = None;
        let parsed = |error: Bytes| serde_json::from_slice(&error).ok();
        match outcome {
            Outcome::Returned(body) => writer.send(frames::payload_chunk(&body)).await?,
            Outcome::Failed(error) => failure = parsed(error),
            Outcome::Streamed { mut body, .. } => {
                while let Some(piece) = body.recv().await {
                    match piece {
                        Piece::Data(data) => writer.send(frames::payload_chunk(&data)).await?,
                        Piece::End(error) => {
                            failure = error.and_then(parsed);
                            break;
                        }
                    }
                }
            }
        }
        let log = tail.then(|| BASE64_STANDARD.encode(log));
        writer.send(frames::invoke_complete(failure.as_ref(), log)).await
    });
    head.content_type("application/vnd.amazon.eventstream").streaming(frames)
}
