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
    sync::{OwnedSemaphorePermit, Semaphore, broadcast},
    time::timeout,
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
            .route("/inspect", web::get().to(list))
            .route("/inspect/events", web::get().to(events))
            .route("/inspect/{id}", web::get().to(one))
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
        let shown = requests.iter().filter_map(|request| filter.summary(request));
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
        let details = Details::of(&found, &health.current.get(), &listener, sends_again);
        serde_json::to_string(&details)
    });
    match text.await {
        Ok(text) => pages::json(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn events(inspect: web::Data<Inspect>, filter: web::Query<Filter>) -> HttpResponse {
    let Ok(permit) = Arc::clone(&inspect.followers).try_acquire_owned() else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "Too many browsers follow the inspector");
    };
    let news = inspect.inspector.follow();
    let following = Followed { next: next(news, filter.into_inner()), _permit: permit };
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

type News = broadcast::Receiver<Arc<InspectedRequest>>;
type NextEvent = Pin<Box<dyn Future<Output = Option<(Bytes, News, Filter)>>>>;

/// New requests as server-sent events.
struct Followed {
    next: NextEvent,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Followed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.next.as_mut().poll(context));
        Poll::Ready(event.map(|(event, news, filter)| {
            self.next = next(news, filter);
            Ok(event)
        }))
    }
}

/// The next event, or a comment while there is none.
fn next(mut news: News, filter: Filter) -> NextEvent {
    Box::pin(async move {
        let event = match timeout(HEARTBEAT, shown(&mut news, &filter)).await {
            Ok(event) => event?,
            Err(_) => ":\n\n".to_owned(),
        };
        Some((event.into(), news, filter))
    })
}

/// The next request that the filter lets through; `None` if the process ends.
async fn shown(news: &mut News, filter: &Filter) -> Option<String> {
    loop {
        match news.recv().await {
            Ok(request) => {
                let summary =
                    filter.summary(&request).and_then(|summary| serde_json::to_string(&summary).ok());
                if let Some(summary) = summary {
                    return Some(format!("event: request\ndata: {summary}\n\n"));
                }
            }
            // the page then reads the list again
            Err(broadcast::error::RecvError::Lagged(count)) => {
                return Some(format!("event: lost\ndata: {count}\n\n"));
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

impl Filter {
    /// The request's line of the list, if it is to be shown.
    fn summary(&self, request: &InspectedRequest) -> Option<Summary> {
        let route = request.route.as_ref().map_or("-", |(id, _)| id);
        let status = request.end.status.map_or(499, |status| status.as_u16());
        let has_status = |wanted: &str| match wanted.strip_suffix("xx") {
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
