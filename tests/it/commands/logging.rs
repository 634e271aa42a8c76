//! Content of the log: one line per failure, no secrets, no line injected by a client or an upstream.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::TcpListener,
};

use super::{
    super::support::{
        Upstream, call, get, open,
        process::{ANY_PORT, Process, command, end_of, settings},
        read_response, send, tls,
    },
    ANSWER, route,
};

/// An upstream whose behaviour is chosen by the first path segment.
fn behaving_by_path() -> Upstream {
    Upstream::serving(|request, stream| match request.target().split(['/', '?']).nth(1) {
        Some("garbage") => stream.write_all(b"HTTP/1.1 2\x1b[31m0\r\n\r\n\nforged"),
        Some("closed") => Err(io::ErrorKind::ConnectionAborted.into()),
        Some("cut") => {
            stream.write_all(&ANSWER.as_bytes()[..ANSWER.len() - 5])?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        // until the sidecar's timeout
        Some("late") => stream.read(&mut [0]).map(drop),
        _ => stream.write_all(ANSWER.as_bytes()),
    })
}

/// Settings with one route for each failure.
fn failing(upstream: &Upstream, authorization: &str) -> tempfile::TempDir {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (all, late) = (upstream.uri("/"), upstream.uri("/late"));
    let refused = format!("http://{closed}/");
    let secure = format!("https://127.0.0.1:{}/", upstream.address.port());
    let with = |rest: &str| match authorization {
        "" => rest.to_owned(),
        some => format!("{rest}\n  authorization: {some}"),
    };
    let patient = with("timeout: 1h");
    settings(
        &format!("{ANY_PORT}log: {{ level: debug }}\n"),
        &[
            ("all", &route("/all/*", &all, &with("timeout: 1h\n  max_req_body_size: 10"))),
            ("late", &route("/late", &late, &with("timeout: 1h\n  first_byte_timeout: 200"))),
            ("refused", &route("/refused", &refused, &patient)),
            ("secure", &route("/secure", &secure, &patient)),
            ("post", &format!("methods: [POST]\n{}", route("/post", &all, &patient))),
        ],
    )
}

/// Failing requests: method, target, expected status, and error code.
const FAILURES: [(&str, &str, u16, &str); 10] = [
    ("GET", "/nowhere", 404, "route_not_found"),
    ("GET", "/post", 405, "method_not_allowed"),
    ("GET", "/all/%zz", 400, "invalid_path"),
    ("GET", "/all/../x", 400, "invalid_path"),
    ("POST", "/all/", 413, "payload_too_large"),
    ("GET", "/refused", 502, "upstream_connect"),
    ("GET", "/secure", 502, "upstream_tls"),
    ("GET", "/all/garbage", 502, "upstream_protocol"),
    ("GET", "/all/closed", 502, "upstream_truncated"),
    ("GET", "/late", 504, "upstream_timeout"),
];

#[test]
fn each_failure_is_logged_once_with_its_cause_and_the_id_that_the_answer_has() {
    let upstream = behaving_by_path();
    let directory = failing(&upstream, "");
    let (mut process, address) = Process::run(directory.path());
    let mut expected = Vec::new();
    for (method, target, status, code) in FAILURES {
        let body: &[u8] = if method == "POST" { b"more than ten bytes" } else { b"" };
        let response = call(address, method, target, &[], body);
        assert_eq!((response.status, response.code().as_str()), (status, code), "{target}");
        expected.push((response.json()["request_id"].as_str().unwrap().to_owned(), code, 1));
    }
    let malformed = send(address, "GET / HTTP/1.1\r\nbad header\r\n\r\n");
    expected.push((malformed.json()["request_id"].as_str().unwrap().to_owned(), "invalid_request", 0));
    let mut stream = BufReader::new(open(address));
    let cut = "GET /all/cut HTTP/1.1\r\nHost: h\r\nX-Request-Id: cut-in-its-body\r\n\r\n";
    stream.get_mut().write_all(cut.as_bytes()).unwrap();
    assert!(read_response(&mut stream, false).is_err());
    expected.push(("cut-in-its-body".to_owned(), "upstream_truncated", 1));

    let log = process.stop();
    for (id, code, accesses) in expected {
        let lines = log.lines().filter(|line| line.contains(&format!("request_id={id}")));
        // lines of attempts that are retried are not failures of the request
        let lines = lines.filter(|line| !line.contains(" attempt="));
        let (access, causes): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.contains(" duration_ms="));
        assert_eq!((access.len(), causes.len()), (accesses, 1), "{code}: {access:?} {causes:?}");
        let code = format!(" code={code}");
        assert!(causes[0].ends_with(&code) && access.iter().all(|line| line.ends_with(&code)), "{causes:?}");
    }
    let causes =
        log.lines().filter(|line| line.contains(" code=") && !line.contains(" duration_ms=")).count();
    assert_eq!(causes, FAILURES.len() + 2, "{log}");
    assert!(log.contains("no answer within first_byte_timeout, 200ms, of the request"), "{log}");
}

#[test]
fn no_secret_is_ever_in_the_log_or_in_an_answer_of_ours() {
    let upstream = behaving_by_path();
    let file = tls::file("hush-file-token\n");
    let authorization = format!(
        "{{ apikey: hush-api-key, iam: {{ accesskey: AKID, secretkey: $env://SECRET, \
         session_token: '$file://{}' }} }}",
        file.path().display()
    );
    let directory = failing(&upstream, &authorization);
    let mut run = command("run", directory.path());
    let (mut process, address) = Process::listening(run.env("SECRET", "hush-secret-key"));
    let mine = [("x-api-key", "hush-mine"), ("authorization", "Bearer hush-mine"), ("cookie", "hush-mine")];
    let mut shown = String::new();
    let requests = FAILURES.iter().map(|(method, target, ..)| (*method, *target));
    for (method, target) in requests.chain([("GET", "/all/"), ("GET", "/all/closed"), ("POST", "/post")]) {
        let body: &[u8] = if method == "POST" { b"hush-body-of-mine" } else { b"" };
        let response = call(address, method, &format!("{target}?token=hush-query"), &mine, body);
        shown.extend([format!("{:?}", response.headers), response.text()]);
    }
    let sent = upstream.received();
    assert!(sent.iter().any(|request| request.header("x-amz-security-token") == Some("hush-file-token")));
    shown.push_str(&process.stop());
    shown.push_str(&process.output());
    assert!(FAILURES.iter().all(|(.., code)| shown.contains(&format!(" code={code}"))), "{shown}");
    assert!(shown.contains(" DEBUG] "), "a request is sent again on a new connection: {shown}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn a_mistake_beside_a_secret_does_not_show_it() {
    for wrong in [
        "authorization: hush",
        "authorization: [hush]",
        "authorization: { apikey: [hush] }",
        "authorization: { apikey: { hush } }",
        "authorization: { apikey: 'hush hush' }",
        "authorization: { apikey: \"hush\\q\" }",
        "authorization: { apikey: hush: hush }",
        "authorization: { apikey: \"hush }",
        "authorization: { iam: hush }",
        "authorization: { iam: { accesskey: a, secretkey: \"hush\\nhush\" } }",
        "authorization: { iam: { accesskey: a, secretkey: hush, session_token: '' } }",
        "authorization: { apikey: $env://SECRET }\n  timeout: $env://SECRET",
    ] {
        let directory = settings("", &[("a", &route("/a", "http://127.0.0.1:1/", wrong))]);
        let ended = end_of(command("check", directory.path()).env("SECRET", "hush hush"));
        assert_eq!(ended.code, Some(78), "{wrong}: {ended:?}");
        assert!(!ended.errors.contains("hush"), "{wrong}: {}", ended.errors);
    }
}

#[test]
fn the_access_log_is_one_line_a_request_without_its_query_and_can_be_switched_off() {
    let upstream = Upstream::ok();
    for (log, lines) in [("{}", 2), ("{ access: true }", 2), ("{ access: false }", 0)] {
        let process = format!("{ANY_PORT}log: {log}\n");
        let directory = settings(&process, &[("a", &route("/a/*", &upstream.uri("/"), "keepalive: true"))]);
        let (mut process, address) = Process::run(directory.path());
        assert_eq!(get(address, "/a/b%20c?token=hush").status, 200);
        assert_eq!(get(address, "/nowhere").status, 404);
        let errors = process.stop();
        let access: Vec<&str> = errors.lines().filter(|line| line.contains(" duration_ms=")).collect();
        assert_eq!(access.len(), lines, "{errors}");
        assert!(!errors.contains("hush"), "{errors}");
        if let [served, missed] = access[..] {
            assert!(served.contains(" INFO ] GET /a/b%20c 200 route=a duration_ms="), "{served}");
            assert!(served.contains(" request_bytes=0 response_bytes=2 request_id="), "{served}");
            assert!(missed.contains(" INFO ] GET /nowhere 404 route=- duration_ms="), "{missed}");
        }
        assert!(errors.contains("code=route_not_found"), "failures are no access log: {errors}");
    }
}

#[test]
fn no_byte_of_a_request_or_an_answer_forges_a_line_of_the_log() {
    let upstream = behaving_by_path();
    let directory = failing(&upstream, "");
    let (mut process, address) = Process::run(directory.path());
    let forged = "[1999-01-01T00:00:00Z INFO ] forged";
    let encoded = format!("/all/a%0d%0a{}%1b[31m%00", forged.replace(' ', "%20"));
    assert_eq!(get(address, &encoded).status, 200);
    for control in ["\n", "\r", "\r\n", "\0", "\u{1b}[31m", "\u{7f}", "\t", "\u{b}", "\u{85}", "\u{2028}"] {
        for request in [
            format!("GET /all/a{control}{forged} HTTP/1.1\r\nHost: h\r\n\r\n"),
            format!("GET{control}{forged} /all/ HTTP/1.1\r\nHost: h\r\n\r\n"),
            format!("GET /all/ HTTP/1.1\r\nHost: h{control}{forged}\r\n\r\n"),
            format!("GET /all/ HTTP/1.1\r\nHost: h\r\nX-Request-Id: a{control}{forged}\r\n\r\n"),
            format!("GET http://h{control}{forged}/all/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        ] {
            let mut stream = open(address);
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // a reset is as good as a response
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    get(address, "/all/garbage");
    assert_ours(&process.stop());
}

#[test]
fn no_name_in_a_certificate_forges_a_line_of_the_log() {
    let authority = tls::Authority::new("ours");
    let trusted = authority.file();
    let name = "a\n[1999-01-01T00:00:00Z INFO ] forged\r\u{1b}[31m";
    let upstream = tls::SecuredUpstream::ok(tls::server(authority.identity(name)));
    let rest = format!("ca_certificate: {}", trusted.path().display());
    let directory = settings(ANY_PORT, &[("a", &route("/*", &upstream.uri("localhost"), &rest))]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/").code(), "upstream_tls");
    assert_ours(&process.stop());
}

/// Checks that every line starts like a line of the sidecar with today's date, and has no control characters.
#[track_caller]
fn assert_ours(log: &str) {
    for line in log.lines() {
        let begins = line.starts_with("[20") && line.get(20..22) == Some("Z ");
        assert!(begins && !line.chars().any(char::is_control), "{line:?}");
    }
}
