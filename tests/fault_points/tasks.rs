//! Panics in the long-lived tasks of the process.

use std::{
    fs,
    io::{BufReader, Write as _},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    Sidecar,
    client::{get, open, read_response},
    exposition::Exposition,
    process::{Process, command, settings, write_settings},
    route,
    tls::Authority,
    upstream::Upstream,
    wait::eventually,
};

/// The source file of the fault points.
const FAULT: &str = "src/system/fault_points.rs";

#[test]
fn x3_a_reload_that_panics_starts_again_and_takes_the_next_settings() {
    for place in ["reload", "reload-read"] {
        let mut sidecar = Sidecar::start("");
        sidecar.arm(place);
        // the new route file is loaded
        let added = route("added", &sidecar.upstream);
        fs::write(sidecar.directory.path().join("routes/added.yaml"), added).unwrap();
        eventually("it is counted", || sidecar.failures("reload") == 1);
        sidecar.process.says("settings reloaded, generation 2: added added");
        sidecar.serves();
        sidecar.panicked_at(FAULT);
        sidecar.process.says("task reload panicked at");
        sidecar.process.stop();
    }
}

#[test]
fn x3_a_follower_of_a_source_that_panics_starts_again_and_takes_the_next_bundle() {
    let upstream = Upstream::ok();
    let process = "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100 }\n";
    let directory = settings(process, &[("all", &route("all", &upstream))]);
    let (bundles, faults) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bundle = bundles.path().join("settings.tar");
    let of_settings = directory.path().to_owned();
    let pack = || {
        let new = bundles.path().join("new");
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&new).arg("-C").arg(&of_settings).arg(".");
        assert!(tar.status().unwrap().success());
        fs::rename(new, &bundle).unwrap();
    };
    pack();
    let mut run = command("run", &bundle);
    run.env("APIGW_INVOKER_FAULT_POINTS", faults.path());
    let (process, address) = Process::listening(&mut run);
    let admin = process.admin();
    let mut sidecar = Sidecar { process, address, admin, directory, faults, upstream };
    sidecar.strike("source", "source");
    sidecar.panicked_at(FAULT);
    let added = route("added", &sidecar.upstream);
    fs::write(sidecar.directory.path().join("routes/added.yaml"), added).unwrap();
    pack();
    sidecar.process.says("settings reloaded, generation 2: added added");
    sidecar.serves();
    sidecar.process.stop();
}

#[test]
fn x3_a_watcher_of_certificates_that_panics_starts_again_and_takes_new_ones() {
    let authority = Authority::new("fault");
    let identities = [authority.identity("127.0.0.1"), authority.identity("127.0.0.1")];
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("c.pem"), files.path().join("k.pem"));
    let write = |at: usize| {
        fs::write(&key, identities[at].key()).unwrap();
        fs::write(&certificate, identities[at].certificate()).unwrap();
    };
    write(0);
    let https = format!(
        ", https: {{ address: '127.0.0.1:0', certificate: '{}', key: '{}' }}",
        certificate.display(),
        key.display()
    );
    let mut sidecar = Sidecar::calling(Upstream::ok(), &https, "");
    sidecar.strike("certificates", "certificates");
    sidecar.panicked_at(FAULT);
    write(1);
    sidecar.process.says("certificates of listen.https reloaded");
    sidecar.process.stop();
}

#[test]
fn x3_an_exporter_that_panics_starts_again_and_delivers_what_comes_later() {
    let collector = Upstream::ok();
    let otlp = format!("tracing: {{ sample: 1, otlp: {{ endpoint: '{}' }} }}\n", collector.uri(""));
    let mut sidecar = Sidecar::start(&otlp);
    sidecar.arm("exporter");
    sidecar.serves();
    eventually("it is counted", || sidecar.failures("exporter") == 1);
    sidecar.panicked_at(FAULT);
    let outcome = |outcome: &str| {
        Exposition::of(sidecar.admin).count("apigw_invoker_recorded_requests_total", &[("outcome", outcome)])
    };
    assert_eq!(outcome("dropped"), 1, "what was being delivered is lost and counted");
    sidecar.serves();
    eventually("it delivers", || outcome("delivered") == 1);
    sidecar.process.stop();
}

#[test]
fn x3_a_source_of_keys_that_panics_starts_again_and_its_route_signs() {
    for place in ["credentials", "credentials-fetch"] {
        let mut sidecar = Sidecar::signing(place);
        eventually("it is counted", || sidecar.failures("credentials") == 1);
        eventually("the route has keys", || get(sidecar.admin, "/ready").status == 200);
        sidecar.serves();
        let sent = sidecar.upstream.only();
        assert!(sent.header("authorization").is_some_and(|value| value.contains("AKIDENVIRONMENT")));
        sidecar.panicked_at(FAULT);
        sidecar.process.stop();
    }
}

#[test]
fn x3_a_pool_whose_watch_panics_closes_idle_connections_all_the_same() {
    let keepalive = "  keepalive_timeout: 1500\n";
    let mut sidecar = Sidecar::told(Upstream::ok(), keepalive, "", "", None);
    sidecar.serves();
    let idle = || {
        let metrics = Exposition::of(sidecar.admin);
        let family = &metrics.families["apigw_invoker_upstream_connections_idle"];
        family.samples.iter().map(|(.., value)| *value).sum::<f64>()
    };
    assert!((idle() - 1.0).abs() < 0.1);
    sidecar.strike("pool", "worker");
    eventually("it is closed", || idle() < 0.1);
    sidecar.panicked_at(FAULT);
    sidecar.process.stop();
}

#[test]
fn x3_a_signal_of_the_log_that_panics_is_followed_by_one_that_works() {
    let mut sidecar = Sidecar::start("");
    sidecar.arm("signal");
    sidecar.process.signal("USR1");
    eventually("it is counted", || sidecar.failures("log") == 1);
    sidecar.panicked_at(FAULT);
    // a signal sent between panic and restart stays pending
    sidecar.process.signal("USR1");
    sidecar.process.says("SIGUSR1: log level is now debug");
    sidecar.process.stop();
}

#[test]
fn x3_an_admin_port_that_panics_listens_again_on_the_same_port() {
    let mut sidecar = Sidecar::start("");
    sidecar.strike("admin", "admin");
    assert_eq!(get(sidecar.admin, "/live").status, 200);
    sidecar.panicked_at(FAULT);
    sidecar.serves();
    sidecar.process.stop();
}

#[test]
fn x3_a_page_that_panics_ends_its_connection_alone() {
    let mut sidecar = Sidecar::start("");
    let mut other = BufReader::new(open(sidecar.admin));
    let mut ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        other.get_mut().write_all(request.as_bytes()).unwrap();
        read_response(&mut other, false)
    };
    assert_eq!(ask("/live").unwrap().status, 200);
    sidecar.arm("admin-page");
    let mut broken = open(sidecar.admin);
    broken.write_all(b"GET /ready HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(read_response(&mut BufReader::new(broken), false).is_err());
    assert_eq!((ask("/ready").unwrap().status, sidecar.failures("admin")), (200, 1));
    sidecar.panicked_at(FAULT);
    sidecar.process.stop();
}

#[test]
fn x3_a_worker_that_panics_starts_again_with_the_same_sockets() {
    let mut sidecar = Sidecar::start("workers: 1\n");
    sidecar.strike("worker", "worker");
    // clients are not refused meanwhile: their connections wait in the backlog
    for _ in 0..3 {
        sidecar.serves();
    }
    sidecar.panicked_at(FAULT);
    let log = sidecar.process.stop();
    assert!(log.contains("task worker panicked at") && log.contains("restarting in 100ms"), "{log}");
}

#[test]
fn x3_a_loop_of_accepting_that_panics_starts_again_and_its_connections_stay() {
    let mut sidecar = Sidecar::start("workers: 1\n");
    let mut kept = BufReader::new(open(sidecar.address));
    let mut ask = || {
        kept.get_mut().write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        read_response(&mut kept, false).unwrap().status
    };
    assert_eq!(ask(), 200);
    sidecar.strike("accept", "worker");
    assert_eq!(ask(), 200);
    sidecar.serves();
    sidecar.panicked_at(FAULT);
    sidecar.process.stop();
}

#[test]
fn x3_a_worker_that_always_panics_is_restarted_with_backoff_and_the_process_ends() {
    let mut sidecar = Sidecar::start("workers: 1\n");
    for _ in 0..4 {
        sidecar.strike("worker", "worker");
    }
    sidecar.process.says("restarting in 800ms");
    let begun = std::time::Instant::now();
    sidecar.process.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn x3_a_writer_of_the_log_that_panics_starts_again_and_counts_what_is_lost() {
    let mut sidecar = Sidecar::start("");
    sidecar.arm("log");
    sidecar.serves();
    eventually("it is counted", || sidecar.failures("log") == 1);
    sidecar.panicked_at(FAULT);
    let lost = Exposition::of(sidecar.admin).count("apigw_invoker_log_lines_dropped_total", &[]);
    assert!(lost >= 1, "{lost}");
    sidecar.serves();
    sidecar.process.says("GET /x 200");
    sidecar.process.stop();
}

#[test]
fn x3_no_settings_and_no_task_are_lost_when_all_of_them_panic_at_once() {
    let mut sidecar = Sidecar::start("");
    for place in ["worker", "accept", "reload", "log", "admin"] {
        sidecar.arm(place);
    }
    eventually("they come back", || {
        let count = |task| sidecar.failures(task);
        count("worker") >= 2 && count("reload") == 1 && count("admin") == 1
    });
    let added = route("added", &sidecar.upstream);
    write_settings(
        sidecar.directory.path(),
        "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100 }\n",
        &[("added", &added)],
    );
    sidecar.process.says("added added");
    sidecar.serves();
    sidecar.process.stop();
}
