//! `apigw-invoker dev`: the sidecar with a local stand-in for AWS. Without settings it is a first try without
//! an AWS account; with `--settings` it runs the user's own routes (`own_settings.rs`).

mod banner;
pub(crate) mod child;
mod documents;
mod own_settings;

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Args;

use self::banner::Banner;
pub use self::documents::{DevSockets, documents};
pub(crate) use self::own_settings::settings;
use crate::{
    app::process::{EndSignals, Ended, INVALID_SETTINGS, invalid_settings, print_line, serve},
    listener::sockets::bind_tcp,
    settings::{self, LocalFunction, Mistakes, Settings},
    settings_source::SettingsPlace,
    stand_in::{
        Fault, StandIn, StandInKeys, StandInOptions, credentials,
        played::{Played, unused},
        runtime::FunctionHost,
    },
};

/// The address of the sidecar in the first try.
const LISTEN: &str = "127.0.0.1:9080";
/// The address of the stand-in.
const STAND_IN: &str = "127.0.0.1:9081";

#[derive(Debug, Args)]
pub struct DevOptions {
    /// Run the routes of this settings directory, with their targets led to the stand-in.
    #[arg(long, value_name = "DIR")]
    settings: Option<PathBuf>,
    /// Address that the sidecar listens on [default: `listen.http` of the settings, or 127.0.0.1:9080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of the admin port [default: `admin.address` of the settings, or 127.0.0.1:9180 if it is free].
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Address that the stand-in for AWS listens on.
    #[arg(long, value_name = "ADDRESS", default_value = STAND_IN)]
    stand_in: SocketAddr,
    /// Run this command as the Lambda function NAME, a `function_name` or the id of a route with
    /// `api_gateway`; may be repeated.
    #[arg(long = "function", value_name = "NAME=COMMAND", value_parser = LocalFunction::parse)]
    function: Vec<LocalFunction>,
    /// File with functions to run [default: functions.yaml in the settings directory, if it is there].
    #[arg(long, value_name = "FILE")]
    functions: Option<PathBuf>,
    /// Let the sidecar fetch its credentials from this source instead of the routes' settings.
    #[arg(long, value_enum, value_name = "KIND", conflicts_with_all = ["settings", "function", "functions"])]
    credentials: Option<credentials::CredentialKind>,
    /// Let the stand-in refuse signed calls for this reason, to see the sidecar's log.
    #[arg(long, value_enum, value_name = "FAULT")]
    fault: Option<Fault>,
}

/// Runs the sidecar and the stand-in until a signal ends them.
pub(crate) fn run(options: &DevOptions) -> Ended {
    if let Some(directory) = &options.settings {
        // the address of a bundle may contain a password, and is not printed
        return match SettingsPlace::parse(directory.as_os_str()) {
            Ok(SettingsPlace::Directory(directory)) => own_settings::run(options, &directory),
            Ok(SettingsPlace::Bundle(_)) => {
                Err(refused(&["--settings: `dev` takes a directory: unpack the bundle into one".to_owned()]))
            }
            Err(problem) => Err(refused(&[format!("--settings: {problem}")])),
        };
    }
    let keys = StandInKeys::example();
    if let Some(kind) = options.credentials {
        let prepared = child::prepare(keys.clone());
        let (directory, stand_in_options) =
            prepared.map_err(|error| failed("no temporary directory", &error))?;
        let stand_in = options.stand_in(stand_in_options)?;
        return child::run(options.banner(&stand_in, &keys)?, &directory, kind);
    }
    let functions = options.functions(options.functions.as_deref().map(LocalFunction::load))?;
    let host = start(functions.clone())?;
    let stand_in_options =
        StandInOptions { functions: Some(host.functions().clone()), ..StandInOptions::new(keys.clone()) };
    let stand_in = options.stand_in(stand_in_options)?;
    let banner = options.banner(&stand_in, &keys)?;
    let documents = documents(banner.sockets, stand_in.address(), &keys);
    let mut environment = settings::local_environment(settings::environment());
    environment.retain(|name, _| !leads_to_a_collector(name));
    let settings = Settings::from_documents(&documents, &environment);
    let mut settings = settings.map_err(|mistakes| invalid_settings(&mistakes))?;
    settings.admin.inspect.get_or_insert_default();
    refuse_unused(&settings, &functions)?;
    stand_in.player()(Played::of(&settings, &functions).with_functions_alone());
    let routes = settings.clone();
    serve(settings, None, EndSignals::Terminal, |application| {
        application.allow_sending_again();
        let sockets = DevSockets { listen: application.address(), admin: application.admin_address() };
        print_line(&mut io::stdout(), &Banner { sockets, ..banner }.text(&routes));
    })
}

impl DevOptions {
    /// Starts the stand-in with the fault of the options.
    fn stand_in(&self, options: StandInOptions) -> Result<StandIn, ExitCode> {
        let options = match self.fault {
            Some(fault) => options.with_fault(fault),
            None => options,
        };
        let address = self.stand_in;
        StandIn::start(address, options)
            .map_err(|error| failed(&format!("the stand-in cannot listen on {address} (--stand-in)"), &error))
    }

    /// The functions of the command line and those read from a file.
    fn functions(
        &self,
        read: Option<Result<Vec<LocalFunction>, Mistakes>>,
    ) -> Result<Vec<LocalFunction>, ExitCode> {
        let read = read.unwrap_or_else(|| Ok(Vec::new()));
        let mut functions = read.map_err(|mistakes| invalid_settings(&mistakes))?;
        for function in &self.function {
            if functions.iter().any(|other| other.name == function.name) {
                return Err(refused(&[format!("two functions have the name `{}`", function.name)]));
            }
            functions.push(function.clone());
        }
        Ok(functions)
    }

    fn banner<'a>(&self, stand_in: &StandIn, keys: &'a StandInKeys) -> Result<Banner<'a>, ExitCode> {
        let default = LISTEN.parse().map_err(|_| ExitCode::FAILURE)?;
        Ok(Banner {
            sockets: DevSockets {
                listen: self.listen.unwrap_or(default),
                admin: self.admin.unwrap_or_else(admin_address),
            },
            stand_in: stand_in.address(),
            keys,
            kind: self.credentials,
            fault: self.fault,
        })
    }
}

/// True for a variable that sets `tracing.otlp`. Nothing of `dev` leaves this machine.
fn leads_to_a_collector(variable: &str) -> bool {
    variable.to_uppercase().starts_with("APIGW_INVOKER__TRACING__OTLP")
}

/// Starts the thread of the functions.
fn start(functions: Vec<LocalFunction>) -> Result<FunctionHost, ExitCode> {
    FunctionHost::start(functions).map_err(|error| failed("no thread for the functions", &error))
}

/// Refuses functions that no route calls.
fn refuse_unused(settings: &Settings, functions: &[LocalFunction]) -> Result<(), ExitCode> {
    let sentences = unused(settings, functions);
    if sentences.is_empty() { Ok(()) } else { Err(refused(&sentences)) }
}

/// The default address of the admin port, or a free port if another sidecar uses that one.
fn admin_address() -> SocketAddr {
    let default = Settings::default().admin.address;
    match bind_tcp(default) {
        Ok(_) => default,
        Err(_) => SocketAddr::new(default.ip(), 0),
    }
}

/// Prints mistakes in the functions.
fn refused(sentences: &[String]) -> ExitCode {
    for sentence in sentences {
        print_line(&mut io::stderr(), &format!("apigw-invoker: {sentence}"));
    }
    ExitCode::from(INVALID_SETTINGS)
}

/// Prints why nothing runs.
fn failed(what: &str, error: &io::Error) -> ExitCode {
    print_line(&mut io::stderr(), &format!("apigw-invoker: {what}: {error}"));
    ExitCode::FAILURE
}
