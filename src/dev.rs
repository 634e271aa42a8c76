//! `apigw-invoker dev`: the sidecar together with a stand-in for AWS, both on loopback, for a first try
//! without an AWS account. The tests use the same stand-in.

mod account;
mod answers;
pub(crate) mod child;
mod container;
mod controls;
pub mod credentials;
mod documents;
mod fault;
mod functions;
mod ids;
mod issued;
mod lambda;
mod metadata;
mod options;
mod stand_in;
mod sts;
mod verify;

use std::{io, net::SocketAddr, process::ExitCode};

use clap::Args;

pub use self::{
    controls::{Controls, Service, Switch},
    documents::documents,
    fault::Fault,
    options::StandInOptions,
    stand_in::StandIn,
    verify::Keys,
};
use crate::{
    run::{serve, tell, wrong},
    settings::{self, Settings},
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
    let (directory, told) = match child::prepare(Keys::example()) {
        Ok((directory, told)) => (directory, with_fault(told, options.fault)),
        Err(error) => {
            tell(&mut io::stderr(), &format!("apigw-invoker: no temporary directory: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match StandIn::start(options.stand_in, told) {
        Ok(stand_in) => child::run(options.listen, &stand_in, &directory, kind),
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
    let documents = documents(options.listen, stand_in.address(), &keys);
    let settings = match Settings::from_documents(&documents, &settings::environment()) {
        Ok(settings) => settings,
        Err(mistakes) => return wrong(&mistakes),
    };
    serve(settings, None, |application| {
        tell(&mut io::stdout(), &welcome(application.address(), stand_in.address()));
    })
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

fn welcome(sidecar: SocketAddr, stand_in: SocketAddr) -> String {
    format!(
        "
The sidecar listens on http://{sidecar}, a stand-in for API Gateway and Lambda on http://{stand_in}. Try:

  curl -i 'http://{sidecar}/aws?name=APISIX'               # goes out with x-api-key
  curl -i 'http://{sidecar}/iam/echo/a%2Fb?c=x%2Fy&d=b+c'  # goes out signed; shows what arrived
  curl -i 'http://{sidecar}/lambda/hello?name=Kong'        # the same function by the Lambda API
  curl -N 'http://{sidecar}/words'                         # its words arrive as it writes them
  curl -i 'http://{stand_in}/iam/echo'                      # without the sidecar: 403

Ctrl-C ends both.
"
    )
}
