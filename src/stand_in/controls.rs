//! The runtime controls of a stand-in: faults of the services with keys, and the number of their calls.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// A fault to switch on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// STS closes the connection instead of answering.
    StsDown,
    /// STS answers every call with `Throttling`.
    StsThrottled,
    /// The metadata service accepts requests without a session token, as version 1 does.
    MetadataV1,
    /// The metadata service never answers a request for a session token, as for a container one hop beyond
    /// `HttpPutResponseHopLimit`.
    MetadataTokenHangs,
    /// The metadata service answers every request for keys with 500.
    MetadataDown,
    /// Pod Identity refuses every token.
    PodIdentityTokenWrong,
}

/// A service with a counter of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    AssumeRole,
    WebIdentity,
    CallerIdentity,
    /// Session tokens of the metadata service.
    MetadataToken,
    /// Keys of the metadata service, without the requests for the role's name.
    MetadataKeys,
    /// Keys of the ECS agent.
    Ecs,
    /// Keys of the EKS Pod Identity agent.
    PodIdentity,
    /// Sessions of IAM Roles Anywhere.
    RolesAnywhere,
}

const SWITCHES: usize = Switch::PodIdentityTokenWrong as usize + 1;
const SERVICES: usize = Service::RolesAnywhere as usize + 1;

#[derive(Debug, Default)]
pub struct Controls {
    switches: [AtomicBool; SWITCHES],
    sts_pause: AtomicU64,
    calls: [AtomicUsize; SERVICES],
}

impl Controls {
    /// Takes effect with the next request.
    pub fn set(&self, switch: Switch, on: bool) {
        self.switches[switch as usize].store(on, Ordering::SeqCst);
    }

    pub fn has(&self, switch: Switch) -> bool {
        self.switches[switch as usize].load(Ordering::SeqCst)
    }

    /// Delays the responses of STS.
    pub fn pause_sts(&self, pause: Duration) {
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.sts_pause.store(milliseconds, Ordering::SeqCst);
    }

    pub fn sts_pause(&self) -> Duration {
        Duration::from_millis(self.sts_pause.load(Ordering::SeqCst))
    }

    /// The number of received calls, failed ones included.
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
    fn switches_and_counters_are_independent() {
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
