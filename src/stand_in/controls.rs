//! What can be changed and read while a stand-in runs: faults of the services that hand out keys, and how
//! often each was called.
//!
//! Tests and `child.rs` hold it through `StandIn::controls`; `sts.rs`, `metadata.rs` and `container.rs` heed
//! it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// What can be switched on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// STS closes the connection instead of answering.
    StsDown,
    /// STS answers every call with `Throttling`.
    StsThrottled,
    /// The metadata service does without a session token, as its first version does.
    MetadataV1,
    /// The metadata service's answer to a request for a session token never arrives, as in a container that
    /// is one hop further away than `HttpPutResponseHopLimit` allows.
    MetadataTokenHangs,
    /// The metadata service answers every request for keys with 500.
    MetadataDown,
    /// Pod Identity takes every token for a wrong one.
    PodIdentityTokenWrong,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    AssumeRole,
    WebIdentity,
    CallerIdentity,
    /// Session tokens of the metadata service.
    MetadataToken,
    /// Keys of the metadata service; the question for the role's name does not count.
    MetadataKeys,
    /// Keys of the ECS agent.
    Ecs,
    /// Keys of the EKS Pod Identity agent.
    PodIdentity,
}

const SWITCHES: usize = Switch::PodIdentityTokenWrong as usize + 1;
const SERVICES: usize = Service::PodIdentity as usize + 1;

/// The switches and counters of one stand-in.
#[derive(Debug, Default)]
pub struct Controls {
    switches: [AtomicBool; SWITCHES],
    sts_pause: AtomicU64,
    calls: [AtomicUsize; SERVICES],
}

impl Controls {
    /// Switches something on or off, from the next request on.
    pub fn set(&self, switch: Switch, on: bool) {
        self.switches[switch as usize].store(on, Ordering::SeqCst);
    }

    pub fn has(&self, switch: Switch) -> bool {
        self.switches[switch as usize].load(Ordering::SeqCst)
    }

    /// Makes STS think this long before it answers.
    pub fn pause_sts(&self, pause: Duration) {
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.sts_pause.store(milliseconds, Ordering::SeqCst);
    }

    pub fn sts_pause(&self) -> Duration {
        Duration::from_millis(self.sts_pause.load(Ordering::SeqCst))
    }

    /// How many calls have arrived, whatever became of them.
    pub fn calls(&self, service: Service) -> usize {
        self.calls[service as usize].load(Ordering::SeqCst)
    }

    pub fn count(&self, service: Service) {
        self.calls[service as usize].fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_and_counters_do_not_touch_each_other() {
        let controls = Controls::default();
        controls.set(Switch::StsThrottled, true);
        controls.count(Service::Ecs);
        controls.count(Service::Ecs);
        assert!(controls.has(Switch::StsThrottled));
        assert!(!controls.has(Switch::StsDown) && !controls.has(Switch::PodIdentityTokenWrong));
        assert_eq!((controls.calls(Service::Ecs), controls.calls(Service::PodIdentity)), (2, 0));
        controls.set(Switch::StsThrottled, false);
        assert!(!controls.has(Switch::StsThrottled));
        controls.pause_sts(Duration::from_millis(5));
        assert_eq!(controls.sts_pause(), Duration::from_millis(5));
    }
}
