//! Takes changed settings into force while requests go on: whole and right, or not at all.
//!
//! `app.rs` runs it beside the workers. A change is told by the files (`notify`, which looks at them in the interval of
//! `reload.interval`: a `ConfigMap` changes by a link, of which the kernel's own events know nothing), or by SIGHUP.
//! All that is read is read anew; `assembly.rs` makes the next snapshot of it, and what has not changed stays.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use notify::{Config, PollWatcher, RecursiveMode, Watcher as _};
use tokio::{signal::unix::Signal, sync::mpsc, task::spawn_blocking, time::sleep};

use crate::{
    assembly::Assembly,
    logging,
    settings::{Mistakes, Settings},
    snapshot::{self, Current, Route, Snapshot},
};

/// Files that change together, such as by an editor that writes one after the other, are read together.
const SETTLING: Duration = Duration::from_millis(50);

/// Where settings come from after the start.
#[derive(Debug)]
pub struct Origin {
    /// The directory.
    pub directory: PathBuf,
    /// SIGHUP.
    pub hangup: Signal,
}

/// Follows the settings.
pub struct Reloader {
    origin: Origin,
    assembly: Assembly,
    current: Arc<Current>,
    /// The settings in force.
    settings: Settings,
    /// What was last said about settings that are wrong.
    refused: Option<String>,
}

/// Why settings are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Files,
    Hangup,
    /// They were wrong the last time, and what is wrong may be a file that nobody watches.
    Again,
}

impl Reloader {
    /// Settings in force, what built their snapshot, and where the next ones come from.
    pub fn new(origin: Origin, assembly: Assembly, current: Arc<Current>, settings: Settings) -> Self {
        Self { origin, assembly, current, settings, refused: None }
    }

    /// Follows them and never ends.
    pub async fn run(mut self) {
        let (tell, mut changes) = mpsc::channel(1);
        let mut watcher = self.watcher(tell.clone());
        // between the start and the first look
        let mut occasion = Occasion::Files;
        loop {
            if self.take(occasion).await {
                drop(watcher);
                watcher = self.watcher(tell.clone());
                // what has changed since they were read is news to neither watcher
                occasion = Occasion::Files;
                sleep(SETTLING).await;
                continue;
            }
            let interval = self.settings.reload.interval;
            occasion = tokio::select! {
                _ = changes.recv() => Occasion::Files,
                _ = self.origin.hangup.recv() => Occasion::Hangup,
                () = sleep(interval), if self.refused.is_some() => Occasion::Again,
            };
            sleep(SETTLING).await;
            while changes.try_recv().is_ok() {}
        }
    }

    /// Watches the directory and every file that the settings refer to.
    fn watcher(&self, tell: mpsc::Sender<()>) -> Option<PollWatcher> {
        let config =
            Config::default().with_poll_interval(self.settings.reload.interval).with_compare_contents(true);
        // one that waits to be looked at is enough
        let watch = move |_| {
            let _ = tell.try_send(());
        };
        let mut watcher = match PollWatcher::new(watch, config) {
            Ok(watcher) => watcher,
            Err(error) => {
                log::error!("changed settings are taken at SIGHUP alone, files cannot be watched: {error}");
                return None;
            }
        };
        let directory = (self.origin.directory.as_path(), RecursiveMode::Recursive);
        let files = self.settings.files.iter().map(|file| (file.as_path(), RecursiveMode::NonRecursive));
        for (path, mode) in std::iter::once(directory).chain(files) {
            if let Err(error) = watcher.watch(path, mode) {
                log::warn!("{} cannot be watched: {error}", path.display());
            }
        }
        Some(watcher)
    }

    /// Reads the settings and takes them into force if they are right and others; whether it has.
    async fn take(&mut self, occasion: Occasion) -> bool {
        let directory = self.origin.directory.clone();
        // a file system may hang, and the end of the process must not
        match spawn_blocking(move || Settings::load(&directory)).await {
            Ok(Ok(settings)) => self.apply(settings, occasion),
            Ok(Err(mistakes)) => {
                self.refuse(&mistakes, occasion);
                false
            }
            Err(error) => {
                log::error!("settings could not be read: {error}");
                false
            }
        }
    }

    fn apply(&mut self, settings: Settings, occasion: Occasion) -> bool {
        let snapshot = match self.assembly.build(&settings) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.say_once(error.to_string(), occasion);
                return false;
            }
        };
        let was_refused = self.refused.take().is_some();
        // equal settings may lead to files that are others now
        if settings == self.settings && snapshot.has_routes_of(&self.current.get()) {
            self.current.get().metrics.reloads.unchanged();
            if occasion == Occasion::Hangup || was_refused {
                log::info!("settings are as they were, generation {}", self.current.get().generation);
            }
            return false;
        }
        let before = self.current.get();
        self.current.replace(snapshot);
        let after = self.current.get();
        after.metrics.reloads.applied();
        log::info!("new settings, generation {}: {}", after.generation, Changes::between(&before, &after));
        for key in needs_restart(&self.settings, &settings) {
            log::warn!("{key} has changed, which takes a restart");
        }
        for warning in snapshot::warnings(&settings) {
            log::warn!("{warning}");
        }
        // a level that SIGUSR1 has set holds until another is set here
        if settings.log.level != self.settings.log.level {
            logging::set_level(settings.log.level);
        }
        self.settings = settings;
        true
    }

    fn refuse(&mut self, mistakes: &Mistakes, occasion: Occasion) {
        self.say_once(mistakes.to_string(), occasion);
    }

    /// Every mistake, a line each; the same ones only when somebody asks.
    fn say_once(&mut self, text: String, occasion: Occasion) {
        if occasion == Occasion::Hangup || self.refused.as_ref() != Some(&text) {
            self.current.get().metrics.reloads.rejected(&text);
            let generation = self.current.get().generation;
            log::error!("the settings are wrong, generation {generation} stays in force");
            for line in text.lines() {
                log::error!("{line}");
            }
        }
        self.refused = Some(text);
    }
}

/// What new settings do to the routes.
struct Changes {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    /// A route is another where anything of it is: also a file that it names, whose name stays.
    fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let (before, after) = (by_id(before), by_id(after));
        let mut changes = Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() };
        for (id, route) in &after {
            match before.get(id) {
                None => changes.added.push((*id).to_owned()),
                Some(last) if !Arc::ptr_eq(last, route) => changes.changed.push((*id).to_owned()),
                Some(_) => {}
            }
        }
        let removed = before.keys().filter(|id| !after.contains_key(*id));
        changes.removed.extend(removed.map(|id| (*id).to_owned()));
        changes
    }
}

fn by_id(snapshot: &Snapshot) -> BTreeMap<&str, &Arc<Route>> {
    snapshot.routes.routes().iter().map(|route| (&*route.id, route)).collect()
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut is_first = true;
        for (what, ids) in [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)] {
            if !ids.is_empty() {
                let comma = if is_first { "" } else { "; " };
                write!(f, "{comma}{what} {}", ids.join(", "))?;
                is_first = false;
            }
        }
        if is_first { f.write_str("no route has changed") } else { Ok(()) }
    }
}

/// The keys that were read at the start for good.
fn needs_restart(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if before.listen != after.listen {
        keys.push("listen");
    }
    if before.admin != after.admin {
        keys.push("admin");
    }
    if before.workers != after.workers {
        keys.push("workers");
    }
    if before.log.format != after.log.format {
        keys.push("log.format");
    }
    keys
}
