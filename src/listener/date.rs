//! The `Date` of answers on HTTP/1.1, which `actix-http` keeps in its configuration.
//!
//! A task of `actix-http` writes it anew twice a second. That task panics, and is gone, while the machine's clock is
//! before 1970, so that the date stands still from then on. `worker.rs` has it looked after; new connections
//! (`http1.rs`) are given the configuration in force.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_http::ServiceConfig;
use bytes::BytesMut;
use tokio::time::sleep;

/// A date that moves is another one at each look.
const LOOK: Duration = Duration::from_secs(10);

/// The configuration that has a date which moves.
#[derive(Debug, Default)]
pub struct Dated(RefCell<ServiceConfig>);

impl Dated {
    /// The configuration in force.
    pub fn config(&self) -> ServiceConfig {
        self.0.borrow().clone()
    }

    /// Replaces a configuration whose date stands still; never ends.
    pub async fn follow_clock(&self) {
        self.look_each(LOOK).await;
    }

    async fn look_each(&self, interval: Duration) {
        let mut last = BytesMut::new();
        loop {
            let now = self.written();
            if now == last && SystemTime::now() >= UNIX_EPOCH {
                log::warn!("the date of answers stood still, as after a clock before 1970; it moves again");
                self.0.replace(ServiceConfig::default());
            }
            last = now;
            sleep(interval).await;
        }
    }

    fn written(&self) -> BytesMut {
        let mut date = BytesMut::new();
        self.0.borrow().write_date_header(&mut date, false);
        date
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[actix_rt::test]
    async fn x15_a_date_that_stands_still_is_replaced_by_one_that_moves() {
        // the task of this one runs no further
        let stopped = LocalSet::new();
        let dated = Dated(RefCell::new(stopped.run_until(async { ServiceConfig::default() }).await));
        let second = Duration::from_millis(1100);
        let before = dated.written();
        sleep(second).await;
        assert_eq!(dated.written(), before);
        let moves = async {
            while dated.written() == before {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let moved = async {
            tokio::select! {
                () = dated.look_each(second) => {}
                () = moves => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(20), moved).await.unwrap();
    }
}
