//! Supervision of long-lived tasks: a panic or an unexpected end is counted, logged once with its place, and
//! followed by a restart after a back-off.
//!
//! [`supervise`] gets a closure that makes a task's future, [`supervise_thread`] the work of a thread.
//! Dropping the supervising future stops the task; a future that returns has failed. The counters are static,
//! because the log's writer starts before `Metrics`; `admin/exposition.rs` exports them.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::pin,
    sync::{
        Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{self, LocalOptions};
use tokio_util::sync::CancellationToken;

/// The back-off after a first failure; it doubles with each further failure.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A run of this length resets the back-off.
const BACKOFF_RESET: Duration = Duration::from_mins(1);

/// A long-lived task; the name is the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Refreshes the keys of one source.
    Credentials,
    /// Follows the settings' files.
    Reload,
    /// Fetches the settings' bundle.
    Source,
    /// Follows the listener's certificates.
    Certificates,
    Exporter,
    Admin,
    /// Serves clients.
    Worker,
    /// Serves one client, or one of its requests. Never restarted: the client connects again.
    Connection,
    Log,
}

impl Task {
    /// Every task, in the order of the metric's samples.
    pub const ALL: [Self; 9] = [
        Self::Credentials,
        Self::Reload,
        Self::Source,
        Self::Certificates,
        Self::Exporter,
        Self::Admin,
        Self::Worker,
        Self::Connection,
        Self::Log,
    ];

    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Reload => "reload",
            Self::Source => "source",
            Self::Certificates => "certificates",
            Self::Exporter => "exporter",
            Self::Admin => "admin",
            Self::Worker => "worker",
            Self::Connection => "connection",
            Self::Log => "log",
        }
    }

    /// Failures since the process started.
    pub fn failures(self) -> u64 {
        FAILURES[self as usize].load(Ordering::Relaxed)
    }

    pub fn count_failure(self) {
        FAILURES[self as usize].fetch_add(1, Ordering::Relaxed);
    }
}

static FAILURES: [AtomicU64; Task::ALL.len()] = [const { AtomicU64::new(0) }; Task::ALL.len()];

/// A panic that was caught. Its message is dropped, since it may quote the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked at {place}")]
pub struct Panicked {
    place: String,
}

thread_local! {
    /// Set while this thread runs code whose panics are caught.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// File and line of the last panic that was caught on this thread.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();
static LOGGED: AtomicBool = AtomicBool::new(false);

/// Logs uncaught panics, one line each: standard error is the log, and a backtrace in it would not be JSON.
pub fn log_panics() {
    LOGGED.store(true, Ordering::Relaxed);
    install_hook();
}

fn install_hook() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let thread = thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            if CATCHING.get() {
                // logged by the code that catches it
                PLACE.set(Some(place(info)));
            } else if LOGGED.load(Ordering::Relaxed) && thread != Task::Log.name() {
                log::error!("thread {thread} panicked at {}", place(info));
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
/// The panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    install_hook();
    let was_catching = CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(was_catching);
    result.map_err(|_| Panicked { place: PLACE.take().unwrap_or_default() })
}

/// Runs a future and catches its panic, on any thread that polls it.
///
/// # Errors
/// The panic.
pub async fn catch_in<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Runs `work`, which takes processor time, on a thread of the runtime. If it panics, the waiting task panics
/// with the same place. `detached.rs` reads files: a runtime waits for its own threads when it ends.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(move || catch(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => resume(panicked),
        // the runtime is shutting down, and this task with it
        Err(_) => std::future::pending().await,
    }
}

/// Continues a panic of another thread in the task that waits for it, with the same place.
pub fn resume(Panicked { place }: Panicked) -> ! {
    PLACE.set(Some(place));
    panic::resume_unwind(Box::new("panicked on another thread"))
}

/// The unexpected end of a run of a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnd {
    #[error("ended")]
    Returned,
    #[error("failed: {0}")]
    Failed(io::Error),
    #[error("{0}")]
    Panicked(Panicked),
}

impl From<Result<(), Panicked>> for TaskEnd {
    fn from(result: Result<(), Panicked>) -> Self {
        result.map_or_else(Self::Panicked, |()| Self::Returned)
    }
}

impl From<Result<io::Result<()>, Panicked>> for TaskEnd {
    fn from(result: Result<io::Result<()>, Panicked>) -> Self {
        match result {
            Ok(Ok(())) => Self::Returned,
            Ok(Err(error)) => Self::Failed(error),
            Err(panicked) => Self::Panicked(panicked),
        }
    }
}

/// The restarts of one task, with their back-off.
#[derive(Debug)]
struct Restarts {
    task: Task,
    pause: Duration,
    started: Instant,
}

impl Restarts {
    fn of(task: Task) -> Self {
        Self { task, pause: Duration::ZERO, started: Instant::now() }
    }

    /// Counts and logs the end of a run, and returns the back-off before the next one.
    fn failed(&mut self, end: &TaskEnd) -> Duration {
        self.task.count_failure();
        self.pause = if self.started.elapsed() >= BACKOFF_RESET {
            INITIAL_BACKOFF
        } else {
            (self.pause * 2).clamp(INITIAL_BACKOFF, MAX_BACKOFF)
        };
        let (name, pause) = (self.task.name(), humantime::format_duration(self.pause));
        log::error!("task {name} {end}; restarting in {pause}");
        self.pause
    }
}

/// Runs a task: after each end of the future that `make` returns, the next one starts. Never returns.
pub async fn supervise(task: Task, mut make: impl AsyncFnMut()) {
    let mut restarts = Restarts::of(task);
    loop {
        restarts.started = Instant::now();
        // a panic of the closure counts as one of the task
        let end = catch_in(async { make().await }).await.into();
        tokio::time::sleep(restarts.failed(&end)).await;
    }
}

/// Runs a task until its future returns; a panic restarts it.
pub async fn supervise_until_over(task: Task, mut make: impl AsyncFnMut()) {
    let mut restarts = Restarts::of(task);
    while let Err(panicked) = catch_in(async { make().await }).await {
        tokio::time::sleep(restarts.failed(&TaskEnd::Panicked(panicked))).await;
        restarts.started = Instant::now();
    }
}

/// Runs a part of a task that is not restarted, and counts and logs its panic; `name` is the subject of the
/// log line.
pub async fn once(task: Task, name: &str, part: impl Future<Output = ()>) {
    if let Err(panicked) = catch_in(part).await {
        task.count_failure();
        log::error!("{name} {panicked}");
    }
}

/// Receives the result of starting a thread's first run.
pub type StartReport = mpsc::Sender<io::Result<()>>;

/// Runs `serve` on a new runtime of this thread. If the first run fails, the error goes to `started` and
/// `end` is cancelled: the process cannot start, and logs the error itself. Panics of tasks on the runtime
/// are not caught here.
pub fn run_on_runtime(
    end: &CancellationToken,
    mut started: Option<StartReport>,
    serve: impl AsyncFnOnce(&mut Option<StartReport>) -> io::Result<()>,
) -> TaskEnd {
    let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let result = runtime.map_or_else(
        |error| Ok(Err(error)),
        |runtime| {
            let result = runtime.block_on(catch_in(serve(&mut started)));
            // blocking work, such as resolving a name, must not delay the end
            runtime.shutdown_background();
            result
        },
    );
    match (result, started) {
        (Ok(Err(error)), Some(started)) => {
            end.cancel();
            let _ = started.send(Err(error));
            TaskEnd::Returned
        }
        (result, _) => result.into(),
    }
}

/// Runs `run` on this thread repeatedly until `is_over`, and logs each end before that. `run` catches the
/// panics whose place it knows; the hook has logged others. [`thread::Thread::unpark`] wakes a thread that
/// waits for its next run.
pub fn supervise_thread(task: Task, is_over: impl Fn() -> bool, mut run: impl FnMut() -> TaskEnd) {
    let mut restarts = Restarts::of(task);
    loop {
        restarts.started = Instant::now();
        let end = panic::catch_unwind(AssertUnwindSafe(&mut run));
        let end = end.unwrap_or_else(|_| TaskEnd::Failed(io::Error::other("panicked")));
        if is_over() {
            if !matches!(end, TaskEnd::Returned) {
                task.count_failure();
                log::error!("task {} {end}", task.name());
            }
            return;
        }
        let until = Instant::now() + restarts.failed(&end);
        while Instant::now() < until {
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
            if is_over() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn x3_a_task_that_panics_or_ends_is_counted_and_restarted() {
        let before = Task::Certificates.failures();
        let runs = Cell::new(0);
        let supervised = supervise(Task::Certificates, async || {
            runs.set(runs.get() + 1);
            match runs.get() {
                1 => panic!("hush"),
                2 => {}
                _ => std::future::pending().await,
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
    fn a_panic_is_described_by_its_place_and_not_by_its_message() {
        let panicked = catch(|| panic!("hush")).unwrap_err().to_string();
        assert!(panicked.starts_with("panicked at src/system/supervision.rs:"), "{panicked}");
        // nested
        let outer = catch(|| catch(|| panic!("hush")).is_err());
        assert_eq!(outer, Ok(true));
        assert!(!CATCHING.get());
    }

    #[test]
    fn x3_a_thread_that_panics_ends_or_fails_is_restarted_until_it_is_over() {
        let before = Task::Log.failures();
        let runs = Cell::new(0);
        let run = || {
            runs.set(runs.get() + 1);
            match runs.get() {
                1 => panic!("hush"),
                2 => TaskEnd::Failed(io::ErrorKind::OutOfMemory.into()),
                _ => TaskEnd::Returned,
            }
        };
        supervise_thread(Task::Log, || runs.get() == 4, run);
        assert_eq!((runs.get(), Task::Log.failures() - before), (4, 3));
    }

    #[test]
    fn x3_a_thread_that_waits_for_its_restart_is_woken_for_its_end() {
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        let thread = {
            let is_over = std::sync::Arc::clone(&is_over);
            thread::spawn(move || {
                let over = || is_over.load(Ordering::SeqCst);
                supervise_thread(Task::Admin, over, || TaskEnd::Failed(io::ErrorKind::Other.into()));
            })
        };
        while Task::Admin.failures() < 4 {
            thread::sleep(Duration::from_millis(1));
        }
        let begun = Instant::now();
        is_over.store(true, Ordering::SeqCst);
        thread.thread().unpark();
        thread.join().unwrap();
        assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    }

    #[actix_rt::test]
    async fn x3_a_panic_of_blocking_work_continues_in_the_waiting_task_with_its_place() {
        assert_eq!(blocking(|| 1).await, 1);
        let caught = catch_in(blocking(|| panic!("hush"))).await.unwrap_err().to_string();
        assert!(caught.starts_with("panicked at src/system/supervision.rs:"), "{caught}");
    }

    #[test]
    fn the_back_off_grows_until_a_run_was_long() {
        let mut restarts = Restarts::of(Task::Exporter);
        let pauses: Vec<u128> = (0..10).map(|_| restarts.failed(&TaskEnd::Returned).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        restarts.started = Instant::now().checked_sub(BACKOFF_RESET).unwrap();
        assert_eq!(restarts.failed(&TaskEnd::Returned), INITIAL_BACKOFF);
    }
}
