//! Strict parser of Prometheus's text format: families are contiguous, histograms add up, no sample is
//! repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::client::get;

/// Labels of a sample.
pub type Labels = BTreeMap<String, String>;

/// Parsed metrics.
#[derive(Debug)]
pub struct Exposition {
    pub families: BTreeMap<String, Family>,
}

/// All samples of one family.
#[derive(Debug, Default)]
pub struct Family {
    pub help: String,
    pub kind: String,
    /// Name, labels and value; the name of a histogram's sample has a suffix.
    pub samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    /// Fetches the metrics from an admin port.
    #[track_caller]
    pub fn of(admin: SocketAddr) -> Self {
        let response = get(admin, "/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4"));
        Self::parse(&response.text())
    }

    /// Parses a page.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(is_name(name) && !families.contains_key(name), "{line}");
                let family = Family { help: help.to_owned(), ..Family::default() };
                families.insert(name.to_owned(), family);
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(name == current && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                kind.clone_into(&mut families.get_mut(name).unwrap().kind);
            } else {
                let family = families.get_mut(&current).unwrap_or_else(|| panic!("of no family: {line}"));
                let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                assert!(!family.kind.is_empty() && belongs(&sample.0, &current, &family.kind), "{line}");
                family.samples.push(sample);
            }
        }
        for (name, family) in &families {
            family.check(name);
        }
        Self { families }
    }

    /// Value of the sample with this name and exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let of_name = |(own, labels, _): &&(String, Labels, f64)| own == name && *labels == wanted;
        self.families.values().flat_map(|family| &family.samples).find(of_name).map(|(.., value)| *value)
    }

    /// The value as a whole number; 0 if there is no such sample.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.value(name, labels).unwrap_or(0.0);
        format!("{value}").parse().unwrap_or_else(|_| panic!("{name} is {value}"))
    }
}

impl Family {
    /// Names of the labels, without `le`.
    pub fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|(_, labels, _)| labels.keys());
        names.map(String::as_str).filter(|name| *name != "le").collect()
    }

    #[track_caller]
    fn check(&self, name: &str) {
        assert!(!self.samples.is_empty() && !self.help.is_empty(), "{name} is empty");
        let mut seen = BTreeSet::new();
        for (own, labels, value) in &self.samples {
            assert!(seen.insert((own, labels)), "{own} {labels:?} is there twice");
            assert!(self.kind == "gauge" || *value >= 0.0, "{own} {labels:?} is {value}");
        }
        assert_eq!(self.kind == "counter", name.ends_with("_total"), "{name}");
        if self.kind == "histogram" {
            self.check_histogram(name);
        }
    }

    /// Checks that buckets increase and the last one equals the count.
    #[track_caller]
    fn check_histogram(&self, name: &str) {
        let mut by_labels: BTreeMap<Labels, (f64, Option<f64>, bool, bool)> = BTreeMap::new();
        for (own, labels, value) in &self.samples {
            let mut labels = labels.clone();
            let bound = labels.remove("le");
            let (highest, all, counted, summed) = by_labels.entry(labels).or_default();
            match (own.strip_prefix(name).unwrap(), bound.as_deref()) {
                ("_bucket", Some(bound)) => {
                    assert!(*value >= *highest && all.is_none(), "{own} {bound}");
                    *highest = *value;
                    if bound == "+Inf" {
                        *all = Some(*value);
                    } else {
                        assert!(bound.parse::<f64>().is_ok(), "{bound}");
                    }
                }
                ("_count", None) => {
                    assert_eq!(*all, Some(*value), "{own}");
                    *counted = true;
                }
                ("_sum", None) => *summed = true,
                other => panic!("{other:?}"),
            }
        }
        assert!(by_labels.values().all(|(_, all, counted, summed)| all.is_some() && *counted && *summed));
    }
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    match sample.strip_prefix(family) {
        Some("") => kind != "histogram",
        Some("_bucket" | "_count" | "_sum") => kind == "histogram",
        _ => false,
    }
}

/// Parses `name{label="value",…} number`.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            let is_new = labels.insert(label.to_owned(), value).is_none();
            if !is_new || !is_name(label) {
                return None;
            }
            rest = match after.strip_prefix(',') {
                Some(more) => more,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            };
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// Parses a quoted string; returns it without escapes, and the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    None
}
