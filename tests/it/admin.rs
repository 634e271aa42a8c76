//! The admin port, and `check --credentials`.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use apigw_invoker::stand_in::StandInKeys;

use super::support::{
    App, Upstream, get, open,
    process::{Process, binary, end_of},
    read_response,
};

#[test]
fn live_says_that_the_process_runs_and_anything_else_is_404() {
    let app = App::to("http://127.0.0.1:1/");
    assert_eq!(
        (get(app.admin, "/live").status, get(app.admin, "/live").text()),
        (200, r#"{"live":true}"#.into())
    );
    assert_eq!(get(app.admin, "/routes/x").status, 404);
}

#[test]
fn ready_says_of_each_route_where_its_keys_come_from_and_shows_none() {
    let upstream = Upstream::ok();
    let app = App::with("")
        .gateway("open", "/open", &upstream.uri("/"), "")
        .gateway(
            "signed",
            "/signed",
            &upstream.uri("/"),
            "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: hush-secret }",
        )
        .lambda("function", "/f", upstream.address, "")
        .start();
    let ready = get(app.admin, "/ready");
    assert_eq!(ready.status, 200, "{}", ready.text());
    let body = ready.json();
    assert_eq!(body["ready"], true);
    let route =
        |id: &str| body["routes"].as_array().unwrap().iter().find(|route| route["id"] == id).unwrap().clone();
    assert_eq!(route("open"), serde_json::json!({ "id": "open", "ready": true }));
    assert_eq!(
        route("signed")["credentials"],
        "keys from the settings, access key ending in MPLE, without expiry"
    );
    assert_eq!(route("function")["ready"], true);
    assert!(!ready.text().contains("hush"), "{}", ready.text());
}

#[test]
fn a_route_whose_role_cannot_be_assumed_is_not_ready_with_a_cause_and_responds_503() {
    let upstream = Upstream::ok();
    let role = "authorization:\n  iam:\n    accesskey: AKIDEXAMPLE\n    secretkey: hush-secret\n    \
                assume_role_arn: arn:aws:iam::123456789012:role/x\n    sts_endpoint_url: http://127.0.0.1:1";
    let app = App::with("").gateway("role", "/role", &upstream.uri("/"), role).start();
    let response = get(app.address, "/role");
    assert_eq!((response.status, response.code().as_str()), (503, "credentials_unavailable"));
    let ready = get(app.admin, "/ready");
    assert_eq!(ready.status, 503);
    let told = ready.json()["routes"][0]["credentials"].as_str().unwrap().to_owned();
    assert!(told.contains("arn:aws:iam::123456789012:role/x") && told.contains("unavailable: "), "{told}");
    assert!(!ready.text().contains("hush"), "{}", ready.text());
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn check_credentials_tries_each_source_once_and_prints_the_identity() {
    let dev = App::dev();
    let keys = StandInKeys::example();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("routes")).unwrap();
    let route = |name: &str, sts: &str| {
        let text = format!(
            "uri: /{name}\napi_gateway:\n  function_uri: https://a.example/\n  authorization:\n    \
             iam:\n      accesskey: {}\n      secretkey: {}\n      aws_region: {}\n      \
             assume_role_arn: arn:aws:iam::123456789012:role/caller\n      sts_endpoint_url: {sts}\n",
            keys.access_key_id, keys.secret_access_key, keys.region
        );
        std::fs::write(directory.path().join(format!("routes/{name}.yaml")), text).unwrap();
    };
    let sts = format!("http://{}", dev.stand_in());
    route("one", &sts);
    route("two", &sts);
    let check = || end_of(binary(&["check", "--credentials", "--settings"]).arg(directory.path()));
    let ended = check();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = ended.output.lines().find(|line| line.starts_with("routes one, two: ")).unwrap_or_default();
    assert!(line.contains("assumed-role/caller/apigw-invoker") && line.contains("expires "), "{ended:?}");
    assert!(!ended.output.contains(&keys.secret_access_key), "{ended:?}");

    route("three", "http://127.0.0.1:1");
    let ended = check();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.output.lines().any(|line| line.starts_with("route three: ") && line.contains("unavailable")),
        "{ended:?}"
    );
}

#[test]
fn the_admin_port_is_named_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("routes")).unwrap();
    std::fs::write(
        directory.path().join("routes/a.yaml"),
        "uri: /\napi_gateway: { function_uri: 'http://127.0.0.1:1/' }\n",
    )
    .unwrap();
    let mut run = binary(&["run", "--settings"]);
    let (mut process, _) =
        Process::listening(run.arg(directory.path()).env("APIGW_INVOKER__LISTEN__HTTP", "127.0.0.1:0"));
    super::support::eventually("the log names it", || process.errors().contains("admin port on 127.0.0.1:"));
    process.stop();
}

/// Response time of `/live` on a new connection.
fn time_of_live(admin: SocketAddr) -> Duration {
    let begun = Instant::now();
    assert_eq!(get(admin, "/live").status, 200);
    begun.elapsed()
}

/// A connection to the admin port on which `beginning` was sent.
fn held(admin: SocketAddr, beginning: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin).expect("it is accepted");
    // the admin port may have closed it already for a newer connection
    let _ = stream.write_all(beginning.as_bytes());
    stream
}

#[test]
fn x8_live_answers_while_a_thousand_connections_are_held_or_have_sent_half_a_head() {
    let app = App::to("http://127.0.0.1:1/");
    for (count, beginning) in
        [(300, "GET /ready HTTP/1.1\r\nHo"), (1000, "GET /ready HTTP/1.1\r\nHo"), (1000, "")]
    {
        let held: Vec<_> = (0..count).map(|_| held(app.admin, beginning)).collect();
        // waits until the kernel's backlog is accepted, which a debug build does slowly
        time_of_live(app.admin);
        let mut times: Vec<_> = (0..9).map(|_| time_of_live(app.admin)).collect();
        times.sort();
        // the median, because other tests use the CPU too
        assert!(times[4] < Duration::from_millis(100), "{count} of {beginning:?}: {times:?}");
        drop(held);
    }
}

#[test]
fn x8_the_longest_idle_connection_is_closed_for_a_new_one_and_one_in_use_is_not() {
    let app = App::to("http://127.0.0.1:1/");
    let most = app.snapshot.capacity.admin_connections;
    let mut first = held(app.admin, "GET /live HTTP/1.1\r\n");
    let mut used = BufReader::new(open(app.admin));
    let mut others = Vec::new();
    for _ in 0..most {
        others.push(held(app.admin, "GET /live HTTP/1.1\r\n"));
        used.get_mut().write_all(b"GET /live HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut used, false).unwrap().status, 200);
    }
    // well before the idle timeout
    first.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let left = first.read(&mut [0; 100]);
    assert!(matches!(left, Ok(0)) || left.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock));
}

#[test]
fn x8_a_connection_on_which_nothing_is_answered_is_closed_in_time() {
    let app = App::to("http://127.0.0.1:1/");
    let begun = Instant::now();
    let mut half = open(app.admin);
    half.write_all(b"GET /live HTTP/1.1\r\n").unwrap();
    assert_eq!(half.read(&mut [0; 100]).unwrap(), 0);
    assert!((5..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}
