//! A deadline that is re-armed lazily: extending it does not touch the timer.
//!
//! Moving a timer is expensive, most deadlines are extended with every request, and few expire. So the timer
//! stays armed for the earlier time; when it fires early, it is re-armed for the current deadline.
//! [`LazyDeadline`] has the time limits of the listener's connections and of a request's body, [`poll_due`]
//! those of a call to AWS, where the future holds the timer.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// The time until which a task waits, if there is one.
#[derive(Debug, Default)]
pub struct LazyDeadline {
    until: Option<Instant>,
    timer: Option<ArmedTimer>,
}

#[derive(Debug)]
struct ArmedTimer {
    sleep: Pin<Box<Sleep>>,
    /// The waker that the timer has.
    waker: Waker,
}

impl LazyDeadline {
    pub fn ending(deadline: Instant) -> Self {
        Self { until: Some(deadline), timer: None }
    }

    /// Sets the deadline.
    pub fn until(&mut self, deadline: Instant) {
        self.until = Some(deadline);
    }

    /// Sets a deadline after `limit` from now, if there is none yet.
    pub fn begin(&mut self, limit: Duration) {
        self.until.get_or_insert_with(|| Instant::now() + limit);
    }

    /// Removes the deadline.
    pub fn forget(&mut self) {
        self.until = None;
    }

    /// Ready once the deadline is reached.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => none.insert(ArmedTimer {
                sleep: Box::pin(sleep_until(until)),
                // not the waker of this task, so that the timer is polled below
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

/// Ready once the deadline `due` is reached. The timer must be armed for that time or an earlier one.
pub fn poll_due(
    mut timer: Pin<&mut Sleep>,
    due: impl Fn() -> Instant,
    context: &mut Context<'_>,
) -> Poll<()> {
    // tokio's budget makes a busy task pending at its next poll; a timer that is pending for that reason is
    // not armed
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
    async fn it_ends_at_the_current_deadline_and_not_at_an_earlier_one() {
        let mut deadline = LazyDeadline::default();
        let start = Instant::now();
        deadline.until(start + Duration::from_millis(10));
        assert!(poll_fn(|context| Poll::Ready(deadline.poll(context))).await.is_pending());
        deadline.until(start + Duration::from_millis(30));
        poll_fn(|context| deadline.poll(context)).await;
        assert!(start.elapsed() >= Duration::from_millis(30));
        // a deadline can be used again, also for a time before the one it was armed for
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
    async fn without_a_deadline_it_never_ends() {
        let mut deadline = LazyDeadline::default();
        deadline.until(Instant::now());
        deadline.forget();
        assert!(poll_fn(|context| Poll::Ready(deadline.poll(context))).await.is_pending());
    }
}
