//! The command line and its commands.

mod check;
mod explanation;
mod import;
mod routes;

#[cfg(feature = "dev")]
use std::ffi::OsString;
use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;

use crate::{
    app::process::{Ended, cannot_start, invalid_settings, print_line, serve},
    explain,
    settings::{Mistakes, Settings, SettingsLoader, schema},
    system::{
        exhausted,
        terminal::{self, Paint},
    },
};
#[cfg(feature = "dev")]
use crate::{dev, stand_in::runtime::supervisor};

/// clap's exit code for an invalid command line, for mistakes that are found later.
const INVALID_USAGE: u8 = 2;

/// Signs and forwards local HTTP requests to AWS API Gateway endpoints and Lambda functions.
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
    /// Check the settings and print every mistake; exit with 78 if there are any.
    Check(check::CheckOptions),
    /// Print the effective routes, without secrets.
    Routes(RoutesOptions),
    /// Explain a request without sending it: which route matches and why, what goes out, and what is signed.
    Explain(Box<ExplainOptions>),
    /// Write routes from the configuration of APISIX, Kong, aws-sigv4-proxy or Envoy, and print a report.
    Import(import::ImportArgs),
    /// Print the JSON Schema of the settings files, for editors.
    Schema(SchemaOptions),
    /// Run the sidecar with a local stand-in for AWS that verifies keys and signatures.
    #[cfg(feature = "dev")]
    Dev(Box<dev::DevOptions>),
    /// For `dev`: run a function's command, and kill all of its processes when standard input is closed.
    #[cfg(feature = "dev")]
    #[command(hide = true)]
    Supervise {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct RunOptions {
    #[command(flatten)]
    directory: SettingsDirectory,
    /// For `dev`: print the addresses on standard output, and exit when standard input is closed.
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
struct RoutesOptions {
    #[command(flatten)]
    directory: SettingsDirectory,
    #[command(flatten)]
    format: OutputFormat,
    #[command(flatten)]
    view: SettingsView,
}

/// The settings that a command shows.
#[derive(Debug, Clone, Copy, Args)]
struct SettingsView {
    /// Show what `dev --settings` would run: targets and keys are those of the stand-in.
    #[cfg(feature = "dev")]
    #[arg(long)]
    dev: bool,
}

#[derive(Debug, Args)]
struct ExplainOptions {
    #[command(flatten)]
    args: explain::ExplainArgs,
    #[command(flatten)]
    directory: SettingsDirectory,
    #[command(flatten)]
    format: OutputFormat,
    #[command(flatten)]
    view: SettingsView,
}

#[derive(Debug, Args)]
struct SchemaOptions {
    /// The settings file that the schema describes.
    #[arg(value_enum)]
    file: schema::File,
}

#[derive(Debug, Args)]
struct OutputFormat {
    /// Output format.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines and tables, for people.
    Text,
    /// One JSON document, for scripts.
    Json,
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    let default = RunOptions { directory: line.settings, child: false };
    let ended = match line.command.unwrap_or(Command::Run(default)) {
        Command::Run(options) => run(&options),
        Command::Check(options) => check::run(&options),
        Command::Routes(options) => routes(&options),
        Command::Explain(options) => explain(&options),
        Command::Import(args) => import::run(args),
        Command::Schema(options) => Ok(print_result(&format!("{:#}", schema::of(options.file)))),
        #[cfg(feature = "dev")]
        Command::Dev(options) => dev::run(&options),
        #[cfg(feature = "dev")]
        Command::Supervise { command } => Ok(supervisor::run(&command)),
    };
    ended.unwrap_or_else(|code| code)
}

fn run(options: &RunOptions) -> Ended {
    #[cfg(feature = "dev")]
    if options.child {
        dev::child::end_with_parent();
    }
    let mut loader = SettingsLoader::new(&options.directory.settings);
    let read = exhausted::watch(|| loader.load()).map_err(|exhausted| cannot_start(&exhausted))?;
    serve(read.map_err(|mistakes| invalid_settings(&mistakes))?, Some(loader), |application| {
        if options.child {
            let (listen, admin) = (application.address(), application.admin_address());
            print_line(&mut io::stdout(), &format!("{listen} {admin}"));
        }
    })
}

fn routes(options: &RoutesOptions) -> Ended {
    let settings = view(&options.directory, options.format.output, options.view)?;
    Ok(print_result(&match options.format.output {
        Format::Text => routes::table(&settings, Paint::of_output(), terminal::width_of_output()),
        Format::Json => format!("{:#}", routes::json(&settings)),
    }))
}

fn explain(options: &ExplainOptions) -> Ended {
    let settings = view(&options.directory, options.format.output, options.view)?;
    let explained = actix_rt::System::new().block_on(explain::explain(&settings, &options.args));
    let explanation = explained.map_err(|problem| {
        print_line(&mut io::stderr(), &format!("apigw-invoker: {problem}"));
        ExitCode::from(INVALID_USAGE)
    })?;
    match options.format.output {
        Format::Text => {
            print_line(&mut io::stdout(), &explanation::text(&explanation, Paint::of_output()));
        }
        Format::Json => print_json(&json!(explanation)),
    }
    Ok(if explanation.is_sent() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Loads the settings as `run` or as `dev` uses them.
fn view(directory: &SettingsDirectory, format: Format, view: SettingsView) -> Result<Settings, ExitCode> {
    #[cfg(feature = "dev")]
    if view.dev {
        let settings = valid(dev::settings(&directory.settings), format)?;
        settings.warnings.iter().for_each(|line| print_line(&mut io::stderr(), line));
        return Ok(settings);
    }
    let SettingsView { .. } = view;
    load(directory, format)
}

/// Loads the settings, or prints their mistakes and returns the exit code.
fn load(directory: &SettingsDirectory, format: Format) -> Result<Settings, ExitCode> {
    valid(Settings::load(&directory.settings), format)
}

/// The settings, or the exit code after their mistakes were printed.
fn valid(settings: Result<Settings, Mistakes>, format: Format) -> Result<Settings, ExitCode> {
    settings.map_err(|mistakes| {
        if format == Format::Json {
            print_json(&check::mistakes(&mistakes));
        }
        invalid_settings(&mistakes)
    })
}

/// Prints the result of a command. A closed pipe is a success, any other failed write a failure.
fn print_result(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            print_line(&mut io::stderr(), &format!("apigw-invoker: standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn print_json(value: &serde_json::Value) {
    print_line(&mut io::stdout(), &format!("{value:#}"));
}
