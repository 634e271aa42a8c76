//! The end of a worker, as its connections learn of it: accept no more, finish what is in flight, close.
//!
//! `worker.rs` begins it. Each connection looks at it whenever it waits for its client, which a token that is shared
//! by threads would make a lock for every read.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

/// Whether one worker is about to end.
#[derive(Debug, Clone, Default)]
pub struct Draining(Rc<State>);

#[derive(Debug, Default)]
struct State {
    has_begun: Cell<bool>,
    watchers: RefCell<Slab<Waker>>,
}

/// Somebody who wants to know when it begins.
#[derive(Debug)]
pub struct Watcher {
    draining: Draining,
    place: usize,
}

impl Draining {
    /// It begins: everybody who watches is woken.
    pub fn begin(&self) {
        self.0.has_begun.set(true);
        for (_, watcher) in self.0.watchers.borrow().iter() {
            watcher.wake_by_ref();
        }
    }

    /// Watches it.
    pub fn watch(&self) -> Watcher {
        let place = self.0.watchers.borrow_mut().insert(Waker::noop().clone());
        Watcher { draining: self.clone(), place }
    }
}

impl Watcher {
    /// Whether it has begun; if not, the task is woken when it does.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let state = &*self.draining.0;
        if state.has_begun.get() {
            return Poll::Ready(());
        }
        if let Some(waker) = state.watchers.borrow_mut().get_mut(self.place)
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
}
