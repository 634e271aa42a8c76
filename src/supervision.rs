//! Long-lived tasks that start anew: a panic or an end of one is counted, logged once with its place, and followed by
//! another start after a back-off, so that nothing ends in silence.
//!
//! A task hands [`supervise`] a closure that makes its future. Stopping a task is dropping the supervising future; a
//! future that returns has failed. The counters are the process's, because the log's writer is older than `Metrics`;
//! `metrics/scrape.rs` exports them.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::pin,
    sync::{
        Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

/// The pause after a first failure; it doubles with each that follows soon.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A run of this length ends a row of failures.
const GOOD_RUN: Duration = Duration::from_mins(1);

/// A long-lived task; the name is the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Keeps the keys of one source fresh.
    Credentials,
    /// Follows the settings' files.
    Reload,
    /// Follows the listener's certificates.
    Certificates,
    /// Sends spans to a collector.
    Exporter,
    /// Serves the admin port.
    Admin,
    /// Serves clients.
    Worker,
    /// Writes the log.
    Log,
}

impl Task {
    /// Every task, in the order of the metric's samples.
    pub const ALL: [Self; 7] = [
        Self::Credentials,
        Self::Reload,
        Self::Certificates,
        Self::Exporter,
        Self::Admin,
        Self::Worker,
        Self::Log,
    ];

    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Reload => "reload",
            Self::Certificates => "certificates",
            Self::Exporter => "exporter",
            Self::Admin => "admin",
            Self::Worker => "worker",
            Self::Log => "log",
        }
    }

    /// Failures since the process started.
    pub fn failures(self) -> u64 {
        FAILURES[self as usize].load(Ordering::Relaxed)
    }

    fn count_failure(self) {
        FAILURES[self as usize].fetch_add(1, Ordering::Relaxed);
    }
}

static FAILURES: [AtomicU64; Task::ALL.len()] = [const { AtomicU64::new(0) }; Task::ALL.len()];

/// A panic that was caught. The message stays unsaid: it may quote the input that the code tripped over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    place: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked at {}", self.place)
    }
}

thread_local! {
    /// Set while this thread runs code whose panics are caught.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// File and line of the last panic that was caught on this thread.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();
static LOGGED: AtomicBool = AtomicBool::new(false);

/// Sends panics that nobody catches to the log, one line each: standard error is the log, and a backtrace in it is no
/// JSON.
pub fn log_panics() {
    LOGGED.store(true, Ordering::Relaxed);
    install_hook();
}

fn install_hook() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            if CATCHING.get() {
                // whoever catches it says so
                PLACE.set(Some(place(info)));
            } else if LOGGED.load(Ordering::Relaxed) && thread != Task::Log.name() {
                log::error!("panic at {} in the thread {thread}", place(info));
            } else {
                // the log's own thread may hold the queue's lock
                before(info);
            }
        }));
    });
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

/// Runs `work` and catches its panic.
///
/// # Errors
/// It panicked.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    install_hook();
    let was_catching = CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(was_catching);
    result.map_err(|_| Panicked { place: PLACE.take().unwrap_or_default() })
}

/// Runs a future and catches its panic, on whatever thread it is polled.
///
/// # Errors
/// It panicked.
pub async fn catch_in<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// The pauses between failures of one task.
#[derive(Debug)]
pub struct Restarts {
    task: Task,
    pause: Duration,
    started: Instant,
}

impl Restarts {
    /// A task that starts now.
    pub fn of(task: Task) -> Self {
        Self { task, pause: Duration::ZERO, started: Instant::now() }
    }

    /// Counts and logs the end of a run, and returns the pause before the next one.
    pub fn failed(&mut self, end: Result<(), Panicked>) -> Duration {
        self.task.count_failure();
        self.pause = if self.started.elapsed() >= GOOD_RUN {
            SHORTEST_PAUSE
        } else {
            (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
        };
        let (name, pause) = (self.task.name(), humantime::format_duration(self.pause));
        match end {
            Ok(()) => log::error!("the task {name} ended; it starts again in {pause}"),
            Err(panicked) => log::error!("the task {name} {panicked}; it starts again in {pause}"),
        }
        self.pause
    }

    /// The next run starts.
    pub fn started(&mut self) {
        self.started = Instant::now();
    }
}

/// Runs the futures that `make` gives, one after the other, and never returns.
pub async fn supervise<F: Future<Output = ()>>(task: Task, mut make: impl FnMut() -> F) {
    let mut restarts = Restarts::of(task);
    loop {
        restarts.started();
        // a panic in `make` is one of the task
        let end = match catch(&mut make) {
            Ok(future) => catch_in(future).await,
            Err(panicked) => Err(panicked),
        };
        tokio::time::sleep(restarts.failed(end)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn x3_a_task_that_panics_or_ends_is_counted_and_starts_again() {
        let before = Task::Certificates.failures();
        let runs = Cell::new(0);
        let supervised = supervise(Task::Certificates, || {
            runs.set(runs.get() + 1);
            let run = runs.get();
            async move {
                match run {
                    1 => panic!("hush"),
                    2 => {}
                    _ => std::future::pending().await,
                }
            }
        });
        let third = async {
            while runs.get() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = supervised => unreachable!(),
            () = third => {}
        }
        assert_eq!(Task::Certificates.failures() - before, 2);
    }

    #[test]
    fn a_panic_is_told_by_its_place_and_not_by_its_words() {
        let panicked = catch(|| panic!("hush")).unwrap_err().to_string();
        assert!(panicked.starts_with("panicked at src/supervision.rs:"), "{panicked}");
        // one inside of another
        let outer = catch(|| catch(|| panic!("hush")).is_err());
        assert_eq!(outer, Ok(true));
        assert!(!CATCHING.get());
    }

    #[test]
    fn pauses_grow_until_a_run_was_long() {
        let mut restarts = Restarts::of(Task::Exporter);
        let pauses: Vec<u128> = (0..10).map(|_| restarts.failed(Ok(())).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        restarts.started = Instant::now().checked_sub(GOOD_RUN).unwrap();
        assert_eq!(restarts.failed(Ok(())), SHORTEST_PAUSE);
    }
}
