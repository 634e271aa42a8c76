//! Peak memory and CPU time of hostile requests and responses: at most three times their size plus 64 KiB,
//! and 50 ms without yielding.
//!
//! This is a separate binary, because `allocation-counter` replaces the allocator of the process. A
//! reallocation counts as the old and the new buffer together. Time is checked in optimized builds only:
//! `cargo test --release --test memory`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and so do its helpers"
)]

mod answers;
mod arrivals;
mod requests;
mod streams;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use allocation_counter::AllocationInfo;
use apigw_invoker::{
    backend::{self, Backend},
    settings::{Document, Settings},
    tls::Configurations,
};
use rustix::time::{ClockId, clock_gettime};

/// Bytes allowed in addition to three times the message.
const SLACK: u64 = 64 << 10;
const LONGEST_STEP: Duration = Duration::from_millis(50);
/// The largest payload of Lambda, and a size just above a power of two, where doubling buffers waste the
/// most. Builds without optimization use a sixteenth.
const SIZES: [usize; 2] =
    if cfg!(debug_assertions) { [384 << 10, (256 << 10) + 1000] } else { [6 << 20, (4 << 20) + 1000] };

/// Cost of a step.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Peak of allocated bytes.
    peak: u64,
    /// CPU time of this thread.
    time: Duration,
}

/// Measures a step; repeats it if it was slow, because other processes may have delayed it.
fn cost<T>(step: impl Fn() -> T) -> (T, Cost) {
    let mut taken = once(&step);
    for _ in 0..2 {
        if taken.1.time > LONGEST_STEP && !cfg!(debug_assertions) {
            taken = once(&step);
        }
    }
    taken
}

/// Measures a step that cannot be repeated.
fn once<T>(step: impl FnOnce() -> T) -> (T, Cost) {
    let (mut result, mut time) = (None, Duration::ZERO);
    let AllocationInfo { bytes_max: peak, .. } = allocation_counter::measure(|| {
        let before = now();
        result = Some(step());
        time = now().saturating_sub(before);
    });
    (result.unwrap(), Cost { peak, time })
}

fn now() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Collects all violations, so that one run reports them all.
#[derive(Default)]
struct Verdict {
    failures: Vec<String>,
}

impl Verdict {
    /// Checks the cost of a message of this size.
    fn judge(&mut self, what: &str, bytes: usize, Cost { peak, time }: Cost) {
        let bytes = u64::try_from(bytes).unwrap();
        let limit = 3 * bytes + SLACK;
        let line = format!("{what}: {bytes} bytes took {peak} of {limit}, {time:?}");
        if peak > limit || (time > LONGEST_STEP && !cfg!(debug_assertions)) {
            self.failures.push(line);
        }
    }

    /// Fails if there was a violation.
    #[track_caller]
    fn end(self) {
        assert!(self.failures.is_empty(), "too dear:\n{}", self.failures.join("\n"));
    }
}

/// The backend of a route.
fn backend(route: &str) -> Arc<dyn Backend> {
    let documents = [Document::process(String::new()), Document::route("a", format!("uri: /a*\n{route}"))];
    let settings = Settings::from_documents(&documents, &BTreeMap::new()).unwrap();
    backend::build(&settings.routes[0].backend, &mut Configurations::default()).unwrap()
}

/// The backend of a Lambda route.
fn lambda(rest: &str) -> Arc<dyn Backend> {
    let keys = "function_name: f, aws_region: us-east-1, aws_key: A, aws_secret: s";
    backend(&format!("lambda: {{ {keys}, {rest} }}\n"))
}
