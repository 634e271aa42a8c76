//! The words that `dev` prints once everything listens: what to try, what the stand-in has, and which fault
//! it has.
//!
//! `dev.rs` prints it for a sidecar with the stand-in's keys in its routes, `child.rs` for one that finds
//! keys by itself.

use std::net::SocketAddr;

use super::DevSockets;
use crate::{
    settings::{RouteSettings, Settings},
    stand_in::{Fault, StandInKeys, credentials::CredentialKind},
    system::terminal::aligned,
    text::listing::joined,
};

/// A signed route of both kinds of sidecar.
const SIGNED: &str = "/iam/echo";

/// The addresses and choices that the banner tells of.
#[derive(Debug, Clone, Copy)]
pub struct Banner<'a> {
    pub sockets: DevSockets,
    pub stand_in: SocketAddr,
    pub keys: &'a StandInKeys,
    /// The source where the sidecar finds its keys by itself.
    pub kind: Option<CredentialKind>,
    pub fault: Option<Fault>,
}

impl Banner<'_> {
    /// All of it; `settings` have the routes.
    pub fn text(&self, settings: &Settings) -> String {
        let sections = [
            Some(self.introduction()),
            Some(self.tries()),
            self.fault.map(|fault| self.fault_text(fault)),
            Some(routes(settings)),
            Some(self.inventory()),
        ];
        let sections: Vec<String> = sections.into_iter().flatten().collect();
        format!("\n{}\n\nCtrl-C ends both.\n", sections.join("\n\n"))
    }

    fn introduction(&self) -> String {
        let Self { sockets: DevSockets { listen, admin }, stand_in, .. } = self;
        let keys = self
            .kind
            .map(|kind| format!(" and finds its keys by itself, {}", kind.told()))
            .unwrap_or_default();
        format!(
            "The sidecar listens on http://{listen}{keys}\n\
             its admin port is http://{admin} (/ready, /routes, /metrics)\n\
             a stand-in for API Gateway, Lambda and what hands out keys is on http://{stand_in}"
        )
    }

    fn tries(&self) -> String {
        let Self { sockets: DevSockets { listen, .. }, stand_in, .. } = self;
        let mut lines = vec!["Try:".to_owned()];
        let mut add = |line: String| lines.push(format!("  {line}"));
        if self.kind.is_none() {
            add(format!("curl -i 'http://{listen}/aws?name=APISIX'               # goes out with x-api-key"));
        }
        add(format!(
            "curl -i 'http://{listen}/iam/echo/a%2Fb?c=x%2Fy&d=b+c'  # goes out signed; shows what arrived"
        ));
        add(format!(
            "curl -i 'http://{listen}/lambda/hello?name=Kong'        # a function by the Lambda API"
        ));
        add(format!(
            "curl -N 'http://{listen}/words'                         # its words arrive as it writes them"
        ));
        if self.kind.is_none() {
            add(format!(
                "curl -i 'http://{stand_in}/iam/echo'                      # without the sidecar: 403"
            ));
        }
        lines.join("\n")
    }

    fn fault_text(&self, fault: Fault) -> String {
        let (client, log) = fault.expected();
        format!(
            "Every signed call is refused, because {}. Call\n  curl -i 'http://{}{SIGNED}'\nand expect 403 \
             with `{client}…`, and in the log, with the same request id, the warning\n  `{log}…`",
            fault.cause(),
            self.sockets.listen
        )
    }

    fn inventory(&self) -> String {
        let StandInKeys { api_key, access_key_id, secret_access_key, region, service, .. } = self.keys;
        let row = |name: &str, what: &str| vec![format!("  {name}"), what.to_owned()];
        let rows = [
            row("x-api-key", api_key),
            row(
                "access key, secret",
                &format!("{access_key_id}, {secret_access_key} (those of AWS's examples)"),
            ),
            row("region, service", &format!("{region}, {service}; lambda for functions")),
            row("/open, /key, /iam, /both", "stages of an API: open, with x-api-key, signed, both"),
            row(
                "behind each of them",
                "/hello?name=, /echo, /status/CODE, /bytes/SIZE, /cookies, /slow/MS, /words",
            ),
            row("/2015-03-31, /2021-11-15", "Lambda's Invoke and InvokeWithResponseStream, signed"),
            row("functions", "break, context, echo, fail, gateway, hello, malformed, slow, words"),
            row(
                "/ (POST), /latest, /v2, /v1",
                "STS, EC2 metadata, and the agents of ECS and EKS Pod Identity",
            ),
        ];
        format!("The stand-in has:\n{}", aligned(&rows).join("\n"))
    }
}

/// Each route with its path and where it leads.
fn routes(settings: &Settings) -> String {
    let rows: Vec<Vec<String>> = settings.routes.iter().map(|route| row(route)).collect();
    format!("Routes of the sidecar:\n{}", aligned(&rows).join("\n"))
}

fn row(route: &RouteSettings) -> Vec<String> {
    let section = route.backend.section();
    let proofs =
        section.proofs().into_iter().map(|proof| if proof == "apikey" { "with x-api-key" } else { "signed" });
    let proofs: Vec<&str> = proofs.collect();
    let proofs = if proofs.is_empty() { "as it is".to_owned() } else { proofs.join(", ") };
    vec![format!("  {}", route.id), joined(&route.rule.uris), section.callee(), proofs]
}
