//! Counts cases and failures of a run, and prints them.

use std::{collections::BTreeMap, fmt, time::Duration};

use clap::ValueEnum as _;

use super::{TargetName, case::Failure};

/// The result of one target's run.
#[derive(Debug)]
pub struct Report {
    target: TargetName,
    seed: u64,
    /// Failures of each kind that are printed in full.
    shown: u64,
    cases: u64,
    took: Duration,
    panics: u64,
    failures: BTreeMap<String, u64>,
}

impl Report {
    pub fn new(target: TargetName, seed: u64, shown: u64) -> Self {
        Self { target, seed, shown, cases: 0, took: Duration::ZERO, panics: 0, failures: BTreeMap::new() }
    }

    /// Counts a case.
    pub fn ran(&mut self) {
        self.cases += 1;
    }

    /// Counts a failure, and prints the first of its kind.
    pub fn failed(&mut self, number: u64, case: &impl fmt::Display, failure: &Failure) {
        let count = self.failures.entry(failure.kind.clone()).or_default();
        *count += 1;
        if *count > self.shown {
            return;
        }
        let (target, seed) = (self.name(), self.seed);
        println!("FAILED: {}", failure.kind);
        println!("  {}", failure.detail);
        println!("  repeat: --target {target} --seed {seed} --from {number} --iterations 1");
        println!("{case}\n");
    }

    /// Prints the summary.
    pub fn ended(&mut self, took: Duration, panics: u64) {
        (self.took, self.panics) = (took, panics);
    }

    pub fn failures(&self) -> u64 {
        self.failures.values().sum()
    }

    /// True if nothing failed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.panics == 0
    }

    pub fn print(&self) {
        let seconds = self.took.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let rate = self.cases as f64 / seconds.max(0.001);
        println!(
            "{}: seed {}, {} cases in {seconds:.1} s, {rate:.0} a second, {} failures, {} panics",
            self.name(),
            self.seed,
            self.cases,
            self.failures(),
            self.panics
        );
        for (kind, count) in &self.failures {
            println!("  {count} × {kind}");
        }
    }

    fn name(&self) -> String {
        self.target.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
