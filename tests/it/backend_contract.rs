//! Contract of every backend, tested on bytes: no sockets, no clock, no credentials.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use actix_http::{
    Method, StatusCode, Uri, Version,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use apigw_invoker::{
    backend::{self, Backend, Verdict},
    client::{ReplyBody, UpstreamReply},
    message::{
        error::ErrorKind,
        inbound::{InboundRequest, RequestBody},
        outbound::{OutboundRequest, Signature},
    },
    routing::PathMatch,
    settings::{CallerKeys, Document, Scheme, Settings, effective},
    text::header_names::ClientProofs,
    tls::Configurations,
};
use bytes::Bytes;
use proptest::prelude::*;

/// Routes of every kind. A new variant of `settings::BackendSettings` must be added here.
const ROUTES: [(&str, &str); 10] = [
    ("open", "api_gateway:\n  function_uri: https://a.example/stage\n"),
    (
        "signed",
        "api_gateway:
  function_uri: https://a.example/stage/?base=1
  authorization:
    apikey: hush-key
    iam: { accesskey: AKIDEXAMPLE, secretkey: hush-secret, session_token: hush-token }
",
    ),
    (
        "pass",
        "api_gateway:
  function_uri: http://127.0.0.1:8080
  client_authorization: pass
  authorization: { apikey: hush-key }
",
    ),
    (
        "callers",
        "api_gateway:
  function_uri: https://a.example/stage
  authorization: { iam: { client_credentials: basic } }
",
    ),
    (
        "either",
        "lambda:
  function_name: f
  aws_region: us-east-1
  aws_access_key: AKIDEXAMPLE
  aws_secret_key: hush-secret
  client_credentials: basic
  client_credentials_required: false
  awsgateway_compatible: true
",
    ),
    ("merge", "lambda: { function_name: f, aws_region: us-east-1, aws_key: A, aws_secret: hush-secret }\n"),
    ("unsigned", "lambda: { function_name: f, host: '::1', port: 9000, disable_https: true, sign: false }\n"),
    (
        "forward",
        "lambda:
  upstream_url: aws-lambda://eu-west-1/f?qualifier=live
  aws_key: AKIDEXAMPLE
  aws_secret: hush-secret
  forward_request_method: true
  forward_request_uri: true
  forward_request_headers: true
  forward_request_body: true
",
    ),
    (
        "rest",
        "lambda:
  function_name: arn:aws-cn:lambda:cn-north-1:123456789012:function:f
  aws_key: AKIDEXAMPLE
  aws_secret: hush-secret
  awsgateway_compatible: true
  is_proxy_integration: true
",
    ),
    (
        "http",
        "lambda:
  function_name: f
  aws_region: us-east-1
  aws_key: AKIDEXAMPLE
  aws_secret: hush-secret
  awsgateway_compatible: true
  awsgateway_compatible_payload_version: 2.0
  is_proxy_integration: true
  invoke_mode: response_stream
",
    ),
];

/// True if the backend forwards paths, headers and responses instead of using an event.
fn passes_on(name: &str) -> bool {
    ["open", "signed", "pass", "callers"].contains(&name)
}

fn settings() -> Settings {
    let mut documents = vec![Document::process(String::new())];
    documents
        .extend(ROUTES.iter().map(|(name, text)| Document::route(name, format!("uri: /{name}*\n{text}"))));
    Settings::from_documents(&documents, &BTreeMap::new()).unwrap()
}

fn backends() -> Vec<(&'static str, Arc<dyn Backend>)> {
    let settings = settings();
    let mut tls = Configurations::default();
    let built = settings.routes.iter().map(|route| backend::build(&route.backend, &mut tls).unwrap());
    let names =
        settings.routes.iter().map(|route| ROUTES.iter().find(|(name, _)| *name == route.id).unwrap().0);
    names.zip(built).collect()
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

/// A request below a route's prefix of five bytes, as `message/inbound.rs` creates it.
fn inbound(method: Method, target: &str, headers: HeaderMap, body: &[u8]) -> InboundRequest {
    let uri: Uri = target.parse().unwrap();
    let below = PathMatch::of("/aws/*", uri.path());
    let path = below.or_else(|| PathMatch::of(uri.path(), uri.path())).unwrap();
    let body =
        if body.is_empty() { RequestBody::Empty } else { RequestBody::Whole(Bytes::copy_from_slice(body)) };
    InboundRequest {
        method,
        uri,
        path,
        headers,
        body,
        version: Version::HTTP_11,
        host: Some(HeaderValue::from_static("localhost:9080")),
        client_ip: Some([127, 0, 0, 1].into()),
        received_at: SystemTime::UNIX_EPOCH,
        spelling: None,
        is_traced: false,
    }
}

fn lines(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    lines.sort();
    lines
}

/// Method, target, headers and body of an outbound request.
type Seen = (String, String, Vec<(String, Vec<u8>)>, Vec<u8>);

fn seen(request: &OutboundRequest) -> Seen {
    (
        request.method.to_string(),
        request.path_and_query.clone(),
        lines(&request.headers),
        request.body.bytes().to_vec(),
    )
}

/// Only backends may know their kind: other rooms use the section, and calls use the target.
#[test]
fn a_section_answers_what_its_backend_does() {
    let routes = settings().routes;
    for (name, backend) in backends() {
        let route = routes.iter().find(|route| route.id == name).unwrap();
        let (section, target) = (route.backend.section(), backend.target());
        let server = section.server();
        assert_eq!(server.scheme == Scheme::Https, target.endpoint.tls.is_some(), "{name}");
        assert_eq!((server.host, server.port), (&*target.endpoint.host, target.endpoint.port), "{name}");
        let scope = target.scope.as_ref().map(|scope| (&*scope.region, &*scope.service));
        assert_eq!(section.signing_scope(), scope, "{name}");
        let callers = ["callers", "either"].contains(&name);
        assert_eq!(section.caller_keys() != CallerKeys::Off, callers, "{name}");
        assert_eq!(section.source().is_some(), scope.is_some() && name != "callers", "{name}");
        assert_eq!(section.authorization_kinds().contains(&"iam"), scope.is_some(), "{name}");
        assert!(target.max_request_body <= section.max_request_body().bytes(), "{name}");
        let key = format!("\"{}\":", section.name());
        assert!(effective(route).to_string().contains(&key), "{name}");
        for secret in ["hush", "base=1"] {
            assert!(!section.summary().contains(secret), "{name}");
        }
    }
}

#[test]
fn a_query_marked_as_rewritten_is_rewritten() {
    for (name, backend) in backends() {
        let inbound = inbound(Method::GET, "/aws/x?a=1&X-Amz-Signature=s", map(&[]), b"");
        let outbound = backend.request(inbound).unwrap();
        let goes_out = outbound.path_and_query.contains("X-Amz-Signature");
        let is_rewritten = backend.rewrites_query(outbound.signature);
        assert_eq!(goes_out, passes_on(name) && !is_rewritten, "{name}");
        assert!(!backend.rewrites_query(Signature::Clients), "{name}");
    }
}

#[test]
fn the_host_header_is_the_targets_and_not_repeated() {
    for (name, backend) in backends() {
        let inbound = inbound(Method::GET, "/aws/x", map(&[("host", "evil.example")]), b"");
        let outbound = backend.request(inbound).unwrap();
        let hosts: Vec<_> = outbound.headers.get_all("host").collect();
        assert_eq!(hosts, [&backend.target().authority], "{name}");
    }
}

#[test]
fn the_same_request_gives_the_same_bytes_every_time() {
    for (name, backend) in backends() {
        let request = || {
            let json = ("content-type", "application/json");
            let headers = map(&[("x-a", "1"), ("x-a", "2"), ("cookie", "c=1"), json]);
            inbound(Method::POST, "/aws/a%2Fb//c/?x=1&x=%20", headers, b"{\"b\":[]}")
        };
        let first = seen(&backend.request(request()).unwrap());
        assert_eq!(first, seen(&backend.request(request()).unwrap()), "{name}");
    }
}

#[test]
fn a_path_that_leaves_the_route_is_refused_where_it_would_be_appended() {
    for (name, backend) in backends().into_iter().filter(|(name, _)| passes_on(name)) {
        let error = backend.request(inbound(Method::GET, "/aws/../x", map(&[]), b"")).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::InvalidPath(_)), "{name}: {error}");
    }
}

#[test]
fn an_answer_loses_nothing() {
    for (name, backend) in backends().into_iter().filter(|(name, _)| passes_on(name) || *name == "merge") {
        // every status other than success is a refusal by the Lambda API
        let statuses: &[u16] = if passes_on(name) { &[200, 204, 301, 404, 500, 599] } else { &[200] };
        for &status in statuses {
            let headers = map(&[
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("x-amzn-requestid", "id"),
                ("content-type", "application/octet-stream"),
            ]);
            let status = StatusCode::from_u16(status).unwrap();
            let body = ReplyBody::Whole(Bytes::from_static(b"\x00\xff{}"));
            let reply = backend.reply(UpstreamReply { status, headers, body, prelude: None }).unwrap();
            assert_eq!(reply.status, status, "{name}");
            let names: Vec<String> = lines(&reply.headers).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["content-type", "set-cookie", "set-cookie", "x-amzn-requestid"], "{name}");
            assert!(matches!(reply.body, ReplyBody::Whole(bytes) if bytes == b"\x00\xff{}"[..]), "{name}");
        }
    }
}

#[test]
fn a_function_is_called_with_none_of_the_clients_headers() {
    for (name, backend) in backends().into_iter().filter(|(name, _)| !passes_on(name)) {
        let headers = map(&[("x-amz-invocation-type", "Event"), ("authorization", "mine"), ("x-a", "1")]);
        let outbound = backend.request(inbound(Method::GET, "/aws/x", headers, b"")).unwrap();
        let names: Vec<String> = lines(&outbound.headers).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["content-type", "host", "x-amz-invocation-type", "x-amz-log-type"], "{name}");
        assert_eq!(outbound.headers.get("x-amz-invocation-type").unwrap(), "RequestResponse", "{name}");
    }
}

/// The verdict on the head of a reply.
fn verdict(backend: &dyn Backend, status: u16, error_type: Option<&'static str>) -> Verdict {
    let headers = error_type.map(|kind| ("x-amzn-errortype", kind));
    backend.verdict(&UpstreamReply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map(headers.as_slice()),
        body: ReplyBody::None { length: None },
        prelude: None,
    })
}

#[test]
fn keys_that_have_expired_are_told_from_whatever_else_is_forbidden() {
    for (name, backend) in backends() {
        for kind in ["ExpiredTokenException", "ExpiredToken", "ExpiredTokenException:http://internal/coral/"]
        {
            assert_eq!(verdict(&*backend, 403, Some(kind)), Verdict::KeysExpired, "{name} {kind}");
            assert_eq!(verdict(&*backend, 200, Some(kind)), Verdict::Final, "{name} {kind}");
        }
        for kind in [None, Some("AccessDeniedException"), Some("InvalidSignatureException")] {
            assert_eq!(verdict(&*backend, 403, kind), Verdict::Final, "{name} {kind:?}");
        }
    }
}

#[test]
fn throttling_is_told_from_a_quota_and_from_what_the_apis_function_says() {
    for (name, backend) in backends() {
        for kind in ["TooManyRequestsException", "com.amazon.coral#ThrottlingException", "Throttling:x"] {
            assert_eq!(verdict(&*backend, 429, Some(kind)), Verdict::Throttled, "{name} {kind}");
        }
        // a 429 of the Lambda API is always its own
        let own = if passes_on(name) { Verdict::Final } else { Verdict::Throttled };
        for kind in [None, Some("LimitExceededException")] {
            assert_eq!(verdict(&*backend, 429, kind), own, "{name} {kind:?}");
        }
    }
}

#[test]
fn aws_itself_has_failed_with_500_503_and_504_where_it_says_so() {
    for (name, backend) in backends() {
        for status in [500, 503, 504] {
            let kind = Some("InternalServerErrorException");
            assert_eq!(verdict(&*backend, status, kind), Verdict::Unavailable, "{name} {status}");
            let unsaid = if passes_on(name) { Verdict::Final } else { Verdict::Unavailable };
            assert_eq!(verdict(&*backend, status, None), unsaid, "{name} {status}");
        }
        for status in [200, 202, 204, 301, 400, 401, 404, 413, 501, 502, 505] {
            let kinds = [None, Some("InternalServerErrorException"), Some("KMSDisabledException")];
            for kind in kinds {
                assert_eq!(verdict(&*backend, status, kind), Verdict::Final, "{name} {status} {kind:?}");
            }
        }
    }
}

#[test]
fn a_function_that_is_not_ready_is_known_by_status_and_kind() {
    let not_ready = [
        (409, "ResourceConflictException"),
        (409, "CodeArtifactUserPendingException"),
        (409, "SnapStartNotReadyException"),
        (502, "EC2ThrottledException"),
        (502, "ENINotReadyException"),
        (502, "ENILimitReachedException"),
        (502, "ResourceNotReadyException"),
        (502, "SubnetIPAddressLimitReachedException"),
    ];
    let slow = [
        (408, "EFSMountTimeoutException"),
        (408, "S3FilesMountTimeoutException"),
        (408, "SnapStartTimeoutException"),
    ];
    let settled = [
        (409, "SnapStartRegenerationFailureException"),
        (409, "CodeArtifactUserFailedException"),
        (409, "DurableExecutionAlreadyStartedException"),
        (408, "EFSMountConnectivityException"),
        (502, "KMSAccessDeniedException"),
        (502, "InvalidRuntimeException"),
        (502, "EC2UnexpectedException"),
        (402, "ServiceQuotaExceededException"),
        (404, "ResourceNotFoundException"),
        (400, "InvalidRequestContentException"),
    ];
    let expected = not_ready.map(|(status, kind)| (status, kind, Verdict::NotReady)).into_iter();
    let expected = expected.chain(slow.map(|(status, kind)| (status, kind, Verdict::SlowStart)));
    let expected: Vec<_> =
        expected.chain(settled.map(|(status, kind)| (status, kind, Verdict::Final))).collect();
    for (name, backend) in backends() {
        for &(status, kind, expected) in &expected {
            // API Gateway has no status for a function that is not ready
            let expected = if passes_on(name) { Verdict::Final } else { expected };
            assert_eq!(verdict(&*backend, status, Some(kind)), expected, "{name} {status} {kind}");
        }
    }
}

#[test]
fn a_function_that_failed_has_run() {
    for (name, backend) in backends() {
        let headers =
            map(&[("x-amz-function-error", "Unhandled"), ("x-amzn-errortype", "TooManyRequestsException")]);
        let body = ReplyBody::None { length: None };
        let reply = UpstreamReply { status: StatusCode::OK, headers, body, prelude: None };
        assert_eq!(backend.verdict(&reply), Verdict::Final, "{name}");
    }
}

#[test]
fn debug_of_a_backend_shows_no_secret() {
    for (name, backend) in backends() {
        let shown = format!("{backend:?}");
        assert!(!shown.contains("hush"), "{name}: {shown}");
    }
}

#[test]
fn a_client_loses_its_proofs_where_the_route_has_its_own() {
    for (name, backend) in backends() {
        let drops = backend.target().client_proofs == ClientProofs::Drop;
        assert_eq!(drops, ["signed", "callers"].contains(&name), "{name}");
    }
    let (_, signed) = backends().into_iter().find(|(name, _)| *name == "signed").unwrap();
    let outbound = signed.request(inbound(Method::GET, "/aws/x", map(&[]), b"")).unwrap();
    assert_eq!(outbound.headers.get("x-api-key").unwrap(), "hush-key");
}

proptest! {
    #[test]
    fn no_request_makes_it_panic_and_what_goes_out_is_a_sound_target(
        path in "(%[0-9A-F]{2}|[a-zA-Z0-9/._~!$&'()*+,;=:@-]){0,40}",
        query in proptest::option::of("(%[0-9A-F]{2}|[a-zA-Z0-9/._~!$&'()*+,;=:@?-]){0,40}"),
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let target = format!("/aws/{path}{}", query.map(|query| format!("?{query}")).unwrap_or_default());
        for (name, backend) in backends() {
            let request = inbound(Method::POST, &target, map(&[]), &body);
            let Ok(outbound) = backend.request(request) else { continue };
            let sent = &outbound.path_and_query;
            prop_assert!(sent.starts_with('/'), "{}", name);
            prop_assert!(sent.parse::<Uri>().is_ok(), "{}: {}", name, sent);
            if passes_on(name) {
                prop_assert_eq!(outbound.body.bytes(), &body[..]);
            } else {
                prop_assert_eq!(&outbound.method, Method::POST);
                prop_assert!(serde_json::from_slice::<serde_json::Value>(outbound.body.bytes()).is_ok());
            }
        }
    }
}
