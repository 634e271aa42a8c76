//! The settings as text: which files there are, before anyone looks inside.
//!
//! A settings directory holds `default.yaml` (the process) and `routes/*.yaml` (one route a file). A
//! mounted ConfigMap looks the same, with symbolic links and hidden `..data` entries of the kubelet's.
//! `tree.rs` comes next.

use std::{fs, io, path::Path};

use super::mistake::{Mistake, Mistakes, Place};
use crate::settings::NoRoutes;
use crate::system::{exhausted::noted, regular_file};

/// The file of the process's own settings.
const PROCESS_FILE: &str = "default.yaml";
/// The directory of the routes.
const ROUTES_DIRECTORY: &str = "routes";

/// What a document describes.
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
    /// What it describes.
    pub subject: Subject,
    /// The YAML.
    pub text: String,
}

impl Document {
    /// Whether it describes a route.
    pub fn is_route(&self) -> bool {
        matches!(self.subject, Subject::Route(_))
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

/// Reads the files of a settings directory, routes in the order of their names.
///
/// A missing `default.yaml` leaves every default in force; whatever else cannot be read is a mistake.
pub(in crate::settings) fn read_directory(
    directory: &Path,
    no_routes: NoRoutes,
    mistakes: &mut Mistakes,
) -> Vec<Document> {
    let mut documents = Vec::new();
    if !directory.is_dir() {
        let problem = "this settings directory does not exist or cannot be read";
        mistakes.push(
            Mistake::new(Place::file(directory.display().to_string()), "", problem)
                .expected("a directory with default.yaml and routes/*.yaml"),
        );
        return documents;
    }
    let process = directory.join(PROCESS_FILE);
    // a link that leads nowhere is there too
    if process.symlink_metadata().is_ok() {
        documents.extend(read_file(&process, Subject::Process, mistakes));
    }
    refuse_strangers(directory, mistakes);
    documents.extend(read_routes(&directory.join(ROUTES_DIRECTORY), no_routes, mistakes));
    documents
}

/// A file that looks like settings and is not read, such as `default.yml` or `default.toml`, would leave the
/// defaults in force.
fn refuse_strangers(directory: &Path, mistakes: &mut Mistakes) {
    let names = noted(fs::read_dir(directory)).into_iter().flatten().filter_map(Result::ok);
    for path in names.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if looks_like_settings(&name) && name != PROCESS_FILE {
            let place = Place::file(path.display().to_string());
            mistakes.push(
                Mistake::new(place, "", "not read")
                    .expected(format!("{PROCESS_FILE}, or a route in {ROUTES_DIRECTORY}/")),
            );
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

fn read_routes(directory: &Path, mut no_routes: NoRoutes, mistakes: &mut Mistakes) -> Vec<Document> {
    let place = || Place::file(directory.display().to_string());
    let mut paths = match noted(fs::read_dir(directory)).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
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
    paths.sort();
    let mut documents = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // the kubelet's `..data`, editors' `.x.swp`, `x~` and `#x#`
        if name.starts_with(['.', '#']) || name.ends_with('~') {
            continue;
        }
        match name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")) {
            Some(stem) if is_read(&documents, stem) => mistakes.push(
                Mistake::new(
                    Place::file(path.display().to_string()),
                    "",
                    "duplicate route name, another file has the same",
                )
                .expected("one of .yaml and .yml"),
            ),
            Some(stem) => documents.extend(read_file(&path, Subject::Route(stem.to_owned()), mistakes)),
            None => mistakes.push(
                Mistake::new(Place::file(path.display().to_string()), "", "not a route file")
                    .expected("a name that ends in .yaml"),
            ),
        }
    }
    if documents.is_empty() && mistakes.is_empty() && no_routes == NoRoutes::Refused {
        mistakes.push(Mistake::new(place(), "", "there is no route").expected("at least one file NAME.yaml"));
    }
    documents
}

fn is_read(documents: &[Document], stem: &str) -> bool {
    documents.iter().any(|document| matches!(&document.subject, Subject::Route(name) if name == stem))
}

fn read_file(path: &Path, subject: Subject, mistakes: &mut Mistakes) -> Option<Document> {
    let source = path.display().to_string();
    match regular_file::read_settings(path) {
        Ok(text) => Some(Document { source, subject, text }),
        Err(error) => {
            mistakes.push(Mistake::new(Place::file(source), "", format!("cannot be read: {error}")));
            None
        }
    }
}
