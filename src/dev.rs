//! `apigw-invoker dev`: the sidecar together with a stand-in for AWS, both on loopback, for a first try
//! without an AWS account. The tests use the same stand-in.

mod banner;
pub(crate) mod child;
mod documents;

use std::{io, net::SocketAddr, process::ExitCode};

use clap::Args;

use self::banner::Banner;
pub use self::documents::{Sockets, documents};
use crate::{
    app::process::{serve, tell, wrong},
    listener::sockets::bind_tcp,
    settings::{self, Settings},
    stand_in::{Fault, Keys, StandIn, StandInOptions, credentials},
};

/// What `dev` may be told.
#[derive(Debug, Args)]
pub struct Options {
    /// Where the sidecar listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9080")]
    listen: SocketAddr,
    /// Where the stand-in for AWS listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9081")]
    stand_in: SocketAddr,
    /// Let the sidecar find its keys by itself, at this source, instead of having them in its routes.
    #[arg(long, value_enum, value_name = "KIND")]
    credentials: Option<credentials::Kind>,
    /// Let the stand-in refuse signed calls for this reason, to see what the sidecar's log makes of it.
    #[arg(long, value_enum, value_name = "FAULT")]
    fault: Option<Fault>,
}

/// Runs both until a signal ends them.
pub fn run(options: &Options) -> ExitCode {
    match options.credentials {
        Some(kind) => run_with(options, kind),
        None => run_with_keys(options),
    }
}

/// The sidecar finds its keys at a source.
fn run_with(options: &Options, kind: credentials::Kind) -> ExitCode {
    let keys = Keys::example();
    let (directory, told) = match child::prepare(keys.clone()) {
        Ok((directory, told)) => (directory, with_fault(told, options.fault)),
        Err(error) => {
            tell(&mut io::stderr(), &format!("apigw-invoker: no temporary directory: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match StandIn::start(options.stand_in, told) {
        Ok(stand_in) => {
            let banner = options.banner(&stand_in, &keys);
            child::run(banner, &directory, kind)
        }
        Err(error) => failed(options.stand_in, &error),
    }
}

/// The sidecar has the stand-in's keys in its routes.
fn run_with_keys(options: &Options) -> ExitCode {
    let keys = Keys::example();
    let told = with_fault(StandInOptions::new(keys.clone()), options.fault);
    let stand_in = match StandIn::start(options.stand_in, told) {
        Ok(stand_in) => stand_in,
        Err(error) => return failed(options.stand_in, &error),
    };
    let banner = options.banner(&stand_in, &keys);
    let documents = documents(banner.sockets, stand_in.address(), &keys);
    let settings = match Settings::from_documents(&documents, &settings::environment()) {
        Ok(settings) => settings,
        Err(mistakes) => return wrong(&mistakes),
    };
    let routes = settings.clone();
    serve(settings, None, |application| {
        let sockets = Sockets { listen: application.address(), admin: application.admin_address() };
        tell(&mut io::stdout(), &Banner { sockets, ..banner }.text(&routes));
    })
}

impl Options {
    fn banner<'a>(&self, stand_in: &StandIn, keys: &'a Keys) -> Banner<'a> {
        Banner {
            sockets: Sockets { listen: self.listen, admin: admin_address() },
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

fn with_fault(told: StandInOptions, fault: Option<Fault>) -> StandInOptions {
    match fault {
        Some(fault) => told.with_fault(fault),
        None => told,
    }
}

fn failed(address: SocketAddr, error: &io::Error) -> ExitCode {
    tell(&mut io::stderr(), &format!("apigw-invoker: the stand-in cannot listen on {address}: {error}"));
    ExitCode::FAILURE
}
