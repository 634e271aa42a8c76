//! The last requests in bounded memory, for the inspector of the admin port.
//!
//! `proxy/record/request_copy.rs` records a request (`inspector/recording.rs`) if the snapshot has an
//! inspector, and adds it here when it ends. It then gets the record whose place the new one has taken, so
//! that the memory of the oldest is used again. `admin/inspect.rs` reads requests (`inspector/reading.rs`).
//! They are kept as they were; secrets are left out when they are shown.

mod reading;
mod recording;
mod request;

use std::{
    collections::VecDeque,
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::broadcast;

pub use self::{
    recording::{Body, Part, RecordedAttempt, RecordedRequest},
    request::{
        BodyStart, ClientSide, HeadLine, HeadLines, InspectedAttempt, InspectedRequest, LogEntry, Outgoing,
        RequestEnd, Secret, SignatureInput, Step,
    },
};
use crate::settings::{Hidden, InspectSettings};

/// Records that are allocated at the start.
const MAX_SPARE: usize = 256;
/// Requests that a slow follower of the page may be behind.
const MAX_BEHIND: usize = 64;

/// The recorded requests, shared by all snapshots.
#[derive(Debug)]
pub struct Inspector {
    keep: usize,
    /// Bytes of each body that are kept.
    body_limit: usize,
    /// Bytes that are planned for one request.
    share: usize,
    /// Locked for no longer than it takes to exchange two records.
    kept: Mutex<Kept>,
    /// The numbers of new requests.
    news: broadcast::Sender<u64>,
    /// The address of the listener to which a request may be sent again; only `dev` sets it.
    sends_again_to: OnceLock<SocketAddr>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    requests: VecDeque<Arc<RecordedRequest>>,
    /// Records that no request has had yet. They are allocated at the start, so that they do not lie between
    /// the short-lived allocations of the workers, which would then take more instructions.
    spare: Vec<Arc<RecordedRequest>>,
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
        let spare = (0..keep.min(MAX_SPARE)).map(|_| Arc::default()).collect();
        Self {
            keep,
            body_limit,
            share: usize::try_from(settings.share()).unwrap_or(usize::MAX),
            kept: Mutex::new(Kept { spare, ..Kept::default() }),
            news: broadcast::Sender::new(MAX_BEHIND),
            sends_again_to: OnceLock::new(),
        }
    }

    pub fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// Adds a request that has ended; the oldest ones make room. Leaves an empty record in `request`, with
    /// the memory of the oldest.
    pub fn add(&self, request: &mut RecordedRequest) {
        request.weight = request.measured();
        let number = {
            let mut kept = self.kept();
            kept.last += 1;
            request.number = kept.last;
            kept.bytes += request.weight;
            let is_full = kept.requests.len() >= self.keep;
            let place = if is_full { kept.pop() } else { kept.spare.pop() };
            kept.requests.push_back(exchanged(request, place));
            while kept.bytes > self.share.saturating_mul(self.keep) && kept.requests.len() > 1 {
                kept.pop();
            }
            kept.last
        };
        request.clear(self.share);
        // an error only means that no page follows
        let _ = self.news.send(number);
    }

    /// The kept requests, the newest first.
    pub fn all(&self) -> Vec<Arc<RecordedRequest>> {
        self.kept().requests.iter().rev().cloned().collect()
    }

    /// The request with this number, otherwise the newest with this request id: clients may number theirs.
    pub fn find(&self, id: &str) -> Option<Arc<RecordedRequest>> {
        let numbered = id.parse().ok().and_then(|number| self.numbered(number));
        numbered.or_else(|| {
            let kept = self.kept();
            kept.requests.iter().rev().find(|request| request.request_id() == id.as_bytes()).cloned()
        })
    }

    /// The request with this number.
    pub fn numbered(&self, number: u64) -> Option<Arc<RecordedRequest>> {
        self.kept().requests.iter().rev().find(|request| request.number == number).cloned()
    }

    /// Numbers of the requests that end from now on.
    pub fn follow(&self) -> broadcast::Receiver<u64> {
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

impl Kept {
    fn pop(&mut self) -> Option<Arc<RecordedRequest>> {
        let oldest = self.requests.pop_front()?;
        self.bytes -= oldest.weight;
        Some(oldest)
    }
}

/// The request in `place`, whose record it gets. A record that a page reads stays as it is.
fn exchanged(request: &mut RecordedRequest, mut place: Option<Arc<RecordedRequest>>) -> Arc<RecordedRequest> {
    match place.as_mut().and_then(Arc::get_mut) {
        Some(place) => mem::swap(place, request),
        None => place = None,
    }
    place.unwrap_or_else(|| Arc::new(mem::take(request)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: usize = 16 << 10;

    fn inspector(keep: u32, bodies: u64) -> Inspector {
        Inspector::new(&InspectSettings { keep, bodies })
    }

    fn add(inspector: &Inspector, id: &str, body: usize) {
        let mut request = RecordedRequest::default();
        request.push(Part::RequestId, id.as_bytes());
        request.push_body(Body::Client, &vec![b'x'; body], body);
        inspector.add(&mut request);
    }

    #[test]
    fn the_newest_requests_are_kept_and_found_by_number_and_id() {
        let inspector = inspector(2, 10);
        let mut follower = inspector.follow();
        for id in ["a", "b", "c"] {
            add(&inspector, id, 1);
        }
        let numbers: Vec<u64> = inspector.all().iter().map(|request| request.number).collect();
        assert_eq!(numbers, [3, 2]);
        assert!(inspector.find("a").is_none() && inspector.find("1").is_none());
        assert_eq!(inspector.find("b").unwrap().number, 2);
        assert_eq!(inspector.find("3").unwrap().request_id(), b"c");
        // a follower that is behind does not keep what has made room
        assert!(inspector.numbered(follower.try_recv().unwrap()).is_none());
        assert_eq!(inspector.numbered(follower.try_recv().unwrap()).unwrap().request_id(), b"b");
    }

    #[test]
    fn a_number_is_found_before_a_request_id_that_looks_like_it() {
        let inspector = inspector(2, 10);
        for id in ["a", "b", "2"] {
            add(&inspector, id, 1);
        }
        assert_eq!(inspector.find("2").unwrap().request_id(), b"b");
        add(&inspector, "d", 1);
        assert_eq!(inspector.find("2").unwrap().request_id(), b"2");
    }

    #[test]
    fn large_requests_take_the_place_of_several() {
        let inspector = inspector(4, 0);
        for _ in 0..20 {
            add(&inspector, "a", 3 * HEADS);
        }
        assert_eq!(inspector.all().len(), 1);
        let kept = inspector.kept();
        assert!(kept.bytes <= 4 * inspector.share);
        assert_eq!(kept.bytes, kept.requests.iter().map(|request| request.measured()).sum::<usize>());
    }

    #[test]
    fn a_full_inspector_gives_the_memory_of_the_oldest_back_unless_a_page_reads_it() {
        let inspector = inspector(1, 0);
        add(&inspector, "a", 10);
        let mut request = RecordedRequest::default();
        let mut added = |id: &str| {
            request.push(Part::RequestId, id.as_bytes());
            inspector.add(&mut request);
            assert!(request.request_id().is_empty());
            request.buffer_address()
        };
        let (first, second) = (added("b"), added("c"));
        assert!(first != second && added("d") == first && added("e") == second);
        let read = inspector.find("e").unwrap();
        added("f");
        assert_eq!(read.read().request_id, "e");
        assert_eq!(inspector.all().len(), 1);
    }

    #[test]
    fn a_record_that_has_grown_is_not_used_again() {
        let inspector = inspector(1, 0);
        let mut request = RecordedRequest::default();
        request.push_body(Body::Client, &vec![0; 10 * HEADS], usize::MAX);
        inspector.add(&mut request);
        inspector.add(&mut request);
        assert!(request.measured() < HEADS);
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
