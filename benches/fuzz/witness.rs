//! Observes panics, which tokio's tasks swallow, and the log lines of mistakes.

use std::{
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use log::{
    LevelFilter, Log, Metadata, Record,
    kv::{Error, Key, Value, VisitSource},
};

static PANICS: AtomicU64 = AtomicU64::new(0);
/// Panics and mistakes that no failure has named yet.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on panics and log lines are seen.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        note(format!("thread {thread}: {panic}"));
    }));
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// Panics so far.
pub fn panics() -> u64 {
    PANICS.load(Ordering::SeqCst)
}

/// Panics and mistakes since the last call.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

fn note(what: String) {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

/// Formats every line as the real logger would, so that formatting is fuzzed too, and keeps those of
/// mistakes.
struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("apigw_invoker") || metadata.target().starts_with("access")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Line(format!("{}", record.args()));
        let _ = record.key_values().visit(&mut line);
        if line.0.contains("mistake of ours") {
            note(line.0);
        }
    }

    fn flush(&self) {}
}

struct Line(String);

impl<'kvs> VisitSource<'kvs> for Line {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let _ = write!(self.0, " {key}={value}");
        Ok(())
    }
}
