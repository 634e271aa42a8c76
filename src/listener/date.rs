//! The `Date` of answers on HTTP/1.1, which `actix-http` keeps in its configuration.
//!
//! A task of `actix-http` writes the date twice a second. That task panics, and is gone, while the machine's clock is
//! before 1970: the date stands still from then on. `worker.rs` has [`Dated`] replace it, and new connections
//! (`http1.rs`) get the configuration in force; `admin.rs` starts its port again.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_http::ServiceConfig;
use bytes::BytesMut;
use tokio::time::sleep;

use crate::system::supervision::Task;

/// Between two looks at a date, which is another one at each look unless it stands still.
const LOOK: Duration = Duration::from_secs(10);

/// The time within which `actix-http` has written a date.
const TWO_WRITES: Duration = Duration::from_secs(1);

/// The configuration whose date moves.
#[derive(Debug, Default)]
pub struct Dated(RefCell<ServiceConfig>);

impl Dated {
    pub fn config(&self) -> ServiceConfig {
        self.0.borrow().clone()
    }

    /// Replaces a configuration whose date stands still; never ends.
    pub async fn follow_clock(&self) {
        self.look_each(LOOK).await;
    }

    async fn look_each(&self, interval: Duration) {
        loop {
            stops(&self.config(), interval).await;
            Task::Worker.count_failure();
            log::error!(
                "the Date header of responses had stopped (was the clock before 1970?); it is updated again"
            );
            self.0.replace(ServiceConfig::default());
        }
    }
}

/// Resolves once dates that are made on this thread stand still while the clock is right.
pub async fn stands_still() {
    stops(&ServiceConfig::default(), LOOK).await;
}

async fn stops(config: &ServiceConfig, interval: Duration) {
    let mut last = BytesMut::new();
    loop {
        let mut date = BytesMut::new();
        config.write_date_header(&mut date, false);
        if date == last && SystemTime::now() >= UNIX_EPOCH {
            return;
        }
        last = date;
        sleep(interval).await;
        // a process that was stopped for this long goes on with both tasks at once
        sleep(TWO_WRITES).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{task::LocalSet, time::timeout};

    use super::*;

    const SECOND: Duration = Duration::from_millis(1100);

    /// A configuration whose date stands still: its task runs no further.
    async fn stopped() -> ServiceConfig {
        LocalSet::new().run_until(async { ServiceConfig::default() }).await
    }

    fn written(config: &ServiceConfig) -> BytesMut {
        let mut date = BytesMut::new();
        config.write_date_header(&mut date, false);
        date
    }

    #[actix_rt::test]
    async fn x15_a_date_that_stands_still_is_replaced_by_one_that_moves() {
        let dated = Dated(RefCell::new(stopped().await));
        let before = written(&dated.config());
        sleep(SECOND).await;
        assert_eq!(written(&dated.config()), before);
        let moves = async {
            while written(&dated.config()) == before {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let moved = async {
            tokio::select! {
                () = dated.look_each(SECOND) => {}
                () = moves => {}
            }
        };
        timeout(Duration::from_secs(20), moved).await.unwrap();
    }

    #[actix_rt::test]
    async fn x15_a_date_that_moves_is_told_from_one_that_stands_still() {
        timeout(Duration::from_secs(20), stops(&stopped().await, SECOND)).await.unwrap();
        let moves = ServiceConfig::default();
        assert!(timeout(4 * SECOND, stops(&moves, SECOND)).await.is_err());
    }
}
