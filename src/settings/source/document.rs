//! The settings as text: which files there are, before anyone looks inside.
//!
//! A settings directory holds `default.yaml` (the process) and `routes/*.yaml` (one route a file). A
//! mounted ConfigMap looks the same, with symbolic links and hidden `..data` entries of the kubelet's.
//! `yaml.rs` comes next.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    foreign,
    mistake::{Mistake, Mistakes, Place},
};
use crate::settings::loader::NoRoutes;
use crate::system::{exhausted::noted, regular_file};

/// The file of the process's own settings.
const PROCESS_FILE: &str = "default.yaml";
/// The functions that `dev` runs; `run` and `check` accept the file and do not read it.
pub const LOCAL_FUNCTIONS_FILE: &str = "functions.yaml";
/// The serial number of a bundle; a directory from which bundles are made may have the file too.
pub const BUNDLE_FILE: &str = "bundle.yaml";
/// The directory of the routes.
const ROUTES_DIRECTORY: &str = "routes";

/// The subject of a document: the process or one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `default.yaml`.
    Process,
    /// A file of `routes/`, by its stem.
    Route(String),
}

/// One YAML text and where it came from.
#[derive(Debug, Clone)]
pub struct Document {
    /// The name that mistakes quote.
    pub source: String,
    /// The process or the route that the text configures.
    pub subject: Subject,
    /// The YAML.
    pub text: String,
}

impl Document {
    /// True if it describes a route.
    pub fn is_route(&self) -> bool {
        self.stem().is_some()
    }

    /// The stem of a route's file.
    pub(in crate::settings) fn stem(&self) -> Option<&str> {
        if let Subject::Route(stem) = &self.subject { Some(stem) } else { None }
    }

    /// The process's settings as text, for `dev` and tests.
    pub fn process(text: impl Into<String>) -> Self {
        Self { source: PROCESS_FILE.into(), subject: Subject::Process, text: text.into() }
    }

    /// A route as text, for `dev` and tests.
    pub fn route(name: &str, text: impl Into<String>) -> Self {
        Self {
            source: format!("{ROUTES_DIRECTORY}/{name}.yaml"),
            subject: Subject::Route(name.to_owned()),
            text: text.into(),
        }
    }
}

/// A file of `routes/`.
pub(in crate::settings) struct RouteFile {
    pub(in crate::settings) path: PathBuf,
    /// The name without `.yaml`.
    pub(in crate::settings) stem: String,
}

/// Reads `default.yaml`, and reports other files beside it that look like settings. Without the file every
/// default applies.
pub(in crate::settings) fn read_process(directory: &Path, mistakes: &mut Mistakes) -> Option<Document> {
    let document = process_document(directory, mistakes);
    refuse_strangers(directory, mistakes);
    document
}

/// Reads `default.yaml` if it is there.
pub(in crate::settings) fn process_document(directory: &Path, mistakes: &mut Mistakes) -> Option<Document> {
    let process = directory.join(PROCESS_FILE);
    // a dangling link counts as present
    let is_there = process.symlink_metadata().is_ok();
    is_there.then(|| read_file(&process, Subject::Process, mistakes)).flatten()
}

/// True if the path is a directory; otherwise reports a mistake.
pub(in crate::settings) fn is_directory(directory: &Path, mistakes: &mut Mistakes) -> bool {
    let is_directory = directory.is_dir();
    if let Some(mistake) = foreign::of_file(directory).filter(|_| !is_directory) {
        mistakes.push(mistake);
    } else if !is_directory {
        let problem = "this settings directory does not exist or cannot be read";
        mistakes.push(
            Mistake::new(Place::file(directory.display().to_string()), "", problem)
                .expected("a directory with default.yaml and routes/*.yaml"),
        );
    }
    is_directory
}

/// A file that looks like settings and is not read, such as `default.yml` or `default.toml`, would leave the
/// defaults in force.
fn refuse_strangers(directory: &Path, mistakes: &mut Mistakes) {
    let names = noted(fs::read_dir(directory)).into_iter().flatten().filter_map(Result::ok);
    for path in names.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if looks_like_settings(&name) && ![PROCESS_FILE, LOCAL_FUNCTIONS_FILE, BUNDLE_FILE].contains(&&*name)
        {
            let place = Place::file(path.display().to_string());
            let expected = format!("{PROCESS_FILE}, or a route in {ROUTES_DIRECTORY}/");
            let not_read = || Mistake::new(place, "", "not read").expected(expected);
            mistakes.push(foreign::of_file(&path).unwrap_or_else(not_read));
        }
    }
}

fn looks_like_settings(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let is_yaml = matches!(extension, "yaml" | "yml");
    let is_default = stem == "default" && matches!(extension, "" | "json" | "json5" | "toml" | "ini" | "ron");
    (is_yaml || is_default) && !name.starts_with('.')
}

/// The files of `routes/`, in the order of their names.
pub(in crate::settings) fn route_files(
    settings: &Path,
    mut no_routes: NoRoutes,
    mistakes: &mut Mistakes,
) -> Vec<RouteFile> {
    let directory = settings.join(ROUTES_DIRECTORY);
    let place = || Place::file(directory.display().to_string());
    let mut names = match noted(fs::read_dir(&directory)).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries.into_iter().map(|entry| entry.file_name()).collect::<Vec<_>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // nobody removes a route so: a volume is not mounted
            no_routes = NoRoutes::Refused;
            Vec::new()
        }
        Err(error) => {
            mistakes.push(Mistake::new(place(), "", format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    names.sort_unstable();
    let (mut files, mut stems) = (Vec::with_capacity(names.len()), HashSet::new());
    for name in names {
        let (path, name) = (directory.join(&name), name.to_string_lossy());
        // the kubelet's `..data`, editors' `.x.swp`, `x~` and `#x#`
        if name.starts_with(['.', '#']) || name.ends_with('~') {
            continue;
        }
        let mistake = |problem| Mistake::new(Place::file(path.display().to_string()), "", problem);
        match name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")) {
            Some(stem) if stems.contains(stem) => mistakes.push(
                mistake("duplicate route name, another file has the same").expected("one of .yaml and .yml"),
            ),
            Some(stem) => {
                let stem = stem.to_owned();
                stems.insert(stem.clone());
                files.push(RouteFile { path, stem });
            }
            None => {
                let not_a_route = || mistake("not a route file").expected("a name that ends in .yaml");
                mistakes.push(foreign::of_file(&path).unwrap_or_else(not_a_route));
            }
        }
    }
    if files.is_empty() && mistakes.is_empty() && no_routes == NoRoutes::Refused {
        let no_route =
            || Mistake::new(place(), "", "there is no route").expected("at least one file NAME.yaml");
        mistakes.push(foreign_json(settings).unwrap_or_else(no_route));
    }
    files
}

/// The mistake about a JSON file of another program in the settings directory, where it is not read.
fn foreign_json(settings: &Path) -> Option<Mistake> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(settings).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort_unstable();
    let is_json = |path: &&PathBuf| path.extension().is_some_and(|end| end == "json");
    names.iter().filter(is_json).find_map(|path| foreign::of_file(path))
}

impl RouteFile {
    pub(in crate::settings) fn read(&self, mistakes: &mut Mistakes) -> Option<Document> {
        read_file(&self.path, Subject::Route(self.stem.clone()), mistakes)
    }
}

fn read_file(path: &Path, subject: Subject, mistakes: &mut Mistakes) -> Option<Document> {
    let source = path.display().to_string();
    match regular_file::read_settings(path) {
        Ok(text) => Some(Document { source, subject, text }),
        Err(error) => {
            let problem = format!("cannot be read: {error}");
            let unreadable = || Mistake::new(Place::file(source), "", problem);
            // those of other programs may be larger than ours
            let foreign = Some(path).filter(|_| error.kind() == io::ErrorKind::FileTooLarge);
            mistakes.push(foreign.and_then(foreign::of_file).unwrap_or_else(unreadable));
            None
        }
    }
}
