//! The path of a request, top to bottom.
//!
//! ```text
//! listener.rs      accept a client's request
//! trace.rs         extract or start its trace
//! head.rs          check the request's head and detect loops
//! routing.rs       match the route
//! client_credentials.rs  take AWS keys of the caller
//! admission.rs     apply the limits of requests in flight
//! inbound.rs       read the body within its limits, filter the headers
//! header_edits.rs  apply the route's `headers.request`
//! backend.rs       Backend::request: build the request to AWS
//! call.rs          call AWS, with retries (retry.rs) and circuit breaker (circuit_breaker.rs)
//!   signing.rs       sign the request
//!   client.rs        send it
//! diagnosis.rs     explain a rejected call
//! backend.rs       Backend::reply: build the response
//! header_edits.rs  apply the route's `headers.response`
//! reply.rs         send it to the client as it arrives
//! ```
//!
//! The result of each step is the argument of the next. Every error becomes a response in one place
//! (`message/error.rs`).

mod call;
pub mod client_credentials;
pub mod deadline;
pub mod draining;
mod grpc;
pub mod record;
pub mod reply;

use std::{
    convert::Infallible,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_http::{
    HttpMessage as _, Request, Response,
    header::{self, HeaderValue},
    uri::Authority,
};

use self::{
    call::{CallOutcome, UpstreamCall},
    deadline::Deadline,
    draining::Draining,
    record::Record,
    reply::{ClientBody, RoutedReply},
};
use crate::{
    backend::ReplyMode,
    client::{Client, UpstreamReply},
    diagnosis,
    message::{
        body_pool::BodyMemory,
        client_address::ClientAddress,
        client_link::ClientLink,
        error::{ErrorKind, ProxyError},
        head,
        header_edits::edit_request,
        inbound::{InboundRequest, Incoming, ReadContext},
        trace::Trace,
        via::Via,
    },
    metrics::Metrics,
    resilience::admission,
    routing::{Miss, RouteMatch, RouteTable},
    settings::{Limits, TrustedIps},
    spans::Recording,
    state::{current::Current, signing::Signing, snapshot::Snapshot},
    system::{
        fault_points,
        supervision::{Task, catch_in},
    },
    text::hexadecimal,
};

/// State of one worker thread for one of its listening sockets.
pub struct Worker {
    pub current: Arc<Current>,
    pub metrics: Arc<Metrics>,
    pub client: Rc<Client>,
    /// Pool for bodies that are read whole.
    pub memory: BodyMemory,
    /// True if the process is shutting down; clients then get `Connection: close`.
    pub stopping: Arc<AtomicBool>,
    /// Drain signal of this worker; it finally aborts requests in flight.
    pub draining: Draining,
    /// This process's name in `Via`, for loop detection.
    pub via: Via,
    /// Value of `X-Forwarded-Port`: the port of the listening socket.
    pub forwarded_port: HeaderValue,
    /// The proxies whose headers about their clients are used.
    pub trusted_ips: Arc<TrustedIps>,
}

/// Serves one request: the only place where an error becomes a response and is logged.
///
/// # Errors
/// Never: an error is a response too.
pub async fn serve(
    worker: Rc<Worker>,
    request: Request,
    mut body: Incoming,
    link: ClientLink,
) -> Result<Response<ClientBody>, Infallible> {
    let snapshot = worker.current.get();
    let client = ClientAddress::of(&request, &worker.trusted_ips);
    let mut record = Record::begin(&request, client.ip, &worker.metrics, snapshot.access_log);
    let trace = Trace::begin(request.headers(), &snapshot.tracing, record.received_at());
    let recording = trace.filter(Trace::is_recorded).zip(snapshot.spans.as_ref()).map(|(trace, exporter)| {
        Recording::begin(exporter, trace, &request, &client, link.is_tls(), record.received_at())
    });
    record.set_trace(trace, recording);
    if let Some(inspection) = &snapshot.inspection {
        record.inspect(inspection, &request, &body, link, snapshot.generation);
    }
    let mut framing = reply::ResponseFraming::of(&request);
    let outcome = {
        let context = RequestContext { worker: &worker, snapshot: &snapshot, client, link };
        let forwarding = forward(context, request, &mut body, &mut record);
        // a panic fails this request, but not the others on its connection
        catch_in(worker.draining.run_until_abort(pin!(forwarding))).await.unwrap_or_else(|panicked| {
            Task::Connection.count_failure();
            Err(ProxyError::new(ErrorKind::Internal, panicked.to_string()))
        })
    };
    framing.last_of_connection(worker.stopping.load(Ordering::Relaxed));
    Ok(match outcome {
        Ok(answer) => reply::response(answer, &worker.draining, record, framing),
        Err(error) => {
            record.on_error(&error);
            reply::failure(&error, record, framing)
        }
    })
}

/// Logs and counts an error that occurred before there was a request, and returns the request id for its
/// response.
pub fn refused(error: &ProxyError, metrics: &Metrics) -> String {
    metrics.unrouted.errors.count(error.code().name);
    let id = record::new_request_id();
    let id = hexadecimal::text(&id).to_owned();
    error.log(&id, None);
    id
}

struct RequestContext<'a> {
    worker: &'a Worker,
    snapshot: &'a Snapshot,
    client: ClientAddress,
    link: ClientLink,
}

async fn forward(
    RequestContext { worker, snapshot, client, link }: RequestContext<'_>,
    mut request: Request,
    body: &mut Incoming,
    record: &mut Record,
) -> Result<RoutedReply, ProxyError> {
    let RouteMatch { route, path } = choose(&request, &snapshot.routes, &snapshot.limits, &worker.via)?;
    record.set_route(route, &path);
    route.require_secrets()?;
    let named = route.host_routes.as_ref().map(|hosts| hosts.get(route, authority(&request))).transpose()?;
    let route = named.as_ref().unwrap_or(route);
    fault_points::pass("request");
    let caller = match &route.signing {
        Some(Signing { caller_keys: Some(_), credentials, .. }) => {
            client_credentials::take(&mut request, link, credentials.is_none())?
        }
        _ => None,
    };

    let permit = admission::enter(&snapshot.admission, route.admission.as_ref(), &route.metrics)?;
    let deadline = Deadline::of(route.request_timeout, record.started());

    let context = ReadContext {
        client,
        is_secure: link.is_tls(),
        via: &worker.via,
        forwarded_port: &worker.forwarded_port,
        memory: &worker.memory,
        request_id: record.request_id(),
        trace: record.trace(),
        received_at: record.received_at(),
        client_proofs: route.backend.target().client_proofs,
    };
    let mut inbound = InboundRequest::read(request, body, path, &context, route.body_limits()).await?;
    let edits =
        route.settings.headers.as_deref().map(|headers| edit_request(headers, &mut inbound)).transpose()?;
    record.on_inbound(&mut inbound, edits.is_some());

    let outbound = route.backend.request(inbound)?;

    let call = UpstreamCall { client: &worker.client, route, caller: caller.as_ref(), deadline };
    let CallOutcome { reply: upstream, refused } = call.make(outbound, record).await?;

    let mode = route.backend.reply_mode(&upstream);
    let upstream = deadline.run_within(pin!(read_as(mode, upstream))).await?;
    record.on_reply_read(&upstream);
    if let Some(diagnosis) = refused.as_deref().and_then(|call| diagnosis::diagnose(&upstream, call)) {
        record.on_refusal(&diagnosis);
        record.on_refusal_explained(&upstream);
    }
    let mut reply = route.backend.reply(upstream)?;
    record.on_notes(&reply);
    if let Some(edits) = edits {
        edits.edit(&mut reply.headers);
    }
    Ok(RoutedReply { reply, permit, deadline })
}

/// Validates a request's head and matches its route. `explain.rs` calls this too.
///
/// # Errors
/// The head is invalid, the request has passed this process before, or no route matches.
pub fn choose<'s, R>(
    request: &Request,
    routes: &'s RouteTable<R>,
    limits: &Limits,
    via: &Via,
) -> Result<RouteMatch<'s, R>, ProxyError> {
    head::check(request.head(), limits)?;
    if via.is_in(request.headers()) {
        return Err(ErrorKind::LoopDetected.into());
    }
    routes.find(host(request), request.uri().path(), request.method()).map_err(|miss| match miss {
        Miss::NoRoute => ErrorKind::RouteNotFound.into(),
        Miss::NoMethod(allowed) => ErrorKind::MethodNotAllowed(allowed).into(),
    })
}

/// Reads as much of the response as the backend needs.
async fn read_as(mode: ReplyMode, upstream: UpstreamReply) -> Result<UpstreamReply, ProxyError> {
    match mode {
        ReplyMode::Streamed => Ok(upstream),
        ReplyMode::Collected { limit } => upstream.collect(limit).await,
        ReplyMode::Truncated { limit } => Ok(upstream.truncated(limit).await),
        ReplyMode::Events { prelude } => upstream.decode_events(prelude).await,
    }
}

/// The request's host with its port if there is one, as [`host`].
pub fn authority(request: &Request) -> &str {
    let header = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    request.uri().authority().map(Authority::as_str).or_else(header).unwrap_or_default()
}

/// The request's host: the authority of an absolute target takes precedence over `Host` (RFC 9112, 3.2.2).
pub fn host(request: &Request) -> &str {
    let header = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    request.uri().host().or_else(header).unwrap_or_default()
}
