//! What the process writes about itself, on standard error.
//!
//! `env_logger` makes the lines (`logging/format.rs`), `logging/queue.rs` has them written, so that whoever reads them
//! slowly holds up nobody; the level is the settings', and SIGUSR1 changes it. The crates below us are held to
//! warnings, since at finer levels they write headers, and so secrets.

mod format;
mod queue;

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use env_logger::{Builder, Target};
use log::LevelFilter;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    settings::{Log, LogFormat},
    system::{
        fault_points,
        supervision::{Task, supervise_until_over},
        terminal::Paint,
    },
};

/// How long the end of the process waits for somebody to read its last lines.
const LONGEST_END: Duration = Duration::from_secs(1);

/// The settings' level, to which SIGUSR1 returns.
static CONFIGURED: Mutex<LevelFilter> = Mutex::new(LevelFilter::Off);

/// Logging; when it is dropped, all that was said has been written, if somebody reads it.
#[derive(Debug)]
pub struct Logging(());

impl Drop for Logging {
    fn drop(&mut self) {
        flush();
    }
}

/// Starts logging.
///
/// The libraries' own targets are named so that nothing of theirs is written twice: what `actix-http` says about
/// a broken answer has been said by `message/error.rs`, with the request's id.
pub fn start(settings: &Log) -> Logging {
    let mut builder = Builder::new();
    builder
        .filter_level(settings.level.min(LevelFilter::Warn))
        // what is finer than the level in force never comes as far as here
        .filter_module("apigw_invoker", LevelFilter::Debug)
        .filter_module("access", LevelFilter::Debug)
        .filter_module("actix_http", LevelFilter::Off)
        // each failure to get keys is said once by `credentials/refresher.rs`; the SDK says it each time, and may
        // quote an answer that holds keys
        .filter_module("aws_", LevelFilter::Off);
    match settings.format {
        LogFormat::Text if Paint::of_errors().is_on() => builder.format(format::coloured_text),
        LogFormat::Text => builder.format(format::text),
        LogFormat::Json => builder.format(format::json),
    };
    match queue::start() {
        Ok(lines) => builder.target(Target::Pipe(Box::new(lines))),
        // without a thread they are written where they arise
        Err(_) => builder.target(Target::Stderr),
    };
    if builder.try_init().is_err() {
        log::debug!("logging has been started before");
    }
    set_level(settings.level);
    Logging(())
}

/// Changes the least severe level that is written.
pub fn set_level(level: LevelFilter) {
    *CONFIGURED.lock().unwrap_or_else(PoisonError::into_inner) = level;
    log::set_max_level(level);
}

/// Waits until all that was said has been written, but no longer than a second.
pub fn flush() {
    queue::flush(LONGEST_END);
}

/// Lines that were lost since nobody read them in time.
pub fn dropped_lines() -> u64 {
    queue::dropped()
}

/// From now on SIGUSR1 turns the level to debug, and the next one back; on the runtime that this is called on.
///
/// # Errors
/// The system takes no handler.
pub fn install_level_signal() -> io::Result<()> {
    let mut signals = signal(SignalKind::user_defined1())?;
    actix_rt::spawn(async move {
        let toggle = async || {
            while signals.recv().await.is_some() {
                fault_points::pass("signal");
                toggle_debug();
            }
        };
        supervise_until_over(Task::Log, toggle).await;
    });
    Ok(())
}

fn toggle_debug() {
    let configured = *CONFIGURED.lock().unwrap_or_else(PoisonError::into_inner);
    let next = next_level(log::max_level(), configured);
    // said while it can be read, whatever the level was and will be
    log::set_max_level(LevelFilter::Debug);
    log::info!("SIGUSR1: log level is now {}", next.as_str().to_ascii_lowercase());
    log::set_max_level(next);
}

fn next_level(current: LevelFilter, configured: LevelFilter) -> LevelFilter {
    match (current, configured) {
        (LevelFilter::Debug, LevelFilter::Debug) => LevelFilter::Info,
        (LevelFilter::Debug, configured) => configured,
        _ => LevelFilter::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_goes_to_debug_and_back_to_what_is_set() {
        for configured in [LevelFilter::Off, LevelFilter::Warn, LevelFilter::Info] {
            assert_eq!(next_level(configured, configured), LevelFilter::Debug);
            assert_eq!(next_level(LevelFilter::Debug, configured), configured);
        }
        assert_eq!(next_level(LevelFilter::Debug, LevelFilter::Debug), LevelFilter::Info);
        assert_eq!(next_level(LevelFilter::Info, LevelFilter::Debug), LevelFilter::Debug);
    }
}
