//! The application: builds the state from settings, binds the sockets, serves, and shuts down gracefully.

pub(crate) mod process;
mod proxies;

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Admin, Health, SocketNames, StartTime},
    credentials::RefresherPool,
    listener::{
        sockets::{self, BindError, Sockets},
        worker::Workers,
    },
    metrics::Metrics,
    settings::{Settings, Shutdown},
    state::{
        builder::{BuildError, SnapshotBuilder},
        certificates,
        current::Current,
        open_files::OpenFiles,
        reload::{Reloader, SettingsOrigin},
    },
    system::{
        service_manager,
        supervision::{Task, supervise},
    },
};

/// A sidecar with bound sockets that does not serve yet.
#[derive(Debug)]
pub struct Application {
    settings: Settings,
    current: Arc<Current>,
    builder: SnapshotBuilder,
    origin: Option<SettingsOrigin>,
    sockets: Sockets,
    admin: TcpListener,
    admin_address: SocketAddr,
    started: StartTime,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Listen(BindError),
    #[error("cannot start the thread for credentials: {0}")]
    Credentials(io::Error),
    #[error("{0}")]
    Build(BuildError),
}

impl Application {
    /// Builds the routes and binds the sockets, without a limit of open files.
    ///
    /// # Errors
    /// A thread cannot be started, a route cannot be built, or a socket cannot be bound.
    pub fn build(settings: Settings) -> Result<Self, StartError> {
        Self::build_within(OpenFiles::unlimited(), settings)
    }

    /// Builds the routes and binds the sockets, within a limit of open files.
    ///
    /// # Errors
    /// A thread cannot be started, a route cannot be built, or a socket cannot be bound.
    pub fn build_within(files: OpenFiles, settings: Settings) -> Result<Self, StartError> {
        let metrics = Metrics::new();
        let pool = RefresherPool::start().map_err(StartError::Credentials)?;
        let mut builder = SnapshotBuilder::new(pool, metrics, files);
        let snapshot = builder.build(&settings).map_err(StartError::Build)?;
        let sockets = Sockets::bind(&settings.listen).map_err(StartError::Listen)?;
        let admin = sockets::tcp(settings.admin.address, "admin.address").map_err(StartError::Listen);
        let (admin, admin_address) = admin?;
        let current = Arc::new(Current::new(snapshot));
        let started = StartTime::now();
        Ok(Self { settings, current, builder, origin: None, sockets, admin, admin_address, started })
    }

    /// Reloads the settings from their origin while the application runs.
    #[must_use]
    pub fn following(mut self, origin: SettingsOrigin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The address of `listen.http`, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.sockets.http
    }

    /// The address of `listen.https`.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.sockets.https
    }

    pub fn unix_socket(&self) -> Option<&Path> {
        self.sockets.unix.as_deref()
    }

    /// The address of the admin port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Lets the inspector send requests again to `listen.http`, for `dev`.
    pub fn allow_sending_again(&self) {
        if let Some(inspection) = &self.current.get().inspection {
            inspection.inspector.allow_sending_again(self.sockets.http);
        }
    }

    /// The current snapshot.
    pub fn current(&self) -> &Arc<Current> {
        &self.current
    }

    /// The state that the admin port shows.
    fn health(&self, stopping: &Arc<AtomicBool>) -> Health {
        Health {
            current: Arc::clone(&self.current),
            stopping: Arc::clone(stopping),
            hosts: self.settings.admin.hosts.clone(),
            inspector: self.current.get().inspection.as_ref().map(|own| Arc::clone(&own.inspector)),
            sockets: SocketNames {
                http: self.sockets.http,
                https: self.sockets.https,
                unix: self.sockets.unix.clone(),
                admin: self.admin_address,
            },
            started: self.started,
        }
    }

    /// Serves until `stop` resolves and `shutdown.delay` has passed, then drains until the requests in flight
    /// are done or `shutdown.drain` has passed. `stop_at_once` aborts them.
    ///
    /// # Errors
    /// A thread cannot be started, or a socket cannot be used.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        stop_at_once: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut stop_at_once = pin!(stop_at_once);
        let stopping = Arc::new(AtomicBool::new(false));
        let health = self.health(&stopping);
        let admin = Admin::start(self.admin, health)?;
        let (interval, workers) = (self.settings.reload.interval, self.settings.workers);
        let mut follower = Follower::of(self.origin, self.builder, &self.current, self.settings);
        let mut stop = pin!(stop);
        let is_stopped = follower.fetch_first_secrets(stop.as_mut()).await;
        let stop = async move {
            if !is_stopped {
                stop.await;
            }
        };
        let mut workers = Workers::start(&self.sockets, workers, &self.current, &stopping)?;
        service_manager::ready();
        let mut reloading = pin!(follower.follow());
        let mut certificates = pin!(follow_certificates(&self.sockets, &self.current, interval));
        let draining = workers.drain();
        let mut is_cut_short = false;
        tokio::select! {
            () = workers.ended() => {}
            () = drain(stop, &self.current, &stopping, &self.sockets, &draining) => {
                let in_flight = self.current.get().admission.in_flight();
                let cut = process::counted(in_flight as usize, "request");
                log::warn!("drain timeout reached, aborting {cut}");
            }
            () = &mut stop_at_once => {
                log::warn!("second signal, aborting requests in flight");
                is_cut_short = true;
            }
            () = &mut certificates => {}
            () = &mut reloading => {}
        }
        // without a drain the sockets are still open
        self.sockets.release();
        // before the credential refresher ends, because requests in flight may still need credentials
        if is_cut_short {
            workers.cut_short();
        } else {
            drop(workers);
        }
        if let Some(spans) = self.current.get().spans.clone() {
            tokio::select! {
                () = spans.finish() => {}
                () = &mut stop_at_once => {}
            }
        }
        drop(admin);
        Ok(())
    }
}

/// Waits for `stop`, closes the sockets after `shutdown.delay`, and gives the workers `shutdown.drain` to
/// finish.
async fn drain(
    stop: impl Future<Output = ()>,
    current: &Current,
    stopping: &AtomicBool,
    sockets: &Sockets,
    draining: &CancellationToken,
) {
    stop.await;
    let Shutdown { delay, drain } = current.get().shutdown.clone();
    log::info!("shutting down, draining requests in flight");
    service_manager::stopping();
    // every response now closes its connection
    stopping.store(true, Ordering::Relaxed);
    tokio::time::sleep(delay).await;
    // the workers now have the only handles, so that a socket closes with them
    sockets.release();
    draining.cancel();
    tokio::time::sleep(drain).await;
}

/// Reloads changed certificates of `listen.https` and watches the expiry of presented certificates; never
/// returns.
async fn follow_certificates(sockets: &Sockets, current: &Arc<Current>, interval: Duration) {
    let watch = certificates::CertificateWatch::new(current, sockets.tls.clone());
    tokio::join!(
        supervise(Task::Certificates, async || sockets.follow_certificates(interval).await),
        supervise(Task::Certificates, async || watch.watch(interval).await),
    );
}

/// Keeps the builder alive, and reloads the settings if they have an origin.
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Follower {
    Reloading(Reloader),
    Fixed { _builder: SnapshotBuilder },
}

impl Follower {
    fn of(
        origin: Option<SettingsOrigin>,
        builder: SnapshotBuilder,
        current: &Arc<Current>,
        settings: Settings,
    ) -> Self {
        match origin {
            Some(origin) => Self::Reloading(Reloader::new(origin, builder, Arc::clone(current), settings)),
            None => Self::Fixed { _builder: builder },
        }
    }

    /// Waits for the secrets in AWS that the settings name, but not for long. True if `stop` has resolved.
    async fn fetch_first_secrets(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> bool {
        let Self::Reloading(reloader) = self else { return false };
        tokio::select! {
            () = stop => true,
            () = reloader.fetch_first_secrets() => false,
        }
    }

    /// Reloads the settings; never returns.
    async fn follow(&mut self) {
        match self {
            Self::Reloading(reloader) => supervise(Task::Reload, async || reloader.run().await).await,
            Self::Fixed { .. } => std::future::pending().await,
        }
    }
}
