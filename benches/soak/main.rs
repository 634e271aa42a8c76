//! Soak test: thousands of connections with faulty upstreams and clients that leave, for as long as needed,
//! then SIGTERM under load. It checks every response, open files, memory and the exit.
//!
//! ```sh
//! cargo bench --bench soak -- --seconds 300 --connections 2000 --faults 10
//! ```
//!
//! The release binary runs between [`upstream`] and [`client`], which are in this process. Both derive the
//! expected response from the request's number (`plan.rs`), so that another request's response is detected.
//! The exit code is 1 if a check fails. Without options it is a smoke test of a few seconds.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program of one purpose: it reports, and what it cannot do without ends it"
)]

mod answer;
mod client;
mod plan;
mod report;
mod sidecar;
mod tally;
mod upstream;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{client::Load, plan::Plan, report::Report, sidecar::Sidecar, tally::Tally, upstream::Upstream};

/// Load before SIGTERM, and time for it to end afterwards.
const BEFORE_STOP: Duration = Duration::from_secs(2);
/// Longer than all time limits in the settings together.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Soak test: thousands of connections, faulty upstreams, clients that leave, and SIGTERM.
#[derive(Debug, Parser)]
struct Options {
    /// Duration of the load, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Concurrent clients.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// Percentage of faulty responses.
    #[arg(long, default_value_t = 10)]
    faults: u64,
    /// Worker threads of the sidecar.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Turn the inspector on.
    #[arg(long)]
    inspect: bool,
    /// Passed by cargo to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = options.bench;
    // one socket for the client and one for the call to the upstream
    let files = 3 * options.connections as u64 + 1000;
    if !may_open(files) {
        println!(
            "{files} files have to be open at a time: raise the hard limit (ulimit -Hn), or take fewer \
             connections"
        );
        return ExitCode::from(2);
    }
    let plan = Plan { faults: options.faults };
    let upstream = Upstream::start(plan);
    let mut sidecar = Sidecar::start(upstream.address, &options);
    let mut report = Report::default();
    report.memory(&sidecar);
    let files_before = sidecar.files_at_rest();

    let tally = Arc::<Tally>::default();
    let load = Load::start(plan, sidecar.address, options.connections, Arc::clone(&tally));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(options.seconds) && !sidecar.has_ended() {
        std::thread::sleep(Duration::from_secs(1).min(Duration::from_secs(options.seconds)));
        report.memory(&sidecar);
    }
    let load_took = start.elapsed();
    load.finish();

    // idle connections to upstreams are closed after a second
    let files_after = sidecar.files_settled(files_before, SETTLE_TIMEOUT);
    report.memory(&sidecar);
    let (admitted, overloaded) = client::fill(sidecar.address, sidecar.max_in_flight);

    let stopping = Arc::<Tally>::default();
    let load = Load::start(plan, sidecar.address, options.connections, Arc::clone(&stopping));
    std::thread::sleep(BEFORE_STOP);
    let stop = Instant::now();
    load.expect_stop();
    sidecar.terminate();
    let status = sidecar.wait(SETTLE_TIMEOUT);
    let stop_took = stop.elapsed();
    load.finish();

    report.print(&tally, &sidecar, load_took);
    report.files(files_before, files_after);
    report.in_flight(sidecar.max_in_flight, admitted, overloaded);
    report.stop(&stopping, &sidecar, status, stop_took);
    report.problems_logged(&sidecar.problem_lines());
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Raises the limit of open files for this process and its child.
fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return true;
    }
    if limit.maximum.is_some_and(|maximum| maximum < files) {
        return false;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: limit.maximum }).is_ok()
}
