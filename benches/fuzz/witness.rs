//! Records panics, which tokio catches in tasks, and log lines about internal errors.

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
/// Panics and internal errors not yet reported as a failure.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Installs the panic hook and the logger.
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

/// Number of panics so far.
pub fn panics() -> u64 {
    PANICS.load(Ordering::SeqCst)
}

/// Returns and removes the panics and internal errors since the last call.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

fn note(what: String) {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

/// Logger that formats every line, so that formatting is fuzzed too, and keeps those about internal errors.
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
