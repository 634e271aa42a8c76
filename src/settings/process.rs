//! The settings of the process in `default.yaml`: listeners, limits, logging, traces, shutdown.

pub mod admin;
pub mod limits;
pub mod listen;
pub mod rust_log;
pub mod secrets;
mod shared_address;
pub mod tracing;
pub mod trusted_ips;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use self::{
    admin::{AdminSettings, WrittenAdmin},
    limits::WrittenLimits,
    listen::{Listen, WrittenListen},
    rust_log::RustLog,
    secrets::{SecretsAccess, WrittenSecrets},
    tracing::{Tracing, WrittenTracing},
};
use super::{
    route::{RouteSettings, WrittenRoute, backend::WrittenBackends},
    source::{
        check::Checker,
        declaration::{Key, Kind},
        hidden::Hidden,
        key_type::DAY,
        mistake::Mistakes,
        remote_secret::{NamedSecret, SecretReference},
        tree::{Environment, Node},
    },
};
use crate::text::units::WrittenDuration;

section! {
    /// All settings, checked.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Settings, read as WrittenSettings, optional "a table of settings";

    made SettingsParts {
        /// The sockets for clients.
        listen: Listen,
        /// The admin port.
        admin: AdminSettings,
        /// Logging.
        log: Log,
        /// Trace propagation and export.
        tracing: Tracing,
        /// The routes in the order of their file names.
        routes: Vec<Arc<RouteSettings>>,
        /// Files outside the settings directory that a setting refers to.
        files: Vec<PathBuf>,
        /// Secret texts that no output may show; empty if a `SettingsLoader` has read the settings.
        hidden: Hidden,
        /// The secrets in AWS that the settings of the process name, without those of `defaults`.
        process_secrets: Vec<NamedSecret>,
        /// The access to secrets in AWS; `None` if no setting names one.
        secrets_access: Option<SecretsAccess>,
        /// Warnings about valid but unwise values, each with file and key.
        warnings: Vec<String>,
    }

    /// The sockets for clients.
    listen: WrittenListen => _;
    /// The admin port: probes, metrics, the effective routes and the status page.
    admin: WrittenAdmin => _;
    /// Number of threads that serve requests. Each has its own connections to AWS.
    workers: u16 [1..=64] = 1;
    /// Limits of the whole process.
    limits: WrittenLimits = ();
    /// Logging: level, format and access log.
    log: WrittenLog => _;
    /// Trace propagation and export.
    tracing: WrittenTracing => _;
    /// Graceful shutdown after SIGTERM.
    shutdown: WrittenShutdown = ();
    /// Reload of settings and certificates while the process runs.
    reload: WrittenReload = ();
    /// Secrets in AWS that references name.
    secrets: WrittenSecrets = ();
    // moved to a tree of its own before this section is read
    /// Defaults for the backend sections of all routes. Keys of a route override them.
    defaults: WrittenDefaults => _;
    // one file per route
    routes: BTreeMap<String, WrittenRoute> => _;
}

section! {
    /// Logging.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Log, read as WrittenLog, optional "a table about logging";

    made LogParts {
        /// The least severe level that is logged.
        level: log::LevelFilter,
    }

    /// Least severe level that is logged: `off`, `error`, `warn`, `info` or `debug`. SIGUSR1 switches to
    /// `debug` and back. Without this key, `RUST_LOG` sets the level.
    level: LogLevel = LogLevel::Info => _;
    /// Format of the log: `text`, or `json` with one object per line.
    format: LogFormat = LogFormat::Text;
    /// Access log: one line per request, at level `info`.
    access: bool = true;
}

words! {
    /// `log.format`.
    pub enum LogFormat {
        /// Lines for people.
        Text = "text",
        /// One object per line.
        Json = "json",
    }
}

words! {
    /// `log.level`. There is no `trace`: at that level the libraries log headers, and so secrets.
    pub(in crate::settings) enum LogLevel {
        Off = "off",
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
    }
}

section! {
    /// Graceful shutdown after SIGTERM.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Shutdown, read as WrittenShutdown, optional "a table about shutdown";

    /// How long new connections are still accepted after SIGTERM, so that load balancers can stop sending to
    /// the process.
    delay: WrittenDuration [Duration::ZERO..=DAY] = Duration::ZERO;
    /// How long requests in flight may take to finish after `delay`. A second signal aborts them at once.
    drain: WrittenDuration [Duration::ZERO..=DAY] = Duration::from_secs(30);
}

section! {
    /// Reload of settings and certificates.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Reload, read as WrittenReload, optional "a table about reload";

    // Kubernetes takes up to a minute to bring a changed Secret into a pod, so a few seconds do not matter
    /// Interval of checks for changed settings files, files that settings refer to and certificates of
    /// `listen.https`. SIGHUP reloads the settings at once. Changes of `listen`, `admin`, `workers` and
    /// `log.format` need a restart.
    interval: WrittenDuration [Duration::from_millis(100)..=Duration::from_hours(1)] = Duration::from_secs(5);
}

section! {
    read as WrittenDefaults, optional "a table of defaults for routes";

    ..backends: WrittenBackends, with beneath_routes;
}

fn beneath_routes(key: Key) -> Key {
    key.described("Defaults for this section of every route that has it, such as `timeout: 10s`.")
}

as_read! { BTreeMap<String, WrittenRoute>, Kind::Elsewhere, |_| Self::new(); }

impl Default for Settings {
    fn default() -> Self {
        let (nothing, environment) = (Node::empty(), Environment::new());
        let mut mistakes = Mistakes::default();
        Self::check(WrittenSettings::default(), &mut Checker::new(&nothing, &environment, &mut mistakes))
    }
}

impl Settings {
    /// The secrets in AWS that enabled routes and the process name, each with its user, as the log names it.
    pub fn secret_uses(&self) -> Vec<(&SecretReference, String)> {
        let of_process = self.process_secrets.iter().map(|named| (named, "tracing.otlp".to_owned()));
        let of_route = |route: &RouteSettings| format!("route {}", route.id);
        let enabled = self.routes.iter().filter(|route| route.enabled);
        let of_routes =
            enabled.flat_map(|route| route.secrets.iter().map(move |named| (named, of_route(route))));
        of_process.chain(of_routes).map(|(named, user)| (&named.reference, user)).collect()
    }

    /// True if a secret in AWS has not been fetched, and something waits for it.
    pub fn is_waiting(&self) -> bool {
        let mut routes = self.routes.iter().filter(|route| route.enabled);
        routes.any(|route| route.is_waiting()) || self.process_secrets.iter().any(|named| !named.is_known)
    }

    /// The number of keys whose fetched value is not used, because it is not valid for them.
    pub fn refused_secrets(&self) -> u64 {
        let enabled = self.routes.iter().filter(|route| route.enabled);
        let named = enabled.flat_map(|route| &route.secrets).chain(&self.process_secrets);
        named.map(|named| u64::from(named.refused.is_some())).sum()
    }

    /// Turns off the export of traces while a secret for it is missing.
    pub(super) fn without_waiting_collector(&mut self) {
        if self.process_secrets.iter().any(|named| !named.is_known) {
            self.tracing.otlp = None;
        }
    }

    /// Checks all but the routes.
    pub(super) fn check(mut written: WrittenSettings, checker: &mut Checker<'_>) -> Self {
        let listen = written.listen.take().unwrap_or_default().check(&mut checker.at("listen"));
        let admin = written.admin.take().unwrap_or_default().check(&mut checker.at("admin"));
        let log = written.log.take().unwrap_or_default().check(&mut checker.at("log"));
        let tracing = written.tracing.take().unwrap_or_default().check(&mut checker.at("tracing"));
        let parts = SettingsParts {
            listen,
            admin,
            log,
            tracing,
            routes: Vec::new(),
            files: checker.files().paths,
            hidden: Hidden::default(),
            process_secrets: checker.secrets(),
            secrets_access: None,
            warnings: Vec::new(),
        };
        let settings = written.settled(checker)(parts);
        shared_address::check(&settings.listen, &settings.admin, checker);
        settings
    }
}

impl WrittenLog {
    fn check(mut self, checker: &mut Checker<'_>) -> Log {
        let written = self.level.take();
        let of_variable = || RustLog::read(&checker.variable(rust_log::NAME)?).level;
        let level = match written.is_none().then(of_variable).flatten() {
            Some(level) => level,
            None => match checker.settled(declared!(WrittenLog, "level"), written) {
                LogLevel::Off => log::LevelFilter::Off,
                LogLevel::Error => log::LevelFilter::Error,
                LogLevel::Warn => log::LevelFilter::Warn,
                LogLevel::Info => log::LevelFilter::Info,
                LogLevel::Debug => log::LevelFilter::Debug,
            },
        };
        self.settled(checker)(LogParts { level })
    }
}
