//! The threads that serve clients. Each has its own runtime, its own handles to the sockets (`sockets.rs`) and its own
//! connections to AWS; a request stays on the thread that accepted its connection.
//!
//! `app.rs` starts and ends them; each runs `accept.rs` for every socket. A worker that panics starts again with
//! handles to the same sockets; clients that connect meanwhile are served by others, or wait.

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
    accept::{Door, accept},
    date::Dated,
    server::Server,
    sockets::{Handles, Sockets},
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
        supervision::{Started, Task, run_on_runtime, supervise, supervise_thread},
    },
};

/// Time for requests that are aborted to send their last bytes: what was received of an answer, or a 504.
const ABORT_LIMIT: Duration = Duration::from_millis(500);

/// The threads. They end at once when this is dropped.
#[derive(Debug)]
pub struct Workers {
    parts: WorkerParts,
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    handle: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<()>,
}

/// What every worker is made of.
#[derive(Debug, Clone)]
struct WorkerParts {
    current: Arc<Current>,
    stopping: Arc<AtomicBool>,
    via: Via,
    sockets: Handles,
    drain: CancellationToken,
    /// The end comes by a second signal.
    is_cut_short: Arc<AtomicBool>,
    end: CancellationToken,
}

impl Workers {
    /// Starts this many, and returns once they serve.
    ///
    /// # Errors
    /// The system gives no thread or no file handle.
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
            sockets: sockets.handles(),
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
            started.threads.push(Thread { handle: Some(handle), ended });
            beginnings.push(beginning);
        }
        for beginning in beginnings {
            beginning.recv().unwrap_or_else(|_| Err(io::Error::other("worker thread panicked")))?;
        }
        Ok(started)
    }

    /// What makes them accept no more and finish what is in flight.
    pub fn drain(&self) -> CancellationToken {
        self.parts.drain.clone()
    }

    /// Ends them at once because of a second signal.
    pub fn cut_short(self) {
        self.parts.is_cut_short.store(true, Ordering::Relaxed);
    }

    /// Waits until all of them have ended.
    pub async fn ended(&mut self) {
        for thread in &mut self.threads {
            // a dropped sender says the same
            let _ = (&mut thread.ended).await;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.parts.end.cancel();
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // one that waits to start again need not
                handle.thread().unpark();
                let _ = handle.join();
            }
        }
    }
}

/// One worker, until it has drained, or until its end: what is in flight then is aborted.
async fn serve(parts: &WorkerParts, serves: &mut Option<Started>) -> io::Result<()> {
    let draining = Draining::default();
    let mut loops = accept_all(parts, &draining)?;
    if let Some(serves) = serves.take() {
        let _ = serves.send(Ok(()));
    }
    let mut serving = pin!(async {
        tokio::select! {
            () = parts.drain.cancelled() => draining.begin(),
            // a loop ends before the drain only because it cannot go on
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
    timeout(ABORT_LIMIT, serving).await.unwrap_or(Ok(()))
}

/// The result of a loop. The hook has logged a panic, whose message is left out here: it may quote a client.
fn result_of(ended: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    ended.unwrap_or_else(|_| Err(io::Error::other("accept loop panicked")))
}

/// Starts a loop for every socket, around what all requests of this thread share.
fn accept_all(parts: &WorkerParts, draining: &Draining) -> io::Result<JoinSet<io::Result<()>>> {
    let WorkerParts { current, stopping, via, sockets, .. } = parts;
    let (metrics, room) = {
        let snapshot = current.get();
        (Arc::clone(&snapshot.metrics), Arc::clone(&snapshot.upstream_connections))
    };
    let client = Rc::new(Client::new(room, Arc::clone(&metrics)));
    let memory = BodyMemory::default();
    let dated = Rc::<Dated>::default();
    look_after(memory.clone(), Rc::clone(&dated));
    let turned_away = Rc::new(Cell::new(0));
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
            forwarded_port: listening.listener.port().into(),
        });
        let server = Rc::new(Server {
            dated: Rc::clone(&dated),
            worker,
            turned_away: Rc::clone(&turned_away),
            draining: draining.clone(),
        });
        loops.spawn_local(accept(server, Door::open(listening)?));
    }
    Ok(loops)
}

/// Starts the tasks of a worker that end with its thread.
fn look_after(memory: BodyMemory, dated: Rc<Dated>) {
    drop(spawn_local(
        async move { supervise(Task::Worker, async || memory.clone().free_idle().await).await },
    ));
    drop(spawn_local(async move { supervise(Task::Worker, async || dated.follow_clock().await).await }));
}
