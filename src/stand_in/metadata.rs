//! The stand-in's EC2 instance metadata service: session tokens, and the keys of the instance's role ("Use
//! the Instance Metadata Service to access instance metadata" and "Retrieve security credentials from
//! instance metadata", EC2 user guide).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use actix_web::{
    HttpResponse,
    http::{Method, StatusCode},
};

use super::{
    account::Account,
    functions::ReceivedRequest,
    issued::{Principal, random_base64, rfc_3339, rounded_down},
};
use crate::stand_in::{Service, Switch};

const TOKEN_PATH: &str = "/latest/api/token";
const ROLES_PATH: &str = "/latest/meta-data/iam/security-credentials";
const ROLE: &str = "node";
const INSTANCE: &str = "i-1234567890abcdef0";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// "The TTL … a maximum of six hours (21,600 seconds)."
const MAX_TTL: u64 = 21_600;

/// The valid session tokens with their expiries.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, SystemTime>>);

impl Sessions {
    fn open(&self, until: SystemTime) -> String {
        let token = random_base64(40);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), until);
        token
    }

    pub fn tokens(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn has(&self, token: &str, now: SystemTime) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(token).is_some_and(|until| now < *until)
    }
}

/// True for a path of this service.
pub fn has(path: &str) -> bool {
    path.starts_with("/latest/")
}

pub async fn answer(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    if call.path == TOKEN_PATH {
        return token(call, account).await;
    }
    if call.method != Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !is_admitted(call, account) {
        return refused(StatusCode::UNAUTHORIZED);
    }
    match call.path.strip_prefix(ROLES_PATH) {
        // the list has the one role
        Some("" | "/") => HttpResponse::Ok().content_type("text/plain").body(ROLE),
        Some(path) if path.strip_prefix('/') == Some(ROLE) => keys(account),
        _ => refused(StatusCode::NOT_FOUND),
    }
}

async fn token(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    account.controls.count(Service::MetadataToken);
    if account.controls.has(Switch::MetadataTokenHangs) {
        std::future::pending::<()>().await;
    }
    if call.method != Method::PUT {
        return refused(StatusCode::METHOD_NOT_ALLOWED);
    }
    // "PUT requests that contain an X-Forwarded-For header" come from an open proxy
    if call.headers.contains_key("x-forwarded-for") {
        return refused(StatusCode::FORBIDDEN);
    }
    let ttl = call.headers.get(TTL_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL).contains(ttl)) else {
        return refused(StatusCode::BAD_REQUEST);
    };
    let token = account.metadata_sessions.open(account.now() + Duration::from_secs(ttl));
    HttpResponse::Ok().insert_header((TTL_HEADER, ttl.to_string())).content_type("text/plain").body(token)
}

/// Refuses a wrong token even if none is required.
fn is_admitted(call: &ReceivedRequest, account: &Account) -> bool {
    match call.headers.get("x-aws-ec2-metadata-token") {
        Some(token) => token.to_str().is_ok_and(|token| account.metadata_sessions.has(token, account.now())),
        None => account.controls.has(Switch::MetadataV1),
    }
}

fn keys(account: &Account) -> HttpResponse {
    account.controls.count(Service::MetadataKeys);
    if account.controls.has(Switch::MetadataDown) {
        return refused(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let keys = account.issue(Principal::session(ROLE, INSTANCE));
    let mut body = keys.json();
    body["Code"] = "Success".into();
    body["LastUpdated"] = rfc_3339(rounded_down(account.now(), Duration::from_secs(1))).into();
    body["Type"] = "AWS-HMAC".into();
    // the service sends its JSON as text/plain
    HttpResponse::Ok().content_type("text/plain").body(body.to_string())
}

fn refused(status: StatusCode) -> HttpResponse {
    let reason = status.canonical_reason().unwrap_or_default();
    HttpResponse::build(status).content_type("text/plain").body(format!("{} - {reason}\n", status.as_u16()))
}
