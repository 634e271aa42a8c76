//! The command line: which commands there are and what each does (`run.rs`, `dev.rs`).

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    credentials::{State, try_once},
    dev,
    run::{counted, serve, tell, wrong},
    settings::{Settings, Source},
    snapshot,
};

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
    Run(RunOptions),
    /// Read the settings and print every mistake; exit with 78 if there is one.
    Check(CheckOptions),
    /// Run the sidecar together with a local stand-in for AWS that really checks keys and signatures.
    Dev(dev::Options),
}

#[derive(Debug, Args)]
struct RunOptions {
    #[command(flatten)]
    directory: SettingsDirectory,
    /// For `dev`: say on standard output where it listens, and end when standard input does.
    #[arg(long, hide = true)]
    child: bool,
}

#[derive(Debug, Args)]
struct SettingsDirectory {
    /// The directory with default.yaml and routes/*.yaml.
    #[arg(long, value_name = "DIR", env = "APIGW_INVOKER_SETTINGS", default_value = "settings")]
    settings: PathBuf,
}

#[derive(Debug, Args)]
struct CheckOptions {
    #[command(flatten)]
    directory: SettingsDirectory,
    /// Fetch the keys of every signing route too, and say whose they are and until when.
    #[arg(long)]
    credentials: bool,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    let default = RunOptions { directory: line.settings, child: false };
    match line.command.unwrap_or(Command::Run(default)) {
        Command::Run(options) => run(&options),
        Command::Check(options) => check(&options),
        Command::Dev(options) => dev::run(&options),
    }
}

fn run(options: &RunOptions) -> ExitCode {
    if options.child {
        dev::child::end_with_parent();
    }
    match Settings::load(&options.directory.settings) {
        Ok(settings) => serve(settings, Some(&options.directory.settings), |application| {
            if options.child {
                tell(&mut io::stdout(), &application.address().to_string());
            }
        }),
        Err(mistakes) => wrong(&mistakes),
    }
}

fn check(options: &CheckOptions) -> ExitCode {
    let directory = &options.directory.settings;
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
    if options.credentials { check_credentials(&settings) } else { ExitCode::SUCCESS }
}

/// Tries each source once, whatever the number of routes that use it.
fn check_credentials(settings: &Settings) -> ExitCode {
    let mut sources: Vec<(&Source, Vec<&str>)> = Vec::new();
    for route in settings.routes.iter().filter(|route| route.enabled) {
        let Some(source) = route.backend.source() else { continue };
        match sources.iter_mut().find(|(known, _)| *known == source) {
            Some((_, routes)) => routes.push(&route.id),
            None => sources.push((source, vec![&route.id])),
        }
    }
    let mut all = true;
    for (source, routes) in sources {
        let (told, ready) = match actix_rt::System::new().block_on(try_once(source)) {
            Ok(status) => (status.to_string(), matches!(status.state, State::Ready(_))),
            Err(error) => (error.to_string(), false),
        };
        all &= ready;
        tell(&mut io::stdout(), &format!("{}: {told}", routes.join(", ")));
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
