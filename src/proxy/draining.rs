//! Drain signal of a worker: first no new connections and requests are accepted, then, after
//! `shutdown.drain`, requests in flight are aborted.
//!
//! `listener/worker.rs` sets each stage. Connections poll the signal while they wait for their clients,
//! `proxy::serve` and `reply.rs` while they wait for AWS. It is not shared between threads, because a shared
//! token would take a lock on every poll.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

use crate::message::error::{ErrorKind, ProxyError};

/// The drain signal of one worker.
#[derive(Debug, Clone, Default)]
pub struct Draining(Rc<DrainState>);

#[derive(Debug, Default)]
struct DrainState {
    stage: Cell<Stage>,
    abort: Cell<Abort>,
    watchers: RefCell<Slab<Waker>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Serving,
    /// No further connection or request is accepted.
    Draining,
    /// Requests in flight are aborted.
    Aborting,
}

/// The event that aborts requests in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Abort {
    /// The time of `shutdown.drain` has passed.
    #[default]
    DrainOver,
    /// A second signal arrived earlier.
    SecondSignal,
}

impl Abort {
    /// The logged cause of an aborted request.
    fn cause(self) -> &'static str {
        match self {
            Self::DrainOver => "the response was cut off: drain timeout reached (`shutdown.drain`)",
            Self::SecondSignal => {
                "the response was cut off: a second signal ended the drain (`shutdown.drain`)"
            }
        }
    }
}

/// Wakes its task at each stage.
#[derive(Debug)]
pub struct Watcher {
    draining: Draining,
    index: usize,
}

impl Draining {
    /// Starts the drain, and wakes every watcher.
    pub fn begin(&self) {
        self.enter(Stage::Draining);
    }

    /// Aborts requests in flight, and wakes every watcher.
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
        let index = self.0.watchers.borrow_mut().insert(Waker::noop().clone());
        Watcher { draining: self.clone(), index }
    }

    /// Runs `work` until requests in flight are aborted. Work that never waits registers no watcher.
    ///
    /// # Errors
    /// The error of `work`, or `UpstreamTimeout`.
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
    /// Ready once the drain has started; otherwise registers the task's waker.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_stage(Stage::Draining, context)
    }

    /// Ready with the error once requests are aborted; otherwise registers the task's waker.
    pub fn poll_abort(&self, context: &mut Context<'_>) -> Poll<ProxyError> {
        self.poll_stage(Stage::Aborting, context)
            .map(|()| ProxyError::new(ErrorKind::UpstreamTimeout, self.draining.0.abort.get().cause()))
    }

    fn poll_stage(&self, stage: Stage, context: &mut Context<'_>) -> Poll<()> {
        let shared = &*self.draining.0;
        if shared.stage.get() >= stage {
            return Poll::Ready(());
        }
        if let Some(waker) = shared.watchers.borrow_mut().get_mut(self.index)
            && !waker.will_wake(context.waker())
        {
            waker.clone_from(context.waker());
        }
        Poll::Pending
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.draining.0.watchers.borrow_mut().try_remove(self.index);
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
    fn a_watcher_is_woken_and_a_dropped_one_is_not() {
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
