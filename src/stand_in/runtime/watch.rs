//! Changes of a function's files, after which its processes are started again.

use std::{
    ffi::OsStr,
    fs,
    path::{Component, Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::ModifyKind};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::settings::LocalFunction;

/// Directories with files that builds and package managers write.
const IGNORED: [&str; 3] = ["__pycache__", "node_modules", "target"];
/// Wait after a change, because an editor and a build write several files.
const SETTLING: Duration = Duration::from_millis(100);
/// Wait for the end of a build.
const LONGEST_SETTLING: Duration = Duration::from_secs(5);
/// The most directories of a function that are followed.
const MAX_DIRECTORIES: usize = 2000;

/// Follows the files of a function until it is dropped.
#[derive(Debug)]
pub struct Watch(Option<JoinHandle<()>>);

impl Watch {
    /// Notifies each of `instances` after a change.
    pub fn start(function: &LocalFunction, instances: Vec<Rc<Notify>>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let root = function.directory.clone();
        let program = program(function);
        let watched = Watched::start(root, program, sender);
        match watched {
            Ok(watched) => Self(Some(actix_rt::spawn(watched.follow(receiver, instances)))),
            Err(error) => {
                log::warn!(
                    "[{}] changes of its files are not followed: {} cannot be watched: {error}",
                    function.name,
                    function.directory.display()
                );
                Self(None)
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// The command's program if it is written as a path: a build may write it into `target`, which need not exist
/// before the first one.
fn program(function: &LocalFunction) -> Option<PathBuf> {
    let program = Path::new(function.command.first()?);
    if program.components().count() < 2 {
        return None;
    }
    let program = function.directory.join(program);
    let existing = program.ancestors().find(|path| path.exists())?;
    let missing = program.strip_prefix(existing).ok()?;
    Some(fs::canonicalize(existing).ok()?.join(missing))
}

struct Watched {
    root: PathBuf,
    program: Option<PathBuf>,
    watcher: RecommendedWatcher,
}

impl Watched {
    fn start(
        root: PathBuf,
        program: Option<PathBuf>,
        sender: mpsc::UnboundedSender<Vec<PathBuf>>,
    ) -> notify::Result<Self> {
        let root = fs::canonicalize(&root).unwrap_or(root);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && is_change(event.kind)
            {
                let _ = sender.send(event.paths);
            }
        })?;
        for directory in directories(&root) {
            watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        }
        let existing =
            |program: &Path| program.ancestors().skip(1).find(|path| path.is_dir()).map(Path::to_owned);
        if let Some(parent) = program.as_deref().and_then(existing)
            && !counts(&root, &parent)
        {
            watcher.watch(&parent, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { root, program, watcher })
    }

    async fn follow(
        mut self,
        mut changes: mpsc::UnboundedReceiver<Vec<PathBuf>>,
        instances: Vec<Rc<Notify>>,
    ) {
        while let Some(paths) = changes.recv().await {
            let mut is_changed = self.takes(&paths);
            if !is_changed {
                continue;
            }
            let settled = async {
                while is_changed {
                    sleep(SETTLING).await;
                    is_changed = false;
                    while let Ok(paths) = changes.try_recv() {
                        is_changed |= self.takes(&paths);
                    }
                }
            };
            let _ = timeout(LONGEST_SETTLING, settled).await;
            for instance in &instances {
                instance.notify_one();
            }
        }
    }

    /// True if one of the paths belongs to the function. New directories are followed as well.
    fn takes(&mut self, paths: &[PathBuf]) -> bool {
        let mut is_changed = false;
        for path in paths {
            let counts = counts(&self.root, path);
            is_changed |= counts || self.program.as_ref() == Some(path) || self.leads_to_program(path);
            if counts && path.is_dir() {
                for directory in directories(path) {
                    let _ = self.watcher.watch(&directory, RecursiveMode::NonRecursive);
                }
            }
        }
        is_changed
    }
}

impl Watched {
    /// Follows a directory above the program that has just been made; true if the program is there already.
    fn leads_to_program(&mut self, path: &Path) -> bool {
        let Some(program) = self.program.as_deref().filter(|program| program.starts_with(path)) else {
            return false;
        };
        let made = program.ancestors().skip(1).take_while(|directory| directory.starts_with(path));
        for directory in made.filter(|directory| directory.is_dir()) {
            let _ = self.watcher.watch(directory, RecursiveMode::NonRecursive);
        }
        program.exists()
    }
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
        EventKind::Create(_) | EventKind::Remove(_) => true,
        EventKind::Any | EventKind::Access(_) | EventKind::Other => false,
    }
}

/// True for a path below `root` that is neither hidden nor a log, and not in an ignored directory.
fn counts(root: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(root) else { return false };
    inside.components().all(|component| match component {
        Component::Normal(name) => !is_ignored(name),
        _ => true,
    })
}

fn is_ignored(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name.ends_with('~') || name.ends_with(".log") || IGNORED.contains(&&*name)
}

/// A directory with those below it, without the ignored ones.
fn directories(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut at = 0;
    while at < found.len() && found.len() < MAX_DIRECTORIES {
        let entries = fs::read_dir(&found[at]).into_iter().flatten().filter_map(Result::ok);
        let below: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| !is_ignored(&entry.file_name()))
            .map(|entry| entry.path())
            .collect();
        found.extend(below);
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_build_directories_do_not_count() {
        let root = Path::new("/f");
        for (path, expected) in [
            ("/f/app.py", true),
            ("/f/lib/deep/x.js", true),
            ("/f", true),
            ("/f/__pycache__/app.pyc", false),
            ("/f/node_modules/a/b.js", false),
            ("/f/target/debug/f", false),
            ("/f/.git/index", false),
            ("/f/.app.py.swp", false),
            ("/f/app.py~", false),
            ("/f/dev.log", false),
            ("/g/app.py", false),
        ] {
            assert_eq!(counts(root, Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn ignored_directories_are_not_entered() {
        let directory = tempfile::TempDir::new().unwrap();
        for name in ["a/b", "target/debug", ".git", "node_modules/x"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let root = directory.path();
        assert_eq!(directories(root), [root.to_owned(), root.join("a"), root.join("a/b")]);
    }
}
