//! Limits of requests in flight, for the process and for single routes: requests above a limit are refused at
//! once instead of queued.
//!
//! `proxy.rs` gets a permit before it reads a body. The permit is held by the response's body until its last
//! byte, so a slow download counts as long as it lasts. `listener/accept.rs` limits connections in the same
//! way.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{
    message::error::{ErrorKind, Overload, ProxyError},
    metrics::{Counter, RouteMetrics},
};

/// A limit on requests in flight, shared by all workers.
#[derive(Debug, Clone)]
pub struct Admission {
    limit: u32,
    in_flight: Arc<AtomicU32>,
}

/// Counts one request in flight until it is dropped.
#[derive(Debug)]
pub struct Permit {
    #[expect(dead_code, reason = "counts until it is dropped")]
    of_process: InFlightGuard,
    #[expect(dead_code, reason = "counts until it is dropped")]
    of_route: Option<InFlightGuard>,
}

/// Holds one place of an [`Admission`] until it is dropped.
#[derive(Debug)]
pub struct InFlightGuard(Arc<AtomicU32>);

/// Admits a request within the limit of the process, and within that of its route if it has one.
///
/// # Errors
/// A limit is reached; a metric counts it.
pub fn enter(
    process: &Admission,
    route: Option<&Admission>,
    metrics: &RouteMetrics,
) -> Result<Permit, ProxyError> {
    let refused = |limit: u32, whose: &str, count: &Counter| {
        count.add(1);
        let cause = format!("{whose}max_in_flight, {limit}, is reached");
        ProxyError::new(ErrorKind::Overloaded(Overload::Requests), cause)
    };
    let of_process =
        process.try_enter().ok_or_else(|| refused(process.limit, "limits.", &metrics.shed.process))?;
    let of_route = match route {
        None => None,
        Some(route) => {
            Some(route.try_enter().ok_or_else(|| refused(route.limit, "the route's ", &metrics.shed.route))?)
        }
    };
    Ok(Permit { of_process, of_route })
}

impl Admission {
    pub fn new(limit: u32) -> Self {
        Self { limit, in_flight: Arc::default() }
    }

    /// The same counter with another limit.
    #[must_use]
    pub fn with_limit(&self, limit: u32) -> Self {
        Self { limit, in_flight: Arc::clone(&self.in_flight) }
    }

    /// Takes a place; `None` if the limit is reached.
    pub fn try_enter(&self) -> Option<InFlightGuard> {
        let guard = InFlightGuard(Arc::clone(&self.in_flight));
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // a guard above the limit is dropped here, which counts it out again
        (before < self.limit).then_some(guard)
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn unrouted() -> Arc<RouteMetrics> {
        Arc::clone(&Metrics::new().unrouted)
    }

    #[test]
    fn a_permit_counts_until_it_is_dropped() {
        let metrics = unrouted();
        let admission = Admission::new(2);
        let first = enter(&admission, None, &metrics).unwrap();
        let _second = enter(&admission, None, &metrics).unwrap();
        assert_eq!(
            enter(&admission, None, &metrics).unwrap_err().kind,
            ErrorKind::Overloaded(Overload::Requests)
        );
        assert_eq!(admission.in_flight(), 2);
        drop(first);
        assert!(enter(&admission, None, &metrics).is_ok());
    }

    #[test]
    fn a_request_that_its_route_refuses_takes_no_place_from_others() {
        let metrics = unrouted();
        let (process, route) = (Admission::new(3), Admission::new(1));
        let first = enter(&process, Some(&route), &metrics).unwrap();
        for _ in 0..5 {
            assert!(enter(&process, Some(&route), &metrics).is_err());
        }
        assert_eq!((process.in_flight(), route.in_flight()), (1, 1));
        let _others = [enter(&process, None, &metrics).unwrap(), enter(&process, None, &metrics).unwrap()];
        drop(first);
        assert_eq!((process.in_flight(), route.in_flight()), (2, 0));
    }
}
