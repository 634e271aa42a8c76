//! The worker threads that serve clients. Each has its own runtime, its own handles to the sockets
//! (`sockets.rs`) and its own connections to AWS; a request stays on the thread that accepted its connection.
//!
//! `app.rs` starts and stops them; each runs `accept.rs` for every socket. A worker that panics restarts with
//! handles to the same sockets; clients that connect meanwhile are served by other workers, or wait.

use std::{
    cell::Cell,
    io,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinSet, spawn_local},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Server,
    accept::{Acceptor, accept},
    date::{CHECK_INTERVAL, DateSource},
    sockets::{SocketHandles, Sockets},
};
use crate::{
    client::Client,
    message::{body_pool::BodyMemory, via::Via},
    proxy::{
        Worker,
        draining::{Abort, Draining},
    },
    state::current::Current,
    system::{
        fault_points,
        supervision::{StartReport, Task, run_on_runtime, supervise, supervise_thread},
    },
};

/// Time for aborted requests to send their last bytes: what was received of a response, or a 504.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);

/// The worker threads. Dropping this aborts them.
#[derive(Debug)]
pub struct Workers {
    parts: WorkerParts,
    threads: Vec<WorkerThread>,
}

#[derive(Debug)]
struct WorkerThread {
    handle: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

/// State that all workers share.
#[derive(Debug, Clone)]
struct WorkerParts {
    current: Arc<Current>,
    stopping: Arc<AtomicBool>,
    via: Via,
    sockets: SocketHandles,
    drain: CancellationToken,
    /// A second signal aborts them.
    is_cut_short: Arc<AtomicBool>,
    end: CancellationToken,
}

impl Workers {
    /// Starts this number of workers, and returns once they serve.
    ///
    /// # Errors
    /// No thread can be started, or no more files can be opened.
    pub fn start(
        sockets: &Sockets,
        workers: u16,
        current: &Arc<Current>,
        stopping: &Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let parts = WorkerParts {
            current: Arc::clone(current),
            stopping: Arc::clone(stopping),
            via: Via::numbered(fastrand::u64(..)),
            sockets: sockets.handles.clone(),
            drain: CancellationToken::new(),
            is_cut_short: Arc::default(),
            end: CancellationToken::new(),
        };
        let mut started = Self { parts, threads: Vec::new() };
        let mut beginnings = Vec::new();
        for number in 0..workers {
            let parts = started.parts.clone();
            let (serves, beginning) = mpsc::channel();
            let (has_ended, ended) = oneshot::channel();
            let run = move || {
                let mut serves = Some(serves);
                let is_over = || parts.drain.is_cancelled() || parts.end.is_cancelled();
                supervise_thread(Task::Worker, is_over, || {
                    run_on_runtime(&parts.end, serves.take(), async |serves| serve(&parts, serves).await)
                });
                let _ = has_ended.send(());
            };
            let handle = std::thread::Builder::new().name(format!("worker-{number}")).spawn(run)?;
            started.threads.push(WorkerThread { handle, ended });
            beginnings.push(beginning);
        }
        for beginning in beginnings {
            beginning.recv().unwrap_or_else(|_| Err(io::Error::other("worker thread panicked")))?;
        }
        Ok(started)
    }

    /// The token that makes them stop accepting and finish the requests in flight.
    pub fn drain(&self) -> CancellationToken {
        self.parts.drain.clone()
    }

    /// Aborts them because of a second signal.
    pub fn cut_short(self) {
        self.parts.is_cut_short.store(true, Ordering::Relaxed);
    }

    /// Resolves when all of them have ended.
    pub async fn ended(&mut self) {
        for thread in &mut self.threads {
            // a dropped sender means the same
            let _ = (&mut thread.ended).await;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.parts.end.cancel();
        for WorkerThread { handle, .. } in self.threads.drain(..) {
            // wakes one that waits for its restart
            handle.thread().unpark();
            let _ = handle.join();
        }
    }
}

/// Runs one worker until it has drained. When `parts.end` is cancelled, requests in flight are aborted.
async fn serve(parts: &WorkerParts, serves: &mut Option<StartReport>) -> io::Result<()> {
    let draining = Draining::default();
    let mut loops = accept_all(parts, &draining)?;
    if let Some(serves) = serves.take() {
        let _ = serves.send(Ok(()));
    }
    let mut serving = pin!(async {
        tokio::select! {
            () = parts.drain.cancelled() => draining.begin(),
            // before the drain a loop ends only by a panic
            Some(ended) = loops.join_next() => result_of(ended)?,
            () = fault_points::wait("worker") => {}
        }
        while let Some(ended) = loops.join_next().await {
            result_of(ended)?;
        }
        Ok(())
    });
    tokio::select! {
        result = serving.as_mut() => return result,
        () = parts.end.cancelled() => {}
    }
    let is_cut_short = parts.is_cut_short.load(Ordering::Relaxed);
    draining.abort(if is_cut_short { Abort::SecondSignal } else { Abort::DrainOver });
    timeout(ABORT_TIMEOUT, serving).await.unwrap_or(Ok(()))
}

/// The result of a loop. The panic's message is left out, since it may quote a client; the hook has logged
/// its place.
fn result_of(ended: Result<(), JoinError>) -> io::Result<()> {
    ended.map_err(|_| io::Error::other("accept loop panicked"))
}

/// Starts an accept loop for every socket, with the state that all requests of this thread share.
fn accept_all(parts: &WorkerParts, draining: &Draining) -> io::Result<JoinSet<()>> {
    let WorkerParts { current, stopping, via, sockets, .. } = parts;
    let (metrics, room) = {
        let snapshot = current.get();
        (Arc::clone(&snapshot.metrics), Arc::clone(&snapshot.upstream_connections))
    };
    let client = Rc::new(Client::new(room, Arc::clone(&metrics)));
    let memory = BodyMemory::default();
    let date_source = Rc::<DateSource>::default();
    spawn_tasks(memory.clone(), Rc::clone(&date_source));
    let refusing = Rc::new(Cell::new(0));
    let mut loops = JoinSet::new();
    for listening in sockets.share()? {
        let worker = Rc::new(Worker {
            current: Arc::clone(current),
            metrics: Arc::clone(&metrics),
            client: Rc::clone(&client),
            memory: memory.clone(),
            stopping: Arc::clone(stopping),
            draining: draining.clone(),
            via: via.clone(),
            forwarded_port: listening.port().into(),
            trusted_ips: Arc::clone(&listening.trusted_ips),
        });
        let server = Rc::new(Server {
            worker,
            proxy_protocol: listening.proxy_protocol,
            date_source: Rc::clone(&date_source),
            refusing: Rc::clone(&refusing),
        });
        loops.spawn_local(accept(server, Acceptor::new(listening)?));
    }
    Ok(loops)
}

/// Starts the tasks of a worker that end with its thread.
fn spawn_tasks(memory: BodyMemory, date_source: Rc<DateSource>) {
    drop(spawn_local(
        async move { supervise(Task::Worker, async || memory.clone().free_idle().await).await },
    ));
    drop(spawn_local(async move {
        supervise(Task::Worker, async || date_source.follow_clock(CHECK_INTERVAL).await).await;
    }));
}
