//! The most memory and processor time that a hostile request or answer takes: three times its bytes and 64 KiB, and 50 ms
//! before others have their turn.
//!
//! A binary of its own, since `allocation-counter` replaces the allocator of the whole process. It counts a buffer that
//! is moved twice while it is moved, as an allocator that copies does. Time is only judged with optimization:
//! `cargo test --release --test memory`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and so do its helpers"
)]

/// What functions answer, and AWS for them.
mod answers;
/// Answers on their way from a socket to the backend.
mod arrivals;
/// What clients send.
mod requests;
/// Event streams of the Lambda API.
mod streams;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use allocation_counter::AllocationInfo;
use apigw_invoker::{
    backend::{self, Backend},
    settings::{Document, Settings},
    tls::Configurations,
};
use rustix::time::{ClockId, clock_gettime};

/// Bytes besides three times those of the message.
const SLACK: u64 = 64 << 10;
const LONGEST_STEP: Duration = Duration::from_millis(50);
/// Most that Lambda takes and gives, and a size just behind a power of two, where buffers that double hold most. Without
/// optimization a sixteenth of that has to do.
const SIZES: [usize; 2] =
    if cfg!(debug_assertions) { [384 << 10, (256 << 10) + 1000] } else { [6 << 20, (4 << 20) + 1000] };

/// What a step took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Bytes at most at any moment.
    peak: u64,
    /// Time of this thread on a processor.
    time: Duration,
}

/// Takes a step, and again if it was slow: a machine that is shared makes any step slow now and then.
fn cost<T>(step: impl Fn() -> T) -> (T, Cost) {
    let mut taken = once(&step);
    for _ in 0..2 {
        if taken.1.time > LONGEST_STEP && !cfg!(debug_assertions) {
            taken = once(&step);
        }
    }
    taken
}

/// Takes a step that cannot be taken again.
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

/// Collects what takes too much, so that one run tells of all.
#[derive(Default)]
struct Verdict {
    failures: Vec<String>,
}

impl Verdict {
    /// Judges what a message of so many bytes took.
    fn judge(&mut self, what: &str, bytes: usize, Cost { peak, time }: Cost) {
        let bytes = u64::try_from(bytes).unwrap();
        let limit = 3 * bytes + SLACK;
        let line = format!("{what}: {bytes} bytes took {peak} of {limit}, {time:?}");
        if peak > limit || (time > LONGEST_STEP && !cfg!(debug_assertions)) {
            self.failures.push(line);
        }
    }

    /// Fails if anything took too much.
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

/// The backend of a route that calls a function.
fn lambda(rest: &str) -> Arc<dyn Backend> {
    let keys = "function_name: f, aws_region: us-east-1, aws_key: A, aws_secret: s";
    backend(&format!("lambda: {{ {keys}, {rest} }}\n"))
}
