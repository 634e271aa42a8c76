//! The port for people and probes, on a thread of its own: a busy data path cannot keep it waiting.
//!
//! `app.rs` starts it beside the listener for clients. `/live` says that the process runs, `/ready` whether every
//! route has what it needs, and which has not and why, `/metrics` what Prometheus wants to know, `/routes` how each
//! route is set.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::SystemTime,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    web,
};
use serde::Serialize;

use crate::{
    credentials::State,
    snapshot::{Current, Route},
};

/// What the answers are made of.
#[derive(Debug)]
pub struct Health {
    /// The routes in force.
    pub current: Arc<Current>,
    /// Whether the process is about to end.
    pub stopping: Arc<AtomicBool>,
}

/// The running port; it ends when this is dropped.
#[derive(Debug)]
pub struct Admin {
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// The answer of `/ready`.
#[derive(Debug, Serialize)]
struct Readiness<'a> {
    ready: bool,
    stopping: bool,
    settings: SettingsReadiness,
    routes: Vec<RouteReadiness<'a>>,
}

#[derive(Debug, Serialize)]
struct SettingsReadiness {
    generation: u64,
    /// What is wrong with those that are written, while these stay in force, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RouteReadiness<'a> {
    id: &'a str,
    ready: bool,
    /// The source of a signing route's keys and how it is doing, without any secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<String>,
}

impl Admin {
    /// Serves from `listener`.
    ///
    /// # Errors
    /// The system gives no thread, or the socket cannot be used.
    pub fn start(listener: TcpListener, health: Health) -> io::Result<Self> {
        let (started, handle) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            let result = actix_rt::System::new().block_on(async move {
                let server = serve(listener, health)?;
                let _ = started.send(server.handle());
                server.await
            });
            if let Err(error) = result {
                log::error!("the admin port ended: {error}");
            }
        })?;
        let handle = handle.recv().map_err(|_| io::Error::other("the admin port did not start"))?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // sent at once; the future would only tell when it is over, and that is what the thread's end tells
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: TcpListener, health: Health) -> io::Result<Server> {
    let connections = health.current.get().capacity.admin_connections;
    let health = web::Data::new(health);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(health.clone())
            .service(web::resource("/live").route(web::get().to(live)).route(web::head().to(live)))
            .service(web::resource("/ready").route(web::get().to(ready)).route(web::head().to(ready)))
            .service(web::resource("/metrics").route(web::get().to(metrics)).route(web::head().to(metrics)))
            .service(web::resource("/routes").route(web::get().to(routes)).route(web::head().to(routes)))
    });
    Ok(server
        .workers(1)
        .max_connections(connections as usize)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(listener)?
        .run())
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "live": true }))
}

/// Binds the port.
///
/// # Errors
/// The address is taken, or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let now = SystemTime::now();
    let snapshot = health.current.get();
    let routes: Vec<RouteReadiness<'_>> =
        snapshot.routes.routes().iter().map(|route| readiness(route, now)).collect();
    let stopping = health.stopping.load(Ordering::Relaxed);
    let ready = !stopping && routes.iter().all(|route| route.ready);
    let mut answer = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let rejection = snapshot.metrics.reloads.rejection().unwrap_or_default();
    let rejected = rejection.lines().map(str::to_owned).collect();
    let settings = SettingsReadiness { generation: snapshot.generation, rejected };
    answer.json(Readiness { ready, stopping, settings, routes })
}

async fn metrics(health: web::Data<Health>) -> HttpResponse {
    let snapshot = health.current.get();
    match snapshot.metrics.text(&snapshot) {
        Ok(text) => HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text),
        Err(error) => {
            log::error!("the metrics cannot be written: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}

async fn routes(health: web::Data<Health>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(health.current.get().effective())
}

fn readiness(route: &Route, now: SystemTime) -> RouteReadiness<'_> {
    let status = route.signing.as_ref().map(|signing| signing.credentials.status(now));
    RouteReadiness {
        id: &route.id,
        ready: status.as_ref().is_none_or(|status| matches!(status.state, State::Ready(_))),
        credentials: status.map(|status| status.to_string()),
    }
}
