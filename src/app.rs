//! The application: built from settings with its socket bound, then run until it is told to stop.

use std::{
    fmt,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    admin::{self, Admin, Health},
    credentials::Keeper,
    listener,
    settings::{Settings, Shutdown},
    snapshot::{RouteError, Snapshot},
};

/// A sidecar that is ready to run.
#[derive(Debug)]
pub struct Application {
    settings: Settings,
    snapshot: Arc<Snapshot>,
    listener: TcpListener,
    address: SocketAddr,
    admin: TcpListener,
    admin_address: SocketAddr,
    keeper: Keeper,
}

/// Why the sidecar could not start.
#[derive(Debug)]
pub enum StartError {
    /// A socket cannot be had.
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The thread that keeps credentials fresh cannot be had.
    Credentials(io::Error),
    /// A route cannot be served.
    Route(RouteError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Credentials(error) => write!(f, "no thread for credentials: {error}"),
            Self::Route(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl Application {
    /// Builds the routes and binds the socket; nothing is served yet.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub fn build(settings: Settings) -> Result<Self, StartError> {
        let keeper = Keeper::start().map_err(StartError::Credentials)?;
        let snapshot = Snapshot::build(&settings, &keeper).map_err(StartError::Route)?;
        let (listener, address) = bound(settings.listen.http, listener::bind)?;
        let (admin, admin_address) = bound(settings.admin.address, admin::bind)?;
        let snapshot = Arc::new(snapshot);
        Ok(Self { settings, snapshot, listener, address, admin, admin_address, keeper })
    }

    /// Where clients connect, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where people and probes come.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The snapshot that requests are served with.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Serves until `stop` resolves, then for `shutdown.delay` longer, and ends when the requests in flight
    /// have been answered or `shutdown.drain` is over. If `stop_at_once` resolves, it ends right there.
    ///
    /// # Errors
    /// The server cannot run.
    pub async fn run(
        self,
        stop: impl Future<Output = ()> + 'static,
        stop_at_once: impl Future<Output = ()> + 'static,
    ) -> io::Result<()> {
        let Shutdown { delay, drain } = self.settings.shutdown.clone();
        let stopping = Arc::new(AtomicBool::new(false));
        let snapshot = Arc::clone(&self.snapshot);
        let health = Health { snapshot: Arc::clone(&snapshot), stopping: Arc::clone(&stopping) };
        let admin = Admin::start(self.admin, health)?;
        let server = listener::serve(self.listener, &self.settings, self.snapshot, Arc::clone(&stopping))?;
        let handle = server.handle();
        let stopper = actix_rt::spawn(async move {
            stop.await;
            log::info!("stopping: requests in flight are finished first");
            // from now on every answer is the last of its connection
            stopping.store(true, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
            let end_of_drain = actix_rt::spawn(async move {
                tokio::time::sleep(drain).await;
                match snapshot.admission.in_flight() {
                    0 => {}
                    cut => log::warn!("the drain is over, requests that are cut: {cut}"),
                }
            });
            handle.stop(true).await;
            end_of_drain.abort();
        });
        // the server heeds no second command while it drains, so it is left behind with the process
        let result = tokio::select! {
            result = server => result,
            () = stop_at_once => {
                log::warn!("stopping at once");
                Ok(())
            }
        };
        stopper.abort();
        drop(admin);
        // until here: requests in flight may still need fresh keys
        drop(self.keeper);
        result
    }
}

/// A bound socket and its address, with the port that the system chose for port 0.
fn bound(
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<TcpListener>,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { address, error };
    let listener = bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
