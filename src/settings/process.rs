//! What `default.yaml` says about the process: listeners, limits, logging, traces, shutdown.

pub mod limits;
pub mod listen;
pub mod rust_log;
mod shared_address;
pub mod tracing;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, de::IgnoredAny};

use self::{
    limits::{LONGEST, Limits, WrittenLimits},
    listen::{Listen, WrittenListen, address},
    rust_log::RustLog,
    tracing::{Tracing, WrittenTracing},
};
use super::{
    route::{RouteSettings, WrittenRoute, api_gateway::WrittenApiGateway, lambda::WrittenLambda},
    source::{check::Checker, hidden::Hidden, tree::ROUTES},
};
use crate::text::units::WrittenDuration;

/// Everything the settings say, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to listen.
    pub listen: Listen,
    /// Where people and probes come.
    pub admin: Admin,
    /// How many threads serve requests; each has its own connections to AWS.
    pub workers: u16,
    /// What the process takes on at most.
    pub limits: Limits,
    /// What it writes about itself.
    pub log: Log,
    /// What becomes of traces.
    pub tracing: Tracing,
    /// How it ends.
    pub shutdown: Shutdown,
    /// How it takes note of changed files.
    pub reload: Reload,
    /// The routes in the order of their files' names.
    pub routes: Vec<RouteSettings>,
    /// The files outside of the directory that something in it leads to.
    pub files: Vec<PathBuf>,
    /// The texts that nobody is shown.
    pub hidden: Hidden,
    /// Warnings about values that are valid and unwise, each with file and key.
    pub warnings: Vec<String>,
}

/// The socket for people and probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// HTTP/1.1.
    pub address: SocketAddr,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: log::LevelFilter,
    /// What a line looks like.
    pub format: LogFormat,
    /// Whether each request is one line.
    pub access: bool,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The end of the process after SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// How long to go on accepting, while Kubernetes takes the pod out of its lists.
    pub delay: Duration,
    /// How long requests in flight may take to finish.
    pub drain: Duration,
}

/// What is read again while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// How often files are looked at.
    pub interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            admin: Admin { address: SocketAddr::from(([127, 0, 0, 1], 9180)) },
            workers: 1,
            limits: Limits::default(),
            log: Log { level: log::LevelFilter::Info, format: LogFormat::Text, access: true },
            tracing: Tracing::default(),
            shutdown: Shutdown { delay: Duration::ZERO, drain: Duration::from_secs(30) },
            // Kubernetes takes up to a minute to bring a changed Secret into a pod, a few seconds do not matter
            reload: Reload { interval: Duration::from_secs(5) },
            routes: Vec::new(),
            files: Vec::new(),
            hidden: Hidden::default(),
            warnings: Vec::new(),
        }
    }
}

/// The whole tree as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of settings")]
pub(super) struct WrittenSettings {
    listen: WrittenListen,
    admin: WrittenAdmin,
    workers: Option<u16>,
    limits: WrittenLimits,
    log: WrittenLog,
    tracing: WrittenTracing,
    shutdown: WrittenShutdown,
    reload: WrittenReload,
    /// Taken out before; here so that it is among the known words.
    defaults: Option<IgnoredAny>,
    routes: BTreeMap<String, WrittenRoute>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about the admin port")]
struct WrittenAdmin {
    address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about logging")]
struct WrittenLog {
    level: Option<WrittenLevel>,
    format: Option<LogFormat>,
    access: Option<bool>,
}

/// No `trace`: at that level the crates below us write headers, and so secrets.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about the end of the process")]
struct WrittenShutdown {
    delay: Option<WrittenDuration>,
    drain: Option<WrittenDuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about what is read again")]
struct WrittenReload {
    interval: Option<WrittenDuration>,
}

/// The section `defaults` by itself. Its values reach the routes as a part of their trees, so that each knows
/// where it was written; it is read in this form for its mistakes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenDefaultsAlone {
    defaults: WrittenDefaults,
}

/// What lies beneath each route.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of defaults for routes")]
struct WrittenDefaults {
    api_gateway: WrittenApiGateway,
    lambda: WrittenLambda,
}

impl Settings {
    pub(super) fn check(written: WrittenSettings, checker: &mut Checker<'_>) -> Self {
        let default = Self::default();
        let limits = written.limits.check(&mut checker.below("limits"), &default.limits);
        let listen = written.listen.check(&mut checker.below("listen"), &default.listen);
        let admin = written.admin.check(&mut checker.below("admin"), &default.admin);
        shared_address::check(&listen, &admin, checker);
        Self {
            listen,
            admin,
            workers: checker.number("workers", written.workers, default.workers, 1..=64),
            log: written.log.check(&default.log, checker.variable(rust_log::NAME)),
            tracing: written.tracing.check(&mut checker.below("tracing"), &default.tracing),
            shutdown: written.shutdown.check(&mut checker.below("shutdown"), &default.shutdown),
            reload: written.reload.check(&mut checker.below("reload"), &default.reload),
            routes: RouteSettings::check_all(written.routes, &limits, &mut checker.below(ROUTES)),
            limits,
            files: checker.files(),
            hidden: Hidden::default(),
            warnings: Vec::new(),
        }
    }
}

impl WrittenAdmin {
    fn check(self, checker: &mut Checker<'_>, default: &Admin) -> Admin {
        Admin { address: address("address", self.address, checker).unwrap_or(default.address) }
    }
}

impl WrittenLog {
    fn check(self, default: &Log, rust_log: Option<String>) -> Log {
        let level = self.level.map(|level| match level {
            WrittenLevel::Off => log::LevelFilter::Off,
            WrittenLevel::Error => log::LevelFilter::Error,
            WrittenLevel::Warn => log::LevelFilter::Warn,
            WrittenLevel::Info => log::LevelFilter::Info,
            WrittenLevel::Debug => log::LevelFilter::Debug,
        });
        Log {
            level: level.or_else(|| RustLog::read(&rust_log?).level).unwrap_or(default.level),
            format: self.format.unwrap_or(default.format),
            access: self.access.unwrap_or(default.access),
        }
    }
}

impl WrittenShutdown {
    fn check(self, checker: &mut Checker<'_>, default: &Shutdown) -> Shutdown {
        let any = Duration::ZERO..=LONGEST;
        Shutdown {
            delay: checker.duration("delay", self.delay, default.delay, any.clone()),
            drain: checker.duration("drain", self.drain, default.drain, any),
        }
    }
}

impl WrittenReload {
    fn check(self, checker: &mut Checker<'_>, default: &Reload) -> Reload {
        let range = Duration::from_millis(100)..=Duration::from_hours(1);
        Reload { interval: checker.duration("interval", self.interval, default.interval, range) }
    }
}
