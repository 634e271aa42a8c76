//! One instance of a function: takes events from the function's queue and gives them to its process, one at a
//! time. The first event starts the process (cold start).

use std::{
    cell::RefCell,
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use actix_web::web::Bytes;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Event, LongestInit, Outcome,
    output::LogTail,
    sandbox::Sandbox,
    slot::{Delivery, Piece, Reply, Slot},
    words::{self, Ended},
};
use crate::settings::LocalFunction;

/// Pieces of a streamed response that wait for the client.
const PIECES: usize = 8;

/// An event and where its answer goes.
#[derive(Debug)]
pub struct Job {
    pub event: Event,
    pub answer: oneshot::Sender<Answer>,
}

/// The events of one function that wait for an instance.
#[derive(Debug, Default)]
pub struct Queue {
    jobs: RefCell<VecDeque<Job>>,
    arrived: Notify,
}

impl Queue {
    pub fn push(&self, job: Job) {
        self.jobs.borrow_mut().push_back(job);
        self.arrived.notify_one();
    }

    async fn next(&self) -> Job {
        loop {
            let job = self.jobs.borrow_mut().pop_front();
            match job {
                Some(job) => {
                    // another instance may have missed the event before
                    self.arrived.notify_one();
                    return job;
                }
                None => self.arrived.notified().await,
            }
        }
    }
}

#[derive(Debug)]
pub struct Instance {
    pub function: Rc<LocalFunction>,
    pub queue: Rc<Queue>,
    pub slot: Rc<Slot>,
    /// Its Runtime API.
    pub api: SocketAddr,
    pub longest_init: LongestInit,
    /// Notified when files of the function have changed.
    pub changed: Rc<Notify>,
    pub tail: LogTail,
    pub sandbox: Option<Sandbox>,
}

/// The error of a call that the process did not answer.
struct Lost(Bytes);

/// The reason why a process takes no event.
enum Missed {
    Ended(Ended),
    /// No request for an event in time.
    Late,
}

impl Instance {
    /// Serves events until `stop`, and then ends the process.
    pub async fn run(mut self, stop: CancellationToken) {
        let (queue, changed) = (Rc::clone(&self.queue), Rc::clone(&self.changed));
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = changed.notified() => self.restart().await,
                job = queue.next() => tokio::select! {
                    () = self.serve(job) => {}
                    () = stop.cancelled() => {}
                },
                ended = ended(&mut self.sandbox) => {
                    self.sandbox = None;
                    log::warn!("[{}] {} between two events", self.function.name, ended.clause());
                }
            }
        }
        self.kill().await;
    }

    /// Ends the process; the next event starts another.
    async fn restart(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.kill().await;
            log::info!("[{}] files have changed: the next event starts it again", self.function.name);
        }
    }

    async fn serve(&mut self, job: Job) {
        let Job { event, answer } = job;
        let (name, id) = (self.function.name.clone(), event.request_id.clone());
        self.tail.take();
        let init = match self.warm(&event).await {
            Ok(init) => init,
            Err(Lost(error)) => {
                let _ = answer.send(Answer { outcome: Outcome::Failed(error), log: self.tail.take() });
                return;
            }
        };
        self.say(&format!("START RequestId: {id} Version: $LATEST"));
        let started = Instant::now();
        let deadline = started + self.function.timeout;
        match self.call(event, deadline).await {
            Ok(Reply::Returned(body)) => self.end(answer, Outcome::Returned(body), &id, started, init).await,
            Ok(Reply::Failed(error)) => {
                log::warn!("[{name}] failed for the request {id}: {}", words::sentence(&error));
                self.end(answer, Outcome::Failed(error), &id, started, init).await;
            }
            Ok(Reply::Streamed { content_type, body }) => {
                let (sender, pieces) = mpsc::channel(PIECES);
                let outcome = Outcome::Streamed { content_type, body: pieces };
                let _ = answer.send(Answer { outcome, log: Vec::new() });
                self.stream(body, &sender, &id, deadline).await;
                self.report(&id, started, init);
            }
            Err(Lost(error)) => {
                let _ = answer.send(Answer { outcome: Outcome::Failed(error), log: self.tail.take() });
            }
        }
    }

    /// Waits until the process asks for an event, and starts it if there is none. Returns the duration of a
    /// cold start.
    async fn warm(&mut self, event: &Event) -> Result<Option<Duration>, Lost> {
        let id = &event.request_id;
        if self.sandbox.is_some() {
            match self.asked().await {
                Ok(()) => return Ok(None),
                // the process ended after its last answer; Lambda also starts another one then
                Err(Missed::Ended(ended)) => {
                    log::warn!("[{}] {} between two events", self.function.name, ended.clause());
                }
                Err(Missed::Late) => return Err(self.late(id).await),
            }
        }
        self.slot.clear();
        log::info!("[{}] cold start: {}", self.function.name, self.function.command.join(" "));
        let started = Instant::now();
        match Sandbox::start(&self.function, event.region(), self.api, &self.tail) {
            Ok(sandbox) => self.sandbox = Some(sandbox),
            Err(error) => return Err(self.lost(&Ended::CannotStart(error.to_string()), id)),
        }
        match self.asked().await {
            Ok(()) => Ok(Some(started.elapsed())),
            Err(Missed::Late) => Err(self.late(id).await),
            Err(Missed::Ended(ended)) => Err(match self.slot.init_error() {
                Some(error) => {
                    let sentence = words::sentence(&error);
                    log::error!("[{}] the initialization failed: {sentence}", self.function.name);
                    Lost(error)
                }
                None => self.lost(&ended, id),
            }),
        }
    }

    /// Waits until the process asks for an event.
    async fn asked(&mut self) -> Result<(), Missed> {
        let LongestInit(longest) = self.longest_init;
        tokio::select! {
            biased;
            () = self.slot.asked() => Ok(()),
            ended = ended(&mut self.sandbox) => {
                self.sandbox = None;
                Err(Missed::Ended(ended))
            }
            () = sleep(longest) => Err(Missed::Late),
        }
    }

    /// Ends a process that asks for no event.
    async fn late(&mut self, id: &str) -> Lost {
        let LongestInit(longest) = self.longest_init;
        log::error!(
            "[{}] asked for no event within {longest:?} (GET /2018-06-01/runtime/invocation/next), and was \
             killed",
            self.function.name
        );
        self.kill().await;
        Lost(words::timed_out(id, longest))
    }

    /// Logs the end of a process that owes an answer.
    fn lost(&self, ended: &Ended, id: &str) -> Lost {
        log::error!("[{}] {} during the request {id}", self.function.name, ended.clause());
        let program = self.function.command.first().map_or("", |program| program);
        Lost(ended.error(id, program))
    }

    async fn kill(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.kill().await;
        }
    }

    /// Gives the event to the process and waits for the beginning of its reply.
    async fn call(&mut self, event: Event, deadline: Instant) -> Result<Reply, Lost> {
        let id = event.request_id.clone();
        let mut delivery = Delivery { event, deadline: SystemTime::now() + self.function.timeout };
        let mut reply = loop {
            match self.slot.deliver(delivery) {
                Ok(reply) => break reply,
                // the connection was lost meanwhile
                Err(back) => {
                    delivery = *back;
                    self.until(&id, deadline, Rc::clone(&self.slot).asked_by_owner()).await?;
                }
            }
        };
        let replied = async move {
            match (&mut reply).await {
                Ok(reply) => reply,
                // a response that was cut off: the end of the process or of the time comes next
                Err(_) => std::future::pending().await,
            }
        };
        self.until(&id, deadline, replied).await
    }

    /// Waits for `future` until the process ends or the time is over.
    async fn until<T>(
        &mut self,
        id: &str,
        deadline: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Lost> {
        tokio::select! {
            biased;
            value = future => Ok(value),
            ended = ended(&mut self.sandbox) => {
                self.sandbox = None;
                Err(self.lost(&ended, id))
            }
            () = sleep_until(deadline.into()) => {
                let timeout = self.function.timeout;
                log::error!(
                    "[{}] did not end within its timeout of {timeout:?} and was killed, request {id}",
                    self.function.name
                );
                self.kill().await;
                Err(Lost(words::timed_out(id, timeout)))
            }
        }
    }

    /// Passes a streamed response on.
    async fn stream(
        &mut self,
        mut body: mpsc::Receiver<Piece>,
        sender: &mpsc::Sender<Piece>,
        id: &str,
        deadline: Instant,
    ) {
        loop {
            let piece = match self.until(id, deadline, body.recv()).await {
                Ok(Some(piece)) => piece,
                // the connection is lost before the process ends
                Ok(None) => match self.until(id, deadline, std::future::pending::<()>()).await {
                    Ok(()) => return,
                    Err(Lost(error)) => Piece::End(Some(error)),
                },
                Err(Lost(error)) => Piece::End(Some(error)),
            };
            let is_end = matches!(piece, Piece::End(_));
            // without a client the function runs to its end all the same
            let _ = sender.send(piece).await;
            if is_end {
                return;
            }
        }
    }

    /// Sends the answer after the lines that the process printed before it.
    async fn end(
        &mut self,
        answer: oneshot::Sender<Answer>,
        outcome: Outcome,
        id: &str,
        started: Instant,
        init: Option<Duration>,
    ) {
        // the reader of the output gets its turn
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.report(id, started, init);
        let _ = answer.send(Answer { outcome, log: self.tail.take() });
    }

    fn report(&self, id: &str, started: Instant, init: Option<Duration>) {
        let duration = started.elapsed();
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let init =
            init.map_or_else(String::new, |init| format!("\tInit Duration: {:.2} ms", milliseconds(init)));
        self.say(&format!("END RequestId: {id}"));
        self.say(&format!(
            "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: 128 MB{init}",
            milliseconds(duration),
            duration.as_millis() + 1,
        ));
    }

    /// Logs a line of Lambda's own.
    fn say(&self, line: &str) {
        self.tail.push(line);
        log::info!("[{}] {line}", self.function.name);
    }
}

/// Waits until the process has ended; for ever without a process.
async fn ended(sandbox: &mut Option<Sandbox>) -> Ended {
    match sandbox {
        Some(sandbox) => sandbox.ended().await,
        None => std::future::pending().await,
    }
}
