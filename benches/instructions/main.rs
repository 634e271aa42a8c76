//! Instructions per step of a request, compared with `baseline.txt`: `cargo bench --bench instructions`.
//!
//! Callgrind counts them, so that load and clock speed have no influence. A step fails if it has grown by
//! more than five percent; `cargo bench --bench instructions -- --write` writes a new baseline, to be
//! committed together with the change. The counts depend on the compiler and the CPU model. Valgrind has no
//! SHA extensions, so signatures count more instructions than they run.

#![expect(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, reason = "a program for a person")]

#[path = "../hot/work.rs"]
mod work;

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

/// Runs of a step that Callgrind counts.
const RUNS: u64 = 100;
/// Growth of a step that is still accepted, in percent.
const MAX_GROWTH_PERCENT: u64 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--one", name] => {
            take(name);
            ExitCode::SUCCESS
        }
        ["--write"] => write(),
        [] => compare(),
        _ => {
            eprintln!("instructions: takes nothing, or --write");
            ExitCode::from(2)
        }
    }
}

/// Runs a step once without counting, then [`RUNS`] times.
fn take(name: &str) {
    let step = work::ALL.iter().find(|(known, _)| *known == name);
    let mut work = step.map(|(_, prepare)| prepare()).expect("it is one of them");
    work();
    counted(&mut work);
}

/// The function whose calls Callgrind counts.
#[inline(never)]
fn counted(work: &mut work::Work) {
    for _ in 0..RUNS {
        work();
    }
}

/// Instructions per run of a step.
fn count(name: &str) -> Result<u64, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*instructions*counted*")
        .arg(own)
        .args(["--one", name])
        .output()
        .map_err(|error| format!("valgrind: {error}; Debian has it in the package valgrind"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let total =
        collected.and_then(|(_, number)| number.trim().parse::<u64>().ok()).filter(|total| *total > 0);
    total.map(|total| total / RUNS).ok_or_else(|| format!("{name}: nothing was counted: {said}"))
}

fn all() -> Result<Vec<(&'static str, u64)>, String> {
    work::ALL.iter().map(|(name, _)| Ok((*name, count(name)?))).collect()
}

fn baseline() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.txt")
}

fn write() -> ExitCode {
    let written = all().and_then(|counts| {
        let lines: String = counts.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        fs::write(baseline(), lines).map_err(|error| error.to_string())
    });
    told(written.map(|()| true))
}

fn compare() -> ExitCode {
    told(all().and_then(|counts| {
        let text = fs::read_to_string(baseline()).map_err(|error| error.to_string())?;
        let known: BTreeMap<&str, u64> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
            .collect();
        println!("{:<20}{:>14}{:>14}", "step", "instructions", "baseline");
        let mut is_right = true;
        for (name, count) in counts {
            let before = known.get(name).copied();
            let has_grown = before.is_none_or(|before| count * 100 > before * (100 + MAX_GROWTH_PERCENT));
            let before = before.map_or_else(|| "none".to_owned(), |before| before.to_string());
            println!("{name:<20}{count:>14}{before:>14}{}", if has_grown { "  has grown" } else { "" });
            is_right &= !has_grown;
        }
        Ok(is_right)
    }))
}

fn told(result: Result<bool, String>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}
