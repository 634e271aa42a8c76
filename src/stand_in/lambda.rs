//! The stand-in's Lambda API: `Invoke` and `InvokeWithResponseStream`, by the Lambda API reference.

mod answers;
mod frames;
mod invocation;
mod local;
mod name;

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode, web::Bytes};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use self::{
    answers::{LambdaError, with_ids},
    invocation::{Invocation, InvocationKind, MAX_EVENT, Mode, OPERATIONS},
    name::Callee,
};
use super::{
    account::Account,
    answers::request_id,
    functions::{
        ReceivedRequest,
        by_event::{self, Function, FunctionResult},
        streamed_body::StreamedBody,
    },
    played::PlayedLambda,
};

/// "Quotas for functions": 6 MB, and the size of the API's envelope.
const MAX_ANSWER: usize = 6_291_556;

/// True for a path of this API.
pub fn has(path: &str) -> bool {
    OPERATIONS.iter().any(|(version, ..)| path.split('/').nth(1) == Some(version))
}

/// The response to a body over the stand-in's limit.
pub fn too_large() -> HttpResponse {
    LambdaError::over(MAX_EVENT).answer(&request_id())
}

/// Checks a request and runs the function.
pub async fn answer(
    call: &ReceivedRequest,
    account: &Account,
    played: Option<&PlayedLambda>,
) -> HttpResponse {
    let request_id = request_id();
    let invocation = match Invocation::admit(call, account, played, &request_id) {
        Ok(invocation) => invocation,
        Err(error) => return error.answer(&request_id),
    };
    let function = match (&invocation.callee, &account.options.functions) {
        (Callee::BuiltIn(function), _) => Some(*function),
        (Callee::Local(name), Some(functions)) => {
            let name = name.clone();
            return local::invoke(invocation, name, functions).await;
        }
        (Callee::Local(_) | Callee::Absent, _) => None,
    };
    invoke(function, invocation, account.options.words_pause).await
}

/// Runs a function of the stand-in; without one, the event is the answer.
async fn invoke(function: Option<Function>, invocation: Invocation, pause: Duration) -> HttpResponse {
    let request_id = invocation.input.request_id.clone();
    match invocation.kind {
        // the event would go to the function's queue; no response ever has its result
        InvocationKind::Event => return with_ids(StatusCode::ACCEPTED, &request_id).finish(),
        InvocationKind::DryRun => return with_ids(StatusCode::NO_CONTENT, &request_id).finish(),
        InvocationKind::RequestResponse => {}
    }
    let started = Instant::now();
    let result = match function {
        Some(function) => function.run(&invocation.input, pause).await,
        None => by_event::returned(&invocation.input),
    };
    let result = within_limits(result);
    let mut answer = with_ids(StatusCode::OK, &request_id);
    answer.insert_header(("X-Amz-Executed-Version", invocation.input.version));
    match invocation.mode {
        Mode::Buffered => buffered(answer, result, &invocation, started).await,
        Mode::ResponseStream => streamed(answer, result, invocation, started),
    }
}

/// Replaces a result over the limit with an error of the function.
fn within_limits(result: FunctionResult) -> FunctionResult {
    match result {
        FunctionResult::Returned(answer) if answer.len() > MAX_ANSWER => FunctionResult::Failed(json!({
            "errorMessage": format!(
                "Response payload size exceeded maximum allowed payload size ({MAX_ANSWER} bytes)."
            ),
            "errorType": "Function.ResponseSizeTooLarge",
        })),
        other => other,
    }
}

/// The response of `Invoke`: the whole body, and a header for a failure.
async fn buffered(
    mut answer: HttpResponseBuilder,
    result: FunctionResult,
    invocation: &Invocation,
    started: Instant,
) -> HttpResponse {
    let (body, failure) = match result {
        FunctionResult::Returned(body) => (body, None),
        FunctionResult::Failed(failure) => (failure.to_string().into(), Some(failure)),
        FunctionResult::Writes { dies: true, .. } => {
            let failure = exited(&invocation.input.request_id);
            (failure.to_string().into(), Some(failure))
        }
        FunctionResult::Writes { prelude, body, dies: false } => (whole(prelude, body).await, None),
    };
    if failure.is_some() {
        answer.insert_header(("X-Amz-Function-Error", "Unhandled"));
    }
    if invocation.tail {
        answer.insert_header(("X-Amz-Log-Result", log(invocation, failure.as_ref(), started)));
    }
    answer.content_type("application/json").body(body)
}

/// The JSON of a function that streams, as one without a stream would return it.
async fn whole(prelude: Option<Value>, body: StreamedBody) -> Bytes {
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

/// Lambda's error for a process that exited.
fn exited(request_id: &str) -> Value {
    json!({
        "errorType": "Runtime.ExitError",
        "errorMessage": format!("RequestId: {request_id} Error: Runtime exited without providing a reason"),
    })
}

/// The response of `InvokeWithResponseStream`: frames, the last one with a failure if there was one.
fn streamed(
    mut answer: HttpResponseBuilder,
    result: FunctionResult,
    invocation: Invocation,
    started: Instant,
) -> HttpResponse {
    let frames = StreamedBody::by(async move |writer| {
        let mut failure = None;
        match result {
            FunctionResult::Returned(body) => writer.send(frames::payload_chunk(&body)).await?,
            FunctionResult::Failed(error) => failure = Some(error),
            FunctionResult::Writes { prelude, mut body, dies } => {
                if let Some(prelude) = prelude {
                    writer.send(frames::prelude(&prelude)).await?;
                }
                while let Some(piece) = body.next().await {
                    writer.send(frames::payload_chunk(&piece)).await?;
                }
                if dies {
                    return Ok(());
                }
            }
        }
        let log = invocation.tail.then(|| log(&invocation, failure.as_ref(), started));
        writer.send(frames::invoke_complete(failure.as_ref(), log)).await
    });
    answer.content_type("application/vnd.amazon.eventstream").streaming(frames)
}

/// The end of the function's log, in base64.
fn log(invocation: &Invocation, failure: Option<&Value>, started: Instant) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = failure.map_or_else(String::new, |failure| {
        format!("[ERROR] {}: {}\n", text(&failure["errorType"]), text(&failure["errorMessage"]))
    });
    let id = &invocation.input.request_id;
    let duration = started.elapsed();
    BASE64_STANDARD.encode(format!(
        "START RequestId: {id} Version: {}\n{error}END RequestId: {id}\nREPORT RequestId: {id}\tDuration: \
         {:.2} ms\tBilled Duration: {} ms\tMemory Size: 128 MB\tMax Memory Used: 32 MB\t\n",
        invocation.input.version,
        duration.as_secs_f64() * 1000.0,
        duration.as_millis() + 1,
    ))
}
