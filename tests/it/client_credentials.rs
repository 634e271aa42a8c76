//! `client_credentials: basic`: AWS keys of the caller in `Authorization: Basic`, over real sockets.

mod links;
mod refusals;
mod whole_run;

use std::net::SocketAddr;

use apigw_invoker::stand_in::StandInKeys;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::support::{App, Http2, Response, Signatory, Upstream, app, call, get, upstream::Received};

/// `curl -u` of two callers, who have one key id.
const ONE: &str = "AKIDEXAMPLE:hush-one/secret+";
const OTHER: &str = "AKIDEXAMPLE:hush-other/secret+";
/// Temporary keys.
const TEMPORARY: &str = "ASIAEXAMPLE:hush-temporary-secret:hush-session/token==";
const IAM: &str = "authorization: { iam: { client_credentials: basic } }";

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(user))
}

/// A request as `curl -u USER` sends it.
#[track_caller]
fn curl(address: SocketAddr, path: &str, user: &str) -> Response {
    call(address, "GET", path, &[("authorization", &basic(user)), ("user-agent", "curl/8")], b"")
}

/// A route `/g/*` to an API and routes to a function: `/v1`, `/v2`, `/parts`.
fn routes(upstream: &Upstream) -> app::Builder {
    let builder = App::with("").gateway("g", "/g/*", &upstream.uri("/"), IAM);
    let lambda = |event: &str| {
        format!(
            "uri: /{event}\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  host: 127.0.0.1\n  \
             port: {}\n  disable_https: true\n  client_credentials: basic\n",
            upstream.address.port()
        )
    };
    let gateway = |event: &str, version: &str| {
        lambda(event)
            + &format!("  awsgateway_compatible: true\n  awsgateway_compatible_payload_version: {version}\n")
    };
    let parts = lambda("parts") + "  forward_request_headers: true\n  forward_request_uri: true\n";
    builder.route("v1", &gateway("v1", "1.0")).route("v2", &gateway("v2", "2.0")).route("parts", &parts)
}

/// Checks by AWS's own signer that these keys signed a request.
#[track_caller]
fn assert_signed_by(user: &str, service: &str, received: &Received) {
    use time::{PrimitiveDateTime, macros::format_description};
    let mut parts = user.splitn(3, ':').map(str::to_owned);
    let keys = StandInKeys {
        access_key_id: parts.next().unwrap(),
        secret_access_key: parts.next().unwrap(),
        session_token: parts.next(),
        service: service.to_owned(),
        ..StandInKeys::example()
    };
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let at = PrimitiveDateTime::parse(received.header("x-amz-date").unwrap(), format).unwrap();
    let authorization = received.header("authorization").unwrap();
    let (_, names) = authorization.split_once("SignedHeaders=").unwrap();
    let names = names.split(',').next().unwrap().split(';');
    let ours = ["host", "x-amz-date", "x-amz-security-token"];
    let headers: Vec<(&str, &str)> = names
        .filter(|name| !ours.contains(name))
        .map(|name| (name, received.header(name).unwrap()))
        .collect();
    let method = received.line.split(' ').next().unwrap();
    let signatory = Signatory { keys, at: at.assume_utc().into() };
    let host = received.header("host").unwrap();
    for (name, value) in signatory.sign_for(host, method, received.target(), &headers, &received.body) {
        assert_eq!(received.header(&name), Some(&*value), "{user}: {name}");
    }
}

#[test]
fn requests_are_signed_with_the_keys_of_their_caller() {
    let upstream = Upstream::ok();
    let app = routes(&upstream).start();
    let users = [ONE, OTHER, TEMPORARY, ONE, "AKIDEXAMPLE:hush-one/secret+:"];
    for (path, service) in
        [("/g/a?b=c", "execute-api"), ("/v1", "lambda"), ("/v2", "lambda"), ("/parts", "lambda")]
    {
        for user in users {
            let response = curl(app.address, path, user);
            assert_eq!(response.status, 200, "{path}: {response:?}");
            assert_signed_by(user.trim_end_matches(':'), service, upstream.received().last().unwrap());
        }
    }
    assert_eq!(upstream.received().len(), 4 * users.len());
}

#[test]
fn the_callers_authorization_is_neither_forwarded_nor_in_an_event() {
    let upstream = Upstream::ok();
    let app = routes(&upstream).start();
    for path in ["/g/a", "/v1", "/v2", "/parts"] {
        curl(app.address, path, TEMPORARY);
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.all("authorization").len(), 1);
        assert!(
            received.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/")
        );
        let body = String::from_utf8_lossy(&received.body).to_lowercase();
        assert!(!body.contains("authorization") && !body.contains("basic"), "{path}: {body}");
        let head = format!("{:?}", received.headers);
        for secret in ["hush-temporary-secret", "Basic ", &STANDARD.encode(TEMPORARY)] {
            assert!(!head.contains(secret) && !body.contains(&secret.to_lowercase()), "{path}: {secret}");
        }
        if path != "/g/a" {
            assert!(body.contains("curl/8"), "the event has headers: {body}");
        }
    }
}

#[test]
fn missing_and_malformed_keys_are_401_with_a_challenge_and_nothing_is_sent() {
    let upstream = Upstream::ok();
    let app = routes(&upstream).start();
    let long = basic(&format!("AKID:secret:{}", "t".repeat(20_000)));
    let values = [
        "",
        "Bearer hush",
        "Basic",
        "Basic !!!",
        "Basic QTpi=",
        &long,
        &basic(""),
        &basic("AKIDEXAMPLE"),
        &basic(":hush"),
        &basic("AKIDEXAMPLE:"),
        &basic("AK/ID:hush"),
        &basic("AKID:hu\0sh"),
        &basic("AKID:hu\r\nsh"),
        &basic("hush-secret/of+forty-characters-ABCDEFGHIJ:AKIDEXAMPLE"),
    ];
    for path in ["/g/a", "/v1"] {
        for value in values {
            let headers = [("authorization", value)];
            let headers = if value.is_empty() { &[][..] } else { &headers };
            let response = call(app.address, "POST", path, headers, b"body");
            let told = (response.status, response.code(), response.header("www-authenticate"));
            assert_eq!(
                told,
                (401, "client_credentials_missing".into(), Some(r#"Basic realm="aws""#)),
                "{value}"
            );
            assert!(!response.text().contains("hush"), "{}", response.text());
        }
        let twice = [("authorization", &*basic(ONE)), ("authorization", &*basic(ONE))];
        assert_eq!(call(app.address, "GET", path, &twice, b"").status, 401);
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_grpc_client_without_keys_gets_16() {
    let upstream = Upstream::ok();
    let app = App::listening("h2c: true", "").gateway("g", "/*", &upstream.uri("/"), IAM).start();
    let mut client = Http2::open(app.address);
    let call = [("content-type", "application/grpc")];
    let answer = client.call("POST", "http://h/a", &call, b"").unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")), "{answer:?}");
    let keys = basic(ONE);
    let answer = client.call("GET", "http://h/a", &[("authorization", &keys)], b"").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_signed_by(ONE, "execute-api", &upstream.only());
}

#[test]
fn a_routes_own_keys_sign_for_callers_without_keys_where_it_says_so() {
    let own = "authorization:\n  iam: { accesskey: AKIDROUTE, secretkey: hush-own, client_credentials: basic";
    let upstream = Upstream::ok();
    let app = App::with("")
        .gateway(
            "either",
            "/either",
            &upstream.uri("/"),
            &format!("{own}, client_credentials_required: false }}"),
        )
        .gateway("callers", "/callers", &upstream.uri("/"), &format!("{own} }}"))
        .start();
    for (value, signer) in [
        ("", "AKIDROUTE:hush-own"),
        ("Bearer hush", "AKIDROUTE:hush-own"),
        ("Basic !!!", "AKIDROUTE:hush-own"),
        (&basic(ONE), ONE),
        ("", "AKIDROUTE:hush-own"),
    ] {
        let headers = [("authorization", value)];
        let headers = if value.is_empty() { &[][..] } else { &headers };
        assert_eq!(call(app.address, "GET", "/either", headers, b"").status, 200);
        assert_signed_by(signer, "execute-api", upstream.received().last().unwrap());
    }
    assert_eq!(get(app.address, "/callers").code(), "client_credentials_missing");
    assert_eq!(curl(app.address, "/callers", ONE).status, 200);
    assert_signed_by(ONE, "execute-api", upstream.received().last().unwrap());
}

#[test]
fn a_route_with_keys_of_callers_alone_is_ready_and_has_no_source() {
    let upstream = Upstream::ok();
    let app = routes(&upstream).start();
    let ready = get(app.admin, "/ready");
    assert_eq!(ready.status, 200, "{}", ready.text());
    for route in ready.json()["routes"].as_array().unwrap() {
        assert_eq!((&route["ready"], route.get("credentials")), (&true.into(), None), "{route}");
    }
    curl(app.address, "/g/a", ONE);
    assert!(!get(app.admin, "/metrics").text().contains("apigw_invoker_credentials_"));
    let shown = get(app.admin, "/routes").json();
    let shown = shown.as_array().unwrap().iter().find(|route| route["id"] == "v1").unwrap();
    assert_eq!(shown["lambda"]["client_credentials"], "basic");
    assert_eq!(shown["lambda"]["client_credentials_required"], true);
}
