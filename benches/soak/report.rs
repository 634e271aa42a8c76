//! Prints the results, and decides whether the soak test passed.

use std::time::Duration;

use super::{
    client::is_limit_exact,
    sidecar::{Memory, Sidecar},
    tally::{Counts, Tally, Verdict},
};

/// Results so far.
#[derive(Debug, Default)]
pub struct Report {
    memory: Vec<Memory>,
    problems: Vec<String>,
}

impl Report {
    /// Records the sidecar's memory use.
    pub fn memory(&mut self, sidecar: &Sidecar) {
        self.memory.push(sidecar.memory());
    }

    /// Prints the load: outcomes, latency, memory.
    pub fn print(&mut self, tally: &Tally, sidecar: &Sidecar, took: Duration) {
        let mut counts = tally.counts();
        let requests = counts.requests();
        println!("{requests} requests in {took:.1?}, {:.0} a second", rate(requests, took));
        self.outcomes(&counts, sidecar);
        counts.latencies.sort_unstable();
        let (half, most) = (percentile(&counts.latencies, 50), percentile(&counts.latencies, 99));
        println!("latency without planned delays: p50 {half:.1?}, p99 {most:.1?}");
        let resident: Vec<u64> = self.memory.iter().map(|memory| memory.now).collect();
        let peak = self.memory.iter().map(|memory| memory.peak).max().unwrap_or_default();
        println!(
            "resident KiB: {} at the start, {peak} at most, {} at the end; over time {:?}",
            resident.first().copied().unwrap_or_default(),
            resident.last().copied().unwrap_or_default(),
            sampled(&resident)
        );
        if !counts.verdicts.contains_key(&Verdict::Right) {
            self.problems.push("no correct response".to_owned());
        }
    }

    /// Prints the number of open files before and after the load.
    pub fn files(&mut self, before: usize, after: usize) {
        println!("files open: {before} before, {after} after");
        if after != before {
            self.problems.push(format!("{before} files were open before the load, {after} are after it"));
        }
    }

    /// Prints how many concurrent requests are admitted after the load.
    pub fn in_flight(&mut self, limit: usize, admitted: usize, overloaded: usize) {
        println!("admitted concurrently: {admitted} of {limit}; rejected beyond the limit: {overloaded}");
        if !is_limit_exact(limit, admitted, overloaded) {
            self.problems.push("max_in_flight admits another number of requests than its value".to_owned());
        }
    }

    /// Prints the result of SIGTERM under load.
    pub fn stop(&mut self, tally: &Tally, sidecar: &Sidecar, status: Option<i32>, took: Duration) {
        let counts = tally.counts();
        println!("SIGTERM under load: {} requests, exit code {status:?} after {took:.1?}", counts.requests());
        self.outcomes(&counts, sidecar);
        if status != Some(0) {
            self.problems.push(format!("the exit code is {status:?}"));
        }
    }

    /// Prints log lines that report internal errors.
    pub fn problems_logged(&mut self, problem_lines: &[String]) {
        self.problems.extend(problem_lines.iter().take(10).cloned());
        for problem in &self.problems {
            println!("FAILED: {problem}");
        }
    }

    /// True if all checks passed.
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }

    fn outcomes(&mut self, counts: &Counts, sidecar: &Sidecar) {
        for (verdict, count) in &counts.verdicts {
            println!("  {count:>9} {verdict:?}");
        }
        if counts.unconnected > 0 {
            println!("  {:>9} connections could not be opened", counts.unconnected);
        }
        println!("  failed: {}", counts.bad());
        if counts.bad() > 0 {
            self.problems.push(format!("{} requests", counts.bad()));
            self.problems.extend(counts.examples.iter().map(|example| {
                let logged =
                    sidecar.failure_line(&example.request_id).unwrap_or_else(|| "nothing".to_owned());
                format!("{} {}; logged: {logged}", example.request_id, example.detail)
            }));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn percentile(sorted: &[u32], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    Duration::from_micros(sorted.get(index).copied().unwrap_or_default().into())
}

/// At most 20 evenly spaced samples.
fn sampled(samples: &[u64]) -> Vec<u64> {
    samples.iter().step_by(samples.len().div_ceil(20).max(1)).copied().collect()
}
