//! `apigw-invoker dev`: the sidecar together with a stand-in for AWS, both on loopback, for a first try
//! without an AWS account. The tests use the same stand-in.

mod banner;
pub(crate) mod child;
mod documents;

use std::{io, net::SocketAddr, process::ExitCode};

use clap::Args;

use self::banner::Banner;
pub use self::documents::{DevSockets, documents};
use crate::{
    app::process::{Ended, serve, tell, wrong},
    listener::sockets::bind_tcp,
    settings::{self, Settings},
    stand_in::{Fault, StandIn, StandInKeys, StandInOptions, credentials},
};

/// What `dev` may be told.
#[derive(Debug, Args)]
pub struct DevOptions {
    /// Address that the sidecar listens on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9080")]
    listen: SocketAddr,
    /// Address that the stand-in for AWS listens on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9081")]
    stand_in: SocketAddr,
    /// Let the sidecar fetch its keys from this credential source instead of having them in its routes.
    #[arg(long, value_enum, value_name = "KIND")]
    credentials: Option<credentials::CredentialKind>,
    /// Let the stand-in refuse signed calls for this reason, to see what the sidecar logs.
    #[arg(long, value_enum, value_name = "FAULT")]
    fault: Option<Fault>,
}

/// Runs both until a signal ends them.
pub(crate) fn run(options: &DevOptions) -> Ended {
    match options.credentials {
        Some(kind) => run_with(options, kind),
        None => run_with_keys(options),
    }
}

/// The sidecar finds its keys at a source.
fn run_with(options: &DevOptions, kind: credentials::CredentialKind) -> Ended {
    let keys = StandInKeys::example();
    let prepared = child::prepare(keys.clone());
    let (directory, told) = prepared.map_err(|error| failed("no temporary directory", &error))?;
    let stand_in = options.stand_in(told)?;
    child::run(options.banner(&stand_in, &keys), &directory, kind)
}

/// The sidecar has the stand-in's keys in its routes.
fn run_with_keys(options: &DevOptions) -> Ended {
    let keys = StandInKeys::example();
    let stand_in = options.stand_in(StandInOptions::new(keys.clone()))?;
    let banner = options.banner(&stand_in, &keys);
    let documents = documents(banner.sockets, stand_in.address(), &keys);
    let settings = Settings::from_documents(&documents, &settings::environment());
    let settings = settings.map_err(|mistakes| wrong(&mistakes))?;
    let routes = settings.clone();
    serve(settings, None, |application| {
        let sockets = DevSockets { listen: application.address(), admin: application.admin_address() };
        tell(&mut io::stdout(), &Banner { sockets, ..banner }.text(&routes));
    })
}

impl DevOptions {
    /// Starts the stand-in.
    fn stand_in(&self, told: StandInOptions) -> Result<StandIn, ExitCode> {
        let told = match self.fault {
            Some(fault) => told.with_fault(fault),
            None => told,
        };
        let address = self.stand_in;
        StandIn::start(address, told)
            .map_err(|error| failed(&format!("the stand-in cannot listen on {address}"), &error))
    }

    fn banner<'a>(&self, stand_in: &StandIn, keys: &'a StandInKeys) -> Banner<'a> {
        Banner {
            sockets: DevSockets { listen: self.listen, admin: admin_address() },
            stand_in: stand_in.address(),
            keys,
            kind: self.credentials,
            fault: self.fault,
        }
    }
}

/// The admin port's own address, or any port where another sidecar of this machine has that one.
fn admin_address() -> SocketAddr {
    let usual = Settings::default().admin.address;
    match bind_tcp(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::new(usual.ip(), 0),
    }
}

/// Tells why nothing runs.
fn failed(what: &str, error: &io::Error) -> ExitCode {
    tell(&mut io::stderr(), &format!("apigw-invoker: {what}: {error}"));
    ExitCode::FAILURE
}
