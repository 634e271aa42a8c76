//! The command line: what each command does, what it prints, and how it exits.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::Application,
    dev, logging,
    settings::{Mistakes, Settings},
    snapshot,
};

/// `EX_CONFIG` of sysexits: the settings are wrong.
const WRONG_SETTINGS: u8 = 78;
/// A port taken, a certificate that cannot be read.
const CANNOT_START: u8 = 1;

/// Calls AWS API Gateway endpoints and Lambda functions for programs that speak plain local HTTP.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingsDirectory,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar (the default).
    Run(SettingsDirectory),
    /// Read the settings and print every mistake; exit with 78 if there is one.
    Check(SettingsDirectory),
    /// Run the sidecar together with a local stand-in for AWS that really checks keys and signatures.
    Dev(dev::Options),
}

#[derive(Debug, Args)]
struct SettingsDirectory {
    /// The directory with default.yaml and routes/*.yaml.
    #[arg(long, value_name = "DIR", env = "APIGW_INVOKER_SETTINGS", default_value = "settings")]
    settings: PathBuf,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command.unwrap_or(Command::Run(line.settings)) {
        Command::Run(directory) => run(&directory.settings),
        Command::Check(directory) => check(&directory.settings),
        Command::Dev(options) => dev::run(&options),
    }
}

fn run(directory: &Path) -> ExitCode {
    match Settings::load(directory) {
        Ok(settings) => serve(settings, |_| ()),
        Err(mistakes) => wrong(&mistakes),
    }
}

fn check(directory: &Path) -> ExitCode {
    let settings = match Settings::load(directory) {
        Ok(settings) => settings,
        Err(mistakes) => return wrong(&mistakes),
    };
    for warning in snapshot::warnings(&settings) {
        tell(&mut io::stderr(), &format!("warning: {warning}"));
    }
    let enabled = settings.routes.iter().filter(|route| route.enabled).count();
    let summary = format!(
        "{}: right, {} ({enabled} enabled), listening on {}",
        directory.display(),
        counted(settings.routes.len(), "route"),
        settings.listen.http
    );
    tell(&mut io::stdout(), &summary);
    ExitCode::SUCCESS
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(crate) fn wrong(mistakes: &Mistakes) -> ExitCode {
    tell(&mut io::stderr(), &mistakes.to_string());
    ExitCode::from(WRONG_SETTINGS)
}

/// Runs the sidecar until a signal ends it; `ready` is called once its socket is bound.
pub(crate) fn serve(settings: Settings, ready: impl FnOnce(&Application)) -> ExitCode {
    logging::start(&settings.log);
    for warning in snapshot::warnings(&settings) {
        log::warn!("{warning}");
    }
    let system = actix_rt::System::new();
    // before anything is served: a signal that comes early is heeded too
    let (first, second) = match system.block_on(async { signals() }) {
        Ok(signals) => signals,
        Err(error) => return cannot_start(&error),
    };
    let application = match Application::build(settings) {
        Ok(application) => application,
        Err(error) => return cannot_start(&error),
    };
    log::info!(
        "listening on {}, {}",
        application.address(),
        counted(application.snapshot().routes.routes().len(), "route")
    );
    ready(&application);
    match system.block_on(application.run(first, second)) {
        Ok(()) => {
            log::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => cannot_start(&error),
    }
}

fn cannot_start(error: &dyn std::error::Error) -> ExitCode {
    tell(&mut io::stderr(), &format!("apigw-invoker: {error}"));
    ExitCode::from(CANNOT_START)
}

/// Resolve at the first and at the second SIGTERM or SIGINT.
fn signals() -> io::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
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

/// Prints a line for a person. A closed pipe is no reason to fail.
pub(crate) fn tell(to: &mut dyn Write, text: &str) {
    let _ = writeln!(to, "{text}");
}
