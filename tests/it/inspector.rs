//! The inspector of the admin port: recorded requests, without secrets.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use apigw_invoker::stand_in::{Fault, StandInKeys, StandInOptions};
use serde_json::{Value, json};

use super::support::{
    App, Response, Upstream, call, eventually, get, open,
    process::{Process, settings},
    send,
};

const JSON: (&str, &str) = ("Accept", "application/json");

/// A sidecar with the inspector and one route from `/a/*`.
fn inspected(inspect: &str, upstream: &Upstream, rest: &str) -> App {
    App::administered(&format!("inspect: {inspect}")).gateway("a", "/a/*", &upstream.uri("/"), rest).start()
}

fn page(app: &App, target: &str) -> Response {
    call(app.admin, "GET", target, &[JSON], b"")
}

fn list(app: &App, query: &str) -> Vec<Value> {
    let list = page(app, &format!("/inspect{query}")).json();
    list["requests"].as_array().unwrap().clone()
}

/// The details of the only request, once it has ended.
#[track_caller]
fn only(app: &App) -> Value {
    eventually("the request is recorded", || list(app, "").len() == 1);
    page(app, "/inspect/1").json()
}

/// A response with a body of this length, in one piece.
fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn without_the_setting_there_is_no_inspector() {
    let app = App::to("http://127.0.0.1:1/");
    for target in ["/inspect", "/inspect/1", "/inspect/events"] {
        assert_eq!(page(&app, target).status, 404, "{target}");
    }
    assert_eq!(call(app.admin, "POST", "/inspect/1/again", &[], b"").status, 404);
    assert_eq!(page(&app, "/").json()["inspector"], false);
}

#[test]
fn the_pages_answer_head_and_refuse_other_methods() {
    let upstream = Upstream::answering(&answer("200 OK", ""));
    let app = inspected("{}", &upstream, "");
    for (method, status) in [("HEAD", 200), ("OPTIONS", 405), ("POST", 405), ("DELETE", 405)] {
        assert_eq!(call(app.admin, method, "/inspect", &[JSON], b"").status, status, "{method}");
    }
    assert_eq!(call(app.admin, "HEAD", "/inspect/7", &[JSON], b"").status, 404);
}

#[test]
fn a_request_is_shown_from_the_client_to_aws_and_back() {
    let upstream = Upstream::answering(&answer("201 Created\r\nx-answer: 7", "the answer"));
    let app = inspected("{}", &upstream, "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }");
    let headers = [("X-Request-Id", "my-id"), ("Content-Type", "text/plain"), ("Connection", "close")];
    assert_eq!(call(app.address, "POST", "/a/b?x=1", &headers, b"the body").status, 201);
    let shown = only(&app);
    assert_eq!(shown, page(&app, "/inspect/my-id").json());
    assert_eq!(
        (&shown["method"], &shown["target"], &shown["status"]),
        (&"POST".into(), &"/a/b?x=1".into(), &201.into())
    );
    assert_eq!((&shown["route"], &shown["pattern"]), (&"a".into(), &"/a/*".into()));
    assert_eq!(shown["client"]["body"], json!({ "bytes": 8, "cut": false, "text": "the body" }));
    assert!(shown["client"]["headers"].as_array().unwrap().contains(&json!(["content-type", "text/plain"])));
    let outgoing = &shown["outgoing"];
    assert_eq!(
        (&outgoing["request_line"], &outgoing["body"]["text"]),
        (&"POST /b?x=1 HTTP/1.1".into(), &"the body".into())
    );
    let signed = &shown["attempts_made"][0]["signature"];
    let canonical = signed["canonical_request"].as_str().unwrap();
    assert!(canonical.starts_with("POST\n/b\nx=1\ncontent-type:text/plain\nhost:127.0.0.1:"), "{canonical}");
    assert!(signed["string_to_sign"].as_str().unwrap().starts_with("AWS4-HMAC-SHA256\n"), "{signed}");
    assert_eq!(signed["keys"], "keys of the route, access key ending in MPLE");
    assert_eq!(shown["response"]["body"]["text"], "the answer");
    assert!(shown["response"]["headers"].as_array().unwrap().contains(&json!(["x-answer", "7"])));
    let steps = shown["steps"].as_array().unwrap();
    assert_eq!(steps.first().unwrap()["from_ms"], 0.0);
    assert_eq!(steps.last().unwrap()["to_ms"], shown["took_ms"]);
    let candidates = shown["candidates"].as_array().unwrap();
    assert_eq!((&candidates[0]["id"], &candidates[0]["takes_it"]), (&"a".into(), &true.into()));
    let curl = shown["copies"]["curl"].as_str().unwrap();
    let start = format!("curl --globoff --path-as-is -X POST 'http://{}/a/b?x=1' ", app.address);
    assert!(curl.starts_with(&start) && curl.ends_with("--data-binary 'the body'"), "{curl}");
    assert_eq!(shown["sends_again"], false);
}

#[test]
fn the_event_of_a_function_and_its_answer_are_shown() {
    let upstream = Upstream::answering(&answer("200 OK", r#"{"statusCode":202,"body":"made"}"#));
    let rest = "is_proxy_integration: true\nawsgateway_compatible: true";
    let app = App::administered("inspect: {}").lambda("f", "/f", upstream.address, rest).start();
    assert_eq!(get(app.address, "/f?a=b").status, 202);
    let shown = only(&app);
    let event: Value = serde_json::from_str(shown["outgoing"]["body"]["text"].as_str().unwrap()).unwrap();
    assert_eq!(event["queryStringParameters"]["a"], "b");
    assert_eq!(shown["reply_body"]["text"], r#"{"statusCode":202,"body":"made"}"#);
    assert_eq!((&shown["response"]["body"]["text"], &shown["status"]), (&"made".into(), &202.into()));
}

#[test]
fn bodies_that_stream_are_shown_too_and_cut_at_the_limit() {
    let upstream = Upstream::answering(&answer("200 OK", &"y".repeat(100_000)));
    let app = inspected("{ bodies: 10 }", &upstream, "");
    let response = call(app.address, "POST", "/a/b", &[], &vec![b'x'; 50_000]);
    assert_eq!((response.status, response.body.len()), (200, 100_000));
    let shown = only(&app);
    let ten = |text: &str, bytes: u64| json!({ "bytes": bytes, "cut": true, "text": text.repeat(10) });
    assert_eq!(shown["client"]["body"], ten("x", 50_000));
    assert_eq!(shown["outgoing"]["body"], ten("x", 50_000));
    assert_eq!(shown["response"]["body"], ten("y", 100_000));
    assert!(shown["copies"]["curl"].as_str().unwrap().ends_with("--data-binary @BODY"));
    assert_eq!(upstream.only().body.len(), 50_000);
}

#[test]
fn a_chunked_body_that_streams_is_shown_from_its_first_piece() {
    let iam = "authorization:\n  iam: { accesskey: A, secretkey: hush-key, aws_region: us-east-1, \
               service: vpc-lattice-svcs }";
    let upstream = Upstream::accepting(|_, mut stream, _| {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        // the last chunk
        while lines.next().transpose()?.is_some_and(|line| line != "0") {}
        stream.write_all(answer("200 OK", "ok").as_bytes())
    });
    let app = inspected("{}", &upstream, iam);
    let mut client = open(app.address);
    client.write_all(b"POST /a/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    client.write_all(b"5\r\nfirst\r\n7\r\n second\r\n0\r\n\r\n").unwrap();
    let shown = only(&app);
    let whole = json!({ "bytes": 12, "cut": false, "text": "first second" });
    assert_eq!((&shown["client"]["body"], &shown["outgoing"]["body"]), (&whole, &whole));
    assert_eq!(shown["status"], 200);
}

#[test]
fn a_body_that_does_not_arrive_or_is_not_read_is_marked_as_cut() {
    let app = App::dev_inspected(StandInOptions::new(StandInKeys::example()));
    for (number, target, sent) in [(1, "/aws", "part"), (2, "/iam", "part"), (3, "/no-route", "the whole")] {
        let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{sent}");
        open(app.address).write_all(head.as_bytes()).unwrap();
        eventually("the request is recorded", || list(&app, "").len() == number);
        let shown = page(&app, &format!("/inspect/{number}")).json();
        assert_eq!(shown["client"]["body"]["cut"], true, "{shown}");
        let own = app.admin;
        let again = format!(
            "POST /inspect/{number}/again HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let refused = send(app.admin, again);
        assert_eq!(refused.status, 409);
        assert!(refused.text().contains("did not arrive or was not read"), "{}", refused.text());
    }
    get(app.address, "/no-route");
    eventually("the request is recorded", || list(&app, "").len() == 4);
    assert_eq!(page(&app, "/inspect/4").json()["client"]["body"]["cut"], false);
}

#[test]
fn only_the_newest_requests_are_kept() {
    let upstream = Upstream::ok();
    let app = inspected("{ keep: 3 }", &upstream, "");
    for number in 0..8 {
        assert_eq!(get(app.address, &format!("/a/{number}")).status, 200);
    }
    eventually("all are recorded", || list(&app, "").first().is_some_and(|newest| newest["number"] == 8));
    let targets: Vec<Value> = list(&app, "").iter().map(|request| request["target"].clone()).collect();
    assert_eq!(targets, ["/a/7", "/a/6", "/a/5"]);
    assert_eq!(page(&app, "/inspect/5").status, 404);
}

#[test]
fn a_filter_selects_by_route_status_and_text() {
    let upstream = Upstream::answering(&answer("404 Not Found", "a Needle in the body"));
    let app = inspected("{}", &upstream, "");
    get(app.address, "/a/x");
    get(app.address, "/elsewhere");
    eventually("both are recorded", || list(&app, "").len() == 2);
    for (query, numbers) in [
        ("?route=a", vec![1]),
        ("?route=-", vec![2]),
        ("?status=404", vec![2, 1]),
        ("?status=4xx", vec![2, 1]),
        ("?status=route_not_found", vec![2]),
        ("?status=5xx", vec![]),
        ("?text=needle", vec![1]),
        ("?text=ELSEWHERE&route=-", vec![2]),
        ("?text=&route=%20", vec![2, 1]),
        ("?text=nothing", vec![]),
    ] {
        let found: Vec<u64> =
            list(&app, query).iter().map(|request| request["number"].as_u64().unwrap()).collect();
        assert_eq!(found, numbers, "{query}");
    }
}

#[test]
fn attempts_are_shown_with_their_pauses_and_log_lines() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let upstream = Upstream::serving(move |_, stream| {
        let is_first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        let head = if is_first { "429 Slow\r\nx-amzn-ErrorType: TooManyRequestsException" } else { "200 OK" };
        stream.write_all(answer(head, "{}").as_bytes())
    });
    let app = inspected("{}", &upstream, "retry: { attempts: 2, backoff: 20ms, budget: 900 }");
    assert_eq!(get(app.address, "/a/x").status, 200);
    let shown = only(&app);
    let attempts = shown["attempts_made"].as_array().unwrap();
    assert_eq!(
        (attempts.len(), &attempts[0]["status"], &attempts[1]["status"]),
        (2, &429.into(), &200.into())
    );
    assert!(attempts[0]["retry"].as_str().unwrap().starts_with("429"), "{shown}");
    assert!(shown["steps"].as_array().unwrap().iter().any(|step| step["is_pause"] == true), "{shown}");
    let line = shown["log"][0]["text"].as_str().unwrap();
    assert!(line.starts_with("attempt 1 failed, retrying: 429"), "{line}");
}

#[test]
fn a_request_that_fails_has_its_cause_in_the_log_lines() {
    let app = App::administered("inspect: {}").gateway("a", "/a/*", "http://127.0.0.1:1/", "").start();
    assert_eq!(get(app.address, "/a/b").status, 502);
    let shown = only(&app);
    assert_eq!(shown["code"], "upstream_connect");
    let last = shown["log"].as_array().unwrap().last().unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["text"].as_str().unwrap().contains("cannot connect to 127.0.0.1:1"), "{shown}");
    assert!(shown["attempts_made"][0]["failure"].as_str().unwrap().contains("127.0.0.1:1"), "{shown}");
    assert_eq!(shown["response"]["body"]["text"].as_str().unwrap().len(), {
        let body = shown["response"]["body"]["bytes"].as_u64().unwrap();
        usize::try_from(body).unwrap()
    });
}

#[test]
fn a_refused_signature_is_shown_beside_the_one_that_aws_expected() {
    let app = App::dev_inspected(StandInOptions::new(StandInKeys::example()).with_fault(Fault::Path));
    assert_eq!(get(app.address, "/iam/x").status, 403);
    let shown = only(&app);
    let own = shown["attempts_made"][0]["signature"]["canonical_request"].as_str().unwrap();
    let expected = shown["expected"]["canonical_request"].as_str().unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (own, expected) = (lines(own), lines(expected));
    assert_eq!((own.len(), &own[0], &own[3..]), (expected.len(), &expected[0], &expected[3..]));
    assert_ne!(own[1], expected[1]);
    assert!(shown["log"].as_array().unwrap().iter().any(|line| line["level"] == "warn"), "{shown}");
    assert!(!shown["reply_body"]["text"].as_str().unwrap().contains("Canonical String"), "{shown}");
}

/// An upstream that repeats everything it gets, as a function in development does.
fn echo() -> Upstream {
    Upstream::serving(|request, stream| {
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let body = json!({
            "target": request.target(),
            "headers": headers,
            "each": request.headers,
            "body": String::from_utf8_lossy(&request.body),
        });
        stream.write_all(answer("200 OK\r\nset-cookie: s=hush-set", &body.to_string()).as_bytes())
    })
}

#[test]
fn no_secret_is_shown_even_if_the_other_side_repeats_it() {
    let upstream = echo();
    let iam = "authorization:\n  apikey: $env://API_KEY\n  iam:\n    accesskey: AKIDEXAMPLE\n    \
               secretkey: hush-secret\n    session_token: hush-session\nclient_authorization: replace";
    let event = "awsgateway_compatible: true\nclient_context: { a: hush-context }\n\
                 is_proxy_integration: false";
    let app = App::administered("inspect: { bodies: 64KiB }")
        .variable("API_KEY", "hush-api-key")
        .gateway("signed", "/signed/*", &format!("{}?key=hush-query", upstream.uri("/")), iam)
        .gateway("open", "/open/*", &upstream.uri("/"), "")
        .lambda("event", "/event/*", upstream.address, event)
        .start();
    let headers = [
        ("Authorization", "Bearer hush-bearer"),
        ("Cookie", "session=hush-cookie; other=hush-other"),
        ("X-Api-Key", "hush-client-key"),
        ("X-Amz-Security-Token", "hush-client-token"),
        ("Content-Type", "application/json"),
    ];
    let query = "X-Amz-Signature=hush%2Dsignature&X-Amz-Security-Token=hush-token&X-Amz-Credential=hush-id";
    for path in ["/signed/x", "/open/x", "/event/x"] {
        let status = call(app.address, "POST", &format!("{path}?{query}"), &headers, b"{\"b\":1}").status;
        assert!(status < 500, "{path}: {status}");
    }
    eventually("all are recorded", || list(&app, "").len() == 3);
    let mut pages = vec![page(&app, "/inspect"), page(&app, "/inspect?text=hush"), page(&app, "/")];
    pages.extend((1..=3).map(|number| page(&app, &format!("/inspect/{number}"))));
    for page in &pages {
        let text = page.text();
        assert!(!text.contains("hush"), "{text}");
    }
    // the secrets were sent, and the rest is shown
    assert!(upstream.received().iter().any(|request| format!("{request:?}").contains("hush-bearer")));
    assert!(pages[5].text().contains(r#"\"b\":1"#), "{}", pages[5].text());
    assert_eq!(list(&app, "?text=hush").len(), 0);
}

#[test]
fn a_secret_is_left_out_in_each_form_that_another_request_or_answer_gives_it() {
    let upstream = echo();
    let iam = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: 'hush/secret+key=1' }";
    let app = App::administered("inspect: { bodies: 4KiB }")
        .gateway("signed", "/signed/*", &upstream.uri("/"), iam)
        .gateway("open", "/open/*", &upstream.uri("/"), "")
        .start();
    let body = json!({
        "escaped": "hush%2Fsecret%2bkey%3D1",
        "base64": "eyJhIjoiaHVzaC9zZWNyZXQra2V5PTEifQ==",
        "json": "{\"a\":\"hush/secret+key=1\"}",
        "password": "hush-password",
        "cookie": "hush-cookie",
        "url": "https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature=hush-signed&x=1",
        "fields": { "x-amz-security-token": "hush-token" },
    });
    let slashes = body.to_string().replace('/', "\\/");
    let headers = [
        // hush-password
        ("Authorization", "Basic dTpodXNoLXBhc3N3b3Jk"),
        ("Cookie", "a=\"hush-cookie\""),
        ("X-Auth-Key", "hush-auth-key"),
        ("X-Other", "hush/secret+key=1"),
        ("Referer", "https://a.example/?x=1&token=hush-referer"),
    ];
    let cut = format!("{}hush%2Fsecret", "x".repeat(4096 - 9));
    let target = "/open/hush%2Fsecret%2Bkey%3D1?a=hush/secret%2Bkey=1;X-Amz-Signature=hush-argument";
    for (number, body) in [body.to_string(), slashes, cut].iter().enumerate() {
        assert_eq!(call(app.address, "POST", target, &headers, body.as_bytes()).status, 200);
        eventually("it is recorded", || list(&app, "").len() == number + 1);
    }
    for target in ["/inspect", "/inspect/1", "/inspect/2", "/inspect/3"] {
        let text = page(&app, target).text();
        assert!(!text.contains("hush") && !text.contains("aHVzaC9zZWN"), "{target}: {text}");
        assert!(text.contains("/open/(left out)?a=(left out);X-Amz-Signature=(left out)"), "{text}");
    }
    assert!(page(&app, "/inspect/1").text().contains("?x=1&token=(left out)"));
}

#[test]
fn a_secret_that_the_route_sets_is_left_out_of_an_event_that_joins_it() {
    let upstream = echo();
    let app = App::administered("inspect: {}")
        .route(
            "event",
            &format!(
                "uri: /event\nheaders: {{ request: {{ add: {{ X-Shared: hush-added }} }} }}\nlambda: {{ \
                 function_name: f, aws_region: us-east-1, aws_key: A, aws_secret: s, host: '{}', port: {}, \
                 disable_https: true, awsgateway_compatible: true }}\n",
                upstream.address.ip(),
                upstream.address.port()
            ),
        )
        .start();
    assert_eq!(call(app.address, "GET", "/event", &[("X-Shared", "mine")], b"").status, 200);
    let shown = only(&app).to_string();
    assert!(format!("{:?}", upstream.only()).contains("x-amz") && !shown.contains("hush"), "{shown}");
    assert!(String::from_utf8_lossy(&upstream.only().body).contains("hush-added"));
}

#[test]
fn the_secrets_of_files_are_left_out_also_after_a_reload() {
    let upstream = echo();
    let process = "listen: { http: '127.0.0.1:0' }\nadmin: { address: '127.0.0.1:0', inspect: {} }\n\
                   reload: { interval: 100ms }\n";
    let route = |name: &str| {
        let uri = upstream.uri(&format!("/?code=hush-{name}"));
        format!("uri: /{name}\napi_gateway: {{ function_uri: '{uri}' }}\n")
    };
    let directory = settings(process, &[("a", &route("a"))]);
    let (mut process, address) = Process::run(directory.path());
    let admin = process.admin();
    let shown = |path: &str, number: u64| {
        assert_eq!(get(address, path).status, 200);
        let page = || call(admin, "GET", &format!("/inspect/{number}"), &[JSON], b"");
        eventually("it is recorded", || page().status == 200);
        page().text()
    };
    let first = shown("/a", 1);
    assert!(first.contains("code=(left out)") && !first.contains("hush"), "{first}");
    std::fs::write(directory.path().join("routes/b.yaml"), route("b")).unwrap();
    process.says("settings reloaded, generation 2");
    for (path, number) in [("/a", 2), ("/b", 3)] {
        let text = shown(path, number);
        assert!(text.contains("code=(left out)") && !text.contains("hush"), "{text}");
    }
    process.stop();
}

/// The lines of a stream of events.
fn events(app: &App, query: &str) -> BufReader<TcpStream> {
    let mut stream = open(app.admin);
    write!(stream, "GET /inspect/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    next_line(&mut reader, "content-type: text/event-stream");
    reader
}

/// Reads up to a line with this start.
#[track_caller]
fn next_line(reader: &mut BufReader<TcpStream>, start: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream has ended");
        if line.starts_with(start) {
            return line;
        }
    }
}

#[test]
fn events_follow_the_requests_with_the_same_filter() {
    let upstream = Upstream::ok();
    let app = inspected("{}", &upstream, "");
    let mut all = events(&app, "");
    let mut missed = events(&app, "?status=404");
    get(app.address, "/a/one");
    get(app.address, "/two");
    let data =
        |line: String| -> Value { serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap() };
    assert_eq!(data(next_line(&mut all, "data: "))["target"], "/a/one");
    assert_eq!(data(next_line(&mut all, "data: "))["target"], "/two");
    assert_eq!(data(next_line(&mut missed, "data: "))["target"], "/two");
}

#[test]
fn a_quiet_stream_of_events_stays_open() {
    let upstream = Upstream::ok();
    let app = inspected("{}", &upstream, "");
    let mut quiet = events(&app, "");
    // longer than the time limit of an idle connection
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(11) {
        next_line(&mut quiet, ":");
    }
    get(app.address, "/a/one");
    next_line(&mut quiet, "data: ");
}

#[test]
fn followers_are_limited_and_probes_go_on() {
    let app = inspected("{}", &Upstream::ok(), "");
    let followers: Vec<_> = (0..16).map(|_| events(&app, "")).collect();
    assert_eq!(page(&app, "/inspect/events").status, 503);
    assert_eq!(get(app.admin, "/live").status, 200);
    drop(followers);
    eventually("their places are free", || {
        get(app.address, "/a/x");
        let mut stream = open(app.admin);
        stream.write_all(b"GET /inspect/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.starts_with("HTTP/1.1 200")
    });
}

#[test]
fn the_inspector_refuses_a_foreign_host() {
    let app = inspected("{}", &Upstream::ok(), "");
    get(app.address, "/a/x");
    for target in ["/inspect", "/inspect/1", "/inspect/events"] {
        let foreign = format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(send(app.admin, foreign).status, 421, "{target}");
    }
}

#[test]
fn dev_alone_sends_a_request_again_from_the_page_itself() {
    let app = App::dev_inspected(StandInOptions::new(StandInKeys::example()));
    let headers = [("X-Request-Id", "first"), ("Authorization", "Bearer hush")];
    assert_eq!(call(app.address, "POST", "/aws?a=b", &headers, b"the body").status, 200);
    eventually("it is recorded", || list(&app, "").len() == 1);
    let (own, host) = (format!("http://{}", app.admin), app.admin.to_string());
    let again = |origin: Option<&str>| {
        let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
        let request =
            format!("POST /inspect/1/again HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: 0\r\n\r\n");
        send(app.admin, request).status
    };
    for foreign in [None, Some("null"), Some("http://evil.example"), Some("http://localhost:1")] {
        assert_eq!(again(foreign), 403, "{foreign:?}");
    }
    assert_eq!(call(app.admin, "GET", "/inspect/1/again", &[], b"").status, 404);
    assert_eq!(again(Some(&own)), 202);
    eventually("it is sent", || list(&app, "").len() == 2);
    let (first, second) = (page(&app, "/inspect/1").json(), page(&app, "/inspect/2").json());
    for part in ["method", "target", "status", "route"] {
        assert_eq!(first[part], second[part], "{part}");
    }
    assert_eq!(first["client"]["body"], second["client"]["body"]);
    assert_ne!(first["request_id"], second["request_id"]);

    let upstream = Upstream::ok();
    let other = inspected("{}", &upstream, "");
    get(other.address, "/a/x");
    eventually("it is recorded", || list(&other, "").len() == 1);
    let origin = [("Origin", "http://localhost")];
    assert_eq!(call(other.admin, "POST", "/inspect/1/again", &origin, b"").status, 404);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn markup_in_a_request_stays_a_json_text() {
    let app = inspected("{}", &Upstream::ok(), "");
    get(app.address, "/a/%3Cscript%3E?x=<b>\"'");
    eventually("it is recorded", || list(&app, "").len() == 1);
    let answer = page(&app, "/inspect/1");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let html = call(app.admin, "GET", "/inspect/1", &[("Accept", "text/html")], b"");
    assert!(!html.text().contains("%3Cscript"), "the page is the same for every request");
}
