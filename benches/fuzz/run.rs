//! Runs the cases of a target, several concurrently as tasks on this thread.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::{task::JoinSet, time::timeout};

use super::{
    Options, TargetName,
    case::{self, Failure, TIMEOUT},
    report::Report,
    witness,
};

/// An interface of the sidecar that is fuzzed.
pub trait Target: 'static {
    /// The input of one case.
    type Case: fmt::Display;

    /// Generates case `number`, from `random` only.
    fn case(&self, number: u64, random: &mut Rng) -> Self::Case;

    /// Sends the input and checks the invariants.
    fn run(&self, case: &Self::Case, place: Place) -> impl Future<Output = Result<(), Failure>>;
}

/// The place of a case in the run.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Number of the case.
    pub number: u64,
    /// Index of the concurrent slot; no two running cases share one.
    pub lane: usize,
}

struct Shared<T> {
    target: T,
    options: Options,
    until: Instant,
    next: Cell<u64>,
    running: RefCell<Vec<u64>>,
    report: RefCell<Report>,
}

/// Runs a target for the duration in `options`. `start` is called on the runtime of the cases.
pub fn run<T: Target>(name: TargetName, options: &Options, start: impl FnOnce(usize) -> T) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let target = start(options.lanes);
        let begun = Instant::now();
        let shared = Rc::new(Shared {
            target,
            options: options.clone(),
            until: begun + Duration::from_secs(options.seconds),
            next: Cell::new(options.from),
            running: RefCell::default(),
            report: RefCell::new(Report::new(name, options.seed, options.show)),
        });
        let panics = witness::panics();
        let mut lanes = JoinSet::new();
        for lane in 0..options.lanes {
            lanes.spawn_local(Rc::clone(&shared).lane(lane));
        }
        while lanes.join_next().await.is_some() {}
        let mut report = shared.report.replace(Report::new(name, options.seed, options.show));
        report.ended(begun.elapsed(), witness::panics() - panics);
        report
    })
}

impl<T: Target> Shared<T> {
    async fn lane(self: Rc<Self>, lane: usize) {
        while let Some(number) = self.next() {
            let case = self.target.case(number, &mut case::random(self.options.seed, number));
            self.running.borrow_mut().push(number);
            let outcome = timeout(2 * TIMEOUT, self.target.run(&case, Place { number, lane })).await;
            let outcome = outcome.unwrap_or_else(|_| Err(Failure::new("the case hangs", "")));
            let mut report = self.report.borrow_mut();
            for seen in witness::take() {
                let kind = if seen.contains("panicked") { "a panic" } else { "a logged mistake" };
                let detail = format!("{seen}\n    cases that ran then: {:?}", self.running.borrow());
                report.failed(number, &case, &Failure::new(kind, detail));
            }
            self.running.borrow_mut().retain(|other| *other != number);
            if let Err(failure) = outcome {
                report.failed(number, &case, &failure);
            }
            report.ran();
        }
    }

    /// Number of the next case; `None` at the end of the run.
    fn next(&self) -> Option<u64> {
        let number = self.next.get();
        let is_over = match self.options.iterations {
            Some(iterations) => number - self.options.from >= iterations,
            None => Instant::now() >= self.until,
        };
        if is_over || self.report.borrow().failures() >= self.options.failures {
            return None;
        }
        self.next.set(number + 1);
        Some(number)
    }
}
