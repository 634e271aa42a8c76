//! The threads that serve clients. Each has its own runtime, its own handles to the sockets (`sockets.rs`) and its own
//! connections to AWS; a request stays on the thread that accepted its connection.
//!
//! `app.rs` starts and ends them; each runs `accept.rs` for every socket.

use std::{
    cell::Cell,
    io,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    thread::JoinHandle,
    time::Duration,
};

use actix_http::ServiceConfig;
use tokio::{
    runtime::{self, LocalOptions},
    sync::oneshot,
    task::{JoinSet, spawn_local},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    accept::accept,
    server::Server,
    sockets::{Listening, Sockets},
};
use crate::{
    client::Client,
    proxy::{Worker, body_memory::BodyMemory, draining::Draining, via::Via},
    snapshot::Current,
};

/// Time for requests that are aborted to send their last bytes: what was received of an answer, or a 504.
const ABORT_LIMIT: Duration = Duration::from_millis(500);

/// The threads. They end at once when this is dropped.
#[derive(Debug)]
pub struct Workers {
    drain: CancellationToken,
    end: CancellationToken,
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    handle: Option<JoinHandle<()>>,
    result: oneshot::Receiver<io::Result<()>>,
}

/// What every worker is made of.
#[derive(Debug, Clone)]
struct Parts {
    current: Arc<Current>,
    stopping: Arc<AtomicBool>,
    via: Via,
    drain: CancellationToken,
}

impl Workers {
    /// Starts this many.
    ///
    /// # Errors
    /// The system gives no thread or no file handle.
    pub fn start(
        sockets: &Sockets,
        workers: u16,
        current: &Arc<Current>,
        stopping: &Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let mut started =
            Self { drain: CancellationToken::new(), end: CancellationToken::new(), threads: Vec::new() };
        let parts = Parts {
            current: Arc::clone(current),
            stopping: Arc::clone(stopping),
            via: Via::numbered(fastrand::u64(..)),
            drain: started.drain.clone(),
        };
        for number in 0..workers {
            let (parts, sockets, end) = (parts.clone(), sockets.share()?, started.end.clone());
            let (sender, result) = oneshot::channel();
            let run = move || {
                let runtime =
                    runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                let result = runtime.and_then(|runtime| {
                    let result = runtime.block_on(serve(parts, sockets, end));
                    // a name that is being resolved must not hold up the end
                    runtime.shutdown_background();
                    result
                });
                let _ = sender.send(result);
            };
            let handle = std::thread::Builder::new().name(format!("worker-{number}")).spawn(run)?;
            started.threads.push(Thread { handle: Some(handle), result });
        }
        Ok(started)
    }

    /// What makes them accept no more and finish what is in flight.
    pub fn drain(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Waits until all of them have ended.
    ///
    /// # Errors
    /// One of them cannot serve.
    pub async fn ended(&mut self) -> io::Result<()> {
        for thread in &mut self.threads {
            (&mut thread.result).await.unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))?;
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end.cancel();
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                let _ = handle.join();
            }
        }
    }
}

/// One worker, until it has drained, or until `end`: what is in flight then is aborted.
async fn serve(parts: Parts, sockets: Vec<Listening>, end: CancellationToken) -> io::Result<()> {
    let Parts { current, stopping, via, drain } = parts;
    let (metrics, room) = {
        let snapshot = current.get();
        (Arc::clone(&snapshot.metrics), Arc::clone(&snapshot.upstream_room))
    };
    let client = Rc::new(Client::within(room, Arc::clone(&metrics)));
    let memory = BodyMemory::default();
    // ends with the thread
    drop(spawn_local(memory.clone().tidy()));
    let draining = Draining::default();
    let turned_away = Rc::new(Cell::new(0));
    let mut loops = JoinSet::new();
    for listening in sockets {
        let worker = Rc::new(Worker {
            current: Arc::clone(&current),
            metrics: Arc::clone(&metrics),
            client: Rc::clone(&client),
            memory: memory.clone(),
            stopping: Arc::clone(&stopping),
            draining: draining.clone(),
            via: via.clone(),
            forwarded_port: listening.listener.port().into(),
        });
        let server = Rc::new(Server {
            config: ServiceConfig::default(),
            worker,
            turned_away: Rc::clone(&turned_away),
            draining: draining.clone(),
        });
        loops.spawn_local(accept(server, listening));
    }
    let mut serving = pin!(async {
        tokio::select! {
            () = drain.cancelled() => draining.begin(),
            // a loop ends before the drain only because it cannot go on
            Some(ended) = loops.join_next() => ended.map_err(io::Error::other)??,
        }
        while let Some(ended) = loops.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    });
    tokio::select! {
        result = serving.as_mut() => return result,
        () = end.cancelled() => {}
    }
    draining.abort();
    timeout(ABORT_LIMIT, serving).await.unwrap_or(Ok(()))
}
