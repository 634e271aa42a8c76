//! The stages of reading the settings, from texts to checked values: first the process, then route by route, so that
//! one route at a time is in memory as a tree.
//!
//! [`SettingsLoader`] reads a directory again and again. While the file of a route and the files that it leads to do not
//! change (`known_routes.rs`), its settings stay the same `Arc`, without being read.

mod known_routes;
mod reading;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use self::{
    known_routes::{KnownRoutes, Lookup, StampCache},
    reading::{CheckedRoute, Reading, in_order},
};
use super::{
    Settings,
    route::check_against_each_other,
    source::{
        document::{self, Document, Subject},
        mistake::{Mistake, Mistakes, Place},
        tree::Environment,
    },
};

/// Treatment of settings without a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::settings) enum NoRoutes {
    /// A mistake: at the start the files are in another place.
    Refused,
    /// The directory is there and empty: whoever runs the process has removed the last file.
    Taken,
}

/// Reads the settings of a directory and the process's environment.
#[derive(Debug)]
pub struct SettingsLoader {
    directory: PathBuf,
    environment: Environment,
    /// The text of `default.yaml` that the known routes were read with.
    process: Option<String>,
    known: KnownRoutes,
    /// No two of the known routes clash.
    is_clash_free: bool,
}

/// The texts of routes by their stems; none for a route that only variables describe.
type RouteTexts<'d> = BTreeMap<&'d str, Vec<&'d Document>>;
/// Routes by their stems.
type CheckedRoutes = BTreeMap<String, CheckedRoute>;

impl Settings {
    /// Reads a settings directory and the process's environment once.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load(directory: &Path) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut documents = Vec::new();
        if document::is_directory(directory, &mut mistakes) {
            documents.extend(document::read_process(directory, &mut mistakes));
            let files = document::route_files(directory, NoRoutes::Refused, &mut mistakes);
            documents.extend(files.iter().filter_map(|file| file.read(&mut mistakes)));
        }
        Self::assemble(&documents, &super::environment(), mistakes)
    }

    /// Reads settings from texts and a given environment.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn from_documents(documents: &[Document], environment: &Environment) -> Result<Self, Mistakes> {
        Self::assemble(documents, environment, Mistakes::default())
    }

    fn assemble(
        documents: &[Document],
        environment: &Environment,
        mut mistakes: Mistakes,
    ) -> Result<Self, Mistakes> {
        let (process, routes): (Vec<_>, Vec<_>) = documents.iter().partition(|document| !document.is_route());
        check_for_routes(routes.is_empty(), NoRoutes::Refused, &mut mistakes);
        let mut reading = Reading::new(&process, environment, &mut mistakes).with_hidden();
        let texts = by_stem(&routes);
        let mut checked = CheckedRoutes::new();
        for stem in texts.keys().copied().map(str::to_owned).chain(reading.stems_of_overrides()) {
            let texts = texts.get(&*stem).map_or(&[][..], |texts| texts);
            if !checked.contains_key(&stem)
                && let Some(route) = reading.route(&stem, texts, &mut mistakes)
            {
                checked.insert(stem, route);
            }
        }
        reading.check_against_each_other(&checked, &texts, &mut mistakes);
        reading.finish(checked.into_values(), mistakes)
    }
}

impl SettingsLoader {
    /// A loader that has read nothing yet.
    pub fn new(directory: &Path) -> Self {
        let environment = super::environment();
        Self {
            directory: directory.to_owned(),
            environment,
            process: None,
            known: KnownRoutes::default(),
            is_clash_free: false,
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the settings at the start.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load(&mut self) -> Result<Settings, Mistakes> {
        self.load_at(SystemTime::now(), NoRoutes::Refused)
    }

    /// Reads them while the process runs: the last route may have been removed.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load_again(&mut self) -> Result<Settings, Mistakes> {
        self.load_at(SystemTime::now(), NoRoutes::Taken)
    }

    fn load_at(&mut self, now: SystemTime, no_routes: NoRoutes) -> Result<Settings, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut process = None;
        let mut files = Vec::new();
        if document::is_directory(&self.directory, &mut mistakes) {
            process = document::read_process(&self.directory, &mut mistakes);
            files = document::route_files(&self.directory, no_routes, &mut mistakes);
        }
        let text = process.as_ref().map(|document| &document.text);
        if self.process.as_ref() != text {
            self.process = text.cloned();
            self.known = KnownRoutes::default();
        }
        check_for_routes(files.is_empty(), no_routes, &mut mistakes);
        let process: Vec<&Document> = process.iter().collect();
        let mut reading = Reading::new(&process, &self.environment, &mut mistakes);
        let (mut checked, mut stamps) = (CheckedRoutes::new(), StampCache::new(now));
        let mut is_clash_possible = !self.is_clash_free;
        self.known.begin();
        for file in &files {
            let (document, fingerprint) = match self.known.find(file, &mut stamps, &mut mistakes) {
                Lookup::Known(route) => {
                    checked.insert(file.stem.clone(), route);
                    continue;
                }
                Lookup::Changed(document, fingerprint) => (document, fingerprint),
                Lookup::Unreadable => continue,
            };
            let before = mistakes.count();
            let Some(route) = reading.route(&file.stem, &[&document], &mut mistakes) else { continue };
            is_clash_possible |= !self.known.has_same_rule(&file.stem, &route.settings);
            if mistakes.count() == before {
                self.known.keep(&file.stem, fingerprint, &route, &mut stamps);
            }
            checked.insert(file.stem.clone(), route);
        }
        for stem in reading.stems_of_overrides() {
            if !checked.contains_key(&stem)
                && let Some(route) = reading.route(&stem, &[], &mut mistakes)
            {
                is_clash_possible = true;
                checked.insert(stem, route);
            }
        }
        self.known.forget_others();
        self.is_clash_free = mistakes.is_empty();
        if is_clash_possible && has_clash(&checked) {
            // the mistakes have lines of texts that are not in memory any more
            self.is_clash_free = false;
            return Settings::load(&self.directory);
        }
        reading.finish(checked.into_values(), mistakes)
    }
}

fn has_clash(routes: &CheckedRoutes) -> bool {
    let mut has_clash = false;
    check_against_each_other(&in_order(routes), |_, _| has_clash = true);
    has_clash
}

fn by_stem<'d>(documents: &[&'d Document]) -> RouteTexts<'d> {
    let mut texts = RouteTexts::new();
    for document in documents {
        if let Subject::Route(stem) = &document.subject {
            texts.entry(stem).or_default().push(document);
        }
    }
    texts
}

/// Settings without a route are a mistake or a warning, unless something else is wrong.
fn check_for_routes(is_empty: bool, no_routes: NoRoutes, mistakes: &mut Mistakes) {
    if !is_empty || !mistakes.is_empty() {
        return;
    }
    let place = Place::file("routes");
    match no_routes {
        NoRoutes::Taken => {
            mistakes.warn(Mistake::new(place, "", "there is no route: every request is answered 404"));
        }
        NoRoutes::Refused => mistakes.push(
            Mistake::new(place, "", "there is no route").expected("at least one file routes/NAME.yaml"),
        ),
    }
}

#[cfg(test)]
mod tests;
