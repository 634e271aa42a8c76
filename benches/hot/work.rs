//! The steps of a request that are measured, without sockets. `main.rs` measures their time,
//! `../instructions/main.rs` counts their instructions.

#![expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing to say")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_http::{
    Method, StatusCode, Version,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use apigw_invoker::{
    backend::{self, Backend},
    client::{ReplyBody, UpstreamReply, encode_head},
    message::inbound::{InboundRequest, RequestBody},
    metrics::Metrics,
    routing::{MethodSet, PathMatch, RouteRule, RouteTable, UriPattern},
    settings::{Document, Settings},
    signing::{Scope, Signer},
    tls::Configurations,
};
use aws_credential_types::Credentials;
use bytes::Bytes;

/// One run of a step; may be called repeatedly.
pub type Work = Box<dyn FnMut()>;
/// Name of a step, and the function that prepares it.
type Step = (&'static str, fn() -> Work);

/// All steps, in the order in which a request passes them.
pub const ALL: [Step; 8] = [
    ("route", route),
    ("gateway_request", gateway_request),
    ("gateway_signature", gateway_signature),
    ("gateway_head", gateway_head),
    ("gateway_reply", gateway_reply),
    ("lambda_event", lambda_event),
    ("lambda_reply", lambda_reply),
    ("metrics", metrics),
];

/// Route lookup: finds the last of 10,000 routes.
fn route() -> Work {
    let table = RouteTable::new((0..10_000).map(|index| {
        let uris = UriPattern::parse(&format!("/service-{index}/*")).map(Arc::new).into_iter().collect();
        (RouteRule { uris, hosts: Vec::new(), methods: MethodSet::new(Vec::new()), priority: 0 }, index)
    }));
    Box::new(move || {
        let found = table.find("localhost:9080", "/service-9999/orders/4711", &Method::GET);
        assert!(black_box(found).is_ok());
    })
}

/// Builds the outbound request for API Gateway, including the copy of the client's request.
fn gateway_request() -> Work {
    let backend = backend("authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }");
    let path_match = path_match();
    Box::new(move || drop(black_box(backend.request(inbound(&path_match)))))
}

/// Signs the request.
fn gateway_signature() -> Work {
    let backend = backend("");
    let outbound = backend.request(inbound(&path_match())).expect("a request");
    let signer = Signer::new(Scope { region: "us-east-1".to_owned(), service: "execute-api".to_owned() });
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("token".to_owned()), None, "bench");
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    Box::new(move || drop(black_box(signer.sign(&outbound, &credentials, now))))
}

/// Writes the request's head.
fn gateway_head() -> Work {
    let outbound = backend("").request(inbound(&path_match())).expect("a request");
    Box::new(move || drop(black_box(encode_head(&outbound, None, true))))
}

/// Builds the response to the client.
fn gateway_reply() -> Work {
    let backend = backend("");
    Box::new(move || drop(black_box(backend.reply(reply("{}")))))
}

/// Builds the Lambda event of a request with `awsgateway_compatible`.
fn lambda_event() -> Work {
    let backend = lambda();
    let path_match = path_match();
    Box::new(move || drop(black_box(backend.request(inbound(&path_match)))))
}

/// Parses a function's proxy-integration response.
fn lambda_reply() -> Work {
    let backend = lambda();
    let output =
        r#"{"statusCode":200,"headers":{"content-type":"application/json"},"body":"{\"name\":\"x\"}"}"#;
    Box::new(move || drop(black_box(backend.reply(reply(output)))))
}

/// Updates the metrics of a request.
fn metrics() -> Work {
    let all = Metrics::new();
    let route = all.route(&"orders".into());
    Box::new(move || {
        route.begins();
        route.answered(Duration::from_millis(7));
        route.served(&Method::GET, Some(StatusCode::OK), Duration::from_millis(8));
        route.bytes_in.add(100);
        route.bytes_out.add(200);
        route.ends();
    })
}

fn backend(rest: &str) -> Arc<dyn Backend> {
    let uri = "https://x9w6z07gb9.execute-api.us-east-1.amazonaws.com/prod";
    built(&format!("api_gateway:\n  function_uri: {uri}\n  {rest}\n"))
}

fn lambda() -> Arc<dyn Backend> {
    built(
        "lambda:\n  function_name: MyLambda\n  aws_region: us-east-1\n  aws_key: AKIDEXAMPLE\n  \
         aws_secret: s\n  awsgateway_compatible: true\n  is_proxy_integration: true\n",
    )
}

fn built(route: &str) -> Arc<dyn Backend> {
    let documents = [Document::process(""), Document::route("r", format!("uri: /orders*\n{route}"))];
    let settings = Settings::from_documents(&documents, &BTreeMap::new()).expect("settings");
    backend::build(&settings.routes[0].backend, &mut Configurations::default()).expect("a backend")
}

fn path_match() -> PathMatch {
    PathMatch::of("/orders*", "/orders/4711").expect("a path of the route")
}

/// A request as `message/inbound.rs` creates it.
fn inbound(path_match: &PathMatch) -> InboundRequest {
    let lines = [
        ("accept", "*/*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("user-agent", "python-requests/2.32.3"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "127.0.0.1:9080"),
        ("x-forwarded-port", "9080"),
        ("x-forwarded-proto", "http"),
        ("via", "1.1 apigw-invoker-0123456789abcdef"),
        ("x-request-id", "0770d7073e19e8d1fa458ecbd772b745"),
        ("traceparent", "00-6b020fb419a2fc2baeeb8f3f0453b975-aeeb8f3f0453b975-00"),
        ("x-amzn-trace-id", "Root=1-6b020fb4-19a2fc2baeeb8f3f0453b975;Parent=aeeb8f3f0453b975"),
    ];
    InboundRequest {
        method: Method::GET,
        uri: "/orders/4711?expand=lines&page=2".parse().expect("a target"),
        path: path_match.clone(),
        headers: map(&lines),
        body: RequestBody::Empty,
        version: Version::HTTP_11,
        host: Some(HeaderValue::from_static("127.0.0.1:9080")),
        client_ip: Some([127, 0, 0, 1].into()),
        received_at: SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
        spelling: None,
        is_traced: true,
    }
}

/// A response as `client/framing.rs` creates it.
fn reply(body: &'static str) -> UpstreamReply {
    let lines = [
        ("date", "Sat, 21 Nov 2026 12:00:00 GMT"),
        ("content-type", "application/json"),
        ("x-amzn-requestid", "471289ab-d3b7-4819-9e1a-cb59cac611e0"),
        ("apigw-requestid", "QwErTyUiOpAsDfG="),
    ];
    UpstreamReply {
        status: StatusCode::OK,
        headers: map(&lines),
        body: ReplyBody::Whole(Bytes::from_static(body.as_bytes())),
        prelude: None,
    }
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}
