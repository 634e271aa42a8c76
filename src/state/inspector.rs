//! The last requests in bounded memory, for the inspector of the admin port.
//!
//! `proxy/record/request_copy.rs` records a request if the snapshot has an inspector and adds it here when it
//! ends; `admin/inspect.rs` shows it. Requests are kept as they were; secrets are left out when they are
//! shown.

mod request;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use tokio::sync::broadcast;

pub use self::request::{
    BodyStart, ClientSide, HeadLine, HeadLines, InspectedAttempt, InspectedRequest, LogEntry, Outgoing,
    RequestEnd, Secret, SignatureInput, Step,
};
use crate::settings::{Hidden, InspectSettings};

/// Bytes of heads and texts of one request that the memory is planned for; a request with more takes the
/// place of several.
const HEADS: usize = 16 << 10;
/// Bodies of one request: the client's, the outgoing one, AWS's and the response's.
const BODIES: usize = 4;
/// Requests that a slow follower of the page may be behind.
const MAX_BEHIND: usize = 64;

/// The recorded requests, shared by all snapshots.
#[derive(Debug)]
pub struct Inspector {
    keep: usize,
    /// Bytes of each body that are kept.
    body_limit: usize,
    /// Bytes of all requests.
    budget: usize,
    kept: Mutex<Kept>,
    /// A follower that is behind keeps no request longer than `kept` does.
    news: broadcast::Sender<Weak<InspectedRequest>>,
    /// The address of the listener to which a request may be sent again; only `dev` sets it.
    sends_again_to: OnceLock<SocketAddr>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    requests: VecDeque<Arc<InspectedRequest>>,
    bytes: usize,
    /// The number of the newest.
    last: u64,
}

/// The inspector with the secrets of a snapshot.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub inspector: Arc<Inspector>,
    /// Secret texts of the snapshot's settings.
    pub hidden: Arc<Hidden>,
}

impl Inspector {
    pub fn new(settings: &InspectSettings) -> Self {
        let keep = usize::try_from(settings.keep).unwrap_or(usize::MAX);
        let body_limit = usize::try_from(settings.bodies).unwrap_or(usize::MAX);
        Self {
            keep,
            body_limit,
            budget: keep.saturating_mul(HEADS + BODIES * body_limit),
            kept: Mutex::default(),
            news: broadcast::Sender::new(MAX_BEHIND),
            sends_again_to: OnceLock::new(),
        }
    }

    pub fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// Adds a request that has ended; the oldest ones make room.
    pub fn add(&self, mut request: InspectedRequest) {
        let news = {
            let mut kept = self.kept();
            kept.last += 1;
            request.number = kept.last;
            let request = Arc::new(request);
            let news = Arc::downgrade(&request);
            kept.bytes += request.weight();
            kept.requests.push_back(request);
            while kept.requests.len() > self.keep || (kept.bytes > self.budget && kept.requests.len() > 1) {
                let oldest = kept.requests.pop_front();
                kept.bytes -= oldest.map_or(0, |oldest| oldest.weight());
            }
            news
        };
        // an error only means that no page follows
        let _ = self.news.send(news);
    }

    /// The kept requests, the newest first.
    pub fn all(&self) -> Vec<Arc<InspectedRequest>> {
        self.kept().requests.iter().rev().cloned().collect()
    }

    /// The newest request with this number or request id.
    pub fn find(&self, id: &str) -> Option<Arc<InspectedRequest>> {
        let number = id.parse().ok();
        let kept = self.kept();
        let is_it =
            |request: &&Arc<InspectedRequest>| Some(request.number) == number || request.request_id == id;
        kept.requests.iter().rev().find(is_it).cloned()
    }

    /// Requests that end from now on.
    pub fn follow(&self) -> broadcast::Receiver<Weak<InspectedRequest>> {
        self.news.subscribe()
    }

    /// Allows to send requests again to this listener.
    pub fn allow_sending_again(&self, to: SocketAddr) {
        let _ = self.sends_again_to.set(to);
    }

    pub fn sends_again_to(&self) -> Option<SocketAddr> {
        self.sends_again_to.get().copied()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspector(keep: u32, bodies: u64) -> Inspector {
        Inspector::new(&InspectSettings { keep, bodies })
    }

    fn request(id: &'static str, body: usize) -> InspectedRequest {
        let mut request = InspectedRequest::for_tests(id);
        request.client.body = BodyStart::new(body);
        request.client.body.push(&vec![b'x'; body]);
        request
    }

    #[test]
    fn the_newest_requests_are_kept_and_found_by_number_and_id() {
        let inspector = inspector(2, 10);
        let mut follower = inspector.follow();
        for id in ["a", "b", "c"] {
            inspector.add(request(id, 1));
        }
        let numbers: Vec<u64> = inspector.all().iter().map(|request| request.number).collect();
        assert_eq!(numbers, [3, 2]);
        assert!(inspector.find("a").is_none() && inspector.find("1").is_none());
        assert_eq!(inspector.find("b").unwrap().number, 2);
        assert_eq!(inspector.find("3").unwrap().request_id, "c");
        // a follower that is behind does not keep what has made room
        assert!(follower.try_recv().unwrap().upgrade().is_none());
        assert_eq!(follower.try_recv().unwrap().upgrade().unwrap().request_id, "b");
    }

    #[test]
    fn large_requests_take_the_place_of_several() {
        let inspector = inspector(4, 0);
        for _ in 0..20 {
            inspector.add(request("a", 3 * HEADS));
        }
        assert_eq!(inspector.all().len(), 1);
        let kept = inspector.kept();
        assert!(kept.bytes <= inspector.budget);
        assert_eq!(kept.bytes, kept.requests.iter().map(|request| request.weight()).sum::<usize>());
    }

    #[test]
    fn sending_again_is_off_until_it_is_allowed() {
        let inspector = inspector(1, 0);
        assert_eq!(inspector.sends_again_to(), None);
        let address = SocketAddr::from(([127, 0, 0, 1], 9080));
        inspector.allow_sending_again(address);
        assert_eq!(inspector.sends_again_to(), Some(address));
    }
}
