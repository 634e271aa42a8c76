//! The stand-in's credential endpoints of containers: of ECS ("Task IAM role", ECS developer guide) and of
//! EKS Pod Identity ("How EKS Pod Identity works", EKS user guide; "Container credential provider", SDKs and
//! Tools reference guide).

use actix_web::{
    HttpResponse,
    http::{Method, StatusCode, header},
};
use serde_json::{Value, json};

use super::{
    account::Account,
    credentials,
    functions::ReceivedRequest,
    issued::{ACCOUNT, Principal},
};
use crate::stand_in::{Service, Switch};

/// The path of ECS, before the id of a task's keys.
const ECS_PATH: &str = "/v2/credentials/";
/// The id of the one task's keys, which grants access to them.
const ECS_ID: &str = "8f3b1c5e-2d7a-4c6b-9e0f-1a2b3c4d5e6f";
pub const POD_IDENTITY_PATH: &str = "/v1/credentials";

/// True for a path of these endpoints.
pub fn has(path: &str) -> bool {
    path == POD_IDENTITY_PATH || path.starts_with(ECS_PATH)
}

/// The path of the one task's keys.
pub fn ecs_path() -> String {
    format!("{ECS_PATH}{ECS_ID}")
}

pub fn answer(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    if call.method != Method::GET {
        return HttpResponse::MethodNotAllowed().finish();
    }
    if call.path == POD_IDENTITY_PATH { pod_identity(call, account) } else { ecs(call, account) }
}

fn ecs(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    account.controls.count(Service::Ecs);
    if call.path.strip_prefix(ECS_PATH) != Some(ECS_ID) {
        // the agent's own text
        let body = json!({
            "code": "InvalidIdInRequest",
            "message": "CredentialsV2Request: Credentials not found",
            "HTTPErrorCode": 400,
        });
        return sent(StatusCode::BAD_REQUEST, &body);
    }
    let role = "task";
    let keys = account.issue(Principal::session(role, "0a1b2c3d4e5f"));
    let mut body = keys.json();
    body["RoleArn"] = format!("arn:aws:iam::{ACCOUNT}:role/{role}").into();
    sent(StatusCode::OK, &body)
}

fn pod_identity(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    account.controls.count(Service::PodIdentity);
    let refused = |message: &str| {
        HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body(format!("{message}\n"))
    };
    let Some(given) = call.headers.get(header::AUTHORIZATION) else {
        return refused("Service account token cannot be empty");
    };
    let known = given.to_str().is_ok_and(|token| credentials::is_pod_token(&account.options, token));
    if !known || account.controls.has(Switch::PodIdentityTokenWrong) {
        return refused("InvalidTokenException: The token included in the request is invalid.");
    }
    let keys = account.issue(Principal::session("pod", "eks-stand-in-orders-0"));
    let mut body = keys.json();
    body["AccountId"] = ACCOUNT.into();
    sent(StatusCode::OK, &body)
}

fn sent(status: StatusCode, body: &Value) -> HttpResponse {
    HttpResponse::build(status).content_type("application/json").body(body.to_string())
}
