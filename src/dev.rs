//! `apigw-invoker dev`: the sidecar with a local stand-in for AWS, for a first try without an AWS account.

mod banner;
pub(crate) mod child;
mod documents;

use std::{io, net::SocketAddr, process::ExitCode};

use clap::Args;

use self::banner::Banner;
pub use self::documents::{DevSockets, documents};
use crate::{
    app::process::{Ended, invalid_settings, print_line, serve},
    listener::sockets::bind_tcp,
    settings::{self, PROXY_VARIABLES, Settings},
    stand_in::{Fault, StandIn, StandInKeys, StandInOptions, credentials},
};

#[derive(Debug, Args)]
pub struct DevOptions {
    /// Address that the sidecar listens on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9080")]
    listen: SocketAddr,
    /// Address that the stand-in for AWS listens on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9081")]
    stand_in: SocketAddr,
    /// Let the sidecar fetch its credentials from this source instead of the routes' settings.
    #[arg(long, value_enum, value_name = "KIND")]
    credentials: Option<credentials::CredentialKind>,
    /// Let the stand-in refuse signed calls for this reason, to see the sidecar's log.
    #[arg(long, value_enum, value_name = "FAULT")]
    fault: Option<Fault>,
}

/// Runs the sidecar and the stand-in until a signal ends them.
pub(crate) fn run(options: &DevOptions) -> Ended {
    let keys = StandInKeys::example();
    if let Some(kind) = options.credentials {
        let prepared = child::prepare(keys.clone());
        let (directory, stand_in_options) =
            prepared.map_err(|error| failed("no temporary directory", &error))?;
        let stand_in = options.stand_in(stand_in_options)?;
        return child::run(options.banner(&stand_in, &keys), &directory, kind);
    }
    let stand_in = options.stand_in(StandInOptions::new(keys.clone()))?;
    let banner = options.banner(&stand_in, &keys);
    let documents = documents(banner.sockets, stand_in.address(), &keys);
    let mut environment = settings::environment();
    // a proxy could not connect to the stand-in
    environment.retain(|name, _| !PROXY_VARIABLES.contains(&name.as_str()));
    let settings = Settings::from_documents(&documents, &environment);
    let mut settings = settings.map_err(|mistakes| invalid_settings(&mistakes))?;
    settings.admin.inspect.get_or_insert_default();
    let routes = settings.clone();
    serve(settings, None, |application| {
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

/// The default address of the admin port, or a free port if another sidecar uses that one.
fn admin_address() -> SocketAddr {
    let default = Settings::default().admin.address;
    match bind_tcp(default) {
        Ok(_) => default,
        Err(_) => SocketAddr::new(default.ip(), 0),
    }
}

/// Prints why nothing runs.
fn failed(what: &str, error: &io::Error) -> ExitCode {
    print_line(&mut io::stderr(), &format!("apigw-invoker: {what}: {error}"));
    ExitCode::FAILURE
}
