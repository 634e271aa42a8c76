//! `apigw-invoker explain`: a dry run of a request, with the reasons.
//!
//! A dry run uses the steps of `proxy.rs`: `choose`, `InboundRequest::read`, `Backend::request`, the signer.
//! Limits of requests in flight, circuit breakers and credentials that have to be fetched are left out.
//! `cli/explanation.rs` prints the result.

pub mod left_out;
pub mod outgoing;
mod request;
mod suggestion;

use std::{cmp::Reverse, path::PathBuf, sync::Arc, time::SystemTime};

use actix_http::{HttpMessage as _, Method, Request, header::HeaderMap};
use clap::Args;
use serde::Serialize;

use self::{
    left_out::{RouteEdits, left_out},
    outgoing::Outgoing,
};
use crate::{
    backend::{self, Backend},
    message::{
        body_pool::BodyMemory,
        client_address::ClientAddress,
        client_link::ClientLink,
        error::{ErrorCode, ErrorKind, ProxyError},
        header_edits::edit_request,
        inbound::{InboundRequest, Incoming, ReadContext},
        redaction,
        trace::{self, Trace},
        via::Via,
    },
    proxy::{self, record},
    routing::{Mismatch, RouteMatch, RouteTable, match_rule},
    settings::{CallerKeys, Hidden, RouteSettings, Settings, Tracing},
    state::host_routes,
    text::listing::joined,
    tls::Configurations,
};

/// Replaces the random number of the process in `Via`.
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
    /// Secrets in AWS that the route's settings name. They are not fetched, and placeholders take their
    /// place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) secrets: Vec<String>,
    /// Every route, the matching one first.
    pub(crate) candidates: Vec<ExplainedRoute>,
    pub(crate) outbound: Option<Outgoing>,
    /// The sidecar's own answer, if no request would be sent.
    pub(crate) refusal: Option<ExplainedRefusal>,
}

/// A route, and why it matches or not.
#[derive(Debug, Serialize)]
pub(crate) struct ExplainedRoute {
    pub(crate) id: String,
    pub(crate) file: PathBuf,
    pub(crate) takes_it: bool,
    pub(crate) why: String,
}

/// An answer of the sidecar itself.
#[derive(Debug, Serialize)]
pub(crate) struct ExplainedRefusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) cause: String,
    /// A pattern that would match the path, if no route does.
    pub(crate) suggestion: Option<String>,
}

impl Explanation {
    /// True if a request would be sent.
    pub fn is_sent(&self) -> bool {
        self.outbound.is_some()
    }
}

/// Explains a request.
///
/// # Errors
/// The request is not valid HTTP, or the file of its body cannot be read.
pub async fn explain(settings: &Settings, args: &ExplainArgs) -> Result<Explanation, String> {
    let body = request::body(args, settings)?;
    let mut request = request::build(args, settings, body.clone())?;
    let host = proxy::host(&request).to_owned();
    let enabled = settings.routes.iter().filter(|route| route.enabled);
    let routes = RouteTable::new(enabled.map(|route| (route.rule.clone(), route)));
    let candidates = candidates(&settings.routes, request.method(), request.uri().path(), &host);
    let mut explanation = Explanation {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        host,
        route: None,
        secrets: Vec::new(),
        candidates,
        outbound: None,
        refusal: None,
    };
    let incoming = request.take_payload().into();
    let path = request.uri().path().to_owned();
    match proxy::choose(&request, &routes, &settings.limits, &Via::numbered(ANY_PROCESS)) {
        Ok(matched) => {
            explanation.route = Some(matched.route.id.clone());
            explanation.secrets =
                matched.route.missing_secrets().map(|named| named.reference.to_string()).collect();
            let date = args.at.unwrap_or_else(SystemTime::now);
            match outgoing(settings, &matched, request, incoming, &body, date).await {
                Ok(outgoing) => explanation.outbound = Some(outgoing.redacted(&settings.hidden)),
                Err(error) => {
                    explanation.refusal = Some(ExplainedRefusal::of(&error).redacted(&settings.hidden));
                }
            }
        }
        Err(error) => {
            let suggestion =
                (error.kind == ErrorKind::RouteNotFound).then(|| suggestion::of(settings, &path));
            explanation.refusal =
                Some(ExplainedRefusal { suggestion: suggestion.flatten(), ..ExplainedRefusal::of(&error) });
        }
    }
    Ok(explanation)
}

/// The steps after routing.
async fn outgoing(
    settings: &Settings,
    matched: &RouteMatch<'_, &Arc<RouteSettings>>,
    mut request: Request,
    mut incoming: Incoming,
    body: &[u8],
    date: SystemTime,
) -> Result<Outgoing, ProxyError> {
    let (tracing, port) = (&settings.tracing, settings.listen.http.port());
    let named = host_routes::settings_for(matched.route, proxy::authority(&request))?.map(Arc::new);
    let route = named.as_ref().unwrap_or(matched.route);
    let backend = build(route)?;
    let client_headers = request.headers().clone();
    let caller = match route.backend.section().caller_keys() {
        CallerKeys::Off => None,
        // nobody listens to a dry run
        keys => {
            proxy::client_credentials::take(&mut request, ClientLink::Local, keys == CallerKeys::Required)?
        }
    };
    let request_id = record::request_id(&request);
    let mut varying = varying_headers(request.headers(), tracing, port);
    let received_at = SystemTime::now();
    let trace = Trace::begin(request.headers(), tracing, received_at);
    let client = ClientAddress::of(&request, &settings.listen.trusted_ips);
    let context = ReadContext {
        client,
        is_secure: false,
        via: &Via::numbered(ANY_PROCESS),
        forwarded_port: &port.into(),
        memory: &BodyMemory::default(),
        request_id: &request_id,
        trace: trace.as_ref(),
        received_at,
        client_proofs: backend.target().client_proofs,
    };
    let limits = backend.target().body_limits(settings.limits.body_timeout);
    let query = request.uri().query().map(str::to_owned);
    let mut inbound =
        InboundRequest::read(request, &mut incoming, matched.path.clone(), &context, limits).await?;
    let headers = route.headers.as_deref();
    if let Some(headers) = headers {
        edit_request(headers, &mut inbound)?;
    }
    varying.retain(|name| inbound.headers.get(*name).is_some_and(|value| !value.is_sensitive()));
    let hidden = Hidden::of_headers(&inbound.headers);
    let outbound = backend.request(inbound)?;
    let left_out = left_out(
        &client_headers,
        client.trust,
        query.as_deref(),
        &outbound,
        &*backend,
        RouteEdits { takes_keys: route.backend.section().caller_keys() != CallerKeys::Off, headers },
    );
    let outgoing = Outgoing::of(route, &*backend, outbound, caller.as_deref(), body, date).await?;
    Ok(Outgoing { left_out, varies: backend.varies(&varying), ..outgoing }.redacted(&hidden))
}

fn build(route: &RouteSettings) -> Result<Arc<dyn Backend>, ProxyError> {
    backend::build(&route.backend, &mut Configurations::default())
        .map_err(|error| ProxyError::new(ErrorKind::UpstreamTls, error.to_string()))
}

/// The headers whose value differs with each process (its name in `Via`) or request (its id and span).
fn varying_headers(brought: &HeaderMap, tracing: &Tracing, port: u16) -> Vec<&'static str> {
    let mut names = vec!["via"];
    if port == 0 {
        // the system chooses the port at start
        names.push("x-forwarded-port");
    }
    if !brought.contains_key("x-request-id") {
        names.push("x-request-id");
    }
    names.extend(trace::varying(brought, tracing));
    names
}

impl ExplainedRefusal {
    fn of(error: &ProxyError) -> Self {
        let ErrorCode { name: code, status, .. } = *error.code();
        Self { status: status.as_u16(), code, cause: error.to_string(), suggestion: None }
    }

    fn redacted(mut self, hidden: &Hidden) -> Self {
        self.cause = hidden.left_out_of(&self.cause, redaction::REDACTED);
        self
    }
}

/// Every route with its match: those that match, best first, then those that are disabled, then the others,
/// in the order of their files.
pub(crate) fn candidates(
    routes: &[Arc<RouteSettings>],
    method: &Method,
    path: &str,
    host: &str,
) -> Vec<ExplainedRoute> {
    let matched = |route: &'_ RouteSettings| match_rule(&route.rule, host, path, method);
    let mut routes: Vec<_> = routes.iter().map(|route| (route, matched(route))).collect();
    routes.sort_by_key(|(route, matched)| match matched {
        Ok(specificity) if route.enabled => (0, Some(Reverse(specificity.clone()))),
        Ok(_) => (1, None),
        Err(_) => (2, None),
    });
    let winner =
        routes.first().filter(|(route, _)| route.enabled).and_then(|(_, matched)| matched.as_ref().ok());
    let explained = routes.iter().enumerate().map(|(index, (route, matched))| ExplainedRoute {
        id: route.id.clone(),
        file: PathBuf::from(&*route.place.source),
        takes_it: index == 0 && winner.is_some(),
        why: match (matched, winner) {
            (Err(mismatch), _) => mismatch_text(*mismatch, route),
            (Ok(_), _) if !route.enabled => "the route is disabled (`enabled: false`)".to_owned(),
            (Ok(specificity), Some(winner)) if index > 0 => specificity.why_it_lost(winner).to_owned(),
            (Ok(specificity), _) => specificity.text(),
        },
    });
    explained.collect()
}

fn mismatch_text(mismatch: Mismatch, route: &RouteSettings) -> String {
    let rule = &route.rule;
    match mismatch {
        Mismatch::Host => format!("host: only {}", joined(&rule.hosts)),
        Mismatch::Path => format!("path: only {}", joined(&rule.uris)),
        Mismatch::Method => format!("method: only {}", joined(rule.methods.allowed())),
    }
}
