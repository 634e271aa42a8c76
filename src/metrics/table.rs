//! The table of metrics: a row declares name, kind, labels and help of a metric, and reads its samples from a
//! value of type `T`.
//!
//! `counted!` declares a struct of counters and its rows together. `admin/` has more rows, for values that
//! are computed at a scrape.

use prometheus::proto::{Histogram, MetricType};

/// A row of the table: one metric of values of type `T`.
pub(crate) struct MetricRow<T> {
    pub(crate) declared: MetricDeclaration,
    /// The samples of one value; if empty, the value has no line on the page.
    pub(crate) samples: fn(&T) -> Vec<Sample<'_>>,
}

/// The declaration of a metric.
#[derive(Debug)]
pub(crate) struct MetricDeclaration {
    pub(crate) name: &'static str,
    pub(crate) kind: MetricType,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

/// A measured value, with the values of the labels in the order of [`MetricDeclaration::labels`].
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) labels: Vec<&'a str>,
    pub(crate) value: SampleValue,
}

/// The value of a sample.
#[derive(Debug)]
pub(crate) enum SampleValue {
    /// The value of a counter or a gauge.
    Number(f64),
    DurationHistogram(Histogram),
}

/// A type that a field of `counted!` can have. An empty value must not allocate, because there may be
/// thousands of routes without requests.
pub(crate) trait MetricValue: Default {
    const KIND: MetricType;

    /// The samples, with the values of this type's own labels.
    fn samples(&self) -> Vec<Sample<'_>>;
}

impl<T> MetricRow<T> {
    pub(crate) const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: fn(&T) -> Vec<Sample<'_>>,
    ) -> Self {
        Self { declared: MetricDeclaration { name, kind: MetricType::GAUGE, labels, help }, samples }
    }

    pub(crate) const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: fn(&T) -> Vec<Sample<'_>>,
    ) -> Self {
        Self { declared: MetricDeclaration { name, kind: MetricType::COUNTER, labels, help }, samples }
    }
}

/// One sample with these label values; empty without a number.
pub(crate) fn sample<const N: usize>(labels: [&str; N], number: impl Into<Option<f64>>) -> Vec<Sample<'_>> {
    let value = number.into().map(SampleValue::Number);
    value.map(|value| Sample { labels: labels.into(), value }).into_iter().collect()
}

/// Converts a count to floating point, the only number type of Prometheus: above 2⁵³ the last digits are
/// lost.
#[expect(clippy::cast_precision_loss, reason = "the format has no other number")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// Declares a struct of counters: a row gives the field, its type, the labels, the metric's name and its help
/// text, which is also the field's doc comment. `NAME(id)` adds a field for the value of the first label;
/// fields after `beside` are no metrics.
macro_rules! counted {
    (
        $(#[$doc:meta])*
        $name:ident $(($id:ident))? {
            $($field:ident: $value:ty $([$($label:literal),+])? = $metric:literal, $help:literal;)*
        }
        $(beside { $($(#[$other_doc:meta])* $other:ident: $Other:ty;)* })?
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            $(
                /// The value of the first label.
                pub $id: std::sync::Arc<str>,
            )?
            $(#[doc = $help] pub $field: $value,)*
            $($($(#[$other_doc])* pub $other: $Other,)*)?
        }

        impl $name {
            pub(crate) const ROWS: &'static [$crate::metrics::table::MetricRow<Self>] = &[$(
                $crate::metrics::table::MetricRow {
                    declared: $crate::metrics::table::MetricDeclaration {
                        name: $metric,
                        kind: <$value as $crate::metrics::table::MetricValue>::KIND,
                        labels: &[$($($label),+)?],
                        help: $help,
                    },
                    samples: |counted| counted.labelled(&counted.$field),
                },
            )*];

            pub(crate) fn new($($id: std::sync::Arc<str>)?) -> Self {
                Self { $($id,)? $($field: Default::default(),)* $($($other: Default::default(),)*)? }
            }

            fn labelled<'a>(
                &'a self,
                value: &'a impl $crate::metrics::table::MetricValue,
            ) -> Vec<$crate::metrics::table::Sample<'a>> {
                let first: &[&str] = &[$(&self.$id)?];
                let mut samples = $crate::metrics::table::MetricValue::samples(value);
                for sample in &mut samples {
                    sample.labels.splice(0..0, first.iter().copied());
                }
                samples
            }
        }
    };
}

pub(super) use counted;
