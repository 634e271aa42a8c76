//! Thousands of connections, faulty upstreams and clients that leave, for as long as one likes: does every client get
//! a right answer or a right error, does anything pile up, and does SIGTERM cost anybody an answer?
//!
//! ```sh
//! cargo bench --bench soak -- --seconds 300 --connections 2000 --faults 10
//! ```
//!
//! starts the release binary between [`upstream`] and [`client`], both in this process; what a request is to get is
//! told by its number alone (`plan.rs`), so that no answer of another's is taken for right. It ends with 1 when
//! anything is wrong. Without options it is a smoke test of a few seconds.

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

/// How long load goes on before and may take to end after SIGTERM.
const BEFORE_STOP: Duration = Duration::from_secs(2);
/// Longer than every time limit in the settings together.
const AT_REST: Duration = Duration::from_secs(30);

/// What the soak is like.
#[derive(Debug, Parser)]
struct Options {
    /// How long the load goes on.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Clients at a time.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// Answers of a hundred that go wrong.
    #[arg(long, default_value_t = 10)]
    faults: u64,
    /// Worker threads of the sidecar.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = options.bench;
    // a socket each for a client, and its call at the upstream
    let files = 3 * options.connections as u64 + 1000;
    if !may_open(files) {
        println!(
            "{files} files have to be open at a time: raise the hard limit (ulimit -Hn), or take fewer connections"
        );
        return ExitCode::from(2);
    }
    let plan = Plan { faults: options.faults };
    let upstream = Upstream::start(plan);
    let mut sidecar = Sidecar::start(upstream.address, options.connections, options.workers);
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

    // the upstreams' connections are idle for a second and go
    let files_after = sidecar.files_settled(files_before, AT_REST);
    report.memory(&sidecar);
    let (admitted, overloaded) = client::fill(sidecar.address, sidecar.max_in_flight);

    let stopping = Arc::<Tally>::default();
    let load = Load::start(plan, sidecar.address, options.connections, Arc::clone(&stopping));
    std::thread::sleep(BEFORE_STOP);
    let stop = Instant::now();
    load.expect_stop();
    sidecar.terminate();
    let status = sidecar.wait(AT_REST);
    let stop_took = stop.elapsed();
    load.finish();

    report.print(&tally, &sidecar, load_took);
    report.files(files_before, files_after);
    report.in_flight(sidecar.max_in_flight, admitted, overloaded);
    report.stop(&stopping, &sidecar, status, stop_took);
    report.said(&sidecar.complaints());
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Raises the limit of open files for this process and the one that it starts.
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
