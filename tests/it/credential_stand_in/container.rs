//! Credential endpoints for containers: ECS, by an id in the path, and EKS Pod Identity, by a token.

use apigw_invoker::stand_in::{
    Service, StandIn, Switch,
    credentials::{CredentialKind, rotate_token},
};

use super::{
    super::support::{Response, call, get},
    Handed, Tokens,
};

const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// The path in the variable of a source.
#[track_caller]
fn path(tokens: &Tokens, kind: CredentialKind) -> String {
    let uri = tokens.variable(kind, FULL_URI);
    let rest = uri.strip_prefix(&format!("http://{}", tokens.stand_in.address()));
    rest.unwrap_or_else(|| panic!("{uri}")).to_owned()
}

#[track_caller]
fn ask(stand_in: &StandIn, path: &str, token: &str) -> Response {
    call(stand_in.address(), "GET", path, &[("Authorization", token)], b"")
}

#[test]
fn ecs_hands_keys_to_whom_knows_the_id() {
    let tokens = Tokens::new();
    let path = path(&tokens, CredentialKind::Ecs);
    let response = get(tokens.stand_in.address(), &path);
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    assert_eq!(response.json()["RoleArn"], "arn:aws:iam::123456789012:role/task");
    let caller = Handed::json(&response).caller(&tokens.stand_in);
    assert!(caller.starts_with("arn:aws:sts::123456789012:assumed-role/task/"), "{caller}");

    let response = get(tokens.stand_in.address(), "/v2/credentials/another");
    assert_eq!((response.status, &response.json()["code"]), (400, &"InvalidIdInRequest".into()));
    assert_eq!(call(tokens.stand_in.address(), "POST", &path, &[], b"").status, 405);
    assert_eq!(tokens.stand_in.controls().calls(Service::Ecs), 2);
}

#[test]
fn pod_identity_hands_keys_for_the_token_in_the_file() {
    let tokens = Tokens::new();
    let path = path(&tokens, CredentialKind::PodIdentity);
    let stand_in = &tokens.stand_in;
    let old = tokens.token("pod-identity-token");
    let response = ask(stand_in, &path, &old);
    assert_eq!((response.status, &response.json()["AccountId"]), (200, &"123456789012".into()));
    let caller = Handed::json(&response).caller(stand_in);
    assert!(caller.starts_with("arn:aws:sts::123456789012:assumed-role/pod/"), "{caller}");

    rotate_token(CredentialKind::PodIdentity, tokens.directory.path()).unwrap();
    let new = tokens.token("pod-identity-token");
    assert_eq!(ask(stand_in, &path, &new).status, 200);
    for wrong in [&*old, &format!("Bearer {new}"), ""] {
        let response = ask(stand_in, &path, wrong);
        assert_eq!(response.status, 400, "{wrong}");
        assert!(!response.text().contains(&new));
    }
    assert_eq!(get(stand_in.address(), &path).status, 400, "no token at all");

    stand_in.controls().set(Switch::PodIdentityTokenWrong, true);
    assert_eq!(ask(stand_in, &path, &new).status, 400);
    stand_in.controls().set(Switch::PodIdentityTokenWrong, false);
    assert_eq!(ask(stand_in, &path, &new).status, 200);
    assert_eq!(stand_in.controls().calls(Service::PodIdentity), 8);
}
