//! The stages of reading the settings, from texts to checked values: first the process, then route by route,
//! so that one route at a time is in memory as a tree.
//!
//! [`SettingsLoader`] reads a directory again and again. While the file of a route and the files that it
//! leads to do not change (`known_routes.rs`), its settings stay the same `Arc`, without being read.

mod known_routes;
mod reading;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use self::{
    known_routes::{KnownRoutes, Lookup, StampCache},
    reading::Reading,
};
#[cfg(feature = "dev")]
use super::local_targets::{LocalTargets, local_environment};
use super::{
    Settings,
    bundle::{BundleLink, BundlePaths},
    source::{
        document::{self, Document},
        foreign,
        mistake::{Mistake, Mistakes, Place},
        reference::ReferenceSources,
        remote_secret::{RefusedSecret, SecretReference, SecretStore, SecretValues},
        tree::{Environment, Node},
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

/// Changes to the settings before they are checked.
pub(in crate::settings) trait TreeChanges: fmt::Debug + Send {
    /// Changes the settings of the process and `defaults`, before references are resolved.
    fn process(&self, tree: &mut Node, environment: &Environment, mistakes: &mut Mistakes);

    /// Changes a route's file, before references are resolved.
    fn route(&self, tree: &mut Node, stem: &str, environment: &Environment, mistakes: &mut Mistakes);

    /// Changes a route after `defaults` were laid beneath it.
    fn lead(&self, tree: &mut Node, stem: &str, mistakes: &mut Mistakes);
}

/// A secret in AWS, and the version of its value; `None` without a value.
type SecretVersion = (SecretReference, Option<u64>);

/// Called with settings that were read and have no mistake.
type OnLoad = Box<dyn Fn(&Settings) + Send>;

/// Reads the settings of a directory and the process's environment.
pub struct SettingsLoader {
    directory: PathBuf,
    environment: Environment,
    /// The text of `default.yaml` that the known routes were read with.
    process: Option<String>,
    /// The secrets in AWS of `default.yaml`, with the versions that the known routes were read with.
    process_secrets: Vec<SecretVersion>,
    /// The fetched secrets.
    store: SecretStore,
    known: KnownRoutes,
    /// No two of the known routes clash.
    is_clash_free: bool,
    /// The settings are for a command that prints requests, see [`Hidden`](super::Hidden).
    collects_hidden: bool,
    changes: Option<Box<dyn TreeChanges>>,
    on_load: Option<OnLoad>,
    /// Files that are followed as the settings are.
    further_files: Vec<PathBuf>,
    /// The directory is a link to a bundle, which is locked while it is read.
    link: Option<Arc<BundleLink>>,
}

impl fmt::Debug for SettingsLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsLoader").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads a settings directory and the process's environment once.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load(directory: &Path) -> Result<Self, Mistakes> {
        SettingsLoader::load_once(directory, SecretStore::default())
    }

    /// Reads settings from texts and a given environment.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn from_documents(documents: &[Document], environment: &Environment) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let process = documents.iter().find(|document| !document.is_route());
        let stems = documents.iter().filter_map(|document| Some((document.stem()?, document)));
        let routes: BTreeMap<&str, &Document> = stems.collect();
        check_for_routes(routes.is_empty(), NoRoutes::Refused, &mut mistakes);
        let secrets = SecretValues::default();
        let sources = ReferenceSources { environment, secrets: &secrets, refused: &[] };
        let mut reading = Reading::new(process, sources, true, None, &mut mistakes);
        for (stem, document) in &routes {
            reading.route(stem, Some(document), &mut mistakes);
        }
        reading.finish(true, |stem| routes.get(stem).copied().cloned(), mistakes)
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
            process_secrets: Vec::new(),
            store: SecretStore::default(),
            known: KnownRoutes::default(),
            is_clash_free: false,
            collects_hidden: false,
            changes: None,
            on_load: None,
            further_files: Vec::new(),
            link: None,
        }
    }

    /// A loader of a bundle's directory.
    pub fn of_bundle(directory: &Path) -> Self {
        let paths = BundlePaths { directory: directory.to_owned() };
        Self { changes: Some(Box::new(paths)), ..Self::new(directory) }
    }

    /// A loader of the bundle that a link leads to.
    pub fn of_link(link: &Arc<BundleLink>) -> Self {
        Self { link: Some(Arc::clone(link)), ..Self::of_bundle(link.path()) }
    }

    /// A loader of settings that lead to a stand-in on this machine.
    #[cfg(feature = "dev")]
    pub fn local(directory: &Path, targets: LocalTargets) -> Self {
        let environment = local_environment(super::environment());
        Self { environment, changes: Some(Box::new(targets)), ..Self::new(directory) }
    }

    /// Also collects the texts that a command must not print.
    #[must_use]
    pub fn collecting_hidden(self) -> Self {
        Self { collects_hidden: true, ..self }
    }

    /// Follows this file as well, which may be missing.
    #[cfg(feature = "dev")]
    #[must_use]
    pub fn following(mut self, file: PathBuf) -> Self {
        self.further_files.push(file);
        self
    }

    /// Calls `on_load` with settings that were read and have no mistake.
    #[cfg(feature = "dev")]
    #[must_use]
    pub fn calling(self, on_load: impl Fn(&Settings) + Send + 'static) -> Self {
        Self { on_load: Some(Box::new(on_load)), ..self }
    }

    /// Takes the values of secrets in AWS from this store.
    pub fn use_secrets(&mut self, store: SecretStore) {
        self.store = store;
    }

    /// [`Settings::load`] with fetched secrets.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load_once(directory: &Path, store: SecretStore) -> Result<Settings, Mistakes> {
        Self { collects_hidden: true, store, ..Self::new(directory) }.load()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the settings at the start.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load(&mut self) -> Result<Settings, Mistakes> {
        self.load_at(SystemTime::now(), NoRoutes::Refused, &[])
    }

    /// Reads them while the process runs: the last route may have been removed. A fetched secret that is not
    /// valid for its key is no mistake: it is as one that has not been fetched.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load_again(&mut self) -> Result<Settings, Mistakes> {
        let loaded = self.load_at(SystemTime::now(), NoRoutes::Taken, &[]);
        let refused = loaded.as_ref().map_or_else(Mistakes::about_fetched, |_| Vec::new());
        if refused.is_empty() {
            return loaded;
        }
        self.load_at(SystemTime::now(), NoRoutes::Taken, &refused)
    }

    fn load_at(
        &mut self,
        now: SystemTime,
        no_routes: NoRoutes,
        refused: &[RefusedSecret],
    ) -> Result<Settings, Mistakes> {
        let link = self.link.clone();
        let _locked = link.as_ref().map(|link| link.lock());
        let mut mistakes = Mistakes::default();
        let mut process = None;
        let mut files = Vec::new();
        if document::is_directory(&self.directory, &mut mistakes) {
            process = document::read_process(&self.directory, &mut mistakes);
            files = document::route_files(&self.directory, no_routes, &mut mistakes);
        }
        let secrets = self.store.values();
        let text = process.as_ref().map(|document| &document.text);
        if self.process.as_ref() != text || !are_current(&self.process_secrets, &secrets) {
            self.process = text.cloned();
            self.known = KnownRoutes::default();
        }
        check_for_routes(files.is_empty(), no_routes, &mut mistakes);
        let changes = self.changes.as_deref();
        let sources = ReferenceSources { environment: &self.environment, secrets: &secrets, refused };
        let mut reading =
            Reading::new(process.as_ref(), sources, self.collects_hidden, changes, &mut mistakes);
        self.process_secrets.clone_from(reading.process_secrets());
        name_foreign_process(process.as_ref(), &mut mistakes);
        let mut stamps = StampCache::new(now, &secrets);
        let mut is_clash_possible = !self.is_clash_free;
        self.known.begin();
        for file in &files {
            let (document, fingerprint) = match self.known.find(file, &mut stamps, &mut mistakes) {
                Lookup::Known(route) => {
                    reading.add(&file.stem, route);
                    continue;
                }
                Lookup::Changed(document, fingerprint) => (document, fingerprint),
                Lookup::Unreadable => continue,
            };
            let before = mistakes.count();
            let route = reading.route(&file.stem, Some(&document), &mut mistakes);
            name_foreign_route(&document, before, &mut mistakes);
            let Some(route) = route else { continue };
            is_clash_possible |= !self.known.has_same_rule(&file.stem, &route.settings);
            if mistakes.count() == before {
                self.known.keep(&file.stem, fingerprint, route, &mut stamps);
            }
        }
        self.known.forget_others();
        let text_of = |stem: &str| {
            let file = files.iter().find(|file| file.stem == stem)?;
            file.read(&mut Mistakes::default())
        };
        let settings = reading.finish(is_clash_possible, text_of, mistakes);
        self.finished(settings)
    }

    /// Adds the further files to settings without mistakes, and passes them to the listener of `calling`.
    fn finished(&mut self, mut settings: Result<Settings, Mistakes>) -> Result<Settings, Mistakes> {
        self.is_clash_free = settings.is_ok();
        if let Ok(settings) = &mut settings {
            settings.files.extend(self.further_files.iter().cloned());
            self.on_load.iter().for_each(|on_load| on_load(settings));
        }
        settings
    }
}

/// True if the secrets have the same values as before.
fn are_current(secrets: &[SecretVersion], values: &SecretValues) -> bool {
    secrets.iter().all(|(reference, version)| values.version(reference) == *version)
}

/// Replaces all mistakes by one if `default.yaml` is a file of another program.
fn name_foreign_process(process: Option<&Document>, mistakes: &mut Mistakes) {
    let Some(Document { source, text, .. }) = process else { return };
    let is_wrong = mistakes.iter().any(|mistake| *mistake.place.source == **source);
    if let Some(mistake) = is_wrong.then(|| foreign::of_text(source, text)).flatten() {
        mistakes.replace_all(mistake);
    }
}

/// Replaces the mistakes of a route's file by one if it is a file of another program.
fn name_foreign_route(document: &Document, before: usize, mistakes: &mut Mistakes) {
    let is_wrong = mistakes.count() > before;
    let of_text = || foreign::of_text(&document.source, &document.text);
    if let Some(mistake) = is_wrong.then(of_text).flatten() {
        mistakes.replace(mistake);
    }
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
