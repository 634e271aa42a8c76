//! The threads that serve clients. Each has its own runtime, its own handles to the sockets (`sockets.rs`) and its own
//! connections to AWS; a request stays on the thread that accepted its connection.
//!
//! `app.rs` starts and ends them; each runs `accept.rs` for every socket.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    thread::JoinHandle,
};

use actix_http::ServiceConfig;
use tokio::{
    runtime::{self, LocalOptions},
    sync::oneshot,
    task::{JoinSet, spawn_local},
};
use tokio_util::sync::CancellationToken;

use super::{
    accept::accept,
    draining::Draining,
    server::Server,
    sockets::{Listening, Sockets},
};
use crate::{
    client::Client,
    proxy::{Worker, body_memory::BodyMemory, via::Via},
    snapshot::Current,
};

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
                    let result = runtime.block_on(async {
                        tokio::select! {
                            result = serve(parts, sockets) => result,
                            () = end.cancelled() => Ok(()),
                        }
                    });
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

/// One worker, until it has drained.
async fn serve(parts: Parts, sockets: Vec<Listening>) -> io::Result<()> {
    let Parts { current, stopping, via, drain } = parts;
    let (metrics, room) = {
        let snapshot = current.get();
        (Arc::clone(&snapshot.metrics), Arc::clone(&snapshot.upstream_room))
    };
    let client = Client::within(room, Arc::clone(&metrics));
    let memory = BodyMemory::default();
    // ends with the thread
    drop(spawn_local(memory.clone().tidy()));
    let worker = Rc::new(Worker { current, metrics, client, memory, stopping, via });
    let draining = Draining::default();
    let server = Rc::new(Server {
        config: ServiceConfig::default(),
        worker,
        turned_away: Cell::new(0),
        draining: draining.clone(),
    });
    let mut loops = JoinSet::new();
    for listening in sockets {
        loops.spawn_local(accept(Rc::clone(&server), listening));
    }
    tokio::select! {
        () = drain.cancelled() => draining.begin(),
        // a loop ends before the drain only because it cannot go on
        Some(ended) = loops.join_next() => ended.map_err(io::Error::other)??,
    }
    while let Some(ended) = loops.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}
