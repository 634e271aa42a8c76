//! What the process writes about itself, on standard error.
//!
//! `env_logger` writes; the level is the settings'. The crates below us are held to warnings, since at finer
//! levels they write headers, and so secrets.

use env_logger::{Builder, Target};
use log::LevelFilter;

use crate::settings::Log;

/// Starts logging.
///
/// The libraries' own targets are named so that nothing of theirs is written twice: what `actix-http` says about
/// a broken answer has been said by `error.rs`, with the request's id.
pub fn start(settings: &Log) {
    let level = settings.level;
    let result = Builder::new()
        .filter_level(level.min(LevelFilter::Warn))
        .filter_module("apigw_invoker", level)
        .filter_module("access", level)
        .filter_module("actix_http", LevelFilter::Off)
        // each failure to get keys is said once by `credentials/refresher.rs`; the SDK says it each time, and may
        // quote an answer that holds keys
        .filter_module("aws_", LevelFilter::Off)
        .target(Target::Stderr)
        .format_target(false)
        .try_init();
    if result.is_err() {
        log::debug!("logging has been started before");
    }
}

/// Changes the level of what is written from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}
