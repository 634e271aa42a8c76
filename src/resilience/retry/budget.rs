//! How many repeated calls there is room for on one route, over all workers: a part of its requests, so that an
//! upstream in trouble is not called several times as often as one in good health.
//!
//! `proxy/call.rs` earns with each request and spends with each repetition.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// What one repetition costs: each request earns as many as repetitions are allowed for 100 requests.
const PRICE: u32 = 100;
/// Repetitions a second that are free, for a route with few requests.
const FREE: u64 = 5;
const SECOND: u64 = 1_000_000;

/// The account of one route.
#[derive(Debug)]
pub struct Budget {
    per_hundred: u32,
    /// No more than 100 requests earn.
    earned: AtomicU32,
    opened: Instant,
    /// Until when the free repetitions are used up, in microseconds after `opened`.
    free_used_until: AtomicU64,
}

impl Budget {
    /// An empty account that earns so many repetitions with 100 requests.
    pub fn new(per_hundred: u32) -> Self {
        Self {
            per_hundred,
            earned: AtomicU32::new(0),
            opened: Instant::now(),
            free_used_until: AtomicU64::new(0),
        }
    }

    /// A request has come. On a route in good health the account is full, and nothing is written.
    pub fn earn(&self) {
        if self.earned.load(Ordering::Relaxed) < self.per_hundred * PRICE {
            // one that is earned too much in a race does no harm
            self.earned.fetch_add(self.per_hundred, Ordering::Relaxed);
        }
    }

    /// Pays for a repetition, if there is anything to pay with.
    pub fn spend(&self, now: Instant) -> bool {
        let pay = |earned: u32| earned.checked_sub(PRICE);
        self.earned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok() || self.take_free(now)
    }

    /// Each free one uses up its part of a second, and no more than a second is used up ahead.
    fn take_free(&self, now: Instant) -> bool {
        let now = microseconds(now.saturating_duration_since(self.opened));
        let take = |until: u64| {
            let until = until.max(now) + SECOND / FREE;
            (until <= now + SECOND).then_some(until)
        };
        self.free_used_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are paid for at this moment.
    fn paid(budget: &Budget, now: Instant) -> u64 {
        (0..1000).take_while(|_| budget.spend(now)).count() as u64
    }

    #[test]
    fn a_quiet_route_repeats_a_few_times_a_second() {
        let budget = Budget::new(20);
        let start = budget.opened;
        assert_eq!(paid(&budget, start), FREE);
        assert_eq!(paid(&budget, start + Duration::from_millis(199)), 0);
        assert_eq!(paid(&budget, start + Duration::from_millis(200)), 1);
        assert_eq!(paid(&budget, start + Duration::from_mins(1)), FREE, "what was not used is not saved up");
    }

    #[test]
    fn a_busy_route_repeats_its_part_of_the_requests() {
        for per_hundred in [1, 20, 100, 900] {
            let budget = Budget::new(per_hundred);
            let start = budget.opened;
            let mut repeated = paid(&budget, start);
            for _ in 0..100 {
                budget.earn();
                // at once, so that nothing is free any more
                repeated += paid(&budget, start);
            }
            assert_eq!(repeated, FREE + u64::from(per_hundred), "{per_hundred}");
        }
    }

    #[test]
    fn no_more_is_saved_up_than_a_hundred_requests_earn() {
        for per_hundred in [0, 7, 20] {
            let budget = Budget::new(per_hundred);
            for _ in 0..10_000 {
                budget.earn();
            }
            assert_eq!(paid(&budget, budget.opened), FREE + u64::from(per_hundred), "{per_hundred}");
        }
    }

    #[test]
    fn workers_share_it() {
        let budget = Budget::new(900);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| budget.earn()));
            }
        });
        let paid: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| paid(&budget, budget.opened))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(paid, FREE + 900);
    }
}
