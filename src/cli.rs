//! The command line: which commands there are and what each does (`process.rs`, `dev.rs`, `cli/routes.rs`,
//! `explain.rs`, `settings/schema.rs`).

mod check;
mod explanation;
mod routes;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;

#[cfg(feature = "dev")]
use crate::dev;
use crate::{
    app::process::{Ended, cannot_start, serve, tell, wrong},
    explain,
    settings::{Settings, SettingsLoader, schema},
    system::{
        exhausted,
        terminal::{self, Paint},
    },
};

/// The exit code of clap for a command line that is wrong, for what only shows later to be wrong about it.
const WRONG_USAGE: u8 = 2;

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
    /// Check the settings and print every mistake; exit with 78 if there are any.
    Check(check::CheckOptions),
    /// Print the effective routes, without any secret.
    Routes(RoutesOptions),
    /// Explain a request without sending it: which route matches and why, what goes out, and what is signed.
    Explain(Box<ExplainOptions>),
    /// Print the JSON Schema of the settings files, for editors.
    Schema(SchemaOptions),
    /// Run the sidecar with a local stand-in for AWS that verifies keys and signatures.
    #[cfg(feature = "dev")]
    Dev(dev::DevOptions),
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
struct RoutesOptions {
    #[command(flatten)]
    directory: SettingsDirectory,
    #[command(flatten)]
    form: OutputForm,
}

#[derive(Debug, Args)]
struct ExplainOptions {
    #[command(flatten)]
    args: explain::ExplainArgs,
    #[command(flatten)]
    directory: SettingsDirectory,
    #[command(flatten)]
    form: OutputForm,
}

#[derive(Debug, Args)]
struct SchemaOptions {
    /// The settings file that the schema describes.
    #[arg(value_enum)]
    file: schema::File,
}

#[derive(Debug, Args)]
struct OutputForm {
    /// Output format.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines and tables, for people.
    Text,
    /// One JSON document, for scripts.
    Json,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    let default = RunOptions { directory: line.settings, child: false };
    let ended = match line.command.unwrap_or(Command::Run(default)) {
        Command::Run(options) => run(&options),
        Command::Check(options) => check::run(&options),
        Command::Routes(options) => routes(&options),
        Command::Explain(options) => explain(&options),
        Command::Schema(options) => Ok(printed(&format!("{:#}", schema::of(options.file)))),
        #[cfg(feature = "dev")]
        Command::Dev(options) => dev::run(&options),
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
    serve(read.map_err(|mistakes| wrong(&mistakes))?, Some(loader), |application| {
        if options.child {
            let (listen, admin) = (application.address(), application.admin_address());
            tell(&mut io::stdout(), &format!("{listen} {admin}"));
        }
    })
}

fn routes(options: &RoutesOptions) -> Ended {
    let settings = load(&options.directory, options.form.output)?;
    Ok(printed(&match options.form.output {
        Form::Text => routes::table(&settings, Paint::of_output(), terminal::width_of_output()),
        Form::Json => format!("{:#}", routes::json(&settings)),
    }))
}

fn explain(options: &ExplainOptions) -> Ended {
    let settings = load(&options.directory, options.form.output)?;
    let explained = actix_rt::System::new().block_on(explain::explain(&settings, &options.args));
    let explanation = explained.map_err(|problem| {
        tell(&mut io::stderr(), &format!("apigw-invoker: {problem}"));
        ExitCode::from(WRONG_USAGE)
    })?;
    match options.form.output {
        Form::Text => {
            tell(&mut io::stdout(), &explanation::text(&explanation, Paint::of_output()));
        }
        Form::Json => print_json(&json!(explanation)),
    }
    Ok(if explanation.goes_out() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The settings, or the exit code after their mistakes were printed.
fn load(directory: &SettingsDirectory, form: Form) -> Result<Settings, ExitCode> {
    Settings::load(&directory.settings).map_err(|mistakes| {
        if form == Form::Json {
            print_json(&check::mistakes(&mistakes));
        }
        wrong(&mistakes)
    })
}

/// Prints what a command was asked for. Whoever closes the pipe has seen enough; a file that is not whole is a failure.
fn printed(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(&mut io::stderr(), &format!("apigw-invoker: standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn print_json(value: &serde_json::Value) {
    tell(&mut io::stdout(), &format!("{value:#}"));
}
