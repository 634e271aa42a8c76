//! Fuzzer for everything that the sidecar reads from a socket: requests, HTTP/2 frames, responses of
//! upstreams and of functions, event streams.
//!
//! ```sh
//! cargo bench --bench fuzz -- --target listener --seconds 600 --seed 1
//! cargo bench --bench fuzz -- --target listener --seed 1 --from 4711 --iterations 1   # repeats one case
//! ```
//!
//! Each target starts a sidecar in this process and sends it one case after another over loopback sockets. A
//! case depends on the seed and its number only: the first cases are the seeds of `seeds/`, unchanged; all
//! further cases are mutations of them (`mutation.rs`). Each target's file lists its invariants. Every
//! failure is printed with the command that repeats it, and makes the exit code 1. Without options each
//! target runs for one second.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program of one purpose: it reports, and what it cannot do without ends it"
)]

mod answer;
mod case;
mod client;
mod delivery;
mod echo;
mod events;
mod frames;
mod function;
mod http2;
mod http2_client;
mod lambda_api;
mod listener;
mod mutation;
mod outcome;
mod reference;
mod report;
mod run;
mod seeds;
mod sequence;
mod sidecar;
mod upstream;
mod witness;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Options of the fuzzer.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// Target to run; all by default.
    #[arg(long, value_enum)]
    target: Option<TargetName>,
    /// Duration of each target's run, in seconds.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Seed of the random number generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of the first case.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Number of cases; replaces `--seconds`.
    #[arg(long)]
    iterations: Option<u64>,
    /// Concurrent cases.
    #[arg(long, default_value_t = 32)]
    lanes: usize,
    /// Stop a target after this many failures.
    #[arg(long, default_value_t = 200)]
    failures: u64,
    /// Failures of each kind that are printed in full.
    #[arg(long, default_value_t = 3)]
    show: u64,
    /// Passed by cargo to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TargetName {
    /// Bytes of HTTP/1.1 clients.
    Listener,
    /// Well-formed requests on one connection, compared with separate connections.
    Sequence,
    /// Frames of HTTP/2 clients.
    Http2,
    /// Responses of an API Gateway endpoint.
    Upstream,
    /// Responses of functions over `Invoke`.
    Function,
    /// Responses of functions over `InvokeWithResponseStream`.
    Events,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = options.bench;
    witness::start();
    let targets = match options.target {
        Some(target) => vec![target],
        None => TargetName::value_variants().to_vec(),
    };
    let mut passed = true;
    for target in targets {
        let report = match target {
            TargetName::Listener => run::run(target, &options, listener::Listener::start),
            TargetName::Sequence => run::run(target, &options, sequence::Sequence::start),
            TargetName::Http2 => run::run(target, &options, http2::Http2::start),
            TargetName::Upstream => run::run(target, &options, upstream::Upstream::start),
            TargetName::Function => run::run(target, &options, function::Function::start),
            TargetName::Events => run::run(target, &options, events::Events::start),
        };
        report.print();
        passed &= report.passed();
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
