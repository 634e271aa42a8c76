//! The metadata service of EC2: versions 1 and 2, and a token request that is never answered.

use std::{io::Read as _, io::Write as _, net::SocketAddr, time::Duration};

use apigw_invoker::stand_in::{Service, StandIn, Switch, credentials::CredentialKind};

use super::{
    super::support::{Response, call, open},
    Handed, Tokens, stand_in,
};

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const TTL: (&str, &str) = ("X-aws-ec2-metadata-token-ttl-seconds", "21600");

#[track_caller]
fn token(stand_in: &StandIn) -> String {
    let response = call(stand_in.address(), "PUT", "/latest/api/token", &[TTL], b"");
    assert_eq!((response.status, response.header(TTL.0)), (200, Some(TTL.1)));
    response.text()
}

#[track_caller]
fn get(stand_in: &StandIn, target: &str, token: Option<&str>) -> Response {
    let headers: Vec<_> = token.iter().map(|token| ("X-aws-ec2-metadata-token", *token)).collect();
    call(stand_in.address(), "GET", target, &headers, b"")
}

#[test]
fn a_session_token_leads_to_the_role_and_its_keys() {
    let stand_in = stand_in(|_| ());
    let token = token(&stand_in);
    for target in [ROLES, ROLES.trim_end_matches('/')] {
        assert_eq!(get(&stand_in, target, Some(&token)).text(), "node");
    }
    let response = get(&stand_in, &format!("{ROLES}node"), Some(&token));
    let body = response.json();
    assert_eq!((&body["Code"], &body["Type"]), (&"Success".into(), &"AWS-HMAC".into()), "{body}");
    assert!(body["LastUpdated"].as_str() < body["Expiration"].as_str(), "{body}");
    assert_eq!(
        Handed::json(&response).caller(&stand_in),
        "arn:aws:sts::123456789012:assumed-role/node/i-1234567890abcdef0"
    );
    let controls = stand_in.controls();
    assert_eq!((controls.calls(Service::MetadataToken), controls.calls(Service::MetadataKeys)), (1, 1));
}

#[test]
fn without_a_token_or_with_a_wrong_one_it_is_401() {
    let stand_in = stand_in(|_| ());
    for target in [ROLES, "/latest/meta-data/iam/security-credentials/node", "/latest/meta-data/"] {
        for token in [None, Some("a wrong one")] {
            assert_eq!(get(&stand_in, target, token).status, 401, "{target} {token:?}");
        }
    }
    assert_eq!(stand_in.controls().calls(Service::MetadataKeys), 0);
}

#[test]
fn version_1_needs_no_token_but_refuses_a_wrong_one() {
    let stand_in = stand_in(|_| ());
    stand_in.controls().set(Switch::MetadataV1, true);
    assert_eq!(get(&stand_in, ROLES, None).text(), "node");
    Handed::json(&get(&stand_in, &format!("{ROLES}node"), None));
    assert_eq!(get(&stand_in, ROLES, Some("a wrong one")).status, 401);
    stand_in.controls().set(Switch::MetadataV1, false);
    assert_eq!(get(&stand_in, ROLES, None).status, 401);
}

#[test]
fn what_is_no_request_for_a_token_is_refused() {
    let stand_in = stand_in(|_| ());
    let ask = |method: &str, headers: &[(&str, &str)]| {
        call(stand_in.address(), method, "/latest/api/token", headers, b"").status
    };
    assert_eq!(ask("GET", &[TTL]), 405);
    assert_eq!(ask("PUT", &[]), 400);
    for ttl in ["0", "21601", "-1", "long"] {
        assert_eq!(ask("PUT", &[(TTL.0, ttl)]), 400, "{ttl}");
    }
    assert_eq!(ask("PUT", &[TTL, ("X-Forwarded-For", "10.0.0.1")]), 403);
    let token = token(&stand_in);
    assert_eq!(get(&stand_in, "/latest/meta-data/iam/security-credentials/other", Some(&token)).status, 404);
    assert_eq!(call(stand_in.address(), "POST", ROLES, &[], b"").status, 405);
}

#[test]
fn a_token_that_never_arrives_hangs_until_the_client_gives_up() {
    let stand_in = stand_in(|_| ());
    stand_in.controls().set(Switch::MetadataTokenHangs, true);
    let mut stream = open(stand_in.address());
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    write!(stream, "PUT /latest/api/token HTTP/1.1\r\nHost: localhost\r\n{}: {}\r\n\r\n", TTL.0, TTL.1)
        .unwrap();
    let heard = stream.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(heard, Err(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)), "{heard:?}");
    stand_in.controls().set(Switch::MetadataTokenHangs, false);
    token(&stand_in);
}

#[test]
fn the_variable_of_the_source_leads_here() {
    let tokens = Tokens::new();
    let endpoint = tokens.variable(CredentialKind::Imds, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let address: Option<SocketAddr> = endpoint.strip_prefix("http://").and_then(|rest| rest.parse().ok());
    assert_eq!(address, Some(tokens.stand_in.address()));
}
