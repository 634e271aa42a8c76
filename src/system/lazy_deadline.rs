//! A time limit that is moved with every request and almost never strikes.
//!
//! Moving a timer costs more than many a step of a request. So the timer here is left where it was armed: when it
//! fires early, it is armed anew for what the limit is by then. Both sides' limits are of this kind: those of the
//! listener's connections and of a request's body ([`LazyDeadline`]), those of a call to AWS ([`poll_due`] where the
//! future itself holds the timer).

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// A moment until which a task waits, if there is one.
#[derive(Debug, Default)]
pub struct LazyDeadline {
    until: Option<Instant>,
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Who is woken when it fires.
    waker: Waker,
}

impl LazyDeadline {
    /// Waits until then at most.
    pub fn ending(moment: Instant) -> Self {
        Self { until: Some(moment), timer: None }
    }

    /// Waits until then at most.
    pub fn until(&mut self, moment: Instant) {
        self.until = Some(moment);
    }

    /// Waits so long at most from now on, if there is no limit yet.
    pub fn begin(&mut self, limit: Duration) {
        self.until.get_or_insert_with(|| Instant::now() + limit);
    }

    /// Waits for ever.
    pub fn forget(&mut self) {
        self.until = None;
    }

    pub fn is_limited(&self) -> bool {
        self.until.is_some()
    }

    /// Ready once the limit is reached.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => none.insert(Timer {
                sleep: Box::pin(sleep_until(until)),
                // not this task's, so that the timer is polled below
                waker: Waker::noop().clone(),
            }),
        };
        let is_armed = timer.waker.will_wake(context.waker())
            && !timer.sleep.is_elapsed()
            && timer.sleep.deadline() <= until;
        if is_armed {
            return Poll::Pending;
        }
        if timer.sleep.is_elapsed() || timer.sleep.deadline() > until {
            timer.sleep.as_mut().reset(until);
        }
        timer.waker.clone_from(context.waker());
        poll_due(timer.sleep.as_mut(), || until, context)
    }
}

/// Ready once the limit is reached. The timer was armed for then or for an earlier moment.
pub fn poll_due(
    mut timer: Pin<&mut Sleep>,
    due: impl Fn() -> Instant,
    context: &mut Context<'_>,
) -> Poll<()> {
    // a task that has done much in one go is put off by whatever it waits for next, and a timer that only put it off
    // is not armed
    while pin!(unconstrained(timer.as_mut())).poll(context).is_ready() {
        let due = due();
        if due <= Instant::now() {
            return Poll::Ready(());
        }
        timer.as_mut().reset(due);
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[actix_rt::test]
    async fn it_ends_at_the_limit_in_force_and_not_at_an_earlier_one() {
        let mut deadline = LazyDeadline::default();
        let start = Instant::now();
        deadline.until(start + Duration::from_millis(10));
        assert!(poll_fn(|context| Poll::Ready(deadline.poll(context))).await.is_pending());
        deadline.until(start + Duration::from_millis(30));
        poll_fn(|context| deadline.poll(context)).await;
        assert!(start.elapsed() >= Duration::from_millis(30));
        // and it can be used again, also for an earlier moment than it was armed for
        deadline.until(start + Duration::from_hours(1));
        assert!(poll_fn(|context| Poll::Ready(deadline.poll(context))).await.is_pending());
        deadline.until(Instant::now() + Duration::from_millis(10));
        poll_fn(|context| deadline.poll(context)).await;
        assert!(start.elapsed() < Duration::from_mins(1));
    }

    #[actix_rt::test]
    async fn it_ends_for_a_task_that_was_too_busy_when_it_began_to_wait() {
        let mut deadline = LazyDeadline::default();
        deadline.until(Instant::now() + Duration::from_millis(10));
        let mut is_first = true;
        let waits = poll_fn(|context| {
            if std::mem::take(&mut is_first) {
                while pin!(tokio::task::consume_budget()).poll(context).is_ready() {}
            }
            deadline.poll(context)
        });
        tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it ends");
    }

    #[actix_rt::test]
    async fn without_a_limit_it_never_ends() {
        let mut deadline = LazyDeadline::default();
        deadline.until(Instant::now());
        deadline.forget();
        assert!(poll_fn(|context| Poll::Ready(deadline.poll(context))).await.is_pending());
    }
}
