//! `apigw-invoker explain`: what would become of a request, up to the last byte before the network, and why.
//!
//! It walks the path of `proxy.rs` with the same steps: `choose`, `InboundRequest::read`, `Backend::request` and the
//! signer. What it leaves out is what needs the rest of the process or AWS: limits of requests in flight, circuit
//! breakers, keys that somebody has to be asked for. `cli.rs` comes here; `cli/explanation.rs` prints the result.

pub mod left_out;
pub mod outgoing;
mod request;
mod suggestion;

use std::{path::PathBuf, time::SystemTime};

use actix_http::{HttpMessage as _, Request, header::HeaderMap};
use clap::Args;
use serde::Serialize;

use self::{left_out::left_out, outgoing::Outgoing};
use crate::{
    backend,
    message::{
        body_pool::BodyMemory,
        error::{Code, ErrorKind, ProxyError},
        head::HeadLimits,
        inbound::{InboundRequest, Incoming, ReadContext},
        redaction,
        trace::{self, Trace},
        via::Via,
    },
    proxy::{self, RouteMatch, record},
    routing::{Mismatch, RouteTable, match_rule},
    settings::{Hidden, RouteSettings, Settings, Tracing},
    text::listing::joined,
    tls::Configurations,
};

/// Stands for the number that each process draws by lot and has in its name in `Via`.
const ANY_PROCESS: u64 = 0;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Method of the request, such as GET.
    pub method: String,
    /// Path and query of the request as a client sends them, or a whole URL.
    pub target: String,
    /// Header of the request, as in curl; may be repeated. No header is added by default.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Body of the request, or @FILE to read it from a file.
    #[arg(short, long, value_name = "DATA", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// Host of the request, if neither the target nor a header has it [default: `listen.http`].
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Time of the signature, in the format of X-Amz-Date (20261120T120000Z) [default: now].
    #[arg(long, value_name = "TIME", value_parser = request::time)]
    pub at: Option<SystemTime>,
}

#[derive(Debug, Serialize)]
pub struct Explanation {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) route: Option<String>,
    /// Every route, the one that takes it first.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) outbound: Option<Outgoing>,
    /// What the client is answered at once, if nothing does.
    pub(crate) refusal: Option<Refusal>,
}

/// How one route stands with the request.
#[derive(Debug, Serialize)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    pub(crate) file: PathBuf,
    pub(crate) takes_it: bool,
    pub(crate) why: String,
}

/// An answer of the sidecar's own.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) cause: String,
    /// The pattern that would take the path, if none does.
    pub(crate) suggestion: Option<String>,
}

impl Explanation {
    /// Whether something would go out.
    pub fn goes_out(&self) -> bool {
        self.outbound.is_some()
    }
}

/// Explains a request.
///
/// # Errors
/// It cannot be made at all: no client could send it, or a file is missing.
pub async fn explain(settings: &Settings, args: &ExplainArgs) -> Result<Explanation, String> {
    let body = request::body(args, settings)?;
    let mut request = request::build(args, settings, body.clone())?;
    let host = proxy::host(&request).to_owned();
    let enabled = settings.routes.iter().filter(|route| route.enabled);
    let routes = RouteTable::new(enabled.map(|route| (route.rule.clone(), route)));
    let candidates = candidates(settings, &request, &host);
    let mut explanation = Explanation {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        host,
        route: None,
        candidates,
        outbound: None,
        refusal: None,
    };
    let incoming = request.take_payload().into();
    let path = request.uri().path().to_owned();
    let limits = HeadLimits::of(&settings.limits);
    match proxy::choose(&request, &routes, &limits, &Via::numbered(ANY_PROCESS)) {
        Ok(RouteMatch { route, remainder }) => {
            explanation.route = Some(route.id.clone());
            let body_timeout = settings.limits.body_timeout;
            let (tracing, port) = (&settings.tracing, settings.listen.http.port());
            let inbound = Inbound { request, incoming, remainder, body_timeout, tracing, port };
            let date = args.at.unwrap_or_else(SystemTime::now);
            match outgoing(route, inbound, &body, date).await {
                Ok(outgoing) => explanation.outbound = Some(outgoing.without(&settings.hidden)),
                Err(error) => explanation.refusal = Some(Refusal::of(&error).without(&settings.hidden)),
            }
        }
        Err(error) => {
            let suggestion =
                (error.kind == ErrorKind::RouteNotFound).then(|| suggestion::of(settings, &path));
            explanation.refusal = Some(Refusal { suggestion: suggestion.flatten(), ..Refusal::of(&error) });
        }
    }
    Ok(explanation)
}

/// A request on its way to a backend.
struct Inbound<'s> {
    pub(crate) request: Request,
    pub(crate) incoming: Incoming,
    pub(crate) remainder: Option<usize>,
    pub(crate) body_timeout: std::time::Duration,
    pub(crate) tracing: &'s Tracing,
    pub(crate) port: u16,
}

/// The second half of the path.
async fn outgoing(
    route: &RouteSettings,
    inbound: Inbound<'_>,
    body: &[u8],
    date: SystemTime,
) -> Result<Outgoing, ProxyError> {
    let Inbound { request, mut incoming, remainder, body_timeout, tracing, port } = inbound;
    let internal = |cause: String| ProxyError::new(ErrorKind::UpstreamTls, cause);
    let backend = backend::build(&route.backend, &mut Configurations::default())
        .map_err(|error| internal(error.to_string()))?;
    let request_id = record::request_id(&request);
    let made = made(request.headers(), tracing, port);
    let received_at = SystemTime::now();
    let trace = Trace::begin(request.headers(), tracing, received_at);
    let context = ReadContext {
        peer: request.head().peer_addr,
        is_secure: false,
        via: &Via::numbered(ANY_PROCESS),
        forwarded_port: &port.into(),
        memory: &BodyMemory::default(),
        request_id: &request_id,
        trace: trace.as_ref(),
        received_at,
    };
    let limits = backend.target().body_limits(body_timeout);
    let brought = request.headers().clone();
    let query = request.uri().query().map(str::to_owned);
    let inbound = InboundRequest::read(request, &mut incoming, remainder, &context, limits).await?;
    let outbound = backend.request(inbound)?;
    let left_out = left_out(&brought, query.as_deref(), &outbound, &*backend);
    let outgoing = Outgoing::of(route, &*backend, outbound, body, date).await?;
    Ok(Outgoing { left_out, varies: backend.varies(&made), ..outgoing })
}

/// The headers that are another with each request or process: each process has its own name in `Via`, each request its
/// own id and step of a trace.
fn made(brought: &HeaderMap, tracing: &Tracing, port: u16) -> Vec<&'static str> {
    let mut made = vec!["via"];
    if port == 0 {
        // the system chooses one at the start
        made.push("x-forwarded-port");
    }
    if !brought.contains_key("x-request-id") {
        made.push("x-request-id");
    }
    made.extend(trace::varying(brought, tracing));
    made
}

impl Refusal {
    fn of(error: &ProxyError) -> Self {
        let Code { name: code, status, .. } = *error.code();
        Self { status: status.as_u16(), code, cause: error.to_string(), suggestion: None }
    }

    fn without(mut self, hidden: &Hidden) -> Self {
        self.cause = hidden.left_out_of(&self.cause, redaction::LEFT_OUT);
        self
    }
}

/// Every route with how it stands, best first; what does not fit comes in the order of the files.
fn candidates(settings: &Settings, request: &Request, host: &str) -> Vec<Candidate> {
    let (path, method) = (request.uri().path(), request.method());
    let specificities: Vec<_> =
        settings.routes.iter().map(|route| (route, match_rule(&route.rule, host, path, method))).collect();
    let fitting = |enabled: bool| {
        let of = specificities.iter().filter(move |(route, _)| route.enabled == enabled);
        of.filter_map(|(route, specificity)| Some((*route, specificity.as_ref().ok()?)))
    };
    let mut best: Vec<_> = fitting(true).collect();
    best.sort_by(|(_, one), (_, other)| other.cmp(one));
    let candidate = |route: &RouteSettings, takes_it: bool, why: String| Candidate {
        id: route.id.clone(),
        file: PathBuf::from(&*route.place.source),
        takes_it,
        why,
    };
    let winner = best.first().map(|(_, specificity)| **specificity);
    let mut candidates: Vec<Candidate> = best
        .iter()
        .enumerate()
        .map(|(at, (route, specificity))| match winner {
            Some(winner) if at > 0 => candidate(route, false, specificity.why_it_lost(&winner).to_owned()),
            _ => candidate(route, true, specificity.fit()),
        })
        .collect();
    candidates
        .extend(fitting(false).map(|(route, _)| {
            candidate(route, false, "the route is disabled (`enabled: false`)".to_owned())
        }));
    candidates.extend(specificities.iter().filter_map(|(route, specificity)| {
        let mismatch = specificity.as_ref().err()?;
        Some(candidate(route, false, mismatch_text(*mismatch, route)))
    }));
    candidates
}

fn mismatch_text(mismatch: Mismatch, route: &RouteSettings) -> String {
    let rule = &route.rule;
    match mismatch {
        Mismatch::Host => format!("host: only {}", joined(&rule.hosts)),
        Mismatch::Path => format!("path: only {}", joined(&rule.uris)),
        Mismatch::Method => format!("method: only {}", joined(rule.methods.allowed())),
    }
}
