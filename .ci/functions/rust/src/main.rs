//! A function for `.ci/functions/run`: returns its event and the request id.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handler)).await
}

async fn handler(event: LambdaEvent<Value>) -> Result<Value, Error> {
    println!("handles {}", event.context.request_id);
    if event.payload["fail"] == true {
        return Err("as the event says".into());
    }
    Ok(json!({ "event": event.payload, "deadline": event.context.deadline }))
}
