//! The retry budget of one route over all workers: retries are limited to a percentage of its requests, so
//! that a failing upstream does not get several times the load.
//!
//! `proxy/call.rs` earns with each request and spends with each retry.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Instant,
};

/// The cost of one retry; each request earns `per_hundred`.
const RETRY_COST: u32 = 100;
/// Free retries per second, for a route with few requests.
const FREE_PER_SECOND: u64 = 5;
/// In microseconds.
const SECOND: u64 = 1_000_000;

#[derive(Debug)]
pub struct RetryBudget {
    /// Retries per 100 requests.
    per_hundred: u32,
    /// At most what 100 requests earn.
    earned: AtomicU32,
    created: Instant,
    /// The free retries are used up until this time, in microseconds after `created`.
    free_used_until: AtomicU64,
}

impl RetryBudget {
    /// An empty budget.
    pub fn new(per_hundred: u32) -> Self {
        Self {
            per_hundred,
            earned: AtomicU32::new(0),
            created: Instant::now(),
            free_used_until: AtomicU64::new(0),
        }
    }

    /// Earns for a request. On a healthy route the budget is full, and nothing is written.
    pub fn earn(&self) {
        if self.earned.load(Ordering::Relaxed) < self.per_hundred * RETRY_COST {
            // a race may earn a little too much, which is harmless
            self.earned.fetch_add(self.per_hundred, Ordering::Relaxed);
        }
    }

    /// Pays for a retry; `false` if the budget is exhausted.
    pub fn spend(&self, now: Instant) -> bool {
        let pay = |earned: u32| earned.checked_sub(RETRY_COST);
        self.earned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok() || self.take_free(now)
    }

    /// Takes a free retry: each uses its share of a second, and at most one second is used in advance.
    fn take_free(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.created).as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX / 2);
        let take = |until: u64| {
            let until = until.max(now) + SECOND / FREE_PER_SECOND;
            (until <= now + SECOND).then_some(until)
        };
        self.free_used_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The number of retries that can be paid for at this time.
    fn paid(budget: &RetryBudget, now: Instant) -> u64 {
        (0..1000).take_while(|_| budget.spend(now)).count() as u64
    }

    #[test]
    fn a_quiet_route_retries_a_few_times_a_second() {
        let budget = RetryBudget::new(20);
        let start = budget.created;
        assert_eq!(paid(&budget, start), FREE_PER_SECOND);
        assert_eq!(paid(&budget, start + Duration::from_millis(199)), 0);
        assert_eq!(paid(&budget, start + Duration::from_millis(200)), 1);
        assert_eq!(
            paid(&budget, start + Duration::from_mins(1)),
            FREE_PER_SECOND,
            "what was not used is not saved up"
        );
    }

    #[test]
    fn a_busy_route_retries_its_share_of_the_requests() {
        for per_hundred in [1, 20, 100, 900] {
            let budget = RetryBudget::new(per_hundred);
            let start = budget.created;
            let mut repeated = paid(&budget, start);
            for _ in 0..100 {
                budget.earn();
                // at the same time, so that no free retry is left
                repeated += paid(&budget, start);
            }
            assert_eq!(repeated, FREE_PER_SECOND + u64::from(per_hundred), "{per_hundred}");
        }
    }

    #[test]
    fn no_more_is_saved_up_than_a_hundred_requests_earn() {
        for per_hundred in [0, 7, 20] {
            let budget = RetryBudget::new(per_hundred);
            for _ in 0..10_000 {
                budget.earn();
            }
            assert_eq!(
                paid(&budget, budget.created),
                FREE_PER_SECOND + u64::from(per_hundred),
                "{per_hundred}"
            );
        }
    }

    #[test]
    fn workers_share_it() {
        let budget = RetryBudget::new(900);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| budget.earn()));
            }
        });
        let paid: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| paid(&budget, budget.created))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(paid, FREE_PER_SECOND + 900);
    }
}
