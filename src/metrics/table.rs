//! The table of metrics: a row declares a metric's name, kind, labels and help, and reads its samples from the thing
//! that it measures.
//!
//! A thing that is counted declares its rows and the fields that count together, by `counted!`: one place for a
//! metric. `admin/` has rows of its own for everything that is only looked up at a scrape.

use prometheus::proto::{self, MetricType};

/// A row of the table: one metric of things of this type.
pub(crate) struct MetricRow<T> {
    pub(crate) declared: Declared,
    /// The samples of one thing. A thing without samples is left out of the page.
    pub(crate) samples: fn(&T) -> Vec<Sample<'_>>,
}

/// A metric as people and Prometheus know it.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    pub(crate) kind: MetricType,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

/// A value, and the values of the labels in the order of [`Declared::labels`].
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) labels: Vec<&'a str>,
    pub(crate) value: Measured,
}

/// A value of a sample.
#[derive(Debug)]
pub(crate) enum Measured {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram, as the `prometheus` crate has it.
    DurationHistogram(Box<proto::Metric>),
}

/// A type of value that `counted!` can make a field of. An empty one has no memory beyond its own size, so that
/// thousands of routes that nobody calls cost little.
pub(crate) trait Value: Default {
    const KIND: MetricType;

    /// The samples, with the values of the labels that are the value's own.
    fn samples(&self) -> Vec<Sample<'_>>;
}

impl<T> MetricRow<T> {
    pub(crate) const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: fn(&T) -> Vec<Sample<'_>>,
    ) -> Self {
        Self { declared: Declared { name, kind: MetricType::GAUGE, labels, help }, samples }
    }

    pub(crate) const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: fn(&T) -> Vec<Sample<'_>>,
    ) -> Self {
        Self { declared: Declared { name, kind: MetricType::COUNTER, labels, help }, samples }
    }
}

/// The sample with these values of labels; none without a number.
pub(crate) fn sample<const N: usize>(labels: [&str; N], number: impl Into<Option<f64>>) -> Vec<Sample<'_>> {
    let value = number.into().map(Measured::Number);
    value.map(|value| Sample { labels: labels.into(), value }).into_iter().collect()
}

/// Prometheus knows floating point alone; beyond 2⁵³ the last digits are lost.
#[expect(clippy::cast_precision_loss, reason = "that is the format's own")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// Declares what is counted of a kind of thing: a row gives the field, its type, the labels, the name and the help,
/// which is the field's documentation too. `NAME(id)` has a field for the value of the first label.
macro_rules! counted {
    (
        $(#[$doc:meta])*
        $name:ident $(($id:ident))? {
            $($field:ident: $value:ty $([$($label:literal),+])? = $metric:literal, $help:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            $(
                /// The value of the first label.
                pub $id: std::sync::Arc<str>,
            )?
            $(#[doc = $help] pub $field: $value,)*
        }

        impl $name {
            pub(crate) const ROWS: &'static [$crate::metrics::table::MetricRow<Self>] = &[$(
                $crate::metrics::table::MetricRow {
                    declared: $crate::metrics::table::Declared {
                        name: $metric,
                        kind: <$value as $crate::metrics::table::Value>::KIND,
                        labels: &[$($($label),+)?],
                        help: $help,
                    },
                    samples: |counted| counted.labelled(&counted.$field),
                },
            )*];

            pub(crate) fn new($($id: std::sync::Arc<str>)?) -> Self {
                Self { $($id,)? $($field: Default::default()),* }
            }

            fn labelled<'a>(
                &'a self,
                value: &'a impl $crate::metrics::table::Value,
            ) -> Vec<$crate::metrics::table::Sample<'a>> {
                let first: &[&str] = &[$(&self.$id)?];
                let mut samples = $crate::metrics::table::Value::samples(value);
                for sample in &mut samples {
                    sample.labels.splice(0..0, first.iter().copied());
                }
                samples
            }
        }
    };
}

pub(super) use counted;
