//! The sidecar as a process: started with settings, ended by signals, and how it exits.
//!
//! `cli.rs` and `dev.rs` come here with settings, `dev/child.rs` for the signals; `app.rs` does the serving.

use std::{
    env,
    io::{self, Write},
    pin::{Pin, pin},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_rt::SystemRunner;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::Application,
    logging,
    settings::{
        self, Mistakes, Settings, SettingsLoader,
        rust_log::{self, RustLog},
    },
    state::{open_files::OpenFiles, reload::SettingsOrigin},
    system::{
        detached,
        supervision::{self, catch_in},
        terminal::Paint,
    },
};

/// `EX_CONFIG` of sysexits: the settings are wrong.
const WRONG_SETTINGS: u8 = 78;
/// A port taken, a certificate that cannot be read.
const CANNOT_START: u8 = 1;

/// The exit code of a command, as an error where it ends early.
pub(crate) type Ended = Result<ExitCode, ExitCode>;

/// Runs the sidecar until a signal ends it, and follows its settings if a loader has read them; `ready` is called once
/// its socket is bound.
pub(crate) fn serve(
    settings: Settings,
    loader: Option<SettingsLoader>,
    ready: impl FnOnce(&Application),
) -> Ended {
    // written to the end before the process is
    let _logging = logging::start(&settings.log);
    supervision::log_panics();
    has_a_date(SystemTime::now()).map_err(|error| cannot_start(&error))?;
    let files = OpenFiles::raise(&settings);
    // before the runtimes, which need some themselves
    let shortage = files.divide(&settings).map_err(|error| cannot_start(&error))?.shortage;
    let rust_log = env::var(rust_log::NAME).ok();
    let rust_log = rust_log.and_then(|value| RustLog::read(&value).warning(settings.log.level));
    for warning in settings::warnings(&settings).into_iter().chain(rust_log).chain(shortage) {
        log::warn!("{warning}");
    }
    let system = actix_rt::System::new();
    // before anything is served: a signal that comes early is heeded too
    let heard = system.block_on(async {
        logging::install_level_signal()?;
        Ok::<_, io::Error>((signals()?, signal(SignalKind::hangup())?))
    });
    let ((first, second), hangup) = heard.map_err(|error| cannot_start(&error))?;
    let mut first = pin!(first);
    let mut application = build(&system, files, settings, first.as_mut())?;
    if let Some(loader) = loader {
        application = application.following(SettingsOrigin { loader, hangup });
    }
    log_addresses(&application);
    ready(&application);
    system.block_on(application.run(first, second)).map_err(|error| cannot_start(&error))?;
    Ok(stopped())
}

/// HTTP's dates begin with 1970, and the libraries that write them panic before.
///
/// # Errors
/// The clock is earlier.
fn has_a_date(now: SystemTime) -> io::Result<()> {
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
}

/// Builds the sidecar unless `stop` resolves before: the certificates that the settings name may be on a file
/// system that hangs.
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
    match built {
        Some(Ok(Ok(Ok(application)))) => Ok(application),
        Some(Ok(Ok(Err(error)))) => Err(cannot_start(&error)),
        Some(Ok(Err(error))) => Err(cannot_start(&error)),
        Some(Err(panicked)) => Err(cannot_start(&io::Error::other(panicked.to_string()))),
        None => Err(stopped()),
    }
}

fn stopped() -> ExitCode {
    log::info!("stopped");
    ExitCode::SUCCESS
}

/// Says why the sidecar cannot start.
pub(crate) fn cannot_start(error: &dyn std::error::Error) -> ExitCode {
    // what the log has said comes first
    logging::flush();
    tell(&mut io::stderr(), &format!("apigw-invoker: {error}"));
    ExitCode::from(CANNOT_START)
}

/// Resolve at the first and at the second SIGTERM or SIGINT.
pub(crate) fn signals() -> io::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    let (first_sender, first) = tokio::sync::oneshot::channel::<()>();
    let (second_sender, second) = tokio::sync::oneshot::channel::<()>();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    actix_rt::spawn(async move {
        for sender in [first_sender, second_sender] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ = sender.send(());
        }
    });
    let resolved = |receiver: tokio::sync::oneshot::Receiver<()>| async move { drop(receiver.await) };
    Ok((resolved(first), resolved(second)))
}

/// Prints what is wrong with the settings.
pub(crate) fn wrong(mistakes: &Mistakes) -> ExitCode {
    let paint = Paint::of_errors();
    let line = |line: &str| match line.split_once(": ") {
        Some((place, problem)) => format!("{}: {problem}", paint.bad(place)),
        None => line.to_owned(),
    };
    let lines: Vec<String> = mistakes.to_string().lines().map(line).collect();
    tell(&mut io::stderr(), &lines.join("\n"));
    ExitCode::from(WRONG_SETTINGS)
}

/// `1 route`, `2 routes`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints a line for a person. A closed pipe is no reason to fail.
pub(crate) fn tell(to: &mut dyn Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn x15_nothing_starts_while_the_clock_is_before_1970() {
        let early = UNIX_EPOCH - Duration::from_secs(1);
        assert!(has_a_date(early).unwrap_err().to_string().contains("before 1970"));
        assert!(has_a_date(UNIX_EPOCH).is_ok());
    }
}
