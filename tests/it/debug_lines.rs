//! Log level debug: a line per call, and `RUST_LOG`.

use std::net::TcpListener;

use super::support::{
    Upstream, call, get,
    process::{ANY_PORT, Process, command, settings},
};

fn debug_line<'a>(log: &'a str, id: &str) -> Vec<&'a str> {
    let of_call =
        |line: &&str| line.contains(" DEBUG] call to ") && line.contains(&format!("request_id={id}"));
    log.lines().filter(of_call).collect()
}

#[test]
fn k13_at_debug_each_call_is_a_line_with_keys_connection_bytes_and_times() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let signed = format!(
        "uri: /signed\napi_gateway:\n  function_uri: {}\n  timeout: 1h\n  authorization:\n    apikey: \
         hush-key\n    iam: {{ accesskey: AKIDEXAMPLE, secretkey: hush-secret, session_token: hush-token \
         }}\n",
        upstream.uri("/")
    );
    let open = format!("uri: /open\napi_gateway: {{ function_uri: {}, timeout: 1h }}\n", upstream.uri("/"));
    let refused = format!(
        "uri: /refused\napi_gateway: {{ function_uri: 'http://{closed}/', retry: {{ backoff: 1 }} }}\n"
    );
    let process = format!("{ANY_PORT}log: {{ level: debug }}\n");
    let directory = settings(&process, &[("signed", &signed), ("open", &open), ("refused", &refused)]);
    let (mut process, address) = Process::run(directory.path());
    for (target, id) in [("/signed", "first"), ("/signed", "second"), ("/open", "third")] {
        let headers = [("x-request-id", id), ("cookie", "hush-cookie")];
        assert_eq!(call(address, "POST", target, &headers, b"1234").status, 200);
    }
    assert_eq!(call(address, "GET", "/refused", &[("x-request-id", "fourth")], b"").status, 502);
    let log = process.stop();
    assert!(!log.contains("hush"), "{log}");
    for (id, connection, keys) in
        [("first", "new", "MPLE"), ("second", "kept", "MPLE"), ("third", "kept", "none")]
    {
        let [line] = debug_line(&log, id)[..] else { panic!("{id}: {log}") };
        let place =
            format!("call to {}: 200 attempt=1 keys={keys} connection={connection} ", upstream.address);
        assert!(line.contains(&place), "{place}\nis not in\n{line}");
        assert_eq!(line.contains(" connect_ms="), connection == "new", "{line}");
        assert!(line.contains(" request_bytes=4 response_bytes=5 upstream_duration_ms="), "{line}");
    }
    let lines = debug_line(&log, "fourth");
    assert_eq!(lines.len(), 2, "one for each attempt: {log}");
    assert!(
        lines[1].contains(": upstream_connect attempt=2 keys=none connection=none request_bytes=0 "),
        "{log}"
    );
}

#[test]
fn k13_rust_log_sets_the_level_where_the_settings_do_not_and_what_has_no_effect_is_named() {
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway: {{ function_uri: {}, timeout: 1h }}\n", upstream.uri("/"));
    for (rust_log, level, is_debug, told) in [
        ("debug", "", true, ""),
        ("error,apigw_invoker=trace,h2=trace", "", true, "WARN ] RUST_LOG: `h2=trace` has no effect"),
        (
            "debug",
            "log: { level: info }\n",
            false,
            "WARN ] RUST_LOG asks for level debug, but log.level is set",
        ),
        ("rustls=trace", "", false, "WARN ] RUST_LOG: `rustls=trace` has no effect"),
        ("", "", false, ""),
    ] {
        let directory = settings(&format!("{ANY_PORT}{level}"), &[("a", &route)]);
        let (mut process, address) =
            Process::listening(command("run", directory.path()).env("RUST_LOG", rust_log));
        assert_eq!(get(address, "/").status, 200);
        let log = process.stop();
        assert_eq!(log.contains(" DEBUG] "), is_debug, "{rust_log} {level}: {log}");
        assert!(log.contains(told) && (log.contains("RUST_LOG") != told.is_empty()), "{rust_log}: {log}");
        assert!(!log.contains(" TRACE] "), "{log}");
    }
}
