//! The types that count: atomics without a lock, and without an allocation but at the first occurrence.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::{Histogram, HistogramOpts, core::Metric as _, proto::MetricType};

use super::table::{Measured, Sample, Value, number, sample};

/// Upper bounds in seconds: from what a warm function takes to the longest that API Gateway and most of Lambda's
/// callers wait.
const DURATIONS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// Numbers by name, for names that are known when the program is built. A name has its place, in a list, from the
/// first time that it occurs, so that nobody has to know how many there are.
#[derive(Debug, Default)]
pub struct CounterByName(OnceLock<Box<Place>>);

#[derive(Debug)]
struct Place {
    name: &'static str,
    count: Counter,
    next: CounterByName,
}

/// Durations in buckets, which take no memory and have no samples until there is one.
#[derive(Debug, Default)]
pub struct DurationHistogram(OnceLock<Histogram>);

impl Counter {
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Value for Counter {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(&self) -> Vec<Sample<'_>> {
        sample([], number(self.get()))
    }
}

impl Gauge {
    /// Raises the level, or lowers it by a negative number.
    pub fn change(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, level: u64) {
        self.0.store(level.try_into().unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }
}

impl Value for Gauge {
    const KIND: MetricType = MetricType::GAUGE;

    fn samples(&self) -> Vec<Sample<'_>> {
        sample([], number(self.get()))
    }
}

impl Place {
    fn of(name: &'static str) -> Self {
        Self { name, count: Counter::default(), next: CounterByName::default() }
    }
}

impl CounterByName {
    /// Counts one more of this name.
    pub fn count(&self, name: &'static str) {
        let mut list = self;
        loop {
            let place = list.0.get_or_init(|| Box::new(Place::of(name)));
            if place.name == name {
                return place.count.add(1);
            }
            list = &place.next;
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let places = std::iter::successors(self.0.get(), |place| place.next.0.get());
        places.map(|place| (place.name, place.count.get()))
    }
}

impl Value for CounterByName {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(&self) -> Vec<Sample<'_>> {
        self.all().flat_map(|(name, count)| sample([name], number(count))).collect()
    }
}

impl DurationHistogram {
    pub(crate) fn observe(&self, took: Duration) {
        self.0.get_or_init(histogram).observe(took.as_secs_f64());
    }
}

#[expect(clippy::expect_used, reason = "the arguments are constants, and every request of a test makes one")]
fn histogram() -> Histogram {
    // the page has the name and the help of the row
    let options = HistogramOpts::new("seconds", "Durations.").buckets(DURATIONS.into());
    Histogram::with_opts(options).expect("a name, and bounds that grow")
}

impl Value for DurationHistogram {
    const KIND: MetricType = MetricType::HISTOGRAM;

    fn samples(&self) -> Vec<Sample<'_>> {
        let measured =
            self.0.get().map(|histogram| Measured::DurationHistogram(Box::new(histogram.metric())));
        measured.map(|value| Sample { labels: Vec::new(), value }).into_iter().collect()
    }
}

/// Declares counts by the values of one label, all of which have samples from the beginning: a field for each value.
macro_rules! counts {
    ($(#[$doc:meta])* $name:ident { $($(#[$of_value:meta])* $value:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[$of_value])* pub $value: $crate::metrics::Counter,)+
        }

        impl $crate::metrics::table::Value for $name {
            const KIND: prometheus::proto::MetricType = prometheus::proto::MetricType::COUNTER;

            fn samples(&self) -> Vec<$crate::metrics::table::Sample<'_>> {
                let counts = [$((stringify!($value), &self.$value)),+];
                let one = |(value, count): (&'static str, &$crate::metrics::Counter)| {
                    $crate::metrics::table::sample([value], $crate::metrics::table::number(count.get()))
                };
                counts.into_iter().flat_map(one).collect()
            }
        }
    };
}

pub(super) use counts;
