//! The banner that `dev` prints after the start: commands to try, the fault, the routes and the stand-in's
//! endpoints.

use std::net::SocketAddr;

use super::DevSockets;
use crate::{
    settings::{LocalFunction, RouteSettings, Settings},
    stand_in::{Fault, StandInKeys, credentials::CredentialKind},
    system::terminal::aligned,
    text::{listing::joined, log_safe::log_safe},
};

/// Characters of a command in the banner.
const MAX_COMMAND: usize = 100;

/// A signed route that always exists.
const SIGNED_PATH: &str = "/iam/echo";

/// The contents of the banner.
#[derive(Debug, Clone, Copy)]
pub struct Banner<'a> {
    pub sockets: DevSockets,
    pub stand_in: SocketAddr,
    pub keys: &'a StandInKeys,
    /// The source of the sidecar's credentials; `None` for keys in the routes.
    pub kind: Option<CredentialKind>,
    pub fault: Option<Fault>,
}

impl Banner<'_> {
    /// The text, with the routes of `settings`.
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
            .map(|kind| format!(" and fetches its credentials, {}", kind.description()))
            .unwrap_or_default();
        format!(
            "The sidecar listens on http://{listen}{keys}\n\
             its admin port is http://{admin} (/, /inspect, /ready, /routes, /metrics)\n\
             the stand-in for API Gateway, Lambda and sources of credentials is on http://{stand_in}"
        )
    }

    fn tries(&self) -> String {
        let Self { sockets: DevSockets { listen, .. }, stand_in, .. } = self;
        let mut lines = vec!["Try:".to_owned()];
        let mut add = |line: String| lines.push(format!("  {line}"));
        if self.kind.is_none() {
            add(format!("curl -i 'http://{listen}/aws?name=APISIX'               # sent with x-api-key"));
        }
        add(format!(
            "curl -i 'http://{listen}/iam/echo/a%2Fb?c=x%2Fy&d=b+c'  # sent signed; shows what arrived"
        ));
        add(format!(
            "curl -i 'http://{listen}/lambda/hello?name=Kong'        # a function, called by the Lambda API"
        ));
        add(format!("curl -N 'http://{listen}/words'                         # a streamed response"));
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
            "Every signed call is refused, because {}. Call\n  curl -i 'http://{}{SIGNED_PATH}'\nand expect \
             403 with `{client}…`, and in the log, with the same request id, the warning\n  `{log}…`",
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

/// The contents of the banner of the user's own settings.
#[derive(Debug, Clone, Copy)]
pub struct OwnBanner {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub stand_in: SocketAddr,
    pub fault: Option<Fault>,
}

/// The banner of the user's own settings, with routes and functions.
pub fn own_text(banner: &OwnBanner, settings: &Settings, functions: &[LocalFunction]) -> String {
    let OwnBanner { listen, admin, stand_in, fault } = banner;
    let mut sections = vec![
        format!(
            "The sidecar listens on http://{listen}\n\
             its admin port is http://{admin} (/, /inspect, /ready, /routes, /metrics)\n\
             the stand-in on http://{stand_in} plays the hosts of the routes, and verifies API keys and \
             signatures"
        ),
        routes(settings),
    ];
    if !functions.is_empty() {
        let rows = functions.iter().map(|function| {
            vec![format!("  {}", function.name), log_safe(&function.command.join(" "), MAX_COMMAND)]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        sections.push(format!("Functions on this machine:\n{}", aligned(&rows).join("\n")));
    }
    if let Some(fault) = fault {
        sections.push(format!("Every signed call is refused, because {}.", fault.cause()));
    }
    format!("\n{}\n\nCtrl-C ends all of it.\n", sections.join("\n\n"))
}

/// The routes with their paths and targets.
fn routes(settings: &Settings) -> String {
    let rows: Vec<Vec<String>> = settings.routes.iter().map(|route| row(route)).collect();
    format!("Routes of the sidecar:\n{}", aligned(&rows).join("\n"))
}

fn row(route: &RouteSettings) -> Vec<String> {
    let section = route.backend.section();
    let kinds = section.authorization_kinds().into_iter();
    let kinds: Vec<&str> =
        kinds.map(|kind| if kind == "apikey" { "with x-api-key" } else { "signed" }).collect();
    let authorization = if kinds.is_empty() { "unsigned".to_owned() } else { kinds.join(", ") };
    vec![format!("  {}", route.id), joined(&route.rule.uris), section.callee(), authorization]
}
