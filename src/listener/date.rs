//! The `Date` of responses on HTTP/1.1, which `actix-http` updates in its configuration.
//!
//! A task of `actix-http` updates the date twice a second. That task panics while the machine's clock is
//! before 1970, and the date stops from then on. `worker.rs` makes [`DateSource`] replace the configuration,
//! and new connections (`http1.rs`) get the current one; `admin.rs` restarts its port.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_http::ServiceConfig;
use bytes::BytesMut;
use tokio::time::sleep;

use crate::system::supervision::Task;

/// The pause between two checks of the date, which differs at each check unless it has stopped.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The time within which `actix-http` has updated the date.
const TWO_UPDATES: Duration = Duration::from_secs(1);

/// The configuration of new connections, whose date is current.
#[derive(Debug, Default)]
pub struct DateSource(RefCell<ServiceConfig>);

impl DateSource {
    pub fn config(&self) -> ServiceConfig {
        self.0.borrow().clone()
    }

    /// Replaces a configuration whose date has stopped, checked in this interval; never ends.
    pub async fn follow_clock(&self, interval: Duration) {
        loop {
            await_stop(&self.config(), interval).await;
            Task::Worker.count_failure();
            log::error!(
                "the Date header of responses had stopped (was the clock before 1970?); it is updated again"
            );
            self.0.replace(ServiceConfig::default());
        }
    }
}

/// Resolves once the dates of configurations made on this thread have stopped while the clock is right.
pub async fn has_stopped() {
    await_stop(&ServiceConfig::default(), CHECK_INTERVAL).await;
}

async fn await_stop(config: &ServiceConfig, interval: Duration) {
    let mut last = BytesMut::new();
    loop {
        let mut date = BytesMut::new();
        config.write_date_header(&mut date, false);
        if date == last && SystemTime::now() >= UNIX_EPOCH {
            return;
        }
        last = date;
        sleep(interval).await;
        // after a pause of the whole process both tasks resume at once
        sleep(TWO_UPDATES).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{task::LocalSet, time::timeout};

    use super::*;

    const SECOND: Duration = Duration::from_millis(1100);

    /// A configuration whose date has stopped, since its task has ended.
    async fn stopped() -> ServiceConfig {
        LocalSet::new().run_until(async { ServiceConfig::default() }).await
    }

    fn written(config: &ServiceConfig) -> BytesMut {
        let mut date = BytesMut::new();
        config.write_date_header(&mut date, false);
        date
    }

    #[actix_rt::test]
    async fn x15_a_date_that_has_stopped_is_replaced_by_one_that_moves() {
        let date_source = DateSource(RefCell::new(stopped().await));
        let before = written(&date_source.config());
        sleep(SECOND).await;
        assert_eq!(written(&date_source.config()), before);
        let moves = async {
            while written(&date_source.config()) == before {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let moved = async {
            tokio::select! {
                () = date_source.follow_clock(SECOND) => {}
                () = moves => {}
            }
        };
        timeout(Duration::from_secs(20), moved).await.unwrap();
    }

    #[actix_rt::test]
    async fn x15_a_date_that_moves_differs_from_one_that_has_stopped() {
        timeout(Duration::from_secs(20), await_stop(&stopped().await, SECOND)).await.unwrap();
        let moves = ServiceConfig::default();
        assert!(timeout(4 * SECOND, await_stop(&moves, SECOND)).await.is_err());
    }
}
