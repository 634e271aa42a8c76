//! The sidecar as a process: start, signals, exit codes, messages on standard error.

use std::{
    env,
    io::{self, Write},
    pin::{Pin, pin},
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_rt::SystemRunner;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Application, proxies},
    logging,
    settings::{
        self, Mistakes, Settings, SettingsLoader,
        rust_log::{self, RustLog},
    },
    settings_source::{self, EarlySignals, SettingsSource},
    state::{open_files::OpenFiles, reload::SettingsOrigin},
    system::{
        detached,
        supervision::{self, catch_in},
        terminal::Paint,
    },
};

/// `EX_CONFIG` of sysexits: the settings have mistakes.
pub(crate) const INVALID_SETTINGS: u8 = 78;
/// For example a port that is in use.
const CANNOT_START: u8 = 1;

/// The exit code of a command, as an error where it ends early.
pub(crate) type Ended = Result<ExitCode, ExitCode>;

/// The origin of settings that are followed.
pub(crate) struct FollowedSettings {
    pub(crate) loader: SettingsLoader,
    /// The source, if the loader reads a bundle.
    pub(crate) source: Option<SettingsSource>,
}

impl From<SettingsLoader> for FollowedSettings {
    fn from(loader: SettingsLoader) -> Self {
        Self { loader, source: None }
    }
}

/// Runs the sidecar until a signal ends it. Settings are reloaded when they change if a loader has read them.
/// `ready` is called once the sockets are bound.
pub(crate) fn serve(
    settings: Settings,
    followed: Option<FollowedSettings>,
    ends_at: EndSignals,
    ready: impl FnOnce(&Application),
) -> Ended {
    // flushes the log when dropped
    let _logging = logging::start(&settings.log);
    supervision::log_panics();
    check_clock(SystemTime::now()).map_err(|error| cannot_start(&error))?;
    let files = OpenFiles::raise(&settings);
    let (loader, source) = followed.map(|origin| (origin.loader, origin.source)).unzip();
    let mut source = source.flatten();
    let early = source.as_mut().and_then(SettingsSource::take_signals);
    let files = if source.is_some() { files.reserving(settings_source::OPEN_FILES) } else { files };
    // before the runtimes open files
    let shortage = files.divide(&settings).map_err(|error| cannot_start(&error))?.shortage;
    let rust_log = env::var(rust_log::NAME).ok();
    let rust_log = rust_log.and_then(|value| RustLog::read(&value).warning(settings.log.level));
    for warning in settings::warnings(&settings).into_iter().chain(rust_log).chain(shortage) {
        log::warn!("{warning}");
    }
    let system = actix_rt::System::new();
    // before serving, so that an early signal is not lost
    let heard = system.block_on(async {
        logging::install_level_signal()?;
        Ok::<_, io::Error>((signals(ends_at, early)?, signal(SignalKind::hangup())?))
    });
    let ((first, second), hangup) = heard.map_err(|error| cannot_start(&error))?;
    let mut first = pin!(first);
    let mut application = build(&system, files, settings, first.as_mut())?;
    let changed = Arc::new(Notify::new());
    if let Some(loader) = loader {
        application = application.following(SettingsOrigin { loader, hangup, changed: Arc::clone(&changed) });
    }
    let metrics = Arc::clone(&application.current().get().metrics);
    let following = source.map(|source| source.follow(metrics, changed)).transpose();
    let _following = following.map_err(|error| cannot_start(&error))?;
    log_addresses(&application);
    ready(&application);
    system.block_on(application.run(first, second)).map_err(|error| cannot_start(&error))?;
    Ok(stopped())
}

/// Refuses a clock before 1970, with which the libraries for HTTP dates panic.
fn check_clock(now: SystemTime) -> io::Result<()> {
    if now < UNIX_EPOCH {
        return Err(io::Error::other("this machine's clock is before 1970: set it"));
    }
    Ok(())
}

fn log_addresses(application: &Application) {
    log::info!(
        "listening on {}, {}",
        application.address(),
        counted(application.current().get().routes.routes().len(), "route")
    );
    if let Some(address) = application.https_address() {
        log::info!("listening with TLS on {address}");
    }
    if let Some(path) = application.unix_socket() {
        log::info!("listening on the Unix socket {}", path.display());
    }
    log::info!("admin port on {}", application.admin_address());
    let snapshot = application.current().get();
    for line in proxies::lines(&snapshot.routes_as_set, snapshot.tracing.otlp.as_ref()) {
        log::info!("{line}");
    }
}

/// Builds the sidecar unless `stop` resolves first: certificates may be on a file system that hangs.
fn build(
    system: &SystemRunner,
    files: OpenFiles,
    settings: Settings,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<Application, ExitCode> {
    let read = move || Application::build_within(files, settings);
    let built = system.block_on(async {
        tokio::select! {
            built = catch_in(detached::run("files that the settings name", read)) => Some(built),
            () = stop => None,
        }
    });
    let Some(built) = built else { return Err(stopped()) };
    let built = built.map_err(|panicked| cannot_start(&io::Error::other(panicked.to_string())))?;
    built.map_err(|error| cannot_start(&error))?.map_err(|error| cannot_start(&error))
}

fn stopped() -> ExitCode {
    log::info!("stopped");
    ExitCode::SUCCESS
}

/// Prints why the sidecar cannot start.
pub(crate) fn cannot_start(error: &dyn std::error::Error) -> ExitCode {
    // earlier log lines come first
    logging::flush();
    print_line(&mut io::stderr(), &format!("apigw-invoker: {error}"));
    ExitCode::from(CANNOT_START)
}

/// The signals that end the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndSignals {
    /// SIGTERM and SIGINT; SIGHUP reloads the settings.
    Service,
    /// SIGHUP too, which a terminal sends when it is closed, unless the program was started with `nohup`.
    Terminal,
}

/// Resolve at the first and at the second of the signals, `early` ones among them.
pub(crate) fn signals(
    ends_at: EndSignals,
    early: Option<EarlySignals>,
) -> io::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    let ends_at_hangup = ends_at == EndSignals::Terminal && !ignores_hangup();
    let tokens = [CancellationToken::new(), CancellationToken::new()];
    let [first, second] = tokens.clone();
    let (mut terminate, mut interrupt) = match early {
        Some(early) => (early.terminate, early.interrupt),
        None => (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?),
    };
    let mut hangup = ends_at_hangup.then(|| signal(SignalKind::hangup())).transpose()?;
    actix_rt::spawn(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = received(&mut hangup) => {}
            }
            token.cancel();
        }
    });
    Ok((first.cancelled_owned(), second.cancelled_owned()))
}

/// Waits for a signal; for ever without one.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// True if SIGHUP was ignored when the program was started (`SigIgn`, `proc_pid_status(5)`).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Prints the mistakes in the settings.
pub(crate) fn invalid_settings(mistakes: &Mistakes) -> ExitCode {
    let paint = Paint::of_errors();
    let line = |line: &str| match line.split_once(": ") {
        Some((place, problem)) => format!("{}: {problem}", paint.bad(place)),
        None => line.to_owned(),
    };
    let lines: Vec<String> = mistakes.to_string().lines().map(line).collect();
    print_line(&mut io::stderr(), &lines.join("\n"));
    ExitCode::from(INVALID_SETTINGS)
}

/// `1 route`, `2 routes`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints a line. A closed pipe is no failure.
pub(crate) fn print_line(to: &mut dyn Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn x15_nothing_starts_while_the_clock_is_before_1970() {
        let early = UNIX_EPOCH - Duration::from_secs(1);
        assert!(check_clock(early).unwrap_err().to_string().contains("before 1970"));
        assert!(check_clock(UNIX_EPOCH).is_ok());
    }
}
