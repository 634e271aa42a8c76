//! The admin port, on a thread of its own so that busy workers never delay a probe.
//!
//! - `GET /`: the status page, as HTML, JSON or text; its files are below `/pages/`.
//! - `GET /inspect`: the inspector, if `admin.inspect` is set (`admin/inspect.rs`).
//! - `GET /live`: 200 while the process runs.
//! - `GET /ready`: 200 if every route has credentials and the secrets of its settings, and the process is not
//!   stopping, otherwise 503; with the reasons.
//! - `GET /metrics`: the page for Prometheus.
//! - `GET /routes`: the settings of each route, without secrets.
//!
//! Pages that grow with the number of routes are rendered on another thread, so that `/live` never waits for
//! them. `admin/connections.rs` keeps room for probes, and `admin/host_check.rs` refuses pages to foreign
//! hosts.

mod certificates;
mod connections;
mod credentials;
mod exposition;
mod families;
mod host_check;
mod inspect;
mod pages;
mod process;
mod source;
mod status;

use std::{
    io,
    net::TcpListener,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use actix_http::{HttpService, KeepAlive};
use actix_service::{
    IntoServiceFactory as _, Service as _, ServiceFactory as _, ServiceFactoryExt as _, map_config,
};
use actix_web::{App, HttpRequest, HttpResponse, dev::AppConfig, web};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::status::{SocketNames, StartTime};
use self::{
    connections::{Usage, WatchedConnection},
    pages::View,
    source::SourceStatus,
    status::Status,
};
use crate::{
    credentials::CredentialState,
    listener::date,
    routing::HostPattern,
    state::{current::Current, inspector::Inspector, snapshot::Route},
    system::{
        fault_points,
        supervision::{StartReport, Task, blocking, run_on_runtime, supervise_thread},
    },
};

/// The state that the pages show.
#[derive(Debug)]
pub struct Health {
    /// The snapshot in use.
    pub current: Arc<Current>,
    /// True after SIGTERM.
    pub stopping: Arc<AtomicBool>,
    /// The hosts of `admin.hosts`.
    pub hosts: Vec<HostPattern>,
    /// The recorded requests, if `admin.inspect` is set.
    pub inspector: Option<Arc<Inspector>>,
    pub sockets: SocketNames,
    pub started: StartTime,
}

/// The running admin port; dropping it stops the port.
#[derive(Debug)]
pub struct Admin {
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Locks that let one page of each kind be rendered at a time, so that concurrent scrapes do not use all of
/// the CPU.
#[derive(Debug)]
struct PageLocks {
    ready: Semaphore,
    others: Semaphore,
}

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
    /// The mistakes of changed settings, one line each, while the old ones stay in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<String>,
    /// The source of the settings, which may fail while the process is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceStatus>,
    /// Changed routes whose former version stays in use until a secret has been fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RouteReadiness<'a> {
    id: &'a str,
    ready: bool,
    /// The credential source of a signing route and its state, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<String>,
    /// The secrets for which the route waits, with the reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
}

impl Admin {
    /// Serves from `listener`.
    ///
    /// # Errors
    /// A thread cannot be started, or the socket cannot be used.
    pub fn start(listener: TcpListener, health: Health) -> io::Result<Self> {
        let (serves, beginning) = mpsc::channel();
        let end = CancellationToken::new();
        let thread = std::thread::Builder::new().name(Task::Admin.name().to_owned()).spawn({
            let end = end.clone();
            move || {
                let health = Arc::new(health);
                let mut serves = Some(serves);
                let is_over = || end.is_cancelled();
                supervise_thread(Task::Admin, is_over, || {
                    run_on_runtime(&end, serves.take(), async |serves| {
                        serve_until(&end, &listener, &health, serves).await
                    })
                });
            }
        })?;
        let admin = Self { end, thread: Some(thread) };
        beginning.recv().unwrap_or_else(|_| Err(io::Error::other("the admin port panicked")))?;
        Ok(admin)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            // a thread that waits for a restart is not restarted
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// One run of the port. Signals `serves` when it is ready.
async fn serve_until(
    end: &CancellationToken,
    listener: &TcpListener,
    health: &Arc<Health>,
    serves: &mut Option<StartReport>,
) -> io::Result<()> {
    tokio::select! {
        result = serve(listener, Arc::clone(health), serves) => result,
        () = end.cancelled() => Ok(()),
    }
}

async fn serve(
    listener: &TcpListener,
    health: Arc<Health>,
    serves: &mut Option<StartReport>,
) -> io::Result<()> {
    let current = Arc::clone(&health.current);
    let most = move || usize::try_from(current.get().capacity.admin_connections).unwrap_or(usize::MAX);
    let registry = web::Data::new(exposition::registry(&health.current).map_err(io::Error::other)?);
    let hosts = health.hosts.clone();
    let inspector = inspect::configure(health.inspector.clone());
    let health = web::Data::from(health);
    let locks = web::Data::new(PageLocks { ready: Semaphore::new(1), others: Semaphore::new(1) });
    let app = App::new()
        .app_data(health)
        .app_data(locks)
        .app_data(registry)
        .wrap_fn(move |request, pages| {
            let making = request.conn_data::<Rc<Usage>>().map(Usage::make);
            let refusal = host_check::refusal(&request, &hosts);
            let answer = match refusal {
                Some(refusal) => Err(request.into_response(refusal)),
                None => Ok(pages.call(request)),
            };
            async move {
                let _making = making;
                match answer {
                    Ok(answer) => answer.await,
                    Err(refused) => Ok(refused),
                }
            }
        })
        .configure(inspector)
        .configure(resources)
        .into_factory()
        .map_err(|error: actix_web::Error| error.error_response());
    // `connections.rs` has the time limits
    let pages = HttpService::<WatchedConnection, _, _>::build()
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .on_connect_ext(|connection: &WatchedConnection, data| drop(data.insert(connection.usage())))
        .h1(map_config(app, |()| AppConfig::default()))
        .new_service(())
        .await
        .map_err(|()| io::Error::other("cannot create its HTTP service"))?;
    let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    if let Some(serves) = serves.take() {
        let _ = serves.send(Ok(()));
    }
    tokio::select! {
        () = connections::serve(listener, most, pages) => Ok(()),
        () = date::has_stopped() => {
            Err(io::Error::other("the Date header of its responses has stopped (was the clock before 1970?)"))
        }
    }
}

/// Adds all pages but the inspector's.
fn resources(services: &mut web::ServiceConfig) {
    services
        .service(web::resource("/").route(web::get().to(status_page)).route(web::head().to(status_page)))
        .service(web::resource("/pages/{name}").route(web::get().to(pages::file)))
        .service(web::resource("/live").route(web::get().to(live)).route(web::head().to(live)))
        .service(web::resource("/ready").route(web::get().to(ready)).route(web::head().to(ready)))
        .service(web::resource("/metrics").route(web::get().to(metrics)).route(web::head().to(metrics)))
        .service(web::resource("/routes").route(web::get().to(routes)).route(web::head().to(routes)));
}

async fn status_page(
    request: HttpRequest,
    health: web::Data<Health>,
    locks: web::Data<PageLocks>,
) -> HttpResponse {
    let view = View::of(&request);
    if view == View::Html {
        return pages::html(pages::STATUS);
    }
    let _turn = locks.others.acquire().await;
    let text = blocking(move || {
        let status = Status::of(&health);
        if view == View::Json { serde_json::to_string(&status) } else { Ok(status::text(&status)) }
    });
    match text.await {
        Ok(text) if view == View::Json => pages::json(text),
        Ok(text) => pages::text(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "live": true }))
}

async fn ready(health: web::Data<Health>, locks: web::Data<PageLocks>) -> HttpResponse {
    let _turn = locks.ready.acquire().await;
    let (is_ready, body) = blocking(move || {
        fault_points::pass("admin-page");
        health.readiness()
    })
    .await;
    let Ok(body) = body else { return HttpResponse::InternalServerError().finish() };
    let mut answer = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.content_type("application/json").body(body)
}

impl Health {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The readiness of the process, and the page of `/ready`.
    fn readiness(&self) -> (bool, serde_json::Result<String>) {
        let now = SystemTime::now();
        let snapshot = self.current.get();
        let routes: Vec<RouteReadiness<'_>> =
            snapshot.routes.routes().iter().map(|route| readiness(route, now)).collect();
        let stopping = self.is_stopping();
        let ready = !stopping && routes.iter().all(|route| route.ready);
        let rejection = snapshot.metrics.reloads.rejection().unwrap_or_default();
        let rejected = rejection.lines().map(str::to_owned).collect();
        let source = SourceStatus::of(&snapshot.metrics, now);
        let kept = snapshot.kept_routes();
        let settings = SettingsReadiness { generation: snapshot.generation, rejected, source, kept };
        (ready, serde_json::to_string(&Readiness { ready, stopping, settings, routes }))
    }
}

async fn metrics(registry: web::Data<Registry>, locks: web::Data<PageLocks>) -> HttpResponse {
    let _turn = locks.others.acquire().await;
    let text = blocking(move || TextEncoder::new().encode_to_string(&registry.gather()));
    match text.await {
        Ok(text) => HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text),
        Err(error) => {
            log::error!("cannot render the metrics: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}

async fn routes(health: web::Data<Health>, locks: web::Data<PageLocks>) -> HttpResponse {
    let _turn = locks.others.acquire().await;
    let text = blocking(move || health.current.get().effective()).await;
    pages::json(text)
}

fn readiness(route: &Route, now: SystemTime) -> RouteReadiness<'_> {
    let source = route.signing.as_ref().and_then(|signing| signing.credentials.as_ref());
    let status = source.map(|source| source.status(now));
    let waiting = route.waiting.as_ref().map(ToString::to_string);
    RouteReadiness {
        id: &route.id,
        ready: waiting.is_none()
            && status.as_ref().is_none_or(|status| matches!(status.state, CredentialState::Ready(_))),
        credentials: status.map(|status| status.to_string()),
        waiting,
    }
}
