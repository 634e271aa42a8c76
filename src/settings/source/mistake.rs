//! Mistakes in the settings: place, key, problem and the expected value, so that the operator can fix them.
//!
//! Every stage of reading settings adds to one [`Mistakes`]; nothing stops at the first. `process.rs`
//! prints them and exits with 78 (`EX_CONFIG` of sysexits).

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use super::remote_secret::RefusedSecret;

/// Where a value of the settings was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A file as the operator named it, or `environment variable NAME`.
    pub source: Arc<str>,
    /// The line in that file, counted from 1; none for the environment or a whole file.
    pub line: Option<usize>,
}

impl Place {
    /// A whole file or directory.
    pub fn file(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

/// One mistake: where, at which key, what is wrong, what was expected, and the nearest right word.
///
/// Values are quoted only where they cannot be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// File and line.
    pub place: Place,
    /// The key's path inside its file, such as `api_gateway.timeout`; empty for the file itself.
    pub key: String,
    /// The problem, as one clause.
    pub problem: String,
    /// The expected value.
    pub expected: Option<String>,
    /// The known word that is nearest to an unknown one.
    pub nearest: Option<String>,
}

impl Mistake {
    /// A mistake without an expectation.
    pub fn new(place: Place, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place, key: key.into(), problem: problem.into(), expected: None, nearest: None }
    }

    /// Adds the expected value.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Adds the known words and, where one of them is close to `word`, proposes it.
    #[must_use]
    pub fn one_of(mut self, word: &str, known: &[&str]) -> Self {
        let mut sorted = known.to_vec();
        sorted.sort_unstable();
        self.expected = Some(format!("one of {}", sorted.join(", ")));
        self.nearest = nearest(word, known);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        Ok(())
    }
}

/// The value of a key that names a secret in AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RemoteValue {
    /// The value is not known yet: nothing can be wrong with a placeholder.
    Placeholder,
    Fetched,
}

/// Every mistake found in one reading of the settings, in the order of files and lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mistakes {
    found: Vec<Mistake>,
    /// The files and keys of those, since there may be thousands.
    known: HashSet<(Arc<str>, String)>,
    /// The keys whose value is a secret in AWS.
    remote: BTreeMap<(Arc<str>, String), RemoteValue>,
    /// Warnings about values that are valid and unwise.
    warnings: Vec<Mistake>,
}

impl Mistakes {
    /// Adds one, unless something is already wrong with the same key: what follows from that is no news.
    pub fn push(&mut self, mistake: Mistake) {
        let place = (mistake.place.source.clone(), mistake.key.clone());
        if self.remote.get(&place) == Some(&RemoteValue::Placeholder) {
            self.known.insert(place);
            return;
        }
        if self.known.insert(place) || mistake.key.is_empty() {
            self.found.push(mistake);
        }
    }

    /// Drops all later mistakes about a key.
    pub fn excuse(&mut self, place: &Place, key: &str) {
        self.remote.insert((Arc::clone(&place.source), key.to_owned()), RemoteValue::Placeholder);
    }

    /// Notes that the value of a key is a fetched secret, which changes by itself.
    pub fn mark_fetched(&mut self, place: &Place, key: &str) {
        self.remote.insert((Arc::clone(&place.source), key.to_owned()), RemoteValue::Fetched);
    }

    /// The mistakes about fetched secrets.
    pub fn about_fetched(&self) -> Vec<RefusedSecret> {
        let is_fetched = |mistake: &&Mistake| {
            let Mistake { place, key, .. } = mistake;
            let place = (Arc::clone(&place.source), key.clone());
            self.remote.get(&place) == Some(&RemoteValue::Fetched)
        };
        let about = self.found.iter().filter(is_fetched).map(|mistake| {
            let Mistake { place, key, problem, expected, .. } = mistake;
            let expected = expected.as_ref().map(|expected| format!("; expected {expected}"));
            let problem = format!("{problem}{}", expected.unwrap_or_default());
            RefusedSecret { source: Arc::clone(&place.source), key: key.clone(), problem }
        });
        about.collect()
    }

    /// Replaces all mistakes of a file by one.
    pub fn replace(&mut self, mistake: Mistake) {
        self.found.retain(|found| found.place.source != mistake.place.source);
        self.push(mistake);
    }

    /// Replaces all mistakes by one.
    pub fn replace_all(&mut self, mistake: Mistake) {
        self.found.clear();
        self.push(mistake);
    }

    /// Adds a warning, which keeps nothing from being taken.
    pub fn warn(&mut self, warning: Mistake) {
        self.warnings.push(warning);
    }

    /// The warnings so far.
    pub fn warned(&self) -> &[Mistake] {
        &self.warnings
    }

    /// The number of mistakes so far.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// The warnings, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(Mistake::to_string).collect()
    }

    /// True if something is wrong with a key of a file.
    pub fn has_error(&self, source: &str, key: &str) -> bool {
        !self.known.is_empty() && self.known.contains(&(source.into(), key.to_owned()))
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.found.iter()
    }

    /// The mistakes without a directory's path in names of files, with which a bundle's files are named as in
    /// the bundle.
    #[must_use]
    pub fn without_prefix(mut self, prefix: &str) -> Self {
        for mistake in self.found.iter_mut().chain(&mut self.warnings) {
            mistake.place.source = mistake.place.source.replace(prefix, "").into();
            mistake.problem = mistake.problem.replace(prefix, "");
        }
        self
    }

    /// The value, unless there is a mistake.
    ///
    /// # Errors
    /// All mistakes, sorted by place.
    pub fn into_result<T>(mut self, value: T) -> Result<T, Self> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by(|a, b| (&a.place.source, a.place.line).cmp(&(&b.place.source, b.place.line)));
        self.found.dedup();
        Err(self)
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.found {
            writeln!(f, "{mistake}")?;
        }
        let count = self.found.len();
        write!(f, "{count} mistake{} in the settings", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Mistakes {}

/// The problem of a value that cannot be read, quoted if it may be shown.
pub(super) fn invalid_value(text: Option<&str>) -> String {
    text.map_or_else(|| "invalid value".to_owned(), |text| format!("invalid value `{text}`"))
}

/// The known word closest to `word`, unless even that is another word altogether.
fn nearest(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), candidate), *candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_says_place_key_problem_nearest_word_and_expectation() {
        let place = Place { source: "routes/hello.yaml".into(), line: Some(4) };
        let mistake = Mistake::new(place, "api_gateway.timout", "unknown key")
            .one_of("timout", &["timeout", "keepalive", "function_uri"]);
        assert_eq!(
            mistake.to_string(),
            "routes/hello.yaml:4: api_gateway.timout: unknown key; did you mean `timeout`?; \
             expected one of function_uri, keepalive, timeout"
        );
    }

    #[test]
    fn a_word_unlike_all_known_ones_gets_no_proposal() {
        assert_eq!(nearest("zebra", &["timeout", "keepalive"]), None);
    }
}
