//! The stand-in's Lambda API: `Invoke` and `InvokeWithResponseStream`, as the Lambda API reference describes
//! them.
//!
//! `stand_in.rs` comes here with requests to its paths; `lambda/invocation.rs` checks one and
//! `functions/by_event.rs` runs the function.

mod answers;
mod frames;
mod invocation;
mod name;

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode, web::Bytes};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use self::{
    answers::{Refusal, with_ids},
    invocation::{Invocation, InvocationKind, MAX_EVENT, Mode},
};
use super::{
    account::Account,
    functions::{
        ReceivedRequest,
        by_event::Outcome,
        written::{Writer, Written},
    },
    ids,
};

/// "Quotas for functions": 6 MB, and as much more as the API puts around it.
const MAX_ANSWER: usize = 6_291_556;

/// Whether a path is this API's.
pub fn has(path: &str) -> bool {
    path.split('/').nth(1).is_some_and(|version| Mode::of_version(version).is_some())
}

/// The answer to a request whose body is more than the stand-in reads at all.
pub fn too_large() -> HttpResponse {
    Refusal::over(MAX_EVENT).answer(&ids::request_id())
}

/// Checks a request and runs the function.
pub async fn answer(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    let request_id = ids::request_id();
    match Invocation::admit(call, account, &request_id) {
        Ok(invocation) => invoke(invocation, account.options.words_pause).await,
        Err(refusal) => refusal.answer(&request_id),
    }
}

async fn invoke(invocation: Invocation, pause: Duration) -> HttpResponse {
    let request_id = invocation.invoked.request_id.clone();
    match invocation.kind {
        // the event would wait in the function's queue; nobody ever hears what becomes of it
        InvocationKind::Event => return with_ids(StatusCode::ACCEPTED, &request_id).finish(),
        InvocationKind::DryRun => return with_ids(StatusCode::NO_CONTENT, &request_id).finish(),
        InvocationKind::RequestResponse => {}
    }
    let started = Instant::now();
    let outcome = within_limits(invocation.function.run(&invocation.invoked, pause).await);
    let mut answer = with_ids(StatusCode::OK, &request_id);
    answer.insert_header(("X-Amz-Executed-Version", invocation.invoked.version));
    match invocation.mode {
        Mode::Buffered => buffered(answer, outcome, &invocation, started).await,
        Mode::ResponseStream => streamed(answer, outcome, invocation, started),
    }
}

/// What is too large becomes an error of the function.
fn within_limits(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Returned(answer) if answer.len() > MAX_ANSWER => Outcome::Failed(json!({
            "errorMessage": format!(
                "Response payload size exceeded maximum allowed payload size ({MAX_ANSWER} bytes)."
            ),
            "errorType": "Function.ResponseSizeTooLarge",
        })),
        other => other,
    }
}

/// The answer of `Invoke`: whole, and a failure is told by a header alone.
async fn buffered(
    mut answer: HttpResponseBuilder,
    outcome: Outcome,
    invocation: &Invocation,
    started: Instant,
) -> HttpResponse {
    let (body, failure) = match outcome {
        Outcome::Returned(body) => (body, None),
        Outcome::Failed(failure) => (failure.to_string().into(), Some(failure)),
        Outcome::Writes { dies: true, .. } => {
            let failure = exited(&invocation.invoked.request_id);
            (failure.to_string().into(), Some(failure))
        }
        Outcome::Writes { prelude, body, dies: false } => (whole(prelude, body).await, None),
    };
    if failure.is_some() {
        answer.insert_header(("X-Amz-Function-Error", "Unhandled"));
    }
    if invocation.tail {
        answer.insert_header(("X-Amz-Log-Result", log(invocation, failure.as_ref(), started)));
    }
    answer.content_type("application/json").body(body)
}

/// What a function wrote, as the JSON that one without a stream would have returned.
async fn whole(prelude: Option<Value>, body: Written) -> Bytes {
    let text = String::from_utf8_lossy(&body.whole().await).into_owned();
    let answer = match prelude {
        Some(mut prelude) => {
            prelude["body"] = text.into();
            prelude
        }
        None => text.into(),
    };
    answer.to_string().into()
}

/// What Lambda says of a process that is gone.
fn exited(request_id: &str) -> Value {
    json!({
        "errorType": "Runtime.ExitError",
        "errorMessage": format!("RequestId: {request_id} Error: Runtime exited without providing a reason"),
    })
}

/// The answer of `InvokeWithResponseStream`: frames, the last of which tells whether all went well.
fn streamed(
    mut answer: HttpResponseBuilder,
    outcome: Outcome,
    invocation: Invocation,
    started: Instant,
) -> HttpResponse {
    let frames = Written::by(async move |writer: Writer| {
        let mut failure = None;
        match outcome {
            Outcome::Returned(body) => writer.write(frames::payload_chunk(&body)).await?,
            Outcome::Failed(error) => failure = Some(error),
            Outcome::Writes { prelude, mut body, dies } => {
                if let Some(prelude) = prelude {
                    writer.write(frames::prelude(&prelude)).await?;
                }
                while let Some(piece) = body.next().await {
                    writer.write(frames::payload_chunk(&piece)).await?;
                }
                if dies {
                    return Ok(());
                }
            }
        }
        let log = invocation.tail.then(|| log(&invocation, failure.as_ref(), started));
        writer.write(frames::invoke_complete(failure.as_ref(), log)).await
    });
    answer.content_type("application/vnd.amazon.eventstream").streaming(frames)
}

/// The end of the function's log, in base64.
fn log(invocation: &Invocation, failure: Option<&Value>, started: Instant) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = failure.map_or_else(String::new, |failure| {
        format!("[ERROR] {}: {}\n", text(&failure["errorType"]), text(&failure["errorMessage"]))
    });
    let id = &invocation.invoked.request_id;
    let duration = started.elapsed();
    BASE64_STANDARD.encode(format!(
        "START RequestId: {id} Version: {}\n{error}END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {:.2} ms\t\
         Billed Duration: {} ms\tMemory Size: 128 MB\tMax Memory Used: 32 MB\t\n",
        invocation.invoked.version,
        duration.as_secs_f64() * 1000.0,
        duration.as_millis() + 1,
    ))
}
