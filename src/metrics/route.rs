//! What is counted of one route's requests.
//!
//! `proxy/record.rs` adds to it as a request goes along, `resilience/admission.rs` and `proxy/call.rs` for what they refuse or
//! repeat; `admin/exposition.rs` reads it.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_http::{Method, StatusCode};
use prometheus::{Histogram, HistogramVec};

/// The methods that are told apart, and the rest: a client may make up as many as it likes.
const METHODS: [&str; 8] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "OTHER"];
/// The classes of statuses; the last is for clients that left before there was one, as nginx has it.
const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "499"];

/// Room for the codes of `message/error/codes.rs`; a test compares.
pub const MOST_CODES: usize = 32;

/// The counters of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    /// The route's name.
    pub id: Arc<str>,
    /// Answers of our own, by code.
    pub errors: Named<MOST_CODES>,
    /// Calls that were made again, by reason.
    pub retries: Named<16>,
    /// Calls that were not made again because the budget was used up.
    pub budget_exhausted: Count,
    /// Requests turned away because as many as the process takes were in flight.
    pub shed_by_process: Count,
    /// The same, as many as the route takes.
    pub shed_by_route: Count,
    /// Requests that could not be signed.
    pub signing_failures: Count,
    /// Calls whose signature or keys AWS has refused.
    pub signatures_refused: Count,
    /// Calls that AWS has refused for another reason, by that reason.
    pub denials: Named<4>,
    /// Bytes of bodies sent to AWS.
    pub bytes_in: Count,
    /// Bytes of bodies passed on to clients.
    pub bytes_out: Count,
    requests: [[Count; STATUSES.len()]; METHODS.len()],
    in_flight: AtomicU64,
    whole: Durations,
    upstream: Durations,
}

/// Durations of one route, which take no memory and have no samples until there is one.
struct Durations {
    of_all: HistogramVec,
    own: OnceLock<Histogram>,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// Numbers by name, for few names that are known when the program is built, and each of them told when it first
/// occurs. Neither a lock nor an allocation; a name beyond the `N`th is not counted.
#[derive(Debug)]
pub struct Named<const N: usize>([(OnceLock<&'static str>, Count); N]);

impl RouteMetrics {
    pub(crate) fn new(id: Arc<str>, whole: &HistogramVec, upstream: &HistogramVec) -> Self {
        Self {
            errors: Named::default(),
            retries: Named::default(),
            budget_exhausted: Count::default(),
            shed_by_process: Count::default(),
            shed_by_route: Count::default(),
            signing_failures: Count::default(),
            signatures_refused: Count::default(),
            denials: Named::default(),
            bytes_in: Count::default(),
            bytes_out: Count::default(),
            requests: Default::default(),
            in_flight: AtomicU64::new(0),
            whole: Durations::among(whole),
            upstream: Durations::among(upstream),
            id,
        }
    }

    /// A request is here.
    pub fn begins(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// It is no longer.
    pub fn ends(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request is over; without a status where the client left before there was one.
    pub fn served(&self, method: &Method, status: Option<StatusCode>, took: Duration) {
        self.requests[method_index(method)][status_index(status)].add(1);
        self.whole.observe(&self.id, took);
    }

    /// The head of an answer came this long after the call was sent.
    pub fn answered(&self, after: Duration) {
        self.upstream.observe(&self.id, after);
    }

    /// Whether there was a request, or a refusal before one. Other routes have no samples: thousands of them would
    /// make pages of zeros.
    pub(crate) fn was_called(&self) -> bool {
        self.in_flight() > 0 || self.requests().next().is_some() || self.errors.all().next().is_some()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests by method and class of status, as far as there were any.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.requests.iter().zip(METHODS).flat_map(|(counts, method)| {
            let counted =
                counts.iter().zip(STATUSES).map(move |(count, status)| (method, status, count.get()));
            counted.filter(|(.., count)| *count > 0)
        })
    }
}

impl Durations {
    fn among(of_all: &HistogramVec) -> Self {
        Self { of_all: of_all.clone(), own: OnceLock::new() }
    }

    fn observe(&self, route: &str, took: Duration) {
        let own = self.own.get_or_init(|| self.of_all.with_label_values(&[route]));
        own.observe(took.as_secs_f64());
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Durations").field(&self.own).finish()
    }
}

impl Count {
    /// Adds to it.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<const N: usize> Named<N> {
    /// Counts one more of this name.
    pub fn count(&self, name: &'static str) {
        let place = self.0.iter().find(|(taken, _)| *taken.get_or_init(|| name) == name);
        if let Some((_, count)) = place {
            count.add(1);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map_while(|(name, count)| Some((*name.get()?, count.get())))
    }
}

impl<const N: usize> Default for Named<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Default::default()))
    }
}

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

fn status_index(status: Option<StatusCode>) -> usize {
    match status {
        // a function may answer with any number up to 999
        Some(status) => usize::from(status.as_u16() / 100).clamp(1, 5) - 1,
        None => STATUSES.len() - 1,
    }
}
