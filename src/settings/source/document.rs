//! The files of a settings directory: `default.yaml` (the process) and `routes/*.yaml` (a route in each).
//!
//! A mounted ConfigMap has symbolic links and hidden `..data` entries of the kubelet besides.

use std::{fs, io, path::Path};

use super::mistake::{Mistake, Mistakes};
use crate::settings::NoRoutes;
use crate::system::{exhausted::noted, regular_file};

/// The file about the process.
const PROCESS_FILE: &str = "default.yaml";
const ROUTES_DIRECTORY: &str = "routes";

/// The subject of a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `default.yaml`.
    Process,
    /// A file of `routes/`, by its stem.
    Route(String),
}

/// A YAML text and its origin.
#[derive(Debug, Clone)]
pub struct Document {
    /// The name that mistakes quote.
    pub source: String,
    pub subject: Subject,
    /// The YAML.
    pub text: String,
}

impl Document {
    pub fn is_route(&self) -> bool {
        matches!(self.subject, Subject::Route(_))
    }

    /// A text about the process, for `dev` and tests.
    pub fn process(text: impl Into<String>) -> Self {
        Self { source: PROCESS_FILE.into(), subject: Subject::Process, text: text.into() }
    }

    /// A text about a route, for `dev` and tests.
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
/// Without `default.yaml` the defaults apply; any other file that cannot be read is a mistake.
pub(in crate::settings) fn read_directory(
    directory: &Path,
    no_routes: NoRoutes,
    mistakes: &mut Mistakes,
) -> Vec<Document> {
    let mut documents = Vec::new();
    if !directory.is_dir() {
        let problem = "this settings directory does not exist or cannot be read";
        let mistake = Mistake::of_file(directory, problem);
        mistakes.push(mistake.expected("a directory with default.yaml and routes/*.yaml"));
        return documents;
    }
    let process = directory.join(PROCESS_FILE);
    // a dangling symbolic link is a mistake too
    if process.symlink_metadata().is_ok() {
        documents.extend(read_file(&process, Subject::Process, mistakes));
    }
    refuse_ignored(directory, mistakes);
    documents.extend(read_routes(&directory.join(ROUTES_DIRECTORY), no_routes, mistakes));
    documents
}

/// Refuses files like `default.yml` or `default.toml`: they would be ignored, and the defaults apply.
fn refuse_ignored(directory: &Path, mistakes: &mut Mistakes) {
    let names = noted(fs::read_dir(directory)).into_iter().flatten().filter_map(Result::ok);
    for path in names.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if looks_like_settings(&name) && name != PROCESS_FILE {
            let mistake = Mistake::of_file(&path, "not read");
            mistakes.push(mistake.expected(format!("{PROCESS_FILE}, or a route in {ROUTES_DIRECTORY}/")));
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
    let mut paths = match noted(fs::read_dir(directory)).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // a volume that is not mounted: who removes the last route leaves the directory
            no_routes = NoRoutes::Refused;
            Vec::new()
        }
        Err(error) => {
            mistakes.push(Mistake::of_file(directory, format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    paths.sort();
    let mut documents: Vec<Document> = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // the kubelet's `..data`, editors' `.x.swp`, `x~` and `#x#`
        if name.starts_with(['.', '#']) || name.ends_with('~') {
            continue;
        }
        let Some(stem) = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")) else {
            let mistake = Mistake::of_file(&path, "not a route file");
            mistakes.push(mistake.expected("a name that ends in .yaml"));
            continue;
        };
        let subject = Subject::Route(stem.to_owned());
        if documents.iter().any(|document| document.subject == subject) {
            let mistake = Mistake::of_file(&path, "duplicate route name, another file has the same");
            mistakes.push(mistake.expected("one of .yaml and .yml"));
        } else {
            documents.extend(read_file(&path, subject, mistakes));
        }
    }
    if documents.is_empty() && mistakes.is_empty() && no_routes == NoRoutes::Refused {
        let mistake = Mistake::of_file(directory, "there is no route");
        mistakes.push(mistake.expected("at least one file NAME.yaml"));
    }
    documents
}

fn read_file(path: &Path, subject: Subject, mistakes: &mut Mistakes) -> Option<Document> {
    match regular_file::read_settings(path) {
        Ok(text) => Some(Document { source: path.display().to_string(), subject, text }),
        Err(error) => {
            mistakes.push(Mistake::of_file(path, format!("cannot be read: {error}")));
            None
        }
    }
}
