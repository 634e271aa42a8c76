//! The path of a request, top to bottom.
//!
//! ```text
//! listener.rs      a client's request
//! trace.rs         the trace that it belongs to
//! head.rs          checks of its path and of loops
//! routing.rs       its route
//! admission.rs     the limits of requests in flight
//! inbound.rs       read it within its limits, clean its headers
//! backend.rs       Backend::request: what goes out
//! call.rs          call AWS, again if need be: is it worth it (circuit_breaker.rs), is it safe (retry.rs)?
//!   signing.rs       sign what goes out
//!   client.rs        send it
//! diagnosis.rs     has AWS refused the call, and why?
//! backend.rs       Backend::reply: what comes back
//! reply.rs         to the client, as it arrives
//! ```
//!
//! Each step's result is the next one's argument. Whatever fails becomes an answer in one place (`message/error.rs`).

mod call;
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
        error::{ErrorKind, ProxyError},
        head::{self, HeadLimits},
        inbound::{InboundRequest, Incoming, ReadContext},
        trace::Trace,
        via::Via,
    },
    metrics::Metrics,
    resilience::admission,
    routing::{Miss, RouteMatch, RouteTable},
    spans::Recording,
    state::{current::Current, snapshot::Snapshot},
    system::{
        fault_points,
        supervision::{Task, catch_in},
    },
    text::hexadecimal,
};

/// State that one worker thread serves the requests of one of its listening sockets with.
pub struct Worker {
    /// The settings in force.
    pub current: Arc<Current>,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    pub client: Rc<Client>,
    /// Where bodies are read to that have to be here whole.
    pub memory: BodyMemory,
    /// Whether the process is about to end, so that clients should look for another.
    pub stopping: Arc<AtomicBool>,
    /// The end of this worker, which aborts what is in flight at last.
    pub draining: Draining,
    /// This process's name in `Via`, by which it knows its own requests when they come back.
    pub via: Via,
    /// The value of `X-Forwarded-Port`: the port of the listening socket.
    pub forwarded_port: HeaderValue,
}

/// Serves one request: the only place where an error becomes an answer, and where it is logged.
///
/// # Errors
/// Never: a failure is an answer too.
pub async fn serve(
    worker: Rc<Worker>,
    request: Request,
    mut body: Incoming,
    is_secure: bool,
) -> Result<Response<ClientBody>, Infallible> {
    let snapshot = worker.current.get();
    let mut record = Record::begin(&request, &worker.metrics, snapshot.access_log);
    let trace = Trace::begin(request.headers(), &snapshot.tracing, record.received_at());
    let recording = trace.filter(Trace::is_recorded).zip(snapshot.spans.as_ref()).map(|(trace, exporter)| {
        Recording::begin(exporter, trace, &request, is_secure, record.received_at())
    });
    record.set_trace(trace, recording);
    let mut framing = reply::ResponseFraming::of(&request);
    let outcome = {
        let context = Context { worker: &worker, snapshot: &snapshot, is_secure };
        let forwarding = forward(context, request, &mut body, &mut record);
        // a mistake of ours costs this request alone, and not the others on its connection
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

/// Logs and counts what is refused before there was a request, and gives the id for its answer.
pub fn refused(error: &ProxyError, metrics: &Metrics) -> String {
    metrics.unrouted.errors.count(error.code().name);
    let id = record::new_request_id();
    let id = hexadecimal::text(&id).to_owned();
    error.log(&id, None);
    id
}

struct Context<'a> {
    worker: &'a Worker,
    snapshot: &'a Snapshot,
    is_secure: bool,
}

async fn forward(
    Context { worker, snapshot, is_secure }: Context<'_>,
    request: Request,
    body: &mut Incoming,
    record: &mut Record,
) -> Result<RoutedReply, ProxyError> {
    let RouteMatch { route, path } = choose(&request, &snapshot.routes, &snapshot.head_limits, &worker.via)?;
    record.set_route(route, &path);
    fault_points::pass("request");

    let permit = admission::enter(&snapshot.admission, route.admission.as_ref(), &route.metrics)?;
    let deadline = Deadline::of(route.request_timeout, record.started());

    let context = ReadContext {
        peer: request.head().peer_addr,
        is_secure,
        via: &worker.via,
        forwarded_port: &worker.forwarded_port,
        memory: &worker.memory,
        request_id: record.request_id(),
        trace: record.trace(),
        received_at: record.received_at(),
    };
    let inbound = InboundRequest::read(request, body, path, &context, route.body_limits()).await?;

    let outbound = route.backend.request(inbound)?;

    let call = UpstreamCall { client: &worker.client, route, deadline };
    let CallOutcome { reply: upstream, refused } = call.make(outbound, record).await?;

    let mode = route.backend.reply_mode(&upstream);
    let upstream = deadline.run_within(pin!(read_as(mode, upstream))).await?;
    if let Some(diagnosis) = refused.as_deref().and_then(|call| diagnosis::diagnose(&upstream, call)) {
        record.on_refusal(&diagnosis);
    }
    let reply = route.backend.reply(upstream)?;
    for note in &reply.notes {
        record.log_note(note);
    }
    Ok(RoutedReply { reply, permit, deadline })
}

/// Which route takes a request, if it may pass at all. `explain.rs` asks the same.
///
/// # Errors
/// The request's head is not sound, it has been here before, or no route takes it.
pub fn choose<'s, R>(
    request: &Request,
    routes: &'s RouteTable<R>,
    limits: &HeadLimits,
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

/// Reads as much of an answer as the backend has to see.
async fn read_as(mode: ReplyMode, upstream: UpstreamReply) -> Result<UpstreamReply, ProxyError> {
    match mode {
        ReplyMode::Streamed => Ok(upstream),
        ReplyMode::Collected { limit } => upstream.collect(limit).await,
        ReplyMode::Truncated { limit } => Ok(upstream.truncated(limit).await),
        ReplyMode::Events { prelude } => upstream.decode_events(prelude).await,
    }
}

/// The host that the client means: that of an absolute target goes before the header (RFC 9112, 3.2.2).
pub fn host(request: &Request) -> &str {
    let header = || request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    request.uri().host().or_else(header).unwrap_or_default()
}
