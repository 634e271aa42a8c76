//! Services whose rules for signatures and bodies differ, in front of stand-ins that verify them.

mod examples;
mod refusals;
mod traffic;
mod uploads;

use std::net::SocketAddr;

use apigw_invoker::stand_in::{StandIn, StandInKeys, StandInOptions};

use super::support::App;

/// A sidecar whose route `/*` signs for a service, and a stand-in with the rules of that service.
struct Service {
    app: App,
    _stand_in: StandIn,
}

impl Service {
    /// `iam` are further keys of the signature.
    fn new(service: &str, iam: &str) -> Self {
        Self::with(service, iam, "", "")
    }

    /// The same with settings of the process and further keys of the route.
    fn with(service: &str, iam: &str, process: &str, route: &str) -> Self {
        let keys = StandInKeys { service: service.into(), ..StandInKeys::example() };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let stand_in = StandIn::start(any, StandInOptions::new(keys)).expect("the stand-in starts");
        let target = format!("http://{}/iam/echo", stand_in.address());
        let app = App::listening("h2c: true", process)
            .gateway("r", "/*", &target, &format!("{}{route}", signed(service, iam)))
            .start();
        Self { app, _stand_in: stand_in }
    }

    fn address(&self) -> SocketAddr {
        self.app.address
    }
}

/// The authorization of a route that signs for a service.
fn signed(service: &str, iam: &str) -> String {
    format!(
        "authorization:\n  iam:\n    accesskey: AKIDEXAMPLE\n    \
         secretkey: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n    service: {service}\n    {iam}\n"
    )
}

/// The chunks of a body, by HTTP or as `aws-chunked`.
fn chunked(pieces: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in pieces {
        body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend(format!("0\r\n{trailers}\r\n").into_bytes());
    body
}
