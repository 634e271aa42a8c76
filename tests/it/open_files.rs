//! The limit of open files: raised as far as permitted, divided if it is low, and the behaviour when it is
//! reached.

use std::{
    fs,
    io::{BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use super::support::{
    Http2, Response, Upstream, eventually, get, open,
    process::{self, ANY_PORT, Process, end_of, settings, write_settings},
    read_response,
};

/// Settings that are reloaded only on SIGHUP, with a long idle timeout for clients.
const BY_HAND: &str =
    "listen: { http: '127.0.0.1:0' }\nreload: { interval: 1h }\nlimits: { header_timeout: 1h }\n";

fn route(uri: &str, upstream: &Upstream) -> String {
    format!("uri: {uri}\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"))
}

/// An upstream that responds with its name.
fn named(name: &str) -> Upstream {
    Upstream::answering(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len()))
}

/// The sidecar as a process, started by a shell with this `ulimit`.
fn limited(limit: &str, process: &str, routes: &[(&str, &str)]) -> (Command, TempDir) {
    let directory = settings(process, routes);
    let run = process::command("run", directory.path());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]).arg(run.get_program());
    shell.args(run.get_args()).env("APIGW_INVOKER__ADMIN__ADDRESS", "127.0.0.1:0");
    (shell, directory)
}

/// Starts one with a route to an upstream.
fn running(limit: &str, process: &str, upstream: &Upstream) -> (Process, SocketAddr, TempDir) {
    let (mut command, directory) = limited(limit, process, &[("r", &route("/*", upstream))]);
    let (process, address) = Process::listening(&mut command);
    (process, address, directory)
}

/// The number after these words in a log.
#[track_caller]
fn number_after(log: &str, words: &str) -> u64 {
    let (_, rest) = log.split_once(words).unwrap_or_else(|| panic!("{words}: {log}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|error| panic!("{words}: {error}: {log}"))
}

/// Sends a request and keeps the connection open.
#[track_caller]
fn ask(client: &mut BufReader<TcpStream>, target: &str) -> Response {
    write!(client.get_mut(), "GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_response(client, false).unwrap()
}

/// Open file descriptors of a process.
fn descriptors(process: &Process) -> Vec<u64> {
    let directory = format!("/proc/{}/fd", process.id());
    let open = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    open.map(|name| name.to_str().unwrap().parse().unwrap()).collect()
}

/// Lowers the limit of a process so that this many descriptors are left.
fn leave(process: &Process, descriptors: u64) {
    let open = self::descriptors(process);
    let mut free = (0..).filter(|number| !open.contains(number));
    let limit = (0..descriptors).fold(free.next(), |_, _| free.next());
    limit_to(process, limit.unwrap());
}

fn limit_to(process: &Process, limit: u64) {
    let pid = Pid::from_raw(process.id().try_into().unwrap());
    let maximum = Some(4096);
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(limit), maximum }).unwrap();
}

#[test]
fn more_clients_than_files_that_a_process_begins_with_are_served() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = running("-S -n 80", ANY_PORT, &upstream);
    let mut clients: Vec<_> = (0..200).map(|_| BufReader::new(open(address))).collect();
    for client in &mut clients {
        assert_eq!(ask(client, "/").status, 200);
    }
    let log = process.stop();
    assert!(!log.contains("may be open") && !log.contains("cannot accept connections"), "{log}");
}

#[test]
fn c9_with_64_files_and_80_idle_clients_probes_refusals_calls_and_reloads_work() {
    let (one, two) = (named("one"), named("two"));
    let settings = BY_HAND.replace("interval: 1h", "interval: 100ms");
    let (mut process, address, directory) = running("-n 64", &settings, &one);
    let mut clients: Vec<_> = (0..80).map(|_| BufReader::new(open(address))).collect();
    let start = Instant::now();
    for page in ["/live", "/ready", "/metrics"] {
        assert_eq!(get(process.admin(), page).status, 200, "{page}");
    }
    let refused = get(address, "/");
    assert_eq!((refused.status, refused.code()), (503, "overloaded".to_owned()), "{}", refused.text());
    assert_eq!(ask(&mut clients[0], "/").text(), "one");
    // each takes milliseconds; waiting for a free descriptor would take until the idle timeout
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    write_settings(directory.path(), &settings, &[("r", &route("/*", &two))]);
    eventually("the changed route is used", || ask(&mut clients[0], "/").text() == "two");
    drop(clients);
    eventually("there is room again", || get(address, "/").status == 200);
    let log = process.stop();
    let clients = number_after(&log, "limits.max_connections is ");
    assert!(clients >= 5, "{log}");
    for line in [
        "64 files may be open (`ulimit -n`)",
        "instead of 10000, limits.max_in_flight is ",
        "instead of 1024; raise the limit (LimitNOFILE of systemd",
        &format!("limits.max_connections, lowered for few open files (`ulimit -n`), is reached: {clients}"),
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert_eq!(log.matches("files may be open").count(), 1, "{log}");
    for unexpected in ["Too many open files", "the new settings have mistakes", "cannot accept connections"] {
        assert!(!log.contains(unexpected), "{unexpected}: {log}");
    }
}

#[test]
fn c9_calls_of_one_client_of_http_2_never_need_more_files_than_there_are() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::serving(move |_, stream| {
        // an error means that the sender was dropped
        let _ = released.lock().unwrap().recv();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    let settings = "listen: { http: '127.0.0.1:0', h2c: true }\n";
    let (mut process, address, _directory) = running("-n 64", settings, &upstream);
    let mut client = Http2::open(address);
    let request = || http::Request::get("http://h/").body(()).unwrap();
    let streams: Vec<_> = (0..60).map(|_| client.begin(request(), true).unwrap().response).collect();
    let most = number_after(&process.errors(), "limits.max_in_flight is ");
    eventually("as many as may be are in flight", || upstream.received().len() as u64 == most);
    let overloaded = (60 - most).to_string();
    eventually("all others are refused", || {
        let metrics = get(process.admin(), "/metrics").text();
        metrics.lines().any(|line| line.contains("overloaded") && line.ends_with(&format!(" {overloaded}")))
    });
    drop(release);
    let statuses: Vec<u16> =
        streams.into_iter().map(|response| client.finish(response).unwrap().status).collect();
    let served = statuses.iter().filter(|status| **status == 200).count() as u64;
    assert_eq!(served, most);
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    let log = process.stop();
    assert!(log.contains("limits.max_in_flight, ") && !log.contains("no socket"), "{log}");
}

#[test]
fn c9_connections_that_are_kept_to_many_upstreams_give_way_to_new_ones() {
    let upstreams: Vec<Upstream> = (0..40).map(|_| Upstream::ok()).collect();
    let routes: Vec<_> = upstreams
        .iter()
        .enumerate()
        .map(|(index, upstream)| (format!("r{index}"), route(&format!("/{index}"), upstream)))
        .collect();
    let routes: Vec<_> = routes.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (mut command, _directory) = limited("-n 64", ANY_PORT, &routes);
    let (mut process, address) = Process::listening(&mut command);
    let most = number_after(&process.errors(), "limits.max_in_flight is ");
    let mut client = BufReader::new(open(address));
    assert_eq!(ask(&mut client, "/none").status, 404);
    let before = descriptors(&process).len() as u64;
    for index in 0..upstreams.len() {
        assert_eq!(ask(&mut client, &format!("/{index}")).status, 200, "{index}");
        let kept = descriptors(&process).len() as u64 - before;
        assert!(kept <= most, "{kept} connections after the call {index}");
    }
    let log = process.stop();
    assert!(!log.contains("Too many open files") && !log.contains("no socket"), "{log}");
}

#[test]
fn c9_a_limit_without_room_for_clients_prevents_the_start_and_the_limit_in_its_message_is_enough() {
    for (workers, unix) in [(1, false), (4, true)] {
        let upstream = Upstream::ok();
        let directory = TempDir::new().unwrap();
        let socket =
            if unix { format!(", unix: '{}'", directory.path().join("s").display()) } else { String::new() };
        let settings = format!("listen: {{ http: '127.0.0.1:0'{socket} }}\nworkers: {workers}\n");
        let (mut command, _directory) = limited("-n 20", &settings, &[("r", &route("/*", &upstream))]);
        let ended = end_of(&mut command);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let told = ended.errors.lines().last().unwrap();
        assert!(told.starts_with("apigw-invoker: 20 files may be open (`ulimit -n`), and "), "{told}");
        let least = number_after(told, "these settings need ");
        let (mut process, address, _directory) = running(&format!("-n {least}"), &settings, &upstream);
        let mut client = BufReader::new(open(address));
        assert_eq!(ask(&mut client, "/").status, 200);
        for page in ["/live", "/ready", "/metrics"] {
            assert_eq!(get(process.admin(), page).status, 200, "{page}");
        }
        assert_eq!(get(address, "/").status, 503);
        process.signal("HUP");
        process.says("settings unchanged");
        let log = process.stop();
        assert!(log.contains("limits.max_connections is 1 instead of"), "{log}");
        assert!(!log.contains("Too many open files"), "{log}");
    }
}

#[test]
fn c9_where_others_have_taken_every_descriptor_clients_and_calls_are_503_with_the_cure_in_the_log() {
    let (one, two) = (named("one"), named("two"));
    let routes = [("one", &*route("/one", &one)), ("two", &route("/two", &two))];
    let (mut command, _directory) = limited("-n 4096", BY_HAND, &routes);
    let (mut process, address) = Process::listening(&mut command);
    let mut client = BufReader::new(open(address));
    assert_eq!(ask(&mut client, "/three").status, 404);
    leave(&process, 0);
    let failed = ask(&mut client, "/one");
    assert_eq!((failed.status, failed.code()), (503, "overloaded".to_owned()), "{}", failed.text());
    assert_eq!(failed.header("retry-after"), Some("1"));
    for _ in 0..5 {
        let refused = get(address, "/one");
        assert_eq!((refused.status, refused.code()), (503, "overloaded".to_owned()), "{}", refused.text());
    }
    assert_eq!((one.accepted(), two.accepted()), (0, 0));
    leave(&process, 1);
    // the only descriptor belongs to the previous connection, which is closed for the new one
    for (target, name) in [("/one", "one"), ("/two", "two"), ("/one", "one")] {
        assert_eq!(ask(&mut client, target).text(), name);
    }
    limit_to(&process, 4096);
    assert_eq!(get(address, "/two").text(), "two");
    let log = process.stop();
    let cure = "too many open files in this process: raise its limit (`ulimit -n`, LimitNOFILE of systemd)";
    for cause in [
        format!("no socket for a connection to {}: {cure}", one.address),
        format!("{address} cannot accept connections, retrying: Too many open files (os error 24); {cure}"),
    ] {
        assert_eq!(log.matches(&cause).count(), 1, "{cause}: {log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn c9_settings_that_cannot_be_read_without_descriptors_are_retried_later() {
    let (one, two) = (named("one"), named("two"));
    let settings = BY_HAND.replace("interval: 1h", "interval: 100ms");
    let (mut process, address, directory) = running("-n 4096", &settings, &one);
    let mut client = BufReader::new(open(address));
    assert_eq!(ask(&mut client, "/").text(), "one");
    leave(&process, 0);
    write_settings(directory.path(), &settings, &[("r", &route("/*", &two))]);
    let told = "cannot read the settings, retrying in 100ms; the old ones (generation 1) stay in use";
    eventually(told, || {
        // a file that was open when the limit was computed may be closed now
        leave(&process, 0);
        process.errors().contains(told)
    });
    assert_eq!(ask(&mut client, "/").text(), "one");
    process.signal("HUP");
    eventually("it is said to who asks", || process.errors().matches(told).count() == 2);
    limit_to(&process, 4096);
    eventually("the changed route is used", || ask(&mut client, "/").text() == "two");
    assert_eq!(get(process.admin(), "/ready").json()["settings"], serde_json::json!({ "generation": 2 }));
    let log = process.stop();
    assert!(!log.contains("the new settings have mistakes"), "{log}");
    assert!(log.contains("settings reloaded, generation 2: changed r"), "{log}");
}
