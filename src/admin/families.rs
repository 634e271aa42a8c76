//! Conversion of the table's rows to the types of the `prometheus` crate.
//!
//! `exposition.rs` lists the groups of rows.

use std::collections::HashMap;

use prometheus::{
    core::Desc,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::exposition::Scrape;
use crate::metrics::table::{MetricDeclaration, MetricRow, Sample, SampleValue};

/// A type with metrics.
pub(super) trait Exposed: Sized + 'static {
    /// The metrics of each value.
    const ROWS: &'static [MetricRow<Self>];

    /// Calls `see` with every value at a scrape.
    fn each(scrape: &Scrape, see: &mut dyn FnMut(&Self));
}

/// The rows of a type, with the type erased.
pub(super) struct MetricGroup {
    pub(super) declared: fn() -> Vec<&'static MetricDeclaration>,
    pub(super) families: fn(&Scrape) -> Vec<MetricFamily>,
}

impl MetricGroup {
    pub(super) const fn of<T: Exposed>() -> Self {
        Self { declared: || T::ROWS.iter().map(|row| &row.declared).collect(), families: families::<T> }
    }
}

fn families<T: Exposed>(scrape: &Scrape) -> Vec<MetricFamily> {
    let mut samples: Vec<Vec<Metric>> = T::ROWS.iter().map(|_| Vec::new()).collect();
    T::each(scrape, &mut |thing| {
        for (row, samples) in T::ROWS.iter().zip(&mut samples) {
            samples.extend((row.samples)(thing).into_iter().map(|sample| metric(&row.declared, sample)));
        }
    });
    T::ROWS.iter().zip(samples).map(|(row, samples)| family(&row.declared, samples)).collect()
}

/// # Errors
/// The name or a label is not valid in Prometheus.
pub(super) fn desc(declared: &MetricDeclaration) -> prometheus::Result<Desc> {
    let labels = declared.labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(declared.name.to_owned(), declared.help.to_owned(), labels, HashMap::new())
}

fn family(declared: &MetricDeclaration, samples: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(declared.name.to_owned());
    family.set_help(declared.help.to_owned());
    family.set_field_type(declared.kind);
    family.set_metric(samples);
    family
}

fn metric(declared: &MetricDeclaration, sample: Sample<'_>) -> Metric {
    let labels = declared.labels.iter().zip(sample.labels).map(label).collect();
    let mut metric = Metric::from_label(labels);
    let number = match sample.value {
        SampleValue::Number(number) => number,
        SampleValue::DurationHistogram(histogram) => {
            metric.set_histogram(histogram);
            return metric;
        }
    };
    if declared.kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(number);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(number);
        metric.set_gauge(gauge);
    }
    metric
}

fn label((name, value): (&&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value.to_owned());
    pair
}
