//! `apigw-invoker check`: checks the settings; with `--credentials` also the credentials, with `--connect`
//! also the connections to every endpoint.
//!
//! Mistakes are printed to standard error, and the exit code is 78. JSON is one document on standard output.

mod connect;
mod credentials;
mod secrets;

use std::{io, process::ExitCode, time::SystemTime};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use self::{connect::EndpointResult, credentials::CredentialCheck, secrets::SecretCheck};
use super::{Format, OutputFormat, SettingsArguments, print_json};
use crate::{
    app::process::{Ended, cannot_start, counted, print_line},
    settings::{self, Mistakes, SecretStore, Settings},
    state::certificates,
    system::terminal::Paint,
};

#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    #[command(flatten)]
    settings: SettingsArguments,
    /// Also fetch the secrets in AWS that the settings name, and the credentials of every signing route, and
    /// verify these with STS; exit with 1 if one is missing, or if STS refuses the credentials.
    #[arg(long)]
    credentials: bool,
    /// Also open a connection to every endpoint (DNS, TCP, proxy, TLS; nothing is sent) within five seconds;
    /// exit with 1 if one fails.
    #[arg(long)]
    connect: bool,
    #[command(flatten)]
    format: OutputFormat,
}

/// The results of the checks over the network.
#[derive(Default)]
struct NetworkResults {
    secrets: Vec<SecretCheck>,
    credentials: Vec<CredentialCheck>,
    connections: Vec<EndpointResult>,
}

impl NetworkResults {
    /// Runs the checks of the options concurrently. A name resolution in progress does not delay the exit.
    fn check(options: &CheckOptions, settings: &Settings, secrets: Vec<SecretCheck>) -> io::Result<Self> {
        if !options.credentials && !options.connect {
            return Ok(Self { secrets, ..Self::default() });
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (credentials, connections) = runtime.block_on(async {
            let credentials =
                async { if options.credentials { credentials::try_all(settings).await } else { Vec::new() } };
            let connections =
                async { if options.connect { connect::connect_all(settings).await } else { Vec::new() } };
            tokio::join!(credentials, connections)
        });
        runtime.shutdown_background();
        Ok(Self { secrets, credentials, connections })
    }

    fn is_good(&self) -> bool {
        self.secrets.iter().all(SecretCheck::is_good)
            && self.credentials.iter().all(CredentialCheck::is_good)
            && self.connections.iter().all(EndpointResult::is_good)
    }

    /// A line for each result, and true if it is good.
    fn lines(&self) -> impl Iterator<Item = (String, bool)> {
        let credentials = self.credentials.iter().map(|tried| (tried.text(), tried.is_good()));
        let secrets = self.secrets.iter().map(|tried| (tried.text(), tried.is_good()));
        let results = secrets.chain(credentials);
        results.chain(self.connections.iter().map(|connection| (connection.text(), connection.is_good())))
    }
}

/// Runs the checks and prints the results.
pub(super) fn run(options: &CheckOptions) -> Ended {
    let format = options.format.output;
    let mut loaded = options.settings.load(format)?;
    let mut secrets = Vec::new();
    if options.credentials && loaded.settings.secrets_access.is_some() {
        let store = SecretStore::default();
        secrets = secrets::fetch_all(&loaded.settings, &store).map_err(|error| cannot_start(&error))?;
        // the values may have mistakes, and may be keys that STS then verifies
        loaded.settings = options.settings.load_again(&loaded, store, format)?;
    }
    let settings = &loaded.settings;
    let mut warnings = settings::warnings(settings);
    warnings.extend(certificates::warnings(settings, SystemTime::now()));
    let remarks = settings::remarks(settings);
    if format == Format::Text {
        let paint = Paint::of_errors();
        for warning in &warnings {
            print_line(&mut io::stderr(), &format!("{} {warning}", paint.warning("warning:")));
        }
        for remark in &remarks {
            print_line(&mut io::stderr(), &format!("{} {remark}", paint.heading("remark:")));
        }
        print_line(&mut io::stdout(), &Paint::of_output().good(&summary(options, settings)));
    }
    let network = NetworkResults::check(options, settings, secrets).map_err(|error| cannot_start(&error))?;
    match format {
        Format::Text => {
            let paint = Paint::of_output();
            for (line, is_good) in network.lines() {
                print_line(&mut io::stdout(), &if is_good { paint.good(&line) } else { paint.bad(&line) });
            }
        }
        Format::Json => print_json(&document(settings, &warnings, &remarks, &network)),
    }
    Ok(if network.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(options: &CheckOptions, settings: &Settings) -> String {
    let enabled = settings.routes.iter().filter(|route| route.enabled).count();
    format!(
        "{}: the settings are valid: {}, {enabled} enabled, to listen on {}",
        options.settings.shown(),
        counted(settings.routes.len(), "route"),
        settings.listen.http
    )
}

fn document(settings: &Settings, warnings: &[String], remarks: &[String], network: &NetworkResults) -> Value {
    let routes: Vec<Value> =
        settings.routes.iter().map(|route| json!({ "id": route.id, "enabled": route.enabled })).collect();
    let credentials: Vec<Value> = network.credentials.iter().map(CredentialCheck::json).collect();
    let connections: Vec<Value> = network.connections.iter().map(EndpointResult::json).collect();
    json!({
        "right": true,
        "listen": settings.listen.http.to_string(),
        "routes": routes,
        "warnings": warnings,
        "remarks": remarks,
        "secrets": network.secrets.iter().map(SecretCheck::json).collect::<Value>(),
        "credentials": credentials,
        "connections": connections,
        "mistakes": [],
    })
}

/// The mistakes as JSON.
pub(super) fn mistakes(mistakes: &Mistakes) -> Value {
    let mistakes: Vec<Value> = mistakes
        .iter()
        .map(|mistake| {
            json!({
                "file": &*mistake.place.source,
                "line": mistake.place.line,
                "key": mistake.key,
                "problem": mistake.problem,
                "expected": mistake.expected,
                "nearest": mistake.nearest,
            })
        })
        .collect();
    json!({ "right": false, "mistakes": mistakes })
}

/// `route a`, `routes a, b`.
fn routes_text(routes: &[String]) -> String {
    format!("{} {}", if routes.len() == 1 { "route" } else { "routes" }, routes.join(", "))
}
