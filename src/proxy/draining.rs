//! The end of a worker: accept no more, finish what is in flight, close; and at the end of `shutdown.drain`, abort what
//! is still in flight.
//!
//! `listener/worker.rs` begins each stage. Connections poll it whenever they wait for their clients, `proxy::serve` and
//! `reply.rs` whenever they wait for AWS. A token that is shared by threads would cost a lock for every read.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

use crate::message::error::{ErrorKind, ProxyError};

/// The end of one worker, shared by all that it runs.
#[derive(Debug, Clone, Default)]
pub struct Draining(Rc<State>);

#[derive(Debug, Default)]
struct State {
    stage: Cell<Stage>,
    abort: Cell<Abort>,
    watchers: RefCell<Slab<Waker>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Serving,
    /// No further connection or request is taken.
    Draining,
    /// Requests in flight are aborted.
    Aborting,
}

/// The event that aborts what is in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Abort {
    /// `shutdown.drain` is over.
    #[default]
    DrainOver,
    /// A second signal, before that.
    SecondSignal,
}

impl Abort {
    /// The cause of the answer that a request in flight gets, for the log.
    fn cause(self) -> &'static str {
        match self {
            Self::DrainOver => "the response was cut off: drain timeout reached (`shutdown.drain`)",
            Self::SecondSignal => {
                "the response was cut off: a second signal ended the drain (`shutdown.drain`)"
            }
        }
    }
}

/// A task that is woken by each stage.
#[derive(Debug)]
pub struct Watcher {
    draining: Draining,
    place: usize,
}

impl Draining {
    /// Begins the drain, and wakes every watcher.
    pub fn begin(&self) {
        self.enter(Stage::Draining);
    }

    /// Aborts what is in flight, and wakes every watcher.
    pub fn abort(&self, event: Abort) {
        self.0.abort.set(event);
        self.enter(Stage::Aborting);
    }

    fn enter(&self, stage: Stage) {
        self.0.stage.set(stage);
        for (_, watcher) in self.0.watchers.borrow().iter() {
            watcher.wake_by_ref();
        }
    }

    pub fn watch(&self) -> Watcher {
        let place = self.0.watchers.borrow_mut().insert(Waker::noop().clone());
        Watcher { draining: self.clone(), place }
    }

    /// The result of `work`, or an error once the drain is over. Work that never waits registers no watcher.
    ///
    /// # Errors
    /// The future's own, or `UpstreamTimeout`.
    pub async fn run_until_abort<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
    ) -> Result<T, ProxyError> {
        let mut watcher = None;
        poll_fn(|context| {
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            watcher.get_or_insert_with(|| self.watch()).poll_abort(context).map(Err)
        })
        .await
    }
}

impl Watcher {
    /// Ready once the drain has begun; otherwise the task is woken when it does.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_stage(Stage::Draining, context)
    }

    /// Ready with an error once the drain is over; otherwise the task is woken when it is.
    pub fn poll_abort(&self, context: &mut Context<'_>) -> Poll<ProxyError> {
        self.poll_stage(Stage::Aborting, context)
            .map(|()| ProxyError::new(ErrorKind::UpstreamTimeout, self.draining.0.abort.get().cause()))
    }

    fn poll_stage(&self, stage: Stage, context: &mut Context<'_>) -> Poll<()> {
        let shared = &*self.draining.0;
        if shared.stage.get() >= stage {
            return Poll::Ready(());
        }
        if let Some(waker) = shared.watchers.borrow_mut().get_mut(self.place)
            && !waker.will_wake(context.waker())
        {
            waker.clone_from(context.waker());
        }
        Poll::Pending
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.draining.0.watchers.borrow_mut().try_remove(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_watches_is_woken_and_who_has_left_is_not() {
        let draining = Draining::default();
        let (stays, leaves) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let first = draining.watch();
        let second = draining.watch();
        assert!(first.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&stays)))).is_pending());
        assert!(second.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&leaves)))).is_pending());
        drop(second);
        draining.begin();
        assert_eq!((stays.0.load(Ordering::Relaxed), leaves.0.load(Ordering::Relaxed)), (1, 0));
        assert!(first.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(draining.watch().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn work_goes_on_during_the_drain_and_is_aborted_at_its_end() {
        let draining = Draining::default();
        let mut work = std::pin::pin!(std::future::pending::<Result<(), ProxyError>>());
        let mut running = std::pin::pin!(draining.run_until_abort(work.as_mut()));
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        assert!(running.as_mut().poll(&mut context).is_pending());
        draining.begin();
        assert!(running.as_mut().poll(&mut context).is_pending());
        draining.abort(Abort::SecondSignal);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        let Poll::Ready(Err(error)) = running.as_mut().poll(&mut context) else { panic!("it goes on") };
        assert_eq!(error.kind, ErrorKind::UpstreamTimeout);
        assert!(error.causes().contains("a second signal"), "{error}");
    }
}
