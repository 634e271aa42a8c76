//! The inspector, `/inspect`: the last requests, each with both sides, signatures, attempts, times and log
//! lines, without secrets. It is there only with `admin.inspect`.
//!
//! - `GET /inspect`: the list, as HTML or JSON; `?route=`, `?status=` and `?text=` filter it.
//! - `GET /inspect/ID`: one request by its number or request id.
//! - `GET /inspect/events`: new requests as server-sent events, with the same filter.
//! - `POST /inspect/ID/again`: sends a request again, in `dev` and from the page itself.

mod again;
mod copies;
mod redactor;
mod secret_search;
mod steps;
mod view;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use bytes::Bytes;
use futures_core::Stream;
use serde::Deserialize;
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
    },
    time::{Instant, timeout_at},
};

use self::{
    redactor::Redactor,
    view::{Details, Summary},
};
use super::{
    Health, PageLocks,
    pages::{self, View},
};
use crate::{
    state::inspector::{InspectedRequest, Inspector},
    system::supervision::blocking,
};

/// Browsers that follow at the same time; each takes a connection of the admin port.
const MOST_FOLLOWERS: usize = 16;
/// Interval of a comment to a follower without events: an idle connection is closed after ten seconds.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// The state of the inspector's pages.
struct Inspect {
    inspector: Arc<Inspector>,
    followers: Arc<Semaphore>,
}

/// The requests to show.
#[derive(Debug, Default, Clone, Deserialize)]
struct Filter {
    /// The id of a route; `-` for requests without a route.
    route: Option<String>,
    /// A status, or a class such as `5xx`.
    status: Option<String>,
    /// A text that the target, the request id, a log line or a body contains.
    text: Option<String>,
}

/// Adds the pages, if there is an inspector.
pub(super) fn configure(inspector: Option<Arc<Inspector>>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |services| {
        let Some(inspector) = inspector else { return };
        let followers = Arc::new(Semaphore::new(MOST_FOLLOWERS));
        services
            .app_data(web::Data::new(Inspect { inspector, followers }))
            .service(web::resource("/inspect").route(web::get().to(list)).route(web::head().to(list)))
            .service(web::resource("/inspect/events").route(web::get().to(events)))
            .service(web::resource("/inspect/{id}").route(web::get().to(one)).route(web::head().to(one)))
            .route("/inspect/{id}/again", web::post().to(again::again));
    }
}

async fn list(
    request: HttpRequest,
    inspect: web::Data<Inspect>,
    filter: web::Query<Filter>,
    locks: web::Data<PageLocks>,
) -> HttpResponse {
    if View::of(&request) == View::Html {
        return pages::html(pages::INSPECT);
    }
    let _turn = locks.others.acquire().await;
    let text = blocking(move || {
        let requests = inspect.inspector.all();
        let shown = requests.iter().filter_map(|request| filter.summary(&request.read()));
        serde_json::json!({ "requests": shown.collect::<Vec<_>>() }).to_string()
    });
    pages::json(text.await)
}

async fn one(
    request: HttpRequest,
    inspect: web::Data<Inspect>,
    health: web::Data<Health>,
    id: web::Path<String>,
    locks: web::Data<PageLocks>,
) -> HttpResponse {
    if View::of(&request) == View::Html {
        return pages::html(pages::INSPECT);
    }
    let Some(found) = inspect.inspector.find(&id) else { return not_kept() };
    let _turn = locks.others.acquire().await;
    let text = blocking(move || {
        let (listener, sends_again) =
            (health.sockets.http.to_string(), inspect.inspector.sends_again_to().is_some());
        let details = Details::of(&found.read(), &health.current.get(), &listener, sends_again);
        serde_json::to_string(&details)
    });
    match text.await {
        Ok(text) => pages::json(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn events(
    inspect: web::Data<Inspect>,
    filter: web::Query<Filter>,
    locks: web::Data<PageLocks>,
) -> HttpResponse {
    let Ok(permit) = Arc::clone(&inspect.followers).try_acquire_owned() else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "Too many browsers follow the inspector");
    };
    let inspector = Arc::clone(&inspect.inspector);
    let follower = Follower { news: inspector.follow(), inspector, filter: filter.into_inner(), locks };
    let following = Followed { next: next(follower), _permit: permit };
    pages::answer(HttpResponse::Ok()).content_type("text/event-stream").streaming(following)
}

/// The answer for a request that has made room for newer ones.
fn not_kept() -> HttpResponse {
    refusal(StatusCode::NOT_FOUND, "No request with this number or request id is kept")
}

fn refusal(status: StatusCode, message: &str) -> HttpResponse {
    let body = serde_json::json!({ "message": message }).to_string();
    pages::answer(HttpResponse::build(status)).content_type("application/json").body(body)
}

type NextEvent = Pin<Box<dyn Future<Output = Option<(Bytes, Follower)>>>>;

/// New requests as server-sent events.
struct Followed {
    next: NextEvent,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Followed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.next.as_mut().poll(context));
        Poll::Ready(event.map(|(event, follower)| {
            self.next = next(follower);
            Ok(event)
        }))
    }
}

struct Follower {
    /// Numbers of new requests.
    news: broadcast::Receiver<u64>,
    inspector: Arc<Inspector>,
    filter: Filter,
    locks: web::Data<PageLocks>,
}

/// The next event, or a comment while there is none; `None` if the process ends.
fn next(mut follower: Follower) -> NextEvent {
    Box::pin(async move {
        let heartbeat = Instant::now() + HEARTBEAT;
        let event = loop {
            match timeout_at(heartbeat, follower.news.recv()).await {
                Err(_) => break ":\n\n".to_owned(),
                // the page then reads the list again
                Ok(Err(RecvError::Lagged(count))) => break format!("event: lost\ndata: {count}\n\n"),
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Ok(number)) => match follower.shown(number).await {
                    Some(event) => break event,
                    None if Instant::now() >= heartbeat => break ":\n\n".to_owned(),
                    None => {}
                },
            }
        };
        Some((event.into(), follower))
    })
}

impl Follower {
    /// The event of a request that is still kept, if the filter lets it through.
    async fn shown(&self, number: u64) -> Option<String> {
        let (request, filter) = (self.inspector.numbered(number)?, self.filter.clone());
        // a search in large bodies takes long, and the probes have the same thread
        let _turn = self.locks.others.acquire().await;
        let summary = blocking(move || serde_json::to_string(&filter.summary(&request.read())?).ok()).await?;
        Some(format!("event: request\ndata: {summary}\n\n"))
    }
}

impl Filter {
    /// The request's line of the list, if it is to be shown.
    fn summary(&self, request: &InspectedRequest) -> Option<Summary> {
        let route = request.route.as_ref().map_or("-", |(id, _)| id);
        let status = request.end.status.map_or(499, |status| status.as_u16());
        let has_status = |wanted: &str| match wanted.strip_suffix("xx").or(wanted.strip_suffix("XX")) {
            Some(class) => class.parse() == Ok(status / 100),
            None => wanted.parse() == Ok(status) || Some(wanted) == request.end.code,
        };
        let matches = given(self.route.as_ref()).is_none_or(|wanted| wanted == route)
            && given(self.status.as_ref()).is_none_or(has_status);
        if !matches {
            return None;
        }
        let redactor = Redactor::of(request);
        let summary = Summary::of(request, &redactor);
        match given(self.text.as_ref()) {
            Some(text) if !has_text(request, &redactor, &summary, &text.to_lowercase()) => None,
            _ => Some(summary),
        }
    }
}

/// A part of the filter, unless it is blank.
fn given(part: Option<&String>) -> Option<&str> {
    part.map(|part| part.trim()).filter(|part| !part.is_empty())
}

/// True if what the page shows of a request contains a text in lower case.
fn has_text(request: &InspectedRequest, redactor: &Redactor<'_>, summary: &Summary, text: &str) -> bool {
    let contains = |shown: &str| shown.to_lowercase().contains(text);
    let bodies = [&request.client.body, &request.reply_body, &request.response_body];
    let outgoing = request.outgoing.as_ref().map(|outgoing| &outgoing.body);
    contains(&summary.target)
        || contains(&summary.request_id)
        || contains(&summary.method)
        || request.log.iter().any(|entry| contains(&redactor.text(&entry.text)))
        || bodies
            .into_iter()
            .chain(outgoing)
            .any(|body| redactor.body(body).text.is_some_and(|shown| contains(&shown)))
}
