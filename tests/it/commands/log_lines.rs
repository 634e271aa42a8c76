//! JSON log lines, slow readers of the log, and SIGUSR1.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
};

use super::{
    super::support::{
        Upstream, call, eventually,
        exposition::Exposition,
        get, open,
        process::{ANY_PORT, Process, command, end_of, settings},
        read_response,
    },
    ROUTE, route, route_to,
};

const JSON: &str = "listen: { http: '127.0.0.1:0' }\nlog: { format: json }\n";

/// Parses every line as a JSON object.
#[track_caller]
fn objects(log: &str) -> Vec<serde_json::Value> {
    assert!(log.ends_with('\n'), "{log}");
    log.lines()
        .map(|line| {
            let object: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let text =
                |name: &str| object[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned();
            assert!(["error", "warn", "info", "debug"].contains(&text("level").as_str()), "{line}");
            assert!(!text("target").is_empty() && !text("message").is_empty(), "{line}");
            let time = text("timestamp");
            assert!(time.len() == 24 && humantime::parse_rfc3339(&time).is_ok(), "{time}");
            // duplicate names would be lost in the parsed object
            let members = object.as_object().unwrap().len();
            let unescaped = line.replace(r"\\", "").replace(r#"\""#, "");
            assert_eq!(unescaped.matches("\":").count(), members, "{line}");
            object
        })
        .collect()
}

#[test]
fn a_line_of_json_is_one_object_with_every_part_as_a_member_of_its_own() {
    let upstream = Upstream::answering(
        "HTTP/1.1 201 Created\r\nx-amzn-RequestId: of-aws\r\ncontent-length: 3\r\n\r\nyes",
    );
    let refused = format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let directory = settings(
        JSON,
        &[
            ("a", &route("/a/*", &upstream.uri("/"), "timeout: 1h")),
            ("b", &route("/b", &refused, "timeout: 1h")),
        ],
    );
    let (mut process, address) = {
        let mut run = command("run", directory.path());
        Process::listening(&mut run)
    };
    let id = [("x-request-id", "quoted\"and\\")];
    assert_eq!(call(address, "POST", "/a/b%22?token=hush", &id, b"1234").status, 201);
    assert_eq!(get(address, "/b").code(), "upstream_connect");
    let log = process.stop();
    let lines = objects(&log);
    let access: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    let [served, failed] = access[..] else { panic!("{access:?}") };
    for (name, expected) in [
        ("message", serde_json::json!("POST /a/b%22 201")),
        ("level", "info".into()),
        ("method", "POST".into()),
        ("path", "/a/b%22".into()),
        ("status", 201.into()),
        ("route", "a".into()),
        ("request_bytes", 4.into()),
        ("response_bytes", 3.into()),
        ("request_id", "quoted\"and\\".into()),
        ("upstream_request_id", "of-aws".into()),
    ] {
        assert_eq!(served[name], expected, "{name}");
    }
    let (whole, part) =
        (served["duration_ms"].as_f64().unwrap(), served["upstream_duration_ms"].as_f64().unwrap());
    assert!(whole >= part && part > 0.0, "{served}");
    assert!(served.get("code").is_none() && served.get("attempts").is_none(), "{served}");
    assert_eq!((&failed["code"], &failed["attempts"]), (&"upstream_connect".into(), &2.into()));
    let cause = lines.iter().find(|line| line["code"] == "upstream_connect" && line["target"] != "access");
    let cause = cause.unwrap_or_else(|| panic!("{log}"));
    assert_eq!((&cause["request_id"], &cause["route"]), (&failed["request_id"], &"b".into()));
    assert!(cause["message"].as_str().unwrap().contains("connection refused"), "{cause}");
    assert!(lines.iter().any(|line| line["message"] == "stopped"), "the last line is written too");
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn no_byte_of_a_request_breaks_a_line_of_json() {
    let upstream = Upstream::ok();
    let directory = settings(JSON, &[("a", &route_to(&upstream))]);
    let (mut process, address) = {
        let mut run = command("run", directory.path());
        Process::listening(&mut run)
    };
    for strange in ["\"", "\\", "\t", "\u{7f}", "\u{1b}[31m", "é", "\u{2028}", "\",\"level\":\"forged"] {
        let request = format!("GET /{strange} HTTP/1.1\r\nHost: h\r\nX-Request-Id: {strange}\r\n\r\n");
        let mut stream = open(address);
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    for line in objects(&process.stop()) {
        assert_ne!(line["level"], "forged");
    }
}

#[test]
fn log_lines_are_flushed_before_the_start_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let process = format!("listen: {{ http: '{}' }}\n", taken.local_addr().unwrap());
    let warned = route("/", "http://api.example/", "authorization: { apikey: k }");
    let directory = settings(&process, &[("a", &warned)]);
    let ended = end_of(&mut command("run", directory.path()));
    let lines: Vec<&str> = ended.errors.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("WARN ] route a: "), "{lines:?}");
    assert!(lines[1].starts_with("apigw-invoker: cannot listen on "), "{lines:?}");
}

#[test]
fn sigusr1_turns_debug_on_and_off_again_and_says_so() {
    let directory = settings(ANY_PORT, &[("a", ROUTE)]);
    let (mut process, _) = Process::run(directory.path());
    process.signal("USR1");
    process.says("SIGUSR1: log level is now debug");
    process.signal("USR1");
    process.says("SIGUSR1: log level is now info");
    process.stop();
}

#[test]
fn at_debug_by_signal_the_log_says_what_it_says_at_debug_by_the_settings() {
    let (upstream, rest) = (
        Upstream::accepting(|connection, mut stream, _| {
            // the first connection serves one response and is closed when it is reused
            let mut reader = BufReader::new(stream.try_clone()?);
            let mut line = String::new();
            while reader.read_line(&mut line)? > 2 {
                line.clear();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            if connection == 0 { reader.read_exact(&mut [0]) } else { Ok(()) }
        }),
        "timeout: 1h",
    );
    let directory = settings(ANY_PORT, &[("a", &route("/*", &upstream.uri("/"), rest))]);
    let (mut process, address) = Process::run(directory.path());
    process.signal("USR1");
    process.says("log level is now debug");
    assert_eq!(get(address, "/").status, 200);
    assert_eq!(get(address, "/").status, 200);
    let log = process.stop();
    assert!(log.contains(" DEBUG] ") && log.contains("retrying on a new one"), "{log}");
}

#[test]
fn a_stuck_log_reader_delays_no_request_and_dropped_lines_are_reported() {
    let upstream = Upstream::ok();
    let directory = settings(ANY_PORT, &[("a", &route_to(&upstream))]);
    let mut run = command("run", directory.path());
    let mut child = run.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut place = |name: &str| {
        let mut line = String::new();
        while !line.contains(name) {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "{name}");
        }
        let rest = line.split_once(name).unwrap().1.trim();
        rest.split(',').next().unwrap().parse::<std::net::SocketAddr>().unwrap()
    };
    let address = place("listening on ");
    let admin = place("admin port on ");
    // more than the pipe and the queue can hold
    let path = format!("/{}", "x".repeat(8 << 10));
    let mut client = BufReader::new(open(address));
    let mut served = 0;
    let dropped = || Exposition::of(admin).count("apigw_invoker_log_lines_dropped_total", &[]);
    while served < 1000 && (served % 50 != 0 || dropped() < 10) {
        client.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(read_response(&mut client, false).unwrap().status, 200);
        served += 1;
    }
    let lost = dropped();
    assert!(lost >= 10 && served < 1000, "{lost} of {served}");
    let mut log = String::new();
    let mut line = String::new();
    while !line.contains(" log lines were dropped") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "{log}");
        log.push_str(&line);
    }
    let told: u64 = line.split("ERROR] ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(told >= 10, "{line}");
    assert_eq!(dropped(), told, "nothing was said since");
    rest_of(&mut child, errors, &mut log);
    let written = log.lines().filter(|line| line.contains(" 200 route=a ")).count();
    let whole = log.lines().filter(|line| line.contains(&path)).count();
    assert_eq!(
        (written, whole),
        (served - usize::try_from(told).unwrap(), written),
        "of {served} lines {told} are lost"
    );
}

#[test]
fn lines_for_a_closed_log_are_counted_and_delay_nothing() {
    let directory = settings(ANY_PORT, &[("a", &route_to(&Upstream::ok()))]);
    let mut run = command("run", directory.path());
    let mut child = run.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("admin port on ") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it ended");
    }
    let admin: std::net::SocketAddr = line.split_once("admin port on ").unwrap().1.trim().parse().unwrap();
    drop(errors);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::USR1).unwrap();
    eventually("the line is counted", || {
        Exposition::of(admin).count("apigw_invoker_log_lines_dropped_total", &[]) == 1
    });
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Ends the process and reads the rest of its log.
fn rest_of(child: &mut std::process::Child, mut errors: impl std::io::Read, log: &mut String) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    errors.read_to_string(log).unwrap();
    assert!(child.wait().unwrap().success());
}
