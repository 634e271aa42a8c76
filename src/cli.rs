//! The command line and its commands.

mod check;
mod explanation;
mod health;
mod import;
mod routes;
mod settings_place;

#[cfg(feature = "dev")]
use std::ffi::OsString;
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;

use self::settings_place::{FollowingArguments, LoadedSettings, SettingsArguments};
use crate::{
    app::process::{EndSignals, Ended, print_line, serve},
    explain,
    settings::schema,
    system::terminal::{self, Paint},
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
    settings: SettingsArguments,
    #[command(flatten)]
    following: FollowingArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar (the default).
    Run(RunOptions),
    /// Check the settings and print every mistake; exit with 78 if there are any.
    Check(check::CheckOptions),
    /// Ask the admin port of the running sidecar whether it is alive; exit with 1 if it is not.
    Health(health::HealthOptions),
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
        /// Run the command in place of this program, as a child of the supervisor with this process id.
        #[arg(long, value_name = "PID")]
        below: Option<i32>,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct RunOptions {
    #[command(flatten)]
    settings: SettingsArguments,
    #[command(flatten)]
    following: FollowingArguments,
    /// For `dev`: print the addresses on standard output, and exit when standard input is closed.
    #[arg(long, hide = true)]
    child: bool,
}

#[derive(Debug, Args)]
struct RoutesOptions {
    #[command(flatten)]
    settings: SettingsArguments,
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
    settings: SettingsArguments,
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
    let default = RunOptions { settings: line.settings, following: line.following, child: false };
    let ended = match line.command.unwrap_or(Command::Run(default)) {
        Command::Run(options) => run(&options),
        Command::Check(options) => check::run(&options),
        Command::Health(options) => Ok(health::run(&options)),
        Command::Routes(options) => routes(&options),
        Command::Explain(options) => explain(&options),
        Command::Import(args) => import::run(args),
        Command::Schema(options) => Ok(print_result(&format!("{:#}", schema::of(options.file)))),
        #[cfg(feature = "dev")]
        Command::Dev(options) => dev::run(&options),
        #[cfg(feature = "dev")]
        Command::Supervise { below: None, command } => Ok(supervisor::run(&command)),
        #[cfg(feature = "dev")]
        Command::Supervise { below: Some(parent), command } => Ok(supervisor::execute(parent, &command)),
    };
    ended.unwrap_or_else(|code| code)
}

fn run(options: &RunOptions) -> Ended {
    #[cfg(feature = "dev")]
    if options.child {
        dev::child::end_with_parent(&options.settings.directory()?);
    }
    let (settings, followed) = options.settings.load_followed(&options.following)?;
    serve(settings, Some(followed), EndSignals::Service, |application| {
        if options.child {
            application.allow_sending_again();
            let (listen, admin) = (application.address(), application.admin_address());
            print_line(&mut io::stdout(), &format!("{listen} {admin}"));
        }
    })
}

fn routes(options: &RoutesOptions) -> Ended {
    let LoadedSettings { settings, .. } = &view(&options.settings, options.format.output, options.view)?;
    Ok(print_result(&match options.format.output {
        Format::Text => routes::table(settings, Paint::of_output(), terminal::width_of_output()),
        Format::Json => format!("{:#}", routes::json(settings)),
    }))
}

fn explain(options: &ExplainOptions) -> Ended {
    let LoadedSettings { settings, .. } = &view(&options.settings, options.format.output, options.view)?;
    let explained = actix_rt::System::new().block_on(explain::explain(settings, &options.args));
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
fn view(
    settings: &SettingsArguments,
    format: Format,
    view: SettingsView,
) -> Result<LoadedSettings, ExitCode> {
    #[cfg(feature = "dev")]
    if view.dev {
        let settings = settings_place::valid(dev::settings(&settings.directory()?), format)?;
        settings.warnings.iter().for_each(|line| print_line(&mut io::stderr(), line));
        return Ok(settings.into());
    }
    let SettingsView { .. } = view;
    settings.load(format)
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
