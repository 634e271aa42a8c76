//! Reload of settings under load: a change takes effect completely or not at all.

use std::{
    fs,
    io::{BufReader, Write},
    net::SocketAddr,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;

use super::support::{
    Upstream, eventually, get, open,
    process::{Process, settings, write_settings},
    read_response,
    tls::Authority,
};

const PROCESS: &str =
    "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100ms }\nlog: { access: false }\n";

fn route(uri: &str, upstream: &Upstream, rest: &str) -> String {
    format!("uri: {uri}\n{rest}\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"))
}

/// An upstream that responds with its name.
fn named(name: &str) -> Upstream {
    Upstream::answering(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len()))
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(format!("routes/{name}.yaml"));
    // atomically, as an editor does
    let new = directory.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn routes_are_added_changed_disabled_and_removed_without_a_restart() {
    let (one, two) = (named("one"), named("two"));
    let directory = settings(PROCESS, &[("a", &route("/a", &one, ""))]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/a").text(), "one");
    write(directory.path(), "b", &route("/b", &two, ""));
    eventually("b is there", || get(address, "/b").text() == "two");
    write(directory.path(), "a", &route("/a", &two, ""));
    eventually("a leads elsewhere", || get(address, "/a").text() == "two");
    write(directory.path(), "a", &route("/a", &two, "enabled: false"));
    eventually("a is off", || get(address, "/a").status == 404);
    fs::remove_file(directory.path().join("routes/b.yaml")).unwrap();
    write(directory.path(), "a", &route("/a", &one, ""));
    eventually("b is gone", || get(address, "/b").status == 404);
    eventually("a is back", || get(address, "/a").text() == "one");
    let log = process.stop();
    for told in ["added b", "changed a", "removed a", "generation 2: "] {
        assert!(log.contains(told), "{told}: {log}");
    }
}

#[test]
fn invalid_settings_change_nothing_and_every_mistake_is_logged_once() {
    let upstream = named("one");
    let directory = settings(PROCESS, &[("a", &route("/a", &upstream, ""))]);
    let (mut process, address) = Process::run(directory.path());
    write(directory.path(), "a", "uri: /other\napi_gatewy: {}\n");
    process.says("did you mean `api_gateway`?");
    assert_eq!(get(address, "/a").text(), "one");
    let settings = || get(process.admin(), "/ready").json()["settings"].clone();
    assert!(settings()["rejected"].to_string().contains("did you mean `api_gateway`?"), "{}", settings());
    write(directory.path(), "b", "uri: [\n");
    process.says("b.yaml");
    assert_eq!(get(address, "/a").text(), "one");
    write(directory.path(), "a", &route("/a", &upstream, ""));
    write(directory.path(), "b", &route("/b", &upstream, ""));
    eventually("b is there", || get(address, "/b").status == 200);
    assert_eq!(settings(), serde_json::json!({ "generation": 2 }));
    let log = process.stop();
    assert_eq!(
        log.matches("did you mean `api_gateway`?").count(),
        2,
        "once alone, once with the other: {log}"
    );
    assert!(
        log.contains(
            "the new settings have mistakes and are ignored; the old ones (generation 1) stay in use"
        ),
        "{log}"
    );
}

#[test]
fn sighup_reloads_at_once_and_keys_that_need_a_restart_are_logged() {
    let (one, two) = (named("one"), named("two"));
    let slow = PROCESS.replace("100ms", "1h");
    let directory = settings(&slow, &[("a", &route("/a", &one, ""))]);
    let (mut process, address) = Process::run(directory.path());
    process.signal("HUP");
    process.says("settings unchanged, generation ");
    let process_text = format!("{slow}workers: 2\n");
    write_settings(directory.path(), &process_text, &[("a", &route("/a", &two, ""))]);
    assert_eq!(get(address, "/a").text(), "one");
    process.signal("HUP");
    eventually("a leads elsewhere", || get(address, "/a").text() == "two");
    process.says("`workers` has changed; restart the process to use it");
    // restores the initial settings, and adds another section
    let process_text = format!("{slow}tracing: {{ propagate: false }}\n");
    write_settings(directory.path(), &process_text, &[("a", &route("/a", &two, ""))]);
    process.signal("HUP");
    process.says("no route has changed; changed tracing");
    let log = process.stop();
    assert_eq!(log.matches("restart the process").count(), 1, "{log}");
}

#[test]
fn a_config_map_that_the_kubelet_swaps_is_taken() {
    let (one, two) = (named("one"), named("two"));
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    // as the kubelet mounts a ConfigMap: symlinks into a symlinked directory with a timestamp in its name
    for (time, upstream) in [("..2026_01", &one), ("..2026_02", &two)] {
        write_settings(&at.join(time), PROCESS, &[("a", &route("/a", upstream, ""))]);
    }
    symlink("..2026_01", at.join("..data")).unwrap();
    symlink("..data/default.yaml", at.join("default.yaml")).unwrap();
    symlink("..data/routes", at.join("routes")).unwrap();
    let (mut process, address) = Process::run(at);
    assert_eq!(get(address, "/a").text(), "one");
    symlink("..2026_02", at.join("..data_tmp")).unwrap();
    fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
    fs::remove_dir_all(at.join("..2026_01")).unwrap();
    eventually("the swap is taken", || get(address, "/a").text() == "two");
    process.stop();
}

#[test]
fn a_secret_in_a_file_is_reloaded_and_never_logged() {
    let upstream = Upstream::ok();
    let secrets = TempDir::new().unwrap();
    let file = secrets.path().join("key");
    fs::write(&file, "hush-one\n").unwrap();
    let key = format!("  authorization: {{ apikey: '$file://{}' }}", file.display());
    let directory = settings(PROCESS, &[("a", &format!("{}{key}\n", route("/a", &upstream, "")))]);
    let (mut process, address) = Process::run(directory.path());
    get(address, "/a");
    assert_eq!(upstream.received()[0].header("x-api-key"), Some("hush-one"));
    fs::write(&file, "hush-two\n").unwrap();
    eventually("the new key is used", || {
        get(address, "/a");
        upstream.received().last().unwrap().header("x-api-key") == Some("hush-two")
    });
    assert!(!process.stop().contains("hush"));
}

#[test]
fn a_route_whose_authorities_change_is_named() {
    let authorities = TempDir::new().unwrap();
    let file = authorities.path().join("ca.pem");
    fs::write(&file, Authority::new("a").pem()).unwrap();
    let secure = format!(
        "uri: /a\napi_gateway:\n  function_uri: https://127.0.0.1:1/\n  ca_certificate: {}\n",
        file.display()
    );
    let directory = settings(PROCESS, &[("a", &secure), ("b", &route("/b", &Upstream::ok(), ""))]);
    let (mut process, _) = Process::run(directory.path());
    fs::write(&file, Authority::new("a").pem()).unwrap();
    process.says("settings reloaded, generation 2: changed a");
    assert!(!process.stop().contains("changed a, b"));
}

#[test]
fn a_level_that_sigusr1_has_set_holds_until_the_settings_say_another() {
    let upstream = Upstream::ok();
    let directory = settings(PROCESS, &[("a", &route("/a", &upstream, ""))]);
    let (mut process, _) = Process::run(directory.path());
    process.signal("USR1");
    process.says("log level is now debug");
    write(directory.path(), "a", &route("/b", &upstream, ""));
    process.says("changed a");
    process.signal("USR1");
    process.says("log level is now info");
    fs::write(directory.path().join("default.yaml"), PROCESS.replace("log: {", "log: { level: debug,"))
        .unwrap();
    process.says("no route has changed");
    process.signal("USR1");
    eventually("debug is left again", || process.errors().matches("log level is now info").count() == 2);
    process.stop();
}

#[test]
fn missing_settings_are_logged_once_and_loaded_when_they_are_back() {
    let (one, two) = (named("one"), named("two"));
    let parent = TempDir::new().unwrap();
    let (at, elsewhere) = (parent.path().join("settings"), parent.path().join("elsewhere"));
    write_settings(&at, PROCESS, &[("a", &route("/a", &one, ""))]);
    let (mut process, address) = Process::run(&at);
    fs::rename(&at, &elsewhere).unwrap();
    process.says("this settings directory does not exist");
    // invalid settings are checked at every interval, but reported once
    fs::create_dir(&at).unwrap();
    process.says("there is no route");
    assert_eq!(get(address, "/a").text(), "one");
    fs::remove_dir(&at).unwrap();
    write(&elsewhere, "a", &route("/a", &two, ""));
    fs::rename(&elsewhere, &at).unwrap();
    eventually("they are taken", || get(address, "/a").text() == "two");
    let log = process.stop();
    assert!(!log.contains("error scanning"), "{log}");
}

/// Needs inotify to see when a file is opened.
#[cfg(target_os = "linux")]
#[test]
fn a_change_during_a_reload_is_loaded_too() {
    use notify::{EventKind, RecursiveMode, Watcher as _, event::AccessKind};

    let (one, two, three) = (named("one"), named("two"), named("three"));
    let slow = PROCESS.replace("100ms", "1h");
    let directory = settings(&slow, &[("a", &route("/a", &one, ""))]);
    // read after `a`, which takes some time
    for number in 0..300 {
        let text = route(&format!("/b{number}"), &one, "");
        fs::write(directory.path().join(format!("routes/b{number}.yaml")), text).unwrap();
    }
    let (mut process, address) = Process::run(directory.path());
    process.signal("HUP");
    process.says("settings unchanged");
    write(directory.path(), "a", &route("/a", &two, ""));
    let (opened, told) = std::sync::mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if matches!(event, Ok(event) if matches!(event.kind, EventKind::Access(AccessKind::Open(_)))) {
            let _ = opened.send(());
        }
    })
    .unwrap();
    watcher.watch(&directory.path().join("routes/a.yaml"), RecursiveMode::NonRecursive).unwrap();
    process.signal("HUP");
    told.recv().unwrap();
    write(directory.path(), "a", &route("/a", &three, ""));
    eventually("the later one is taken", || get(address, "/a").text() == "three");
    // `a` was already open when the other file was written
    process.says("settings reloaded, generation 3: changed a");
    process.stop();
}

#[test]
fn a_request_keeps_what_it_began_with_and_connections_of_unchanged_routes_survive() {
    let go_on = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&go_on);
    let slow = Upstream::serving(move |_, stream| {
        eventually("told to answer", || told.load(Ordering::SeqCst));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow")
    });
    let (kept, other) = (named("kept"), named("other"));
    let patient = format!("{}  timeout: 20s\n", route("/slow", &slow, ""));
    let directory = settings(PROCESS, &[("slow", &patient), ("kept", &route("/kept", &kept, ""))]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/kept").text(), "kept");
    let mut client = BufReader::new(open(address));
    client.get_mut().write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    eventually("it is in flight", || slow.received().len() == 1);
    write(directory.path(), "slow", &route("/slow", &other, ""));
    process.says("changed slow");
    assert_eq!(get(address, "/slow").text(), "other");
    assert_eq!(get(address, "/kept").text(), "kept");
    assert_eq!(kept.accepted(), 1, "its connection serves on");
    go_on.store(true, Ordering::SeqCst);
    assert_eq!(read_response(&mut client, false).unwrap().text(), "slow");
    process.stop();
}

/// Sends requests while routes change: each response must be complete and from one of the two upstreams.
fn ask(address: SocketAddr, until: &AtomicBool, asked: &AtomicUsize) {
    let mut stream = BufReader::new(open(address));
    while !until.load(Ordering::Relaxed) {
        stream.get_mut().write_all(b"GET /a/x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let response = read_response(&mut stream, false).unwrap();
        let text = response.text();
        assert!(response.status == 200 && (text == "one" || text == "two"), "{} {text}", response.status);
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn ten_thousand_requests_during_a_hundred_reloads_all_get_a_consistent_response() {
    let (one, two) = (named("one"), named("two"));
    let slow = PROCESS.replace("100ms", "1h");
    // each upstream must see its own key; the other key would mean a mix of old and new settings
    let text = |upstream: &Upstream, key: &str| {
        format!("{}  authorization: {{ apikey: {key} }}\n", route("/a/*", upstream, ""))
    };
    let directory = settings(&slow, &[("a", &text(&one, "key-one"))]);
    let (mut process, address) = Process::run(directory.path());
    let (until, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (until, asked) = (Arc::clone(&until), Arc::clone(&asked));
            std::thread::spawn(move || ask(address, &until, &asked))
        })
        .collect();
    for round in 0..100 {
        let before = asked.load(Ordering::Relaxed);
        match round % 4 {
            0 => write(directory.path(), "a", &text(&two, "key-two")),
            2 => write(directory.path(), "a", &text(&one, "key-one")),
            _ => write(directory.path(), "a", "uri: /a/*\napi_gateway: { function_uri: nowhere }\n"),
        }
        process.signal("HUP");
        eventually("requests go on", || asked.load(Ordering::Relaxed) > before + 100);
    }
    until.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) >= 10_000);
    for (upstream, key) in [(&one, "key-one"), (&two, "key-two")] {
        let received = upstream.received();
        assert!(!received.is_empty() && received.iter().all(|own| own.header("x-api-key") == Some(key)));
    }
    process.stop();
}
