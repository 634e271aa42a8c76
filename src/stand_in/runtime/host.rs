//! The thread of all functions, and the handle that gives them events.

use std::{
    collections::BTreeMap,
    io,
    rc::Rc,
    sync::{Arc, PoisonError, RwLock},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Event, LONGEST_INIT, Outcome, api,
    instance::{Instance, Job, Queue},
    output::LogTail,
    slot::Slot,
    watch, words,
};
use crate::settings::LocalFunction;

/// Pauses before the two retries of an asynchronous call, in place of AWS's one and two minutes.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// A handle of the functions that run on this machine.
#[derive(Debug, Clone)]
pub struct Functions {
    commands: mpsc::UnboundedSender<Command>,
    all: Arc<RwLock<Vec<LocalFunction>>>,
}

#[derive(Debug)]
enum Command {
    Invoke(Job),
    /// The functions that replace those before.
    Replace(Vec<LocalFunction>),
}

/// The thread. Dropping it kills all processes of the functions, and waits until none is left.
#[derive(Debug)]
pub struct FunctionHost {
    functions: Functions,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl FunctionHost {
    /// Starts the thread. A process starts with its first event.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(functions: Vec<LocalFunction>) -> io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let handle = Functions { commands, all: Arc::default() };
        handle.replace(functions);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("functions".into()).spawn(move || {
            actix_rt::System::new().block_on(serve(received, stopped));
        })?;
        Ok(Self { functions: handle, stop, thread: Some(thread) })
    }

    pub fn functions(&self) -> &Functions {
        &self.functions
    }
}

impl Drop for FunctionHost {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Functions {
    /// True if a function of this name runs on this machine.
    pub fn has(&self, name: &str) -> bool {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|function| function.name == name)
    }

    pub fn all(&self) -> Vec<LocalFunction> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces all functions. One that stays the same keeps its processes.
    pub fn replace(&self, functions: Vec<LocalFunction>) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).clone_from(&functions);
        let _ = self.commands.send(Command::Replace(functions));
    }

    /// Runs a function and waits for its answer.
    pub async fn invoke(&self, event: Event) -> Answer {
        let id = event.request_id.clone();
        let (answer, received) = oneshot::channel();
        let _ = self.commands.send(Command::Invoke(Job { event, answer }));
        received.await.unwrap_or_else(|_| {
            let error = words::error(
                "Runtime.ExitError",
                &format!("RequestId: {id} Error: the function was removed or `dev` is ending"),
            );
            Answer { outcome: Outcome::Failed(error), log: Vec::new() }
        })
    }

    /// Runs a function later, with two retries after failures.
    pub fn queue(&self, event: Event) {
        let functions = self.clone();
        actix_rt::spawn(async move { functions.retry(event).await });
    }

    async fn retry(&self, event: Event) {
        let (name, id) = (event.function.clone(), event.request_id.clone());
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match self.invoke(event.clone()).await.outcome {
                Outcome::Returned(_) => return,
                Outcome::Failed(error) => error,
                Outcome::Streamed { mut body, .. } => match end_of(&mut body).await {
                    None => return,
                    Some(error) => error,
                },
            };
            let error = words::sentence(&error);
            let Some(pause) = pauses.next() else {
                log::error!("[{name}] the event {id} failed three times and is dropped: {error}");
                return;
            };
            log::warn!("[{name}] the event {id} failed and is retried in {pause:?}: {error}");
            sleep(pause).await;
        }
    }
}

/// The error at the end of a streamed response.
async fn end_of(body: &mut mpsc::Receiver<super::Piece>) -> Option<actix_web::web::Bytes> {
    while let Some(piece) = body.recv().await {
        if let super::Piece::End(error) = piece {
            return error;
        }
    }
    None
}

/// The instances of one function.
struct Running {
    function: Rc<LocalFunction>,
    queue: Rc<Queue>,
    /// Ends the instances, and with them their processes.
    stop: CancellationToken,
    instances: Vec<tokio::task::JoinHandle<()>>,
    _watch: watch::Watch,
}

async fn serve(mut commands: mpsc::UnboundedReceiver<Command>, stop: CancellationToken) {
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = stop.cancelled() => None,
        };
        match command {
            Some(Command::Invoke(job)) => {
                if let Some(running) = running.get(&job.event.function) {
                    running.queue.push(job);
                }
            }
            Some(Command::Replace(functions)) => replace(&mut running, functions).await,
            None => break,
        }
    }
    replace(&mut running, Vec::new()).await;
}

async fn replace(running: &mut BTreeMap<String, Running>, functions: Vec<LocalFunction>) {
    let is_same = |own: &LocalFunction| functions.iter().any(|function| function == own);
    let gone: Vec<String> = running
        .iter()
        .filter(|(_, running)| !is_same(&running.function))
        .map(|(name, _)| name.clone())
        .collect();
    for name in gone {
        if let Some(Running { stop, instances, .. }) = running.remove(&name) {
            stop.cancel();
            for instance in instances {
                let _ = instance.await;
            }
        }
    }
    for function in functions {
        if running.contains_key(&function.name) {
            continue;
        }
        match start(Rc::new(function)).await {
            Ok(started) => drop(running.insert(started.function.name.clone(), started)),
            Err(error) => log::error!("no Runtime API for a function: {error}"),
        }
    }
}

async fn start(function: Rc<LocalFunction>) -> io::Result<Running> {
    let (queue, stop) = (Rc::new(Queue::default()), CancellationToken::new());
    let mut notified = Vec::new();
    let mut instances = Vec::new();
    for _ in 0..function.concurrency {
        let slot = Rc::new(Slot::default());
        let api = api::serve(Rc::clone(&slot), stop.clone()).await?;
        let change = Rc::new(Notify::new());
        notified.push(Rc::clone(&change));
        let instance = Instance {
            function: Rc::clone(&function),
            queue: Rc::clone(&queue),
            slot,
            api,
            longest_init: LONGEST_INIT,
            changed: change,
            tail: LogTail::default(),
            sandbox: None,
        };
        instances.push(actix_rt::spawn(instance.run(stop.clone())));
    }
    let watch = watch::Watch::start(&function, notified);
    Ok(Running { function, queue, stop, instances, _watch: watch })
}
