//! The section `admin`: the admin port.

use crate::{
    routing::HostPattern,
    settings::{
        route::{HOST, each},
        source::{
            check::Checker,
            key_type::{Address, KeyType as _},
        },
    },
    text::units::WrittenSize,
};

section! {
    /// The admin port.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AdminSettings, read as WrittenAdmin, optional "a table about the admin port";

    made AdminParts {
        /// Hosts in `Host` of a request for a page, besides addresses and `localhost`.
        hosts: Vec<HostPattern>,
    }

    /// IP address and port of the admin port, which has its own thread: `/`, the status page; `/live`;
    /// `/ready` with the state of each route's credentials; `/metrics` for Prometheus; `/routes` with all
    /// settings of each route except the secrets. Use `[::]:9180` for probes from outside the machine: it
    /// takes IPv4 and IPv6, and IPv4 alone on a machine without IPv6.
    address: Address = "127.0.0.1:9180";
    /// Hosts by which a browser may ask for `/`, `/routes` and `/inspect`, besides IP addresses and
    /// `localhost`: `[sidecar.example.com, "*.internal"]`; none by default. Requests with another `Host` get
    /// 421, so that no web page can read them through a name of its own (DNS rebinding). `/live`, `/ready`
    /// and `/metrics` answer any.
    hosts: Vec<String> = [], kind(Kind::List(&HOST)) => _;
    /// Inspector: the last requests with heads, the beginnings of their bodies, signatures and times, at
    /// `/inspect` on the admin port: `{ keep: 200, bodies: 4KiB }`. Secrets are left out, but bodies are
    /// shown, so turn it on for development only; none by default, and on in `dev`.
    inspect?: WrittenInspect;
}

section! {
    /// The inspector.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct InspectSettings, read as WrittenInspect, optional "a table about the inspector";

    /// Number of requests that are kept; a newer one takes the place of the oldest.
    keep: u32 [1..=10_000] = 200;
    /// Bytes of each body that are kept, from its beginning.
    bodies: WrittenSize [0..=1 << 20] = 4 << 10;
}

impl InspectSettings {
    /// Bytes that are planned for the heads and texts of one request.
    const HEADS: u64 = 16 << 10;
    /// Bodies of one request: the client's, the one to AWS, AWS's, the response's.
    const BODIES: u64 = 4;

    /// Bytes that are planned for one request; a request with more takes the place of several.
    pub fn share(&self) -> u64 {
        Self::HEADS + Self::BODIES * self.bodies
    }

    /// Maximum bytes of all requests.
    pub fn max_memory(&self) -> u64 {
        u64::from(self.keep) * self.share()
    }
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            address: Address::standard(declared!(WrittenAdmin, "address")),
            hosts: Vec::new(),
            inspect: None,
        }
    }
}

impl WrittenAdmin {
    pub(in crate::settings) fn check(mut self, checker: &mut Checker<'_>) -> AdminSettings {
        let host = |checker: &mut Checker<'_>, key: &str, text: &str| {
            checker.parsed(key, text, HostPattern::EXPECTED, HostPattern::parse)
        };
        let hosts = each("hosts", &self.hosts.take().unwrap_or_default(), checker, host);
        self.settled(checker)(AdminParts { hosts: hosts.unwrap_or_default() })
    }
}
