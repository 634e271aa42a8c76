//! Settings in a bundle that was fetched from a source: the link to the bundle in use, its relative paths,
//! and its `bundle.yaml`.
//!
//! `settings_source` fetches and unpacks bundles. Relative paths of certificates and of `$file://` lead into
//! the bundle; absolute paths, and paths in environment variables, are those of this machine.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    loader::TreeChanges,
    source::{
        document::BUNDLE_FILE,
        mistake::{Mistake, Mistakes},
        tree::{Content, Environment, Node, Notation, ROUTES, key_in_file},
        yaml::{self, ParsedYaml, YamlError},
    },
};
use crate::system::regular_file;

const FILE_REFERENCE: &str = "$file://";
/// Keys with the path of a PEM file in every section.
const PEM_KEYS: [&str; 3] = ["ca_certificate", "client_certificate", "client_key"];
/// Sections whose keys with a path have names that other sections use too.
const PEM_SECTIONS: [&str; 2] = ["https", "roles_anywhere"];
const KEYS_OF_PEM_SECTIONS: [&str; 3] = ["certificate", "key", "client_ca"];
/// Tables with keys of the operator's choice.
const FREE_TABLES: [&str; 2] = ["headers", "resource"];
const SERIAL: &str = "serial";

/// The symbolic link to the directory of the bundle in use.
///
/// Settings are read while the link is locked, and it is locked while it is replaced: no reading mixes two
/// bundles.
#[derive(Debug)]
pub struct BundleLink {
    path: PathBuf,
    lock: Mutex<()>,
}

impl BundleLink {
    /// A link at an absolute path, which may not exist yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path, lock: Mutex::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the relative paths of settings absolute: they are relative to the bundle.
#[derive(Debug)]
pub(in crate::settings) struct BundlePaths {
    pub(in crate::settings) directory: PathBuf,
}

impl TreeChanges for BundlePaths {
    fn process(&self, tree: &mut Node, _: &Environment, mistakes: &mut Mistakes) {
        self.change(tree, &mut Vec::new(), mistakes);
    }

    fn route(&self, tree: &mut Node, _: &str, _: &Environment, mistakes: &mut Mistakes) {
        self.change(tree, &mut Vec::new(), mistakes);
    }

    fn lead(&self, _: &mut Node, _: &str, _: &mut Mistakes) {}
}

impl BundlePaths {
    fn change(&self, node: &mut Node, path: &mut Vec<String>, mistakes: &mut Mistakes) {
        let mut below = |key: String, node: &mut Node| {
            path.push(key);
            self.change(node, path, mistakes);
            path.pop();
        };
        let place = &node.place;
        match &mut node.content {
            Content::List(list) => list.iter_mut().for_each(|(index, item)| below(index.to_string(), item)),
            Content::Table(table) => table.iter_mut().for_each(|(key, child)| below(key.clone(), child)),
            // a variable belongs to this machine
            Content::Text(text) if node.notation == Notation::Typed => {
                let (prefix, relative) = match text.strip_prefix(FILE_REFERENCE) {
                    Some(relative) => (FILE_REFERENCE, relative),
                    None if is_pem_path(path, text) => ("", &**text),
                    None => return,
                };
                if relative.is_empty() || relative.starts_with('/') {
                    return;
                }
                match self.resolved(relative) {
                    Some(path) => *text = format!("{prefix}{path}"),
                    None => mistakes.push(
                        Mistake::new(place.clone(), key_in_file(path), "the path leads out of the bundle")
                            .expected("a path inside the bundle, or an absolute path of this machine"),
                    ),
                }
            }
            _ => {}
        }
    }

    /// The absolute path; `None` if `..` leads out of the bundle.
    fn resolved(&self, relative: &str) -> Option<String> {
        let mut inside: Vec<&str> = Vec::new();
        for part in Path::new(relative).components() {
            match part {
                Component::Normal(part) => inside.push(part.to_str()?),
                Component::CurDir => {}
                Component::ParentDir => drop(inside.pop()?),
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        Some(format!("{}/{}", self.directory.display(), inside.join("/")))
    }
}

/// True for the path of a PEM file at a key path. PEM itself and references are no paths.
fn is_pem_path(path: &[String], text: &str) -> bool {
    if text.starts_with(['$', '{']) || text.contains("-----BEGIN ") {
        return false;
    }
    let [.., section, key] = path else { return false };
    let (section, key) = (&**section, &**key);
    let tables = match path {
        [first, _stem, tables @ .., _] if first == ROUTES => tables,
        [tables @ .., _] => tables,
        [] => &[],
    };
    let is_free = tables.iter().any(|table| FREE_TABLES.contains(&&**table));
    let is_pem = PEM_KEYS.contains(&key);
    !is_free && (is_pem || (PEM_SECTIONS.contains(&section) && KEYS_OF_PEM_SECTIONS.contains(&key)))
}

/// Reads the serial number in the `bundle.yaml` of an unpacked bundle; `None` without the file.
///
/// # Errors
/// The file cannot be read, or it has anything but `serial: N`.
pub fn bundle_serial(directory: &Path) -> Result<Option<u64>, String> {
    let path = directory.join(BUNDLE_FILE);
    if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let wrong = |problem: &str| format!("{BUNDLE_FILE}: {problem}; expected `{SERIAL}: N`");
    let text = regular_file::read_settings(&path).map_err(|error| wrong(&error.to_string()))?;
    let ParsedYaml { root, duplicates } =
        yaml::parse(&text, &BUNDLE_FILE.into()).map_err(|YamlError { problem, .. }| wrong(&problem))?;
    let Content::Table(keys) = root.content else { return Err(wrong("not a table")) };
    if !duplicates.is_empty() || keys.keys().any(|key| key != SERIAL) {
        return Err(wrong("unknown or duplicate key"));
    }
    match keys.get(SERIAL).map(|node| &node.content) {
        Some(Content::Integer(serial)) => u64::try_from(*serial).map(Some).map_err(|_| wrong("not positive")),
        _ => Err(wrong("no whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::source::yaml;

    fn changed(text: &str) -> (Node, Mistakes) {
        let mut root = yaml::parse(text, &"default.yaml".into()).unwrap_or_else(|_| panic!("{text}")).root;
        let mut mistakes = Mistakes::default();
        let paths = BundlePaths { directory: "/cache/current".into() };
        paths.process(&mut root, &Environment::new(), &mut mistakes);
        (root, mistakes)
    }

    fn text_at(text: &str, path: &[&str]) -> String {
        let (root, mistakes) = changed(text);
        assert!(mistakes.is_empty(), "{mistakes}");
        let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        match &root.nearest(&path).content {
            Content::Text(text) => text.clone(),
            _ => panic!("no text at {path:?}"),
        }
    }

    #[test]
    fn relative_paths_of_certificates_and_references_lead_into_the_bundle() {
        for (text, path, expected) in [
            ("a: { ca_certificate: tls/ca.pem }", vec!["a", "ca_certificate"], "/cache/current/tls/ca.pem"),
            ("a: { client_key: ./k.pem }", vec!["a", "client_key"], "/cache/current/k.pem"),
            ("listen: { https: { key: a/../k } }", vec!["listen", "https", "key"], "/cache/current/k"),
            ("x: { y: $file://secrets/key }", vec!["x", "y"], "$file:///cache/current/secrets/key"),
            ("x: [ $file://s ]", vec!["x", "0"], "$file:///cache/current/s"),
            ("a: { ca_certificate: /etc/ca.pem }", vec!["a", "ca_certificate"], "/etc/ca.pem"),
            ("x: $file:///run/s", vec!["x"], "$file:///run/s"),
            ("a: { ca_certificate: $env://CA }", vec!["a", "ca_certificate"], "$env://CA"),
            ("roles_anywhere: { key: '-----BEGIN x' }", vec!["roles_anywhere", "key"], "-----BEGIN x"),
            // names of the operator's choice
            ("headers: { set: { client_key: v } }", vec!["headers", "set", "client_key"], "v"),
            ("authorization: { key: v }", vec!["authorization", "key"], "v"),
        ] {
            assert_eq!(text_at(text, &path), expected, "{text}");
        }
    }

    #[test]
    fn a_relative_path_of_a_variable_leads_to_this_machine() {
        let mut root = yaml::parse("apikey: $file://key", &"default.yaml".into()).ok().unwrap().root;
        let Content::Table(keys) = &mut root.content else { panic!("no table") };
        keys.get_mut("apikey").unwrap().notation = Notation::Text;
        let mut mistakes = Mistakes::default();
        let paths = BundlePaths { directory: "/cache/current".into() };
        paths.process(&mut root, &Environment::new(), &mut mistakes);
        let path = ["apikey".to_owned()];
        assert!(matches!(&root.nearest(&path).content, Content::Text(text) if text == "$file://key"));
    }

    #[test]
    fn a_path_that_leads_out_of_the_bundle_is_a_mistake_with_its_key() {
        for text in ["a: { ca_certificate: ../ca.pem }", "x: $file://a/../../etc/passwd"] {
            let (_, mistakes) = changed(text);
            let told = mistakes.to_string();
            assert!(told.contains(": the path leads out of the bundle"), "{text}: {told}");
        }
    }

    #[test]
    fn the_serial_is_a_whole_number_and_the_only_key() {
        let directory = tempfile::tempdir().unwrap();
        let serial = |text: &str| {
            fs::write(directory.path().join(BUNDLE_FILE), text).unwrap();
            bundle_serial(directory.path())
        };
        assert_eq!(serial("serial: 42\n"), Ok(Some(42)));
        assert_eq!(serial("serial: 0"), Ok(Some(0)));
        for wrong in
            ["", "serial: -1", "serial: '1'", "serial: 1\nother: 2", "serial: 1\nserial: 2", "[1]", "a: ["]
        {
            let told = serial(wrong).unwrap_err();
            assert!(told.starts_with("bundle.yaml: ") && told.ends_with("expected `serial: N`"), "{told}");
        }
        fs::remove_file(directory.path().join(BUNDLE_FILE)).unwrap();
        assert_eq!(bundle_serial(directory.path()), Ok(None));
    }
}
