//! Metrics as Prometheus reads them: a family has a name, a help text and a sample for each set of labels.
//!
//! `exposition.rs` and `process.rs` fill it, the `prometheus` crate writes the text.

use prometheus::{
    TextEncoder,
    core::Collector,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

/// Families in the making.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

/// A sample: labels and what is measured.
pub(super) type Sample<'a, const N: usize> = ([(&'a str, &'a str); N], f64);

impl Families {
    /// A number that only grows.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.counters(name, help, [([], value)]);
    }

    /// A number that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [([], value)]);
    }

    /// Numbers that only grow.
    pub(super) fn counters<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a, N>>,
    ) {
        self.add(MetricType::COUNTER, name, help, samples, |metric, value| {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        });
    }

    /// Numbers that go up and down.
    pub(super) fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a, N>>,
    ) {
        self.add(MetricType::GAUGE, name, help, samples, |metric, value| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        });
    }

    /// What the crate itself collects.
    pub(super) fn collect(&mut self, collector: &impl Collector) {
        self.0.extend(collector.collect().into_iter().filter(|family| !family.get_metric().is_empty()));
    }

    /// All of it in the text format.
    ///
    /// # Errors
    /// A family has no sample or no name.
    pub(super) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.0)
    }

    fn add<'a, const N: usize>(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a, N>>,
        measure: impl Fn(&mut Metric, f64),
    ) {
        let metrics: Vec<Metric> = samples
            .into_iter()
            .map(|(labels, value)| {
                let mut metric = Metric::from_label(labels.into_iter().map(label).collect());
                measure(&mut metric, value);
                metric
            })
            .collect();
        // a family without samples is not written
        if !metrics.is_empty() {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family.set_metric(metrics);
            self.0.push(family);
        }
    }
}

fn label((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// Prometheus knows floating point alone; beyond 2⁵³ the last digits are lost.
#[expect(clippy::cast_precision_loss, reason = "that is the format's own")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}
