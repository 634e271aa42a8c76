//! Every long-lived task panics once, at a place that only this build has, and comes back: counted, logged
//! once with its place, and serving as before.
//!
//! Run by `cargo test --features fault-points --test fault_points`, as `.ci/run` does. A binary of its own,
//! since the feature must not be in any other.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and so do its helpers"
)]

#[path = "../it/support/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;
#[path = "../it/support/exposition.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod exposition;
#[path = "../it/support/http2.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod http2;
#[path = "../it/support/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
#[path = "../it/support/tls.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod tls;
#[path = "../it/support/upstream.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod upstream;
#[path = "../it/support/wait.rs"]
mod wait;

mod requests;
mod tasks;

use std::{
    fs,
    io::{BufReader, Write as _},
    net::SocketAddr,
};

use tempfile::TempDir;

use self::{
    client::{get, open, read_response},
    exposition::Exposition,
    process::{Process, command, settings},
    upstream::Upstream,
    wait::eventually,
};

/// A sidecar with one route `/*`, built with fault points.
struct Sidecar {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
    faults: TempDir,
    upstream: Upstream,
}

impl Sidecar {
    /// Starts a sidecar with these additional process settings.
    fn start(more: &str) -> Self {
        Self::calling(Upstream::ok(), "", more)
    }

    /// Starts a sidecar whose route signs with keys from the environment; the fault point `place` is armed
    /// during start.
    fn signing(place: &str) -> Self {
        let iam = "  authorization:\n    iam: { aws_region: us-east-1 }\n";
        Self::told(Upstream::ok(), iam, "", "", Some(place))
    }

    /// Starts a sidecar in front of `upstream`, with additional keys of `listen` and additional process
    /// settings.
    fn calling(upstream: Upstream, listen: &str, more: &str) -> Self {
        Self::told(upstream, "", listen, more, None)
    }

    fn told(upstream: Upstream, of_route: &str, listen: &str, more: &str, place: Option<&str>) -> Self {
        let route = route("all", &upstream) + of_route;
        let listen = format!("listen: {{ http: '127.0.0.1:0'{listen} }}");
        let process = format!("{listen}\nreload: {{ interval: 100 }}\n{more}");
        let directory = settings(&process, &[("all", &route)]);
        let faults = TempDir::new().unwrap();
        if let Some(place) = place {
            fs::write(faults.path().join(place), "").unwrap();
        }
        let mut run = command("run", directory.path());
        run.env("APIGW_INVOKER_FAULT_POINTS", faults.path()).env("RUST_BACKTRACE", "1");
        run.env("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT").env("AWS_SECRET_ACCESS_KEY", "secret");
        let (process, address) = Process::listening(&mut run);
        let admin = process.admin();
        Self { process, address, admin, directory, faults, upstream }
    }

    /// Makes the next task that reaches this fault point panic.
    fn arm(&self, place: &str) {
        fs::write(self.faults.path().join(place), "").unwrap();
    }

    /// Arms a fault point and waits until the failure of `task` is counted.
    #[track_caller]
    fn strike(&self, place: &str, task: &str) {
        let before = self.failures(task);
        self.arm(place);
        eventually(&format!("{place} strikes"), || self.failures(task) == before + 1);
    }

    /// The failure counter of a task. Retries, because a panic of the admin port resets its connections.
    #[track_caller]
    fn failures(&self, task: &str) -> u64 {
        let mut page = None;
        eventually("the admin port answers", || {
            let mut client = BufReader::new(open(self.admin));
            let _ = client.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
            page = read_response(&mut client, false).ok();
            page.is_some()
        });
        let page = Exposition::parse(&page.unwrap().text());
        page.count("apigw_invoker_task_failures_total", &[("task", task)])
    }

    #[track_caller]
    fn serves(&self) {
        assert_eq!(get(self.address, "/x").status, 200);
    }

    /// The log lines about panics. They must not contain the panic's message or a backtrace.
    #[track_caller]
    fn panics(&self, expected: usize) -> Vec<String> {
        let lines = || -> Vec<String> {
            let log = self.process.errors();
            log.lines().filter(|line| line.contains("panic")).map(str::to_owned).collect()
        };
        eventually("the log tells of the panic", || lines().len() >= expected);
        let log = self.process.errors();
        assert_eq!(lines().len(), expected, "{log}");
        assert!(!log.contains("hush") && !log.contains("stack backtrace"), "{log}");
        lines()
    }

    /// Checks that the log has exactly one line about a panic, with its location.
    #[track_caller]
    fn panicked_at(&self, file: &str) {
        let panics = self.panics(1);
        assert!(panics[0].contains(&format!("{file}:")), "{panics:?}");
    }
}

/// A route file to `upstream`, for `/*` or for a path below `name`.
fn route(name: &str, upstream: &Upstream) -> String {
    let uri = if name == "all" { "/*".to_owned() } else { format!("/{name}") };
    format!("uri: '{uri}'\napi_gateway:\n  function_uri: '{}'\n", upstream.uri("/"))
}
