//! Exported spans: their content for each recorded request, and delivery to a failing collector.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;

use super::support::{
    App, Upstream, call, eventually, get, open,
    process::{ANY_PORT, Process, settings},
    tls::{Authority, SecuredUpstream, server},
    upstream::Received,
};

const ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const RECORDED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn collector() -> Upstream {
    Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
    )
}

fn otlp(collector: &Upstream, rest: &str) -> String {
    format!("log: {{ access: false }}\ntracing: {{ otlp: {{ endpoint: '{}'{rest} }} }}\n", collector.uri("/"))
}

/// All spans of a delivery.
fn delivered(received: &Received) -> (BTreeMap<String, String>, Vec<Span>) {
    assert_eq!(received.line, "POST /v1/traces HTTP/1.1");
    assert_eq!(received.header("content-type"), Some("application/x-protobuf"));
    let request = ExportTraceServiceRequest::decode(&*received.body).unwrap();
    let [resource_spans] = &request.resource_spans[..] else { panic!("{request:?}") };
    let [scope_spans] = &resource_spans.scope_spans[..] else { panic!("{request:?}") };
    assert_eq!(scope_spans.scope.as_ref().unwrap().name, "apigw-invoker");
    (attributes(&resource_spans.resource.as_ref().unwrap().attributes), scope_spans.spans.clone())
}

fn all(collector: &Upstream) -> Vec<Span> {
    collector.received().iter().flat_map(|received| delivered(received).1).collect()
}

/// All spans exported until the sidecar has ended.
fn told(app: App, collector: &Upstream) -> Vec<Span> {
    drop(app);
    all(collector)
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |pair: &KeyValue| match pair.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind() == kind).collect()
}

/// The only server span, and its client spans.
#[track_caller]
fn one_request(spans: &[Span]) -> (&Span, Vec<&Span>) {
    let [request] = of_kind(spans, SpanKind::Server)[..] else { panic!("{spans:#?}") };
    (request, of_kind(spans, SpanKind::Client))
}

#[track_caller]
fn assert_has(span: &Span, expected: &[(&str, &str)]) {
    let attributes = attributes(&span.attributes);
    for (name, value) in expected {
        assert_eq!(attributes.get(*name).map(String::as_str), Some(*value), "{name} of {attributes:#?}");
    }
}

/// An upstream that sends request ids like AWS.
fn from_aws() -> Upstream {
    Upstream::answering("HTTP/1.1 200 OK\r\napigw-requestid: from-aws\r\ncontent-length: 2\r\n\r\nok")
}

fn orders(collector: &Upstream, upstream: &Upstream) -> App {
    App::with(&otlp(collector, "")).gateway("orders", "/orders*", &upstream.uri("/prod"), "").start()
}

fn nanoseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos().try_into().unwrap()
}

#[test]
fn a_recorded_request_is_a_span_and_so_is_its_call() {
    let (collector, upstream) = (collector(), from_aws());
    let app = orders(&collector, &upstream);
    let begun = nanoseconds();
    let headers = [("traceparent", RECORDED), ("x-request-id", "mine")];
    assert_eq!(call(app.address, "PUT", "/orders/17?secret=x", &headers, b"four").status, 200);
    let spans = told(app, &collector);
    let (request, calls) = one_request(&spans);
    let [call] = calls[..] else { panic!("{spans:#?}") };
    assert_eq!(hexadecimal(&request.trace_id), ID);
    assert_eq!(call.trace_id, request.trace_id);
    assert_eq!(hexadecimal(&request.parent_span_id), PARENT);
    assert_eq!(call.parent_span_id, request.span_id);
    let passed_on = upstream.only().header("traceparent").unwrap().to_owned();
    assert_eq!(passed_on, format!("00-{ID}-{}-01", hexadecimal(&call.span_id)), "AWS goes on from the call");
    // the parent of the server span is remote, that of the client span is local (OTLP, span flags)
    assert_eq!((request.flags, call.flags), (0x301, 0x101));
    assert!(
        begun <= request.start_time_unix_nano && request.start_time_unix_nano <= call.start_time_unix_nano
    );
    assert!(call.start_time_unix_nano < call.end_time_unix_nano);
    assert!(call.end_time_unix_nano <= request.end_time_unix_nano);
}

#[test]
fn both_say_what_was_called_by_the_names_of_opentelemetry_and_no_query() {
    let (collector, upstream) = (collector(), from_aws());
    let app = orders(&collector, &upstream);
    let headers = [("x-request-id", "mine")];
    assert_eq!(call(app.address, "PUT", "/orders/17?secret=x", &headers, b"four").status, 200);
    let spans = told(app, &collector);
    let (request, calls) = one_request(&spans);
    let [call] = calls[..] else { panic!("{spans:#?}") };
    assert_eq!((&*request.name, &*call.name), ("PUT /orders*", "PUT"));
    assert_eq!((&request.status, &call.status), (&None, &None));
    assert_has(
        request,
        &[
            ("http.request.method", "PUT"),
            ("http.route", "/orders*"),
            ("apigw_invoker.route", "orders"),
            ("apigw_invoker.request_id", "mine"),
            ("url.path", "/orders/17"),
            ("url.scheme", "http"),
            ("network.protocol.version", "1.1"),
            ("client.address", "127.0.0.1"),
            ("http.response.status_code", "200"),
            ("http.response.body.size", "2"),
        ],
    );
    assert_has(
        call,
        &[
            ("http.request.method", "PUT"),
            ("url.full", &format!("http://{}/prod/17", upstream.address)),
            ("server.address", "127.0.0.1"),
            ("server.port", &upstream.address.port().to_string()),
            ("http.request.body.size", "4"),
            ("http.response.status_code", "200"),
            ("aws.request_id", "from-aws"),
        ],
    );
    assert!(!format!("{spans:?}").contains("secret"), "a query is nobody else's business: {spans:?}");
}

#[test]
fn a_function_is_called_in_a_span_with_its_name() {
    let (collector, upstream) =
        (collector(), Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    let app = App::with(&otlp(&collector, "")).lambda("f", "/f", upstream.address, "").start();
    assert_eq!(get(app.address, "/f").status, 200);
    let spans = told(app, &collector);
    let (request, calls) = one_request(&spans);
    assert!(request.parent_span_id.is_empty(), "the trace begins here");
    let path = "/2015-03-31/functions/MyLambda/invocations";
    assert_has(
        calls[0],
        &[("http.request.method", "POST"), ("url.full", &format!("http://{}{path}", upstream.address))],
    );
}

#[test]
fn each_attempt_has_its_own_span_id_in_the_trace_headers() {
    let collector = collector();
    let calls = AtomicUsize::new(0);
    let upstream = Upstream::serving(move |_, stream| {
        let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        let status = if is_first { "429 Too Many Requests" } else { "200 OK" };
        let kind = "x-amzn-ErrorType: TooManyRequestsException\r\nx-amz-retry-after: 60\r\n";
        let kind = if is_first { kind } else { "" };
        write!(stream, "HTTP/1.1 {status}\r\n{kind}content-length: 0\r\n\r\n")
    });
    let retry = "retry: { max_backoff: 1s }";
    let app = App::with(&otlp(&collector, "")).gateway("a", "/", &upstream.uri("/"), retry).start();
    assert_eq!(get(app.address, "/").status, 200);
    let spans = told(app, &collector);
    let (request, calls) = one_request(&spans);
    let [first, second] = calls[..] else { panic!("{spans:#?}") };
    let pause = second.start_time_unix_nano - first.end_time_unix_nano;
    assert!(pause >= 50_000_000, "the pause is no part of the call: {pause}");
    for (call, received) in calls.iter().zip(upstream.received()) {
        assert_eq!(call.parent_span_id, request.span_id);
        let step = hexadecimal(&call.span_id);
        assert_eq!(received.header("traceparent").unwrap().split('-').nth(2), Some(&*step));
        assert!(received.header("x-amzn-trace-id").unwrap().contains(&format!("Parent={step};Sampled=1")));
    }
    assert_ne!(first.span_id, second.span_id);
    assert_has(first, &[("http.response.status_code", "429"), ("error.type", "429")]);
    assert_eq!(first.status.as_ref().unwrap().code, 2, "{first:?}");
    assert_has(second, &[("http.request.resend_count", "1"), ("http.response.status_code", "200")]);
    assert_eq!(request.status, None);
}

#[test]
fn a_lambda_event_has_the_span_id_of_its_attempt() {
    let collector = collector();
    let calls = AtomicUsize::new(0);
    let upstream = Upstream::serving(move |_, stream| {
        let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        let status = if is_first { "429 Too Many Requests" } else { "200 OK" };
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}")
    });
    let rest = "awsgateway_compatible: true\nretry: { backoff: 1ms }";
    let app = App::with(&otlp(&collector, "")).lambda("f", "/f", upstream.address, rest).start();
    assert_eq!(get(app.address, "/f").status, 200);
    drop(app);
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    for call in received {
        let event: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
        for name in ["traceparent", "x-amzn-trace-id"] {
            assert_eq!(event["headers"][name].as_str(), call.header(name), "{name}");
        }
    }
}

#[test]
fn a_client_that_leaves_during_the_response_is_recorded_in_the_span() {
    let collector = collector();
    let upstream = Upstream::accepting(|_, mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")?;
        std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ())
    });
    let app = App::with(&otlp(&collector, "")).gateway("a", "/", &upstream.uri("/"), "").start();
    let mut client = open(app.address);
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut head = [0; 12];
    std::io::Read::read_exact(&mut client, &mut head).unwrap();
    drop(client);
    eventually("it is seen", || !all(&collector).is_empty());
    let spans = all(&collector);
    let (request, _) = one_request(&spans);
    let left = request.attributes.iter().find(|pair| pair.key == "apigw_invoker.client_left");
    assert!(left.is_some(), "{request:?}");
    assert_eq!(request.status, None);
}

#[test]
fn a_failed_span_has_its_cause() {
    let collector = collector();
    let app = App::with(&otlp(&collector, "")).gateway("gone", "/gone", "http://127.0.0.1:1/", "").start();
    assert_eq!(get(app.address, "/gone").status, 502);
    assert_eq!(call(app.address, "BREW", "/nowhere", &[], b"").status, 404);
    let spans = told(app, &collector);
    let calls = of_kind(&spans, SpanKind::Client);
    let requests = of_kind(&spans, SpanKind::Server);
    let [gone, nowhere] = requests[..] else { panic!("{spans:#?}") };
    assert_has(gone, &[("error.type", "upstream_connect"), ("http.response.status_code", "502")]);
    assert_has(calls[0], &[("error.type", "upstream_connect")]);
    let failed = gone.status.as_ref().unwrap();
    assert_eq!((failed.code, &*failed.message), (2, "upstream_connect"));
    assert_has(
        nowhere,
        &[
            ("apigw_invoker.code", "route_not_found"),
            ("http.request.method", "_OTHER"),
            ("http.request.method_original", "BREW"),
        ],
    );
    assert_eq!(
        (&*nowhere.name, &nowhere.status),
        ("HTTP", &None),
        "what a client does wrong is not our failure"
    );
}

#[test]
fn an_answer_that_breaks_off_is_a_failure_though_its_status_was_right() {
    let collector = collector();
    let upstream = Upstream::accepting(|_, mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")
    });
    let app = App::with(&otlp(&collector, "")).gateway("a", "/", &upstream.uri("/"), "").start();
    let mut client = open(app.address);
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client, &mut answer);
    let spans = told(app, &collector);
    let (request, calls) = one_request(&spans);
    for span in [request, calls[0]] {
        assert_has(span, &[("http.response.status_code", "200"), ("error.type", "upstream_truncated")]);
        assert_eq!(span.status.as_ref().unwrap().code, 2);
    }
}

#[test]
fn only_sampled_requests_are_exported() {
    let upstream = Upstream::ok();
    let recorded = |sample: &str, header: Option<(&str, &str)>| {
        let collector = collector();
        let app = App::with(&format!(
            "tracing: {{ {sample} otlp: {{ endpoint: '{}' }} }}\nlog: {{ access: false }}\n",
            collector.uri("/")
        ));
        let app = app.gateway("a", "/", &upstream.uri("/"), "").start();
        let headers: Vec<(&str, &str)> = header.into_iter().collect();
        assert_eq!(call(app.address, "GET", "/", &headers, b"").status, 200);
        !told(app, &collector).is_empty()
    };
    let not = RECORDED.replace("-01", "-00");
    let root = "Root=1-67891233-abcdef012345678912345678";
    let (yes, no) = (format!("{root};Sampled=1"), format!("{root};Sampled=0"));
    for (sample, header, expected) in [
        ("", None, true),
        ("sample: 0,", None, false),
        ("sample: 0,", Some(("traceparent", RECORDED)), true),
        ("", Some(("traceparent", &*not)), false),
        // a load balancer starts traces without a sampling decision
        ("", Some(("x-amzn-trace-id", root)), true),
        ("sample: 0,", Some(("x-amzn-trace-id", root)), false),
        ("sample: 0,", Some(("x-amzn-trace-id", &*yes)), true),
        ("", Some(("x-amzn-trace-id", &*no)), false),
    ] {
        assert_eq!(recorded(sample, header), expected, "{sample} {header:?}");
    }
}

#[test]
fn exported_spans_have_the_resource_and_the_configured_headers() {
    let (collector, upstream) = (collector(), Upstream::ok());
    let rest = ", headers: { X-Api-Key: hush }, service_name: orders, resource: { \
         deployment.environment.name: prod }";
    let process = otlp(&collector, rest).replace("/' ", "/base/' ").replace("/', ", "/base/', ");
    let app = App::with(&process).gateway("a", "/", &upstream.uri("/"), "").start();
    let snapshot = std::sync::Arc::clone(&app.snapshot);
    assert_eq!(get(app.address, "/").status, 200);
    assert!(!format!("{snapshot:?}").contains("hush"));
    drop(app);
    let mut received = collector.only();
    assert_eq!(received.line, "POST /base/v1/traces HTTP/1.1");
    assert_eq!(received.header("x-api-key"), Some("hush"));
    assert_eq!(received.header("host"), Some(&*collector.address.to_string()));
    received.line = "POST /v1/traces HTTP/1.1".to_owned();
    let (resource, _) = delivered(&received);
    let expected = [
        ("deployment.environment.name", "prod"),
        ("service.name", "orders"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(resource, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn a_collector_over_tls_is_verified() {
    let authority = Authority::new("test");
    let collector = SecuredUpstream::ok(server(authority.identity("localhost")));
    let upstream = Upstream::ok();
    let ca = authority.file();
    for (trust, expected) in
        [(format!("ca_certificate: {}", ca.path().display()), "delivered"), (String::new(), "refused")]
    {
        let process = format!(
            "{ANY_PORT}tracing: {{ otlp: {{ endpoint: '{}', timeout: 1s, {trust} }} }}\n",
            collector.uri("localhost")
        );
        let directory = settings(&process, &[("a", &route(&upstream))]);
        let (mut process, address) = Process::run(directory.path());
        assert_eq!(get(address, "/").status, 200);
        eventually(expected, || outcome(&process, expected) == 1);
        let log = process.stop();
        assert_eq!(log.contains("cannot export spans"), expected == "refused", "{log}");
    }
}

fn route(upstream: &Upstream) -> String {
    format!("uri: /\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"))
}

/// Number of recorded requests with this outcome, by the metrics.
#[track_caller]
fn outcome(process: &Process, outcome: &str) -> u64 {
    let text = get(process.admin(), "/metrics").text();
    let name = format!("apigw_invoker_recorded_requests_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&*name));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn a_busy_collector_is_retried_and_a_refusal_is_not_and_each_is_logged_once() {
    let deliveries = AtomicUsize::new(0);
    // busy, then accepted; refused twice; accepted; accepted except for one span
    let collector = Upstream::serving(move |_, stream| {
        let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too\nold".to_owned() };
        let answer = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let (status, body) = match deliveries.fetch_add(1, Ordering::SeqCst) {
            0 => ("503 Service Unavailable\r\nretry-after: 0", Vec::new()),
            1 | 4 => ("200 OK", Vec::new()),
            2 | 3 => ("400 Bad Request", b"no\nsuch tenant".to_vec()),
            _ => ("200 OK", answer),
        };
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len())?;
        stream.write_all(&body)
    });
    let upstream = Upstream::ok();
    let process = format!("{ANY_PORT}{}", otlp(&collector, ""));
    let directory = settings(&process, &[("a", &route(&upstream))]);
    let (mut process, address) = Process::run(directory.path());
    for (count, expected) in
        [(1, "delivered"), (1, "refused"), (2, "refused"), (2, "delivered"), (3, "delivered")]
    {
        assert_eq!(get(address, "/").status, 200);
        eventually(expected, || outcome(&process, expected) == count);
    }
    assert_eq!(collector.received()[0].body, collector.received()[1].body);
    let log = process.stop();
    let told: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("tracing.otlp, 127.0.0.1:"))
        .map(|(_, rest)| rest)
        .collect();
    let [failing, again, rejected] = told[..] else { panic!("{log}") };
    let refused = "/v1/traces: cannot export spans, dropping them: the collector answers 400 Bad Request: \
         no\\nsuch tenant";
    assert!(failing.ends_with(refused), "{failing}");
    assert!(again.ends_with("/v1/traces: exporting spans again"), "{again}");
    assert!(rejected.ends_with("the collector has rejected some of the spans: too\\nold"), "{rejected}");
}

#[test]
fn a_stuck_collector_delays_neither_requests_nor_shutdown() {
    let collector = Upstream::accepting(|_, stream, _| {
        let mut reader = std::io::BufReader::new(stream);
        std::io::copy(&mut reader, &mut std::io::sink()).map(|_| ())
    });
    let upstream = Upstream::ok();
    let process = format!("{ANY_PORT}{}", otlp(&collector, ", timeout: 1m"));
    let directory = settings(&process, &[("a", &route(&upstream))]);
    let (mut process, address) = Process::run(directory.path());
    for _ in 0..20 {
        assert_eq!(get(address, "/").status, 200);
    }
    eventually("it waits for the collector", || collector.accepted() == 1);
    let begun = std::time::Instant::now();
    let log = process.stop();
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(log.contains("dropped the spans of 20 requests"), "{log}");
}

#[test]
fn another_collector_takes_over_without_a_restart_and_loses_nothing() {
    let (one, two, upstream) = (collector(), collector(), Upstream::ok());
    let with =
        |collector: &Upstream| format!("{ANY_PORT}reload: {{ interval: 100ms }}\n{}", otlp(collector, ""));
    let directory = settings(&with(&one), &[("a", &route(&upstream))]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/").status, 200);
    fs::write(directory.path().join("default.yaml"), with(&two)).unwrap();
    process.says("generation 2");
    assert_eq!(get(address, "/").status, 200);
    eventually("both are told", || [&one, &two].iter().all(|collector| all(collector).len() == 2));
    process.stop();
}
