//! The binary as a child process: output, exit codes, signals.

mod log_lines;
mod logging;

use std::{
    ffi::OsStr,
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::ffi::OsStrExt as _,
    sync::{Mutex, mpsc},
};

use super::support::{
    Response, Upstream, eventually, get, open,
    process::{ANY_PORT, Ended, Process, binary, command, end_of, settings, write_settings},
    read_response,
};

/// A route that is never called.
const ROUTE: &str = "uri: /*\napi_gateway:\n  function_uri: http://127.0.0.1:1/\n";

/// A route from `/*` to an upstream.
fn route_to(upstream: &Upstream) -> String {
    route("/*", &upstream.uri("/"), "timeout: 1h")
}

fn route(uri: &str, function_uri: &str, rest: &str) -> String {
    format!("uri: '{uri}'\napi_gateway:\n  function_uri: {function_uri}\n  {rest}\n")
}

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, errors: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.errors.contains(errors), "{errors}\nis not in\n{}", ended.errors);
    assert_eq!(ended.output, "", "a refusal belongs on standard error");
}

#[test]
fn check_of_valid_settings_is_one_line_and_exit_0() {
    let disabled = format!("enabled: false\n{ROUTE}");
    let directory = settings("", &[("a", ROUTE), ("b", &disabled)]);
    let ended = end_of(&mut command("check", directory.path()));
    let line = format!(
        "{}: the settings are valid: 2 routes, 1 enabled, to listen on 127.0.0.1:9080\n",
        directory.path().display()
    );
    assert_eq!((ended.code, ended.output, ended.errors), (Some(0), line, String::new()));
}

#[test]
fn what_is_allowed_but_unwise_is_a_warning_of_check_and_of_run() {
    let unverified = route("/a", "https://api.example/", "ssl_verify: false");
    let in_the_clear = route("/b", "http://api.example/", "authorization: { apikey: k }");
    let directory = settings(ANY_PORT, &[("a", &unverified), ("b", &in_the_clear)]);
    let warnings = [
        "route a: ssl_verify is off: anyone between here and AWS can impersonate api.example\n",
        "route b: keys and signatures are sent to api.example without TLS\n",
    ];
    let ended = end_of(&mut command("check", directory.path()));
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.errors, warnings.map(|warning| format!("warning: {warning}")).concat());
    let (process, _) = Process::run(directory.path());
    for warning in warnings {
        assert!(process.errors().contains(&format!("WARN ] {warning}")), "{}", process.errors());
    }
}

#[test]
fn check_warns_of_payload_1_0_without_base64_encode_body() {
    let gateway = |rest: &str| {
        format!(
            "uri: /{}*\n\
             lambda: {{ function_name: f, aws_region: us-east-1, awsgateway_compatible: true{rest} }}\n",
            rest.len()
        )
    };
    let directory = settings(
        "",
        &[
            ("a", &gateway("")),
            ("b", &gateway(", base64_encode_body: false")),
            ("c", &gateway(", base64_encode_body: true")),
            ("d", &gateway(", awsgateway_compatible_payload_version: 2.0")),
        ],
    );
    let ended = end_of(&mut command("check", directory.path()));
    let remark = "route a: every body is base64 in events of payload 1.0";
    assert!(ended.errors.starts_with(&format!("remark: {remark}")), "{ended:?}");
    assert_eq!((ended.code, ended.errors.lines().count()), (Some(0), 1), "{ended:?}");
    let ended = end_of(command("check", directory.path()).args(["--output", "json"]));
    let document: serde_json::Value = serde_json::from_str(&ended.output).unwrap();
    let remarks = document["remarks"].as_array().unwrap();
    assert!(remarks.len() == 1 && remarks[0].as_str().unwrap().starts_with(remark), "{document}");
}

#[test]
fn every_mistake_is_printed_at_once_with_file_line_key_and_the_nearest_word_and_is_78() {
    let process = "workers: 0\nlisten:\n  htp: 127.0.0.1:1\n";
    let wrong = "uri: aws\napi_gateway:\n  function_uri: ftp://x\n  timout: 1\n";
    let broken = "uri: [\n";
    let directory = settings(process, &[("wrong", wrong), ("broken", broken)]);
    let at = |place: &str| format!("{}/{place}", directory.path().display());
    for name in ["check", "run"] {
        let ended = end_of(&mut command(name, directory.path()));
        assert_eq!((ended.code, ended.output.as_str()), (Some(78), ""), "{name}");
        let lines: Vec<&str> = ended.errors.lines().collect();
        for (line, (start, within)) in lines.iter().zip([
            (at("default.yaml:1: workers: 0 is out of range"), "expected 1 to 64"),
            (
                at("default.yaml:3: listen.htp: unknown key"),
                "did you mean `http`?; expected one of h2c, http, https, proxy_protocol, trusted_ips, unix",
            ),
            (at("routes/broken.yaml:"), "not valid YAML: "),
            (at("routes/wrong.yaml:1: uri: invalid value `aws`"), "expected a path that starts with `/`"),
            (
                at("routes/wrong.yaml:3: api_gateway.function_uri: invalid value `ftp://x`"),
                "expected an http",
            ),
            (at("routes/wrong.yaml:4: api_gateway.timout: unknown key"), "did you mean `timeout`?"),
        ]) {
            assert!(line.starts_with(&start) && line.contains(within), "{line}\nis not\n{start} {within}");
        }
        assert_eq!(lines[6..], ["6 mistakes in the settings"], "{}", ended.errors);
    }
}

#[test]
fn a_directory_that_is_missing_or_empty_is_78_and_named() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["check", "run"] {
        let missing = directory.path().join("missing");
        let errors =
            format!("{}: this settings directory does not exist or cannot be read; ", missing.display());
        assert_refused(&end_of(&mut command(name, &missing)), 78, &errors);
        let routes = directory.path().join("routes");
        let errors = format!(
            "{}: there is no route; expected at least one file NAME.yaml\n1 mistake",
            routes.display()
        );
        assert_refused(&end_of(&mut command(name, directory.path())), 78, &errors);
    }
}

#[test]
fn an_unknown_command_or_flag_is_exit_2_and_suggests_the_nearest_one() {
    for (arguments, errors) in [
        (&["chck"][..], "unrecognized subcommand 'chck'\n\n  tip: a similar subcommand exists: 'check'"),
        (&["--setings", "x"], "unexpected argument '--setings' found"),
        (&["run", "--setings", "x"], "a similar argument exists: '--settings'"),
        (&["dev", "--listen", "nowhere"], "invalid value 'nowhere' for '--listen <ADDRESS>'"),
        (&["check", "--settings"], "a value is required for '--settings <DIR>'"),
        (&["check", "more"], "unexpected argument 'more' found"),
    ] {
        assert_refused(&end_of(&mut binary(arguments)), 2, errors);
    }
}

#[test]
fn help_and_version_are_0_and_on_standard_output() {
    let version = end_of(&mut binary(&["--version"]));
    let expected = format!("apigw-invoker {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((version.code, version.output, version.errors), (Some(0), expected, String::new()));
    for (arguments, words) in [
        (
            &["--help"][..],
            &[
                "Usage: apigw-invoker",
                "run ",
                "check ",
                "routes ",
                "explain ",
                "schema ",
                "dev ",
                "APIGW_INVOKER_SETTINGS",
            ][..],
        ),
        (&["run", "--help"], &["--settings <DIR>", "default.yaml and routes/*.yaml"]),
        (&["check", "--help"], &["--settings <DIR>", "exit with 78"]),
        (&["explain", "--help"], &["<METHOD> <TARGET>", "-H, --header", "-d, --data", "--output <FORMAT>"]),
        (&["dev", "--help"], &["--listen <ADDRESS>", "--stand-in <ADDRESS>"]),
    ] {
        let help = end_of(&mut binary(arguments));
        assert_eq!((help.code, help.errors.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(words.iter().all(|word| help.output.contains(word)), "{}", help.output);
    }
}

#[test]
fn run_is_the_default_and_takes_flag_variable_and_working_directory_in_this_order() {
    let upstream = Upstream::ok();
    let right = settings(ANY_PORT, &[("a", &route_to(&upstream))]);
    let home = tempfile::tempdir().unwrap();
    write_settings(&home.path().join("settings"), ANY_PORT, &[("a", &route_to(&upstream))]);

    let mut by_flag = binary(&["--settings"]);
    by_flag.arg(right.path()).env("APIGW_INVOKER_SETTINGS", "/nowhere");
    let mut by_variable = binary(&["run"]);
    by_variable.env("APIGW_INVOKER_SETTINGS", right.path());
    let mut by_directory = binary(&[]);
    by_directory.current_dir(home.path());
    for command in [&mut by_flag, &mut by_variable, &mut by_directory] {
        let (mut process, address) = Process::listening(command);
        assert_eq!(get(address, "/").text(), "ok");
        process.stop();
        assert_eq!(process.output(), "", "the log is on standard error");
    }
    assert_refused(&end_of(binary(&[]).env("APIGW_INVOKER_SETTINGS", "/nowhere")), 78, "/nowhere: ");
}

#[test]
fn a_settings_flag_before_the_command_is_not_ignored() {
    let right = settings("", &[("a", ROUTE)]);
    let ended = end_of(binary(&["--settings"]).arg(right.path()).arg("check").current_dir(right.path()));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("--settings"), "{ended:?}");
}

#[test]
fn variables_go_before_the_files() {
    let upstream = Upstream::ok();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let process = format!("listen: {{ http: '{}' }}\n", taken.local_addr().unwrap());
    let directory = settings(&process, &[("a", &route_to(&upstream))]);
    let mut run = command("run", directory.path());
    run.env("APIGW_INVOKER__LISTEN__HTTP", "127.0.0.1:0");
    let (mut process, address) = Process::listening(&mut run);
    assert_eq!(get(address, "/").text(), "ok");
    process.stop();

    let mut check = command("check", directory.path());
    check.env("APIGW_INVOKER__LISTEM__HTTP", "x").env("APIGW_INVOKER__WORKERS", "many");
    let ended = end_of(&mut check);
    assert_refused(&ended, 78, "environment variable APIGW_INVOKER__LISTEM: listem: unknown key; did you");
    assert_refused(&ended, 78, "environment variable APIGW_INVOKER__WORKERS: workers: found a text");
}

#[test]
fn an_admin_port_that_is_taken_is_1_and_its_key_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = settings("listen: { http: '127.0.0.1:0' }\n", &[("a", ROUTE)]);
    let mut run = command("run", directory.path());
    let ended = end_of(run.env("APIGW_INVOKER__ADMIN__ADDRESS", address));
    assert_refused(&ended, 1, "end the process that has it (`ss -ltnp`), or change admin.address");
}

#[test]
fn a_port_that_is_taken_is_1_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = settings(&format!("listen: {{ http: '{address}' }}\n"), &[("a", ROUTE)]);
    let ended = end_of(&mut command("run", directory.path()));
    assert_refused(&ended, 1, &format!("apigw-invoker: cannot listen on {address}: Address already in use"));
    for (listen, stand_in, option) in
        [(&*address, "127.0.0.1:0", ""), ("127.0.0.1:0", &address, " (--stand-in)")]
    {
        let ended = end_of(&mut binary(&["dev", "--listen", listen, "--stand-in", stand_in]));
        let expected = format!("cannot listen on {address}{option}: Address already in use");
        assert_refused(&ended, 1, &expected);
    }
}

#[test]
fn the_lines_that_dev_prints_do_what_they_say() {
    let (mut process, address) = dev(&mut dev_command());
    let requests: Vec<(SocketAddr, String)> = curl_lines(&process.output());
    let answers: Vec<Response> = requests.iter().map(|(address, target)| get(*address, target)).collect();
    let [hello, signed, lambda, words, unsigned] = &answers[..] else { panic!("{answers:#?}") };
    assert_eq!((lambda.status, lambda.text().as_str()), (200, "\"Hello, Kong!\""));
    assert_eq!((words.status, words.header("transfer-encoding")), (200, Some("chunked")));
    assert!(words.text().split(' ').count() > 3, "{}", words.text());
    assert_eq!((hello.status, hello.text().as_str()), (200, "\"Hello, APISIX!\""));
    assert_eq!(signed.status, 200, "{}", signed.text());
    assert_eq!(signed.json()["path"], "/iam/echo/a%2Fb");
    assert_eq!(signed.json()["query"], "c=x%2Fy&d=b%20c");
    assert!(signed.json()["headers"]["authorization"][0].as_str().unwrap().starts_with("AWS4-HMAC-SHA256 "));
    assert_eq!(unsigned.status, 403);
    assert_eq!((requests[0].0, requests[1].0), (address, address));
    assert_ne!(requests[4].0, address, "past the sidecar");
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(0));
}

fn dev_command() -> std::process::Command {
    binary(&["dev", "--listen", "127.0.0.1:0", "--stand-in", "127.0.0.1:0"])
}

/// Waits until `dev` has printed its whole banner.
#[track_caller]
fn dev(command: &mut std::process::Command) -> (Process, SocketAddr) {
    let (process, address) = Process::listening(command);
    eventually("a word of welcome", || process.output().contains("Ctrl-C"));
    (process, address)
}

/// Address and command of each printed `curl` line.
pub fn curl_lines(output: &str) -> Vec<(SocketAddr, String)> {
    let lines = output.lines().filter(|line| line.trim().starts_with("curl "));
    let urls = lines.filter_map(|line| line.split_once("'http://"));
    urls.map(|(_, rest)| {
        let (url, _) = rest.split_once('\'').unwrap();
        let (address, target) = url.split_once('/').unwrap();
        (address.parse().unwrap(), format!("/{target}"))
    })
    .collect()
}

#[test]
fn a_mistake_in_devs_environment_is_78() {
    let ended = end_of(dev_command().env("APIGW_INVOKER__WORKERS", "0"));
    assert_refused(&ended, 78, "environment variable APIGW_INVOKER__WORKERS: workers: 0 is out of range");
}

#[test]
fn an_environment_variable_that_is_not_unicode_is_ignored() {
    let directory = settings("", &[("a", ROUTE)]);
    let mut check = command("check", directory.path());
    assert_eq!(end_of(check.env("FOREIGN", OsStr::from_bytes(b"\xff"))).code, Some(0));
    let (mut process, address) = dev(dev_command().env("FOREIGN", OsStr::from_bytes(b"\xff")));
    assert_eq!(get(address, "/open/hello").status, 200);
    process.stop();
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";

/// A sidecar with a request in flight: the upstream has sent a part of its response and waits for a signal to
/// send the rest.
struct UnderWay {
    process: Process,
    address: SocketAddr,
    client: BufReader<TcpStream>,
    go_on: mpsc::Sender<()>,
    _upstream: Upstream,
}

fn under_way(shutdown: &str, part: usize) -> UnderWay {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::serving(move |request, stream| {
        if request.target() == "/quick" {
            return stream.write_all(ANSWER.as_bytes());
        }
        stream.write_all(&ANSWER.as_bytes()[..part])?;
        let _ = wait.lock().unwrap().recv();
        stream.write_all(&ANSWER.as_bytes()[part..])
    });
    let process = format!("{ANY_PORT}shutdown: {{ {shutdown} }}\n");
    let directory = settings(&process, &[("a", &route_to(&upstream))]);
    let (process, address) = Process::run(directory.path());
    let mut client = BufReader::new(open(address));
    client.get_mut().write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    eventually("the request arrives", || upstream.received().len() == 1);
    UnderWay { process, address, client, go_on, _upstream: upstream }
}

impl UnderWay {
    #[track_caller]
    fn signal(&self, name: &str) {
        self.process.signal(name);
        self.process.says("shutting down, draining requests in flight");
    }

    fn answer(&mut self) -> std::io::Result<Response> {
        read_response(&mut self.client, false)
    }

    /// Checks that the client does not retry: its request was sent.
    #[track_caller]
    fn assert_was_aborted(&mut self) {
        let response = self.answer().expect("an answer");
        assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
    }

    #[track_caller]
    fn assert_ends_cleanly(&mut self) {
        let status = self.process.wait();
        assert_eq!(status.code(), Some(0), "{status}: {}", self.process.errors());
    }
}

#[test]
fn a_request_in_flight_at_sigterm_is_answered_whole_new_ones_are_refused_and_the_end_is_0() {
    let in_the_body = ANSWER.len() - 5;
    for (signal, part) in [("TERM", 0), ("TERM", in_the_body), ("INT", 0)] {
        let mut under_way = under_way("drain: 1h", part);
        under_way.signal(signal);
        eventually("new connections are refused", || TcpStream::connect(under_way.address).is_err());
        assert!(!under_way.process.has_ended());
        under_way.go_on.send(()).unwrap();
        let response = under_way.answer().unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "0123456789"));
        assert_eq!(under_way.client.read(&mut [0]).unwrap(), 0, "the connection is closed in good order");
        under_way.assert_ends_cleanly();
        let log = under_way.process.errors();
        assert!(log.contains("GET /slow 200 ") && log.ends_with("INFO ] stopped\n"), "{log}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut under_way = under_way("drain: 1h", 0);
    under_way.signal("TERM");
    under_way.process.signal("TERM");
    under_way.process.wait();
    let log = under_way.process.errors();
    assert!(log.contains("WARN ] second signal, aborting requests in flight"), "{log}");
    under_way.assert_was_aborted();
}

#[test]
fn requests_are_aborted_at_the_drain_timeout() {
    let mut under_way = under_way("drain: 1s", 0);
    under_way.signal("TERM");
    under_way.assert_ends_cleanly();
    under_way.assert_was_aborted();
}

#[test]
fn c1_a_response_cut_at_the_drain_timeout_has_all_received_bytes_and_a_visible_break() {
    let mut under_way = under_way("drain: 1s", ANSWER.len() - 5);
    under_way.signal("TERM");
    under_way.assert_ends_cleanly();
    let mut text = String::new();
    under_way.client.read_to_string(&mut text).expect("the connection ends without a reset");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n01234"), "{text}");
    let log = under_way.process.errors();
    assert!(log.contains("shutdown.drain"), "{log}");
    assert!(log.contains(" response_bytes=5 ") && log.contains(" code=upstream_timeout"), "{log}");
}

#[test]
fn during_the_delay_requests_are_taken_and_a_second_signal_cuts_it_short() {
    let mut under_way = under_way("delay: 1h, drain: 1h", 0);
    under_way.signal("TERM");
    assert_eq!(get(under_way.address, "/quick").status, 200);
    under_way.process.signal("INT");
    under_way.assert_ends_cleanly();
}

#[test]
fn a_signal_right_after_listening_stops_the_process() {
    let directory = settings(ANY_PORT, &[("a", ROUTE)]);
    for _ in 0..10 {
        let mut run = command("run", directory.path());
        let mut process = Process::signalled_at_its_first_line(&mut run, "TERM");
        let status = process.wait();
        let log = process.errors();
        assert!(log.contains("listening on ") && log.ends_with("INFO ] stopped\n"), "{status}: {log}");
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn an_idle_connection_does_not_delay_shutdown() {
    let upstream = Upstream::ok();
    let process = format!("{ANY_PORT}shutdown: {{ drain: 1h }}\n");
    let directory = settings(&process, &[("a", &route_to(&upstream))]);
    let (mut process, address) = Process::run(directory.path());
    let mut idle = BufReader::new(open(address));
    idle.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut idle, false).unwrap().text(), "ok");
    process.stop();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}
