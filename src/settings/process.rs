//! What `default.yaml` says about the process: listeners, limits, logging, traces, shutdown.

pub mod limits;
pub mod listen;
pub mod rust_log;
mod shared_address;
pub mod tracing;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use self::{
    limits::WrittenLimits,
    listen::{Listen, WrittenListen},
    rust_log::RustLog,
    tracing::{Tracing, WrittenTracing},
};
use super::{
    route::{RouteSettings, WrittenRoute, backend::WrittenBackends},
    source::{
        check::Checker,
        declaration::{Key, Kind},
        hidden::Hidden,
        key_type::{Address, DAY},
        mistake::Mistakes,
        tree::{Environment, Node},
    },
};
use crate::text::units::WrittenDuration;

section! {
    /// Everything the settings say, checked.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Settings, read as WrittenSettings, optional "a table of settings";

    made Parts {
        /// Where to listen.
        listen: Listen,
        /// The lines that it writes about itself.
        log: Log,
        /// The traces that requests belong to.
        tracing: Tracing,
        /// The routes in the order of their files' names.
        routes: Vec<Arc<RouteSettings>>,
        /// The files outside of the directory that something in it leads to.
        files: Vec<PathBuf>,
        /// The texts that nobody is shown; empty where the settings were read by a `SettingsLoader`.
        hidden: Hidden,
        /// Warnings about values that are valid and unwise, each with file and key.
        warnings: Vec<String>,
    }

    /// The sockets for clients.
    listen: WrittenListen => _;
    /// The socket for people and probes.
    admin: WrittenAdmin = ();
    /// Threads that serve requests. Each keeps its own connections to AWS.
    workers: u16 [1..=64] = 1;
    /// The most that the process takes on.
    limits: WrittenLimits = ();
    /// The lines that the process writes about itself.
    log: WrittenLog => _;
    /// The traces that requests belong to.
    tracing: WrittenTracing => _;
    /// The end of the process after SIGTERM.
    shutdown: WrittenShutdown = ();
    /// The files that are read again while the process runs.
    reload: WrittenReload = ();
    // taken out before; here for its declaration
    /// The keys that lie beneath each route; a route's own keys win.
    defaults: WrittenDefaults => _;
    // each in a file of its own
    routes: BTreeMap<String, WrittenRoute> => _;
}

section! {
    /// The socket for people and probes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AdminSettings, read as WrittenAdmin, optional "a table about the admin port";

    /// Where people and probes come, on a thread of its own: `/live`, and `/ready`, which says of each route whether it
    /// has its credentials, and why not, `/metrics` for Prometheus and `/routes`, each route with all its settings but
    /// the secrets. For probes from outside of the machine: `0.0.0.0:9180`.
    address: Address = "127.0.0.1:9180";
}

section! {
    /// Logging.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Log, read as WrittenLog, optional "a table about logging";

    made LogParts {
        /// The least severe level that is written.
        level: log::LevelFilter,
    }

    /// The least severe level that is written: `off`, `error`, `warn`, `info` or `debug`. SIGUSR1 turns debug on and
    /// off again. Without this key `RUST_LOG` may set it.
    level: Level = Level::Info => _;
    /// The form of a line: `text` for people, or `json` for machines, one object a line.
    format: LogFormat = LogFormat::Text;
    /// Each request is one line, at level info.
    access: bool = true;
}

words! {
    /// `log.format`.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One object a line.
        Json = "json",
    }
}

words! {
    /// No `trace`: at that level the crates below us write headers, and so secrets.
    pub(in crate::settings) enum Level {
        Off = "off",
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
    }
}

section! {
    /// The end of the process after SIGTERM.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Shutdown, read as WrittenShutdown, optional "a table about the end of the process";

    /// After SIGTERM, how long to go on accepting, while a load balancer takes the process out of its list.
    delay: WrittenDuration [Duration::ZERO..=DAY] = Duration::ZERO;
    /// How long requests in flight may then take to finish. A second signal ends them at once.
    drain: WrittenDuration [Duration::ZERO..=DAY] = Duration::from_secs(30);
}

section! {
    /// The files that are read again while the process runs.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Reload, read as WrittenReload, optional "a table about what is read again";

    // Kubernetes takes up to a minute to bring a changed Secret into a pod, a few seconds do not matter
    /// How often the settings, the files that they lead to and the certificates of `listen.https` are looked at. SIGHUP
    /// has the settings read at once. `listen`, `admin`, `workers` and `log.format` take a restart.
    interval: WrittenDuration [Duration::from_millis(100)..=Duration::from_hours(1)] = Duration::from_secs(5);
}

section! {
    read as WrittenDefaults, optional "a table of defaults for routes";

    ..backends: WrittenBackends, with beneath_routes;
}

fn beneath_routes(key: Key) -> Key {
    key.described("Keys that lie beneath this section of every route, such as `timeout: 10s`.")
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
    /// Checks all but the routes.
    pub(super) fn check(mut written: WrittenSettings, checker: &mut Checker<'_>) -> Self {
        let listen = written.listen.take().unwrap_or_default().check(&mut checker.at("listen"));
        let log = written.log.take().unwrap_or_default().check(&mut checker.at("log"));
        let tracing = written.tracing.take().unwrap_or_default().check(&mut checker.at("tracing"));
        let (routes, files, hidden, warnings) =
            (Vec::new(), checker.files().paths, Hidden::default(), Vec::new());
        let parts = Parts { listen, log, tracing, routes, files, hidden, warnings };
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
                Level::Off => log::LevelFilter::Off,
                Level::Error => log::LevelFilter::Error,
                Level::Warn => log::LevelFilter::Warn,
                Level::Info => log::LevelFilter::Info,
                Level::Debug => log::LevelFilter::Debug,
            },
        };
        self.settled(checker)(LogParts { level })
    }
}
