//! The state of the process and of each route, for the page `/` and for `curl`.
//!
//! The counters and states are those that requests keep anyway; a successful request does no work for this
//! page. `status/routes.rs` has the routes, `status/text.rs` the plain text.

mod routes;
mod text;

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;

use self::routes::{FailureStatus, RouteStatus, failure};
pub(super) use self::text::text;
use super::{Health, process, source::SourceStatus};
use crate::{
    logging,
    signing::clock_skew::skew_text,
    state::snapshot::Snapshot,
    system::{supervision::Task, wall_clock::Rfc3339},
    tls::{Validity, ValidityStatus},
};

/// The addresses of the sockets, with the ports that the system chose for port 0.
#[derive(Debug, Clone)]
pub struct SocketNames {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub unix: Option<PathBuf>,
    pub admin: SocketAddr,
}

/// The time of the start, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct StartTime {
    pub wall: SystemTime,
    pub monotonic: Instant,
}

impl StartTime {
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), monotonic: Instant::now() }
    }
}

/// The content of the page.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    /// `ready`, `not ready` or `stopping`, as `/ready` has it.
    state: &'static str,
    now: String,
    started: String,
    uptime_seconds: u64,
    settings: SettingsStatus,
    clock: ClockStatus,
    listeners: Vec<ListenerStatus>,
    connections: ConnectionStatus,
    descriptors: DescriptorStatus,
    log_lines_lost: u64,
    /// `/inspect` is there.
    inspector: bool,
    /// Tasks of the process that have failed since the start.
    failed_tasks: Vec<FailedTask>,
    /// Requests that no route matched.
    unrouted: UnroutedStatus,
    routes: Vec<RouteStatus>,
}

#[derive(Debug, Serialize)]
struct SettingsStatus {
    generation: u64,
    /// The time of the last reload that was applied, or of the start.
    since: String,
    /// The mistakes of changed settings, one line each, while the old ones stay in use.
    rejected: Vec<String>,
    /// `null` if the settings come from a directory.
    source: Option<SourceStatus>,
}

#[derive(Debug, Serialize)]
struct ClockStatus {
    /// Seconds by which AWS's clock is ahead; `null` until it is known.
    skew_seconds: Option<f64>,
    text: String,
}

#[derive(Debug, Serialize)]
struct ListenerStatus {
    setting: &'static str,
    address: String,
    certificate: Option<CertificateStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct CertificateStatus {
    expires: String,
    /// `valid`, `expires soon`, `expired` or `not valid yet`.
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct ConnectionStatus {
    clients: u64,
    most_clients: u32,
    accepted: u64,
    refused: u64,
    /// Idle connections to AWS.
    upstream_idle: u64,
    requests_in_flight: u32,
}

#[derive(Debug, Serialize)]
struct DescriptorStatus {
    open: Option<u64>,
    limit: Option<u64>,
    /// The warning of the start, if the limit is lower than the settings need.
    shortage: Option<String>,
}

#[derive(Debug, Serialize)]
struct FailedTask {
    task: &'static str,
    failures: u64,
}

#[derive(Debug, Serialize)]
struct UnroutedStatus {
    requests: u64,
    last_failure: Option<FailureStatus>,
}

impl Status {
    pub(super) fn of(health: &Health) -> Self {
        let (now, snapshot) = (SystemTime::now(), health.current.get());
        let routes = routes::all(&snapshot, now);
        let is_ready = routes.iter().all(RouteStatus::is_ready);
        let unrouted = &snapshot.metrics.unrouted;
        let failures = Task::ALL.into_iter().map(|task| (task.name(), task.failures()));
        let failed = failures.filter(|(_, failures)| *failures > 0);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            state: match (health.is_stopping(), is_ready) {
                (true, _) => "stopping",
                (false, true) => "ready",
                (false, false) => "not ready",
            },
            now: Rfc3339(now).to_string(),
            started: Rfc3339(health.started.wall).to_string(),
            uptime_seconds: health.started.monotonic.elapsed().as_secs(),
            settings: settings(&snapshot, now),
            clock: clock(&snapshot),
            listeners: listeners(&health.sockets, snapshot.metrics.listener_certificate(), now),
            connections: connections(&snapshot),
            descriptors: descriptors(&snapshot),
            log_lines_lost: logging::dropped_lines(),
            inspector: health.inspector.is_some(),
            failed_tasks: failed.map(|(task, failures)| FailedTask { task, failures }).collect(),
            unrouted: UnroutedStatus {
                requests: unrouted.completed().0,
                last_failure: unrouted.last_failure.get().map(|last| failure(&last, now)),
            },
            routes,
        }
    }
}

fn settings(snapshot: &Snapshot, now: SystemTime) -> SettingsStatus {
    let reloads = &snapshot.metrics.reloads;
    SettingsStatus {
        generation: snapshot.generation,
        since: Rfc3339::of_seconds(reloads.counted.in_force_since.get()).to_string(),
        rejected: reloads.rejection().unwrap_or_default().lines().map(str::to_owned).collect(),
        source: SourceStatus::of(&snapshot.metrics, now),
    }
}

/// The largest skew of all endpoints.
fn clock(snapshot: &Snapshot) -> ClockStatus {
    let routes = snapshot.routes.routes();
    let known = routes.iter().filter_map(|route| route.signing.as_ref()?.clock.offset());
    let skew_seconds = known.max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let text = match skew_seconds {
        None => "not compared with AWS yet".to_owned(),
        Some(ahead) if ahead.abs() < 1.0 => "agrees with AWS".to_owned(),
        Some(ahead) => {
            #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
            let milliseconds = (-ahead * 1000.0) as i64;
            format!("{} AWS's: set this machine's clock", skew_text(milliseconds))
        }
    };
    ClockStatus { skew_seconds, text }
}

fn listeners(sockets: &SocketNames, certificate: Option<Validity>, now: SystemTime) -> Vec<ListenerStatus> {
    let certificate = certificate.map(|validity| CertificateStatus::of(validity, now));
    let unix = sockets.unix.as_ref().map(|path| path.display().to_string());
    [
        ("listen.http", Some(sockets.http.to_string()), None),
        ("listen.https", sockets.https.map(|address| address.to_string()), certificate),
        ("listen.unix", unix, None),
        ("admin", Some(sockets.admin.to_string()), None),
    ]
    .into_iter()
    .filter_map(|(setting, address, certificate)| {
        Some(ListenerStatus { setting, address: address?, certificate })
    })
    .collect()
}

impl CertificateStatus {
    fn of(validity: Validity, now: SystemTime) -> Self {
        Self {
            expires: Rfc3339::of_seconds(validity.not_after).to_string(),
            state: match validity.status(now) {
                ValidityStatus::Valid => "valid",
                ValidityStatus::NotYet => "not valid yet",
                ValidityStatus::EndsSoon => "expires soon",
                ValidityStatus::Expired => "expired",
            },
        }
    }
}

fn connections(snapshot: &Snapshot) -> ConnectionStatus {
    let clients = &snapshot.metrics.clients;
    ConnectionStatus {
        clients: clients.open.get(),
        most_clients: snapshot.capacity.max_connections,
        accepted: clients.accepted.get(),
        refused: clients.refused.get(),
        upstream_idle: snapshot.metrics.endpoints().iter().map(|endpoint| endpoint.idle.get()).sum(),
        requests_in_flight: snapshot.admission.in_flight(),
    }
}

fn descriptors(snapshot: &Snapshot) -> DescriptorStatus {
    let (open, limit) = process::open_files();
    DescriptorStatus { open, limit, shortage: snapshot.capacity.shortage.clone() }
}

/// Milliseconds with one decimal.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
