//! The types of counters: atomics without locks. They allocate only at the first occurrence.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::proto::{Bucket, Histogram, MetricType};

use super::table::{MetricValue, Sample, SampleValue, number, sample};

/// Upper bounds of the buckets in microseconds: from the duration of a warm function to the longest time that
/// API Gateway and most callers of Lambda wait.
const BOUNDS: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];
const MICROSECONDS: f64 = 1e6;
const NANOSECONDS: f64 = 1e9;

/// A number that only increases.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// Numbers by key, for keys that are few and known when the program is built. A key has an entry in a linked
/// list from its first occurrence on: keys that never occur take no memory.
#[derive(Debug)]
pub struct CounterByKey<K>(OnceLock<Box<CounterEntry<K>>>);

/// Numbers by name.
pub type CounterByName = CounterByKey<&'static str>;

#[derive(Debug)]
struct CounterEntry<K> {
    key: K,
    count: Counter,
    next: CounterByKey<K>,
}

/// Durations in buckets, which take no memory and have no samples until there is one. The histogram of the
/// `prometheus` crate takes ten times the memory, for each route.
#[derive(Debug, Default)]
pub struct DurationHistogram(OnceLock<Box<Buckets>>);

#[derive(Debug, Default)]
struct Buckets {
    /// By the first bound that is not exceeded; the last is for those that exceed all.
    counts: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Counter {
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl MetricValue for Counter {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(&self) -> Vec<Sample<'_>> {
        sample([], number(self.get()))
    }
}

impl Gauge {
    /// Adds a number, which may be negative.
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

impl MetricValue for Gauge {
    const KIND: MetricType = MetricType::GAUGE;

    fn samples(&self) -> Vec<Sample<'_>> {
        sample([], number(self.get()))
    }
}

impl<K> Default for CounterByKey<K> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Copy + PartialEq> CounterByKey<K> {
    /// Counts one more of this key.
    pub fn count(&self, key: K) {
        let new = || Box::new(CounterEntry { key, count: Counter::default(), next: Self::default() });
        let mut list = self;
        loop {
            let entry = list.0.get_or_init(new);
            if entry.key == key {
                return entry.count.add(1);
            }
            list = &entry.next;
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (K, u64)> {
        let entries = std::iter::successors(self.0.get(), |entry| entry.next.0.get());
        entries.map(|entry| (entry.key, entry.count.get()))
    }
}

impl MetricValue for CounterByName {
    const KIND: MetricType = MetricType::COUNTER;

    fn samples(&self) -> Vec<Sample<'_>> {
        self.all().flat_map(|(name, count)| sample([name], number(count))).collect()
    }
}

impl DurationHistogram {
    pub(crate) fn observe(&self, took: Duration) {
        let buckets = self.0.get_or_init(Box::default);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= *bound * 1000);
        buckets.counts[bucket.unwrap_or(BOUNDS.len())].add(1);
        buckets.nanoseconds.add(nanoseconds);
    }

    /// The duration that this share of the observed ones does not exceed, interpolated within its bucket as
    /// `histogram_quantile` of Prometheus does; `None` without an observation.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let counts: Vec<u64> = self.0.get()?.counts.iter().map(Counter::get).collect();
        let total: u64 = counts.iter().sum();
        let (mut below, rank) = (0.0, share * number(total));
        for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = number(*count);
            if below + count >= rank {
                // above the last bound nothing is known but the bound
                let upper = *BOUNDS.get(bucket).unwrap_or(&BOUNDS[BOUNDS.len() - 1]);
                let lower = bucket.checked_sub(1).map_or(0, |before| BOUNDS[before]);
                let part = ((rank - below) / count).clamp(0.0, 1.0);
                let (lower, upper) = (number(lower), number(upper));
                return Some(Duration::from_secs_f64((lower + (upper - lower) * part) / MICROSECONDS));
            }
            below += count;
        }
        None
    }
}

impl Buckets {
    fn histogram(&self) -> Histogram {
        let mut total = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (bound, count) in BOUNDS.iter().zip(&self.counts) {
            total += count.get();
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(number(*bound) / MICROSECONDS);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(total + self.counts[BOUNDS.len()].get());
        histogram.set_sample_sum(number(self.nanoseconds.get()) / NANOSECONDS);
        histogram
    }
}

impl MetricValue for DurationHistogram {
    const KIND: MetricType = MetricType::HISTOGRAM;

    fn samples(&self) -> Vec<Sample<'_>> {
        let measured = self.0.get().map(|buckets| SampleValue::DurationHistogram(buckets.histogram()));
        measured.map(|value| Sample { labels: Vec::new(), value }).into_iter().collect()
    }
}

/// Declares counters by the values of one label, a field for each value. All of them have samples from the
/// start.
macro_rules! counts {
    ($(#[$doc:meta])* $name:ident { $($(#[$of_value:meta])* $value:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[$of_value])* pub $value: $crate::metrics::Counter,)+
        }

        impl $crate::metrics::table::MetricValue for $name {
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
