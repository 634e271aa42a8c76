//! Traces over real sockets: the headers that reach AWS through each backend, and the trace id in the log.

use std::collections::HashSet;

use serde_json::Value;

use super::support::{
    App, Upstream, call, get,
    process::{ANY_PORT, Process, settings},
    upstream::Received,
};

const ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A sidecar with a route to each backend and a signed API Gateway route, and their upstream.
fn sidecar(process: &str) -> (App, Upstream) {
    let upstream = Upstream::ok();
    let iam = "authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }";
    let app = App::with(&format!("log: {{ access: false }}\n{process}"))
        .gateway("open", "/open", &upstream.uri("/"), "")
        .gateway("signed", "/signed", &upstream.uri("/"), iam)
        .lambda("function", "/function", upstream.address, "awsgateway_compatible: true")
        .start();
    (app, upstream)
}

const ROUTES: [&str; 3] = ["/open", "/signed", "/function"];

/// Outbound requests of each route for a client's headers.
fn sent(process: &str, headers: &[(&str, &str)]) -> Vec<Received> {
    let (app, upstream) = sidecar(process);
    for route in ROUTES {
        assert_eq!(call(app.address, "GET", route, headers, b"").status, 200, "{route} {headers:?}");
    }
    let received = upstream.received();
    assert_eq!(received.len(), ROUTES.len());
    received
}

/// Trace id, span id and flags of the only `traceparent`.
#[track_caller]
fn parent(received: &Received) -> (String, String, String) {
    let value = received.header("traceparent").unwrap_or_else(|| panic!("{received:?}"));
    let parts: Vec<&str> = value.split('-').collect();
    let [version, id, span, flags] = parts[..] else { panic!("{value}") };
    let lengths = [version, id, span, flags].map(str::len);
    assert_eq!((version, lengths), ("00", [2, 32, 16, 2]), "{value}");
    assert!(value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')), "{value}");
    assert!([id, span].iter().all(|name| name.bytes().any(|digit| digit != b'0')), "{value}");
    (id.to_owned(), span.to_owned(), flags.to_owned())
}

/// Expected `X-Amzn-Trace-Id` for a `traceparent`.
fn amazon(id: &str, span: &str, rest: &str) -> String {
    format!("Root=1-{}-{};Parent={span}{rest}", &id[..8], &id[8..])
}

#[test]
fn a_valid_trace_continues_with_a_span_id_of_the_sidecar() {
    for (flags, known) in [("00", "00"), ("01", "01"), ("03", "03"), ("ff", "03")] {
        let value = format!("{}{flags}", &VALID[..53]);
        let states = [("traceparent", &*value), ("tracestate", "a=1, b=2"), ("TraceState", "c=3")];
        let mut spans = HashSet::new();
        for received in sent("", &states) {
            let (id, span, passed) = parent(&received);
            assert_eq!((&*id, &*passed), (ID, known), "{}", received.line);
            assert_ne!(span, SPAN);
            assert_eq!(received.all("tracestate"), ["a=1, b=2", "c=3"]);
            let sampled = if known == "00" { ";Sampled=0" } else { ";Sampled=1" };
            assert_eq!(received.header("x-amzn-trace-id"), Some(&*amazon(&id, &span, sampled)));
            spans.insert(span);
        }
        assert_eq!(spans.len(), ROUTES.len(), "each request is a step of its own");
    }
}

#[test]
fn a_version_to_come_goes_on_as_the_one_that_is_known() {
    for value in [format!("cc{}", &VALID[2..]), format!("cc{}-what-comes", &VALID[2..])] {
        for received in sent("", &[("Traceparent", &value), ("tracestate", "a=1")]) {
            let (id, span, flags) = parent(&received);
            assert!(id == ID && flags == "01" && span != SPAN, "{value}: {received:?}");
            assert_eq!(received.header("tracestate"), Some("a=1"));
        }
    }
}

#[test]
fn a_malformed_traceparent_is_replaced_and_tracestate_dropped() {
    let zeros = "0".repeat(32);
    let cases = [
        String::new(),
        "x".to_owned(),
        VALID.to_uppercase(),
        VALID.replace("af", "AF"),
        VALID.replace(ID, &zeros),
        VALID.replace(SPAN, &zeros[..16]),
        format!("ff{}", &VALID[2..]),
        format!("{VALID}-more"),
        format!("cc{}more", &VALID[2..]),
        VALID[..54].to_owned(),
        VALID.replace('-', ":"),
        format!("{VALID}, {VALID}"),
    ];
    for value in &cases {
        for received in sent("", &[("traceparent", value), ("tracestate", "a=1")]) {
            let (id, span, flags) = parent(&received);
            assert!(id != ID && flags == "00", "{value}: {received:?}");
            assert_eq!(received.header("tracestate"), None, "{value}");
            assert_eq!(received.header("x-amzn-trace-id"), Some(&*amazon(&id, &span, "")), "{value}");
        }
    }
    for received in sent("", &[("traceparent", VALID), ("traceparent", VALID), ("tracestate", "a=1")]) {
        assert_ne!(parent(&received).0, ID, "of several none counts");
        assert_eq!(received.header("tracestate"), None);
    }
}

#[test]
fn a_request_without_a_trace_begins_one() {
    let seconds = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let before = seconds();
    let all = sent("", &[("tracestate", "a=1")]);
    let after = seconds();
    let ids: HashSet<String> = all.iter().map(|received| parent(received).0).collect();
    assert_eq!(ids.len(), ROUTES.len(), "{ids:?}");
    for id in ids {
        let begun = u64::from_str_radix(&id[..8], 16).unwrap();
        assert!((before..=after).contains(&begun), "X-Ray reads the time in {id}");
    }
    assert!(all.iter().all(|received| received.header("tracestate").is_none()));
}

#[test]
fn the_settings_say_whether_a_trace_that_begins_here_is_recorded() {
    for (sample, flags, sampled) in [("0.0", "00", ";Sampled=0"), ("1", "01", ";Sampled=1"), ("~", "00", "")]
    {
        let process = format!("tracing: {{ sample: {sample} }}\n");
        for received in sent(&process, &[]) {
            let (id, span, passed) = parent(&received);
            assert_eq!(passed, flags, "{sample}");
            assert_eq!(received.header("x-amzn-trace-id"), Some(&*amazon(&id, &span, sampled)), "{sample}");
        }
        let brought = sent(&process, &[("traceparent", VALID)]);
        assert!(brought.iter().all(|received| parent(received).2 == "01"), "the client's decision stands");
    }
}

#[test]
fn a_clients_x_amzn_trace_id_is_forwarded_unchanged() {
    let theirs = "Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678;Sampled=?";
    for received in sent("", &[("X-Amzn-Trace-Id", theirs), ("traceparent", VALID)]) {
        assert_eq!(received.header("x-amzn-trace-id"), Some(theirs));
        assert_eq!(parent(&received).0, ID);
    }
    // without `traceparent`, both headers name the same trace; without `Sampled`, `tracing.sample` decides
    for (rest, flags) in [("", "01"), (";Parent=53995c3f42cd8ad8;Sampled=1", "01"), (";Sampled=0", "00")] {
        let theirs = format!("Root=1-67891233-abcdef012345678912345678{rest}");
        for received in sent("tracing: { sample: 1.0 }\n", &[("X-Amzn-Trace-Id", &theirs)]) {
            assert_eq!(received.header("x-amzn-trace-id"), Some(&*theirs));
            let (id, span, passed) = parent(&received);
            assert_eq!((&*id, &*passed), ("67891233abcdef012345678912345678", flags), "{theirs}");
            assert_ne!(span, "53995c3f42cd8ad8");
        }
    }
    for theirs in ["", "Root=x", "anything"] {
        for received in sent("", &[("X-Amzn-Trace-Id", theirs)]) {
            assert_eq!(received.header("x-amzn-trace-id"), Some(theirs));
            parent(&received);
        }
    }
}

#[test]
fn a_function_finds_in_its_event_what_the_lambda_api_is_told() {
    let all = sent("", &[("traceparent", VALID), ("tracestate", "a=1")]);
    let received = all.last().unwrap();
    assert!(received.line.starts_with("POST /2015-03-31/"), "{}", received.line);
    let event: Value = serde_json::from_slice(&received.body).unwrap();
    for name in ["traceparent", "tracestate", "x-amzn-trace-id"] {
        assert_eq!(event["headers"][name].as_str(), received.header(name), "{name}");
        assert!(received.header(name).is_some(), "{name}");
    }
}

#[test]
fn traces_are_not_signed_and_spoil_no_signature() {
    for received in sent("", &[("traceparent", VALID), ("tracestate", "a=1")]).into_iter().skip(1) {
        let authorization = received.header("authorization").unwrap();
        assert!(!authorization.contains("trace") && authorization.contains("host;"), "{authorization}");
    }
    let app = App::dev();
    for target in ["/iam/echo", "/lambda/hello"] {
        for headers in [&[("traceparent", VALID), ("tracestate", "a=1,  b=2")][..], &[]] {
            assert_eq!(call(app.address, "GET", target, headers, b"").status, 200, "{target}");
        }
    }
}

#[test]
fn a_retry_has_the_same_span_id() {
    let upstream = Upstream::answering(
        "HTTP/1.1 429 Too Many Requests\r\nx-amzn-ErrorType: TooManyRequestsException\r\n\
         content-length: 0\r\n\r\n",
    );
    let app = App::with("").gateway("a", "/", &upstream.uri("/"), "retry: { backoff: 1ms }").start();
    assert_eq!(get(app.address, "/").status, 429);
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    assert_eq!(parent(&received[0]), parent(&received[1]));
}

#[test]
fn without_propagation_nothing_is_made_and_nothing_is_changed() {
    let headers = [("traceparent", "x"), ("tracestate", "a=1"), ("x-amzn-trace-id", "y")];
    let of = |received: &Received| {
        ["traceparent", "tracestate", "x-amzn-trace-id"].map(|name| received.header(name).map(str::to_owned))
    };
    let off = "tracing: { propagate: false }\n";
    let all = sent(off, &headers);
    assert_eq!(of(&all[0]), ["x", "a=1", "y"].map(|value| Some(value.to_owned())));
    assert_eq!(of(&all[1]), of(&all[0]));
    assert_eq!(of(&all[2]), [None, None, None], "no header of a client reaches the Lambda API");
    assert!(sent(off, &[]).iter().all(|received| of(received) == [None, None, None]));
}

#[test]
fn the_access_log_names_the_trace_as_text_and_as_json() {
    for json in [false, true] {
        let upstream = Upstream::ok();
        let process = if json { format!("{ANY_PORT}log: {{ format: json }}\n") } else { ANY_PORT.to_owned() };
        let route = format!("uri: /a\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
        let directory = settings(&process, &[("a", &route)]);
        let (mut running, address) = Process::run(directory.path());
        assert_eq!(call(address, "GET", "/a", &[("traceparent", VALID)], b"").status, 200);
        assert_eq!(get(address, "/a").status, 200);
        assert_eq!(call(address, "GET", "/nowhere", &[("traceparent", VALID)], b"").status, 404);
        let log = running.stop();
        let ids: Vec<String> = log.lines().filter_map(|line| trace_of(line, json)).collect();
        let begun = parent(&upstream.received()[1]).0;
        assert_eq!(ids, [ID, &begun, ID], "{log}");
    }
}

/// The trace id in an access log line.
fn trace_of(line: &str, json: bool) -> Option<String> {
    if json {
        let line: Value = serde_json::from_str(line).unwrap();
        return (line["target"] == "access").then(|| line["trace_id"].as_str().unwrap().to_owned());
    }
    let (_, rest) = line.split_once(" trace_id=")?;
    rest.split(' ').next().map(str::to_owned)
}
