//! `apigw-invoker health` against a running sidecar, and against peers that are none.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::support::process::{ANY_PORT, Ended, Process, binary, command, end_of, settings, write_settings};

const ROUTE: &str = "uri: /*\napi_gateway:\n  function_uri: http://127.0.0.1:1/\n";
const ADDRESS: &str = "APIGW_INVOKER__ADMIN__ADDRESS";

/// `health` with these arguments, and without an address in its environment.
fn health(arguments: &[&str]) -> Command {
    let mut command = binary(&["health"]);
    command.args(arguments).env_remove(ADDRESS);
    command
}

/// `health` that is given the address by its environment.
fn health_at(address: SocketAddr, arguments: &[&str]) -> Ended {
    end_of(health(arguments).env(ADDRESS, address.to_string()))
}

#[track_caller]
fn assert_healthy(ended: &Ended) {
    assert_eq!((ended.code, &*ended.output, &*ended.errors), (Some(0), "", ""));
}

#[track_caller]
fn assert_unhealthy(ended: &Ended, cause: &str) {
    assert_eq!((ended.code, &*ended.output, ended.errors.lines().count()), (Some(1), "", 1), "{ended:?}");
    assert!(ended.errors.contains(cause), "{cause}\nis not in\n{}", ended.errors);
}

/// A peer that does this with each connection, and its address.
fn peer(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

fn process_settings(address: &str) -> String {
    format!("{ANY_PORT}admin: {{ address: '{address}' }}\n")
}

/// A sidecar whose admin port listens at this address, with a port of the system's, and that port.
fn sidecar_at(ip: &str) -> (Process, u16, tempfile::TempDir) {
    let directory = settings(ANY_PORT, &[("a", ROUTE)]);
    let (process, _) = Process::listening(command("run", directory.path()).env(ADDRESS, format!("{ip}:0")));
    let port = process.admin().port();
    (process, port, directory)
}

#[test]
fn a_running_sidecar_is_healthy_whatever_its_files_have_become() {
    let (_process, port, directory) = sidecar_at("127.0.0.1");
    let address = format!("127.0.0.1:{port}");
    let wrong = "uri: [\n";
    let secret =
        "uri: /b\nlambda: { function_name: f, aws_region: r, aws_key: $env://NOT_SET, aws_secret: s }\n";
    write_settings(directory.path(), &process_settings(&address), &[("a", wrong), ("b", secret)]);
    let path = directory.path().to_str().unwrap();
    assert_healthy(&end_of(&mut health(&["--settings", path])));
    assert_healthy(&end_of(&mut health(&["--settings", path, "--ready"])));
    let other_keys = format!("{}limits: 7\nlog: {{ level: [] }}\nno_such: key\n", process_settings(&address));
    write_settings(directory.path(), &other_keys, &[]);
    fs::write(directory.path().join("stray.yaml"), "a stranger").unwrap();
    let mut checked = health(&["--settings", path]);
    checked.env("APIGW_INVOKER__LOG__LEVEL", "loud").env("APIGW_INVOKER__WORKERS__X", "1");
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        checked.env(proxy, "http://127.0.0.1:1");
    }
    assert_healthy(&end_of(&mut checked));
    // by a reference
    write_settings(directory.path(), &process_settings("$env://WHERE"), &[]);
    assert_healthy(&end_of(health(&["--settings", path]).env("WHERE", &address)));
}

#[test]
fn an_address_for_all_interfaces_is_asked_on_loopback() {
    for ip in ["0.0.0.0", "[::]", "127.0.0.1", "[::1]"] {
        let (process, port, _directory) = sidecar_at(ip);
        let address: SocketAddr = format!("{ip}:{port}").parse().unwrap();
        assert_healthy(&health_at(address, &[]));
        drop(process);
        let target = if ip.contains(':') { "[::1]" } else { "127.0.0.1" };
        let cause = format!("http://{address}/live: cannot connect to {target}:{port}: Connection refused");
        assert_unhealthy(&health_at(address, &[]), &cause);
    }
    // the kernel of the sidecar had no IPv6, and it listens on 0.0.0.0 instead
    let (_process, port, _directory) = sidecar_at("0.0.0.0");
    assert_healthy(&health_at(format!("[::]:{port}").parse().unwrap(), &[]));
}

#[test]
fn a_route_without_credentials_is_not_ready_and_does_not_fail_liveness() {
    let route = "uri: /a\nlambda: { function_name: f, aws_region: us-east-1 }\n";
    let directory = settings(ANY_PORT, &[("orders", route), ("open", ROUTE)]);
    let mut run = command("run", directory.path());
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
        run.env_remove(variable);
    }
    run.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", directory.path());
    let (process, _) = Process::listening(&mut run);
    assert_healthy(&health_at(process.admin(), &[]));
    let ended = health_at(process.admin(), &["--ready"]);
    assert_unhealthy(&ended, "/ready: 503: route orders: ");
    assert!(ended.errors.contains("no credential source is configured"), "{}", ended.errors);
    assert!(!ended.errors.contains("open"), "{}", ended.errors);
}

#[test]
fn a_sidecar_that_shuts_down_is_alive_and_not_ready() {
    let directory = settings(&format!("{ANY_PORT}shutdown: {{ delay: 10s }}\n"), &[("a", ROUTE)]);
    let (mut process, _) = Process::listening(&mut command("run", directory.path()));
    let address = process.admin();
    assert_healthy(&health_at(address, &["--ready"]));
    process.signal("TERM");
    let begun = Instant::now();
    while health_at(address, &["--ready"]).code == Some(0) {
        assert!(begun.elapsed() < Duration::from_secs(5), "ready after SIGTERM");
    }
    assert_unhealthy(&health_at(address, &["--ready"]), "/ready: 503: shutting down\n");
    assert_healthy(&health_at(address, &[]));
    // the second signal ends the delay
    process.signal("TERM");
    process.wait();
    assert_unhealthy(&health_at(address, &[]), "Connection refused");
}

#[test]
fn the_address_of_the_environment_has_any_case_and_precedes_the_file() {
    let (_process, port, directory) = sidecar_at("127.0.0.1");
    let address = format!("127.0.0.1:{port}");
    write_settings(directory.path(), &process_settings("127.0.0.1:1"), &[]);
    let path = directory.path().to_str().unwrap();
    for variable in [ADDRESS, &ADDRESS.to_lowercase()] {
        assert_healthy(&end_of(health(&["--settings", path]).env(variable, &address)));
    }
    // an empty variable is not set
    let ended = end_of(health(&["--settings", path]).env(ADDRESS, ""));
    assert_unhealthy(&ended, "http://127.0.0.1:1/live: cannot connect to 127.0.0.1:1: Connection refused");
}

#[test]
fn with_a_settings_source_environment_and_cache_and_default_name_the_address() {
    let (_process, port, directory) = sidecar_at("127.0.0.1");
    let address = format!("127.0.0.1:{port}");
    let (cache, missing) = (directory.path().join("cache"), directory.path().join("missing"));
    write_settings(&cache.join("first"), &process_settings(&address), &[]);
    std::os::unix::fs::symlink("first", cache.join("current")).unwrap();
    let ask = |source: &str, cache: Option<&Path>, own: Option<&str>| {
        let mut command = health(&[]);
        command.env("APIGW_INVOKER_SETTINGS", source);
        command.envs(cache.map(|cache| ("APIGW_INVOKER_SETTINGS_CACHE", cache)));
        command.envs(own.map(|own| (ADDRESS, own)));
        end_of(&mut command)
    };
    // a fetch would take longer, or fail: nobody answers at this address
    for source in ["https://192.0.2.1/settings.tar.gz", "s3://bucket/settings.tar.gz", "/nowhere.tar.gz"] {
        let begun = Instant::now();
        assert_healthy(&ask(source, Some(&cache), None));
        assert_healthy(&ask(source, Some(&missing), Some(&address)));
        assert_unhealthy(&ask(source, Some(&cache), Some("127.0.0.1:1")), "http://127.0.0.1:1/live: ");
        for cache in [None, Some(&*missing)] {
            let ended = ask(source, cache, None);
            // unless a sidecar is there
            assert!(
                ended.code == Some(0) || ended.errors.contains("http://127.0.0.1:9180/live: "),
                "{ended:?}"
            );
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_mistake_in_the_address_is_named_with_the_address_that_was_asked_instead() {
    let directory = settings("admin:\n  address: nowhere\n", &[]);
    let path = directory.path().to_str().unwrap();
    let asked = |command: &mut Command, cause: &str| {
        let ended = end_of(command);
        if ended.code != Some(0) {
            assert_unhealthy(&ended, "http://127.0.0.1:9180/live: ");
            assert_unhealthy(&ended, &format!("; this is the default address, because {cause}"));
        }
    };
    let file = format!("{path}/default.yaml");
    asked(&mut health(&["--settings", path]), &format!("{file}:2: admin.address: "));
    asked(
        health(&["--settings", path]).env(ADDRESS, "9180"),
        &format!("environment variable {ADDRESS}: admin"),
    );
    fs::write(&file, "admin: [\n").unwrap();
    asked(&mut health(&["--settings", path]), &format!("{file}:2: not valid YAML: "));
    fs::write(&file, "admin: { address: $env://NOT_SET }\n").unwrap();
    asked(&mut health(&["--settings", path]), &format!("{file}:1: admin.address: the environment variable"));
    let ended = end_of(health(&[]).env(ADDRESS, "127.0.0.1:0"));
    assert_unhealthy(&ended, "the system chose the port: give admin.address a port");
}

#[test]
fn a_peer_that_is_slow_or_no_admin_port_is_unhealthy_within_the_timeout() {
    let silent = peer(|stream| {
        thread::sleep(Duration::from_secs(30));
        drop(stream);
    });
    let begun = Instant::now();
    assert_unhealthy(&health_at(silent, &["--timeout", "200ms"]), "/live: no response within 200ms");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let dripping = peer(|mut stream| {
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_unhealthy(&health_at(dripping, &["--timeout", "200ms"]), "/live: no response within 200ms");
    for (response, cause) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "/live: 404\n"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "/live: 204\n"),
        ("SSH-2.0-\u{1b}[2J\r\n", "/live: the response is not HTTP\n"),
        ("", "/live: the response is not HTTP\n"),
        (
            "HTTP/1.1 503 x\r\n\r\n{\"stopping\":false,\"routes\":[{\"id\":\"\\u001b[2J\\n\",\
             \"ready\":false}]}",
            "/live: 503: route \\u{1b}[2J\\n: not ready\n",
        ),
    ] {
        let address = peer(move |mut stream| {
            // the request comes first, or the response is lost in a reset
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = stream.write_all(response.as_bytes());
        });
        assert_unhealthy(&health_at(address, &[]), cause);
    }
}

#[test]
fn the_status_line_decides_whatever_follows_it() {
    let hanging = |line: &'static str| {
        peer(move |mut stream| {
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = stream.write_all(line.as_bytes());
            thread::sleep(Duration::from_secs(30));
        })
    };
    let begun = Instant::now();
    assert_healthy(&health_at(hanging("HTTP/1.1 200 OK\r\n"), &["--timeout", "20s"]));
    let failing = hanging("HTTP/1.1 503 x\r\n\r\n");
    assert_unhealthy(&health_at(failing, &["--timeout", "200ms"]), "/live: 503\n");
    let endless = peer(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 503 x\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_unhealthy(&health_at(endless, &["--timeout", "20s"]), "/live: 503\n");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_port_that_accepts_no_connection_is_unhealthy_within_the_timeout() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // fills the backlog, so that the kernel drops further connections
    let _first = TcpStream::connect(address).unwrap();
    let begun = Instant::now();
    let cause = format!("/live: cannot connect to {address} within 300ms\n");
    assert_unhealthy(&health_at(address, &["--timeout", "300ms"]), &cause);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn wrong_usage_of_health_ends_with_2() {
    for arguments in
        [&["--live"][..], &["--timeout", "soon"], &["--timeout", "0"], &["--timeout", "2days"], &["x"]]
    {
        let ended = end_of(&mut health(arguments));
        assert_eq!((ended.code, &*ended.output), (Some(2), ""), "{arguments:?}: {}", ended.errors);
    }
}
