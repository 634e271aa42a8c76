//! Writes the routes and secrets: all files or none, and none over another without `--force`.
//!
//! Each file is written whole beside its place and moved there at the end, so that a full disk leaves what
//! was there. A link in the place of a file is replaced, and never followed.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use tempfile::{Builder, NamedTempFile};

use super::{ImportOptions, checked::RouteFile, route::Translation, yaml};

/// Of the routes' files; the user's mask applies.
const ROUTE_MODE: u32 = 0o644;
const SECRET_MODE: u32 = 0o600;
const SECRETS_DIRECTORY_MODE: u32 = 0o700;
/// The beginning of files that are not finished; settings ignore files with a dot.
const UNFINISHED: &str = ".import-";

/// The reason why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{}: {error}", .path.display())]
    Failed { path: PathBuf, error: io::Error },
    #[error("already there, and kept without --force: {}", listed(.0))]
    Exists(Vec<PathBuf>),
    #[error("{}: a route file with the other ending is there: remove it", .0.display())]
    OtherEnding(PathBuf),
    #[error("{}: this file is imported, and would be replaced: choose another directory", .0.display())]
    Source(PathBuf),
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    crate::text::listing::listed(&paths)
}

/// The files that were written.
#[derive(Debug, Default)]
pub struct Written {
    /// Of the routes, by their names.
    pub routes: Vec<String>,
    pub secrets: Vec<String>,
    /// `default.yaml` was written; false if it was there, or nothing belongs there.
    pub process: bool,
}

/// A file that is whole and not yet in its place.
struct Prepared {
    temporary: NamedTempFile,
    path: PathBuf,
}

/// Writes the files.
pub fn write(
    options: &ImportOptions,
    files: &[RouteFile],
    translation: &Translation,
) -> Result<Written, WriteError> {
    let routes = options.to.join("routes");
    let secrets = secrets_of(translation);
    let mut planned: Vec<(PathBuf, &[u8], u32)> = Vec::new();
    let mut written_secrets = Vec::new();
    // first, so that routes that are there find their secrets
    if let Some(directory) = &options.secrets {
        for (name, value) in &secrets {
            planned.push((directory.join(name), value.expose_secret().as_bytes(), SECRET_MODE));
            written_secrets.push(name.clone());
        }
    }
    for file in files {
        planned.push((routes.join(format!("{}.yaml", file.name)), file.text.as_bytes(), ROUTE_MODE));
        let other = routes.join(format!("{}.yml", file.name));
        if other.symlink_metadata().is_ok() {
            return Err(WriteError::OtherEnding(other));
        }
    }
    let process = options.to.join("default.yaml");
    let head = ["Imported by apigw-invoker; every key is in settings/README.md".to_owned()];
    let process_text = yaml::text(&head, &translation.process, &|_| String::new());
    let writes_process =
        !files.is_empty() && !translation.process.0.is_empty() && process.symlink_metadata().is_err();
    if writes_process {
        planned.push((process, process_text.as_bytes(), ROUTE_MODE));
    }
    refuse_existing(&planned, options.force)?;
    refuse_sources(&planned, &options.files)?;
    if !files.is_empty() {
        create_directory(&routes, None)?;
        if let Some(directory) = options.secrets.as_deref().filter(|_| !secrets.is_empty()) {
            create_directory(directory, Some(SECRETS_DIRECTORY_MODE))?;
        }
    }
    let prepared: Result<Vec<Prepared>, WriteError> =
        planned.iter().map(|(path, content, mode)| prepare(path, content, *mode)).collect();
    put_in_place(prepared?, options.force)?;
    Ok(Written {
        routes: files.iter().map(|file| file.name.clone()).collect(),
        secrets: written_secrets,
        process: writes_process,
    })
}

/// The secrets whose values are known, each file once.
fn secrets_of(translation: &Translation) -> Vec<(String, SecretString)> {
    let mut found: Vec<(String, SecretString)> = Vec::new();
    for route in translation.routes.iter().filter(|route| route.is_translated()) {
        for secret in route.keys.secrets() {
            if let (Some(name), Some(value)) = (&secret.file, &secret.value)
                && found.iter().all(|(known, _)| known != name)
            {
                found.push((name.clone(), value.clone()));
            }
        }
    }
    found
}

fn refuse_existing(planned: &[(PathBuf, &[u8], u32)], force: bool) -> Result<(), WriteError> {
    let mut existing = Vec::new();
    for (path, ..) in planned {
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => {
                let error = io::Error::other("a directory is there");
                return Err(WriteError::Failed { path: path.clone(), error });
            }
            Ok(_) => existing.push(path.clone()),
            Err(_) => {}
        }
    }
    if existing.is_empty() || force { Ok(()) } else { Err(WriteError::Exists(existing)) }
}

/// An imported file stays even with `--force`.
fn refuse_sources(planned: &[(PathBuf, &[u8], u32)], sources: &[PathBuf]) -> Result<(), WriteError> {
    let sources: Vec<PathBuf> = sources.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let is_source = |path: &Path| path.canonicalize().is_ok_and(|path| sources.contains(&path));
    match planned.iter().find(|(path, ..)| is_source(path)) {
        Some((path, ..)) => Err(WriteError::Source(path.clone())),
        None => Ok(()),
    }
}

fn create_directory(path: &Path, mode: Option<u32>) -> Result<(), WriteError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    if let Some(mode) = mode {
        builder.mode(mode);
    }
    builder.create(path).map_err(|error| WriteError::Failed { path: path.to_owned(), error })
}

fn prepare(path: &Path, content: &[u8], mode: u32) -> Result<Prepared, WriteError> {
    let failed = |error| WriteError::Failed { path: path.to_owned(), error };
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut builder = Builder::new();
    builder.prefix(UNFINISHED).permissions(Permissions::from_mode(mode));
    let mut temporary = builder.tempfile_in(directory).map_err(failed)?;
    temporary.write_all(content).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
    Ok(Prepared { temporary, path: path.to_owned() })
}

/// Moves the files to their places. After a failure those that were not there before are removed again.
fn put_in_place(prepared: Vec<Prepared>, force: bool) -> Result<(), WriteError> {
    let mut new: Vec<PathBuf> = Vec::new();
    for Prepared { temporary, path } in prepared {
        let was_there = path.symlink_metadata().is_ok();
        let moved = if force { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        if let Err(failed) = moved {
            for path in new {
                drop(fs::remove_file(path));
            }
            return Err(if failed.error.kind() == io::ErrorKind::AlreadyExists {
                WriteError::Exists(vec![path])
            } else {
                WriteError::Failed { path, error: failed.error }
            });
        }
        if !was_there {
            new.push(path);
        }
    }
    Ok(())
}
