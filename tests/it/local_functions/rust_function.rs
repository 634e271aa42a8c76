//! A function with AWS's own runtime client for Rust, the crate `lambda_runtime`. Its command is this test
//! binary, with the one test `function`, which does nothing in a usual run.

use std::env;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

use super::{Dev, api, call, lambda};

/// The variable that makes a run of `function` the function.
const RUNS: &str = "RUST_FUNCTION";

/// An item of `functions.yaml`.
fn item(name: &str, further: &str) -> String {
    let program = env::current_exe().unwrap();
    format!(
        "- name: {name}\n  command: [{}, local_functions::rust_function::function, --exact, --nocapture]\n  \
         environment: {{ {RUNS}: '1' }}\n{further}",
        program.display()
    )
}

/// The function, if the environment has its variable.
#[test]
fn function() {
    if env::var_os(RUNS).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(service_fn(handle))).unwrap();
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let LambdaEvent { payload, context } = event;
    if payload["fail"] == true {
        return Err("as the event says".into());
    }
    let request = json!({ "event": payload, "arn": context.invoked_function_arn, "id": context.request_id });
    let is_api = payload.get("requestContext").is_some();
    Ok(if is_api { json!({ "statusCode": 201, "body": request.to_string() }) } else { request })
}

#[test]
fn the_crate_lambda_runtime_gets_events_and_returns_answers_and_errors() {
    let mut dev = Dev::start(&[lambda("f", ""), api("g")], &item("f", "  routes: [g]\n"));
    let answer = dev.invoke(r#"{"a":1}"#).json();
    assert_eq!(answer["event"], json!({ "a": 1 }));
    assert_eq!(answer["arn"], "arn:aws:lambda:eu-west-1:123456789012:function:f");
    assert_ne!(answer["id"], dev.invoke("{}").json()["id"]);
    let failed = dev.invoke(r#"{"fail":true}"#);
    assert_eq!(failed.header("x-amz-function-error"), Some("Unhandled"), "{failed:?}");
    assert_eq!(failed.json()["errorMessage"], "as the event says");
    let response = call(dev.address, "POST", "/g/x?y=1", &[], b"the body");
    let event = &response.json()["event"];
    assert_eq!(
        (response.status, &event["version"], &event["path"], &event["queryStringParameters"]["y"]),
        (201, &"1.0".into(), &"/g/x".into(), &"1".into()),
        "{event}"
    );
    let log = dev.process.stop();
    assert_eq!(log.matches("[f] cold start: ").count(), 1, "{log}");
}
