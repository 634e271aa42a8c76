//! Takes changed settings into force while requests go on: whole and right, or not at all.
//!
//! `app.rs` runs it beside the workers. A change is told by the files (`watched.rs`, looked at in the interval of
//! `reload.interval`), or by SIGHUP. All that is read is read anew; `builder.rs` makes the next snapshot of it, and
//! what has not changed stays.

mod watched;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{signal::unix::Signal, time::sleep};

use crate::{
    logging,
    settings::{self, AdminSettings, Listen, LogFormat, Settings},
    state::{
        builder::SnapshotBuilder,
        current::Current,
        snapshot::{Route, Snapshot},
    },
    system::{
        detached,
        exhausted::{self, FileLimit},
        fault_points,
        file_stamps::Stamps,
    },
};

/// Files that change together, such as by an editor that writes one after the other, are read together.
const SETTLING: Duration = Duration::from_millis(50);

/// Where settings come from after the start.
#[derive(Debug)]
pub struct SettingsOrigin {
    pub directory: PathBuf,
    pub hangup: Signal,
}

pub struct Reloader {
    origin: SettingsOrigin,
    /// Used by one thread at a time.
    builder: Arc<Mutex<SnapshotBuilder>>,
    current: Arc<Current>,
    settings: Settings,
    /// What holds until the end.
    restart_only: RestartOnly,
    /// What was last said about settings that are wrong.
    refused: Option<String>,
    /// The last attempt could not read them for lack of file descriptors.
    is_postponed: bool,
}

/// Why settings are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Files,
    Hangup,
}

impl Reloader {
    /// Settings in force, what built their snapshot, and where the next ones come from.
    pub fn new(
        origin: SettingsOrigin,
        builder: SnapshotBuilder,
        current: Arc<Current>,
        settings: Settings,
    ) -> Self {
        let restart_only = RestartOnly::of(&settings);
        let builder = Arc::new(Mutex::new(builder));
        Self { origin, builder, current, settings, restart_only, refused: None, is_postponed: false }
    }

    /// Follows them and never ends. Begun again, it reads them again.
    pub async fn run(&mut self) {
        // files may have changed between the start and the first look
        let mut seen = None;
        loop {
            let interval = self.settings.reload.interval;
            let trigger = tokio::select! {
                _ = self.origin.hangup.recv() => Trigger::Hangup,
                () = sleep(interval) => Trigger::Files,
            };
            fault_points::pass("reload");
            let now = self.stamps().await;
            // without a look nothing is known to be as it was
            let is_new = now.is_none() || seen != now;
            seen = now;
            // what is wrong may be a file that nobody looks at
            if is_new || trigger == Trigger::Hangup || self.refused.is_some() || self.is_postponed {
                seen = self.take_until_settled(trigger, seen).await;
            }
        }
    }

    /// Reads on for as long as the files change meanwhile. `seen` is when they were changed last, before they are read.
    async fn take_until_settled(&mut self, mut trigger: Trigger, mut seen: Option<Stamps>) -> Option<Stamps> {
        loop {
            // files that change together are read together
            sleep(SETTLING).await;
            self.take(trigger).await;
            let now = self.stamps().await;
            if now == seen {
                return seen;
            }
            (seen, trigger) = (now, Trigger::Files);
        }
    }

    /// When the files were last changed; `None` if they cannot be looked at, which reading them then
    /// explains.
    async fn stamps(&self) -> Option<Stamps> {
        let (directory, files) = (self.origin.directory.clone(), self.settings.files.clone());
        let look = move || exhausted::watch(|| watched::stamps(&directory, &files));
        detached::run("times of the settings", look).await.ok()?.ok()
    }

    /// Reads the settings and takes them into force if they are right and others.
    async fn take(&mut self, trigger: Trigger) {
        let directory = self.origin.directory.clone();
        let load = move || {
            fault_points::pass("reload-read");
            exhausted::watch(|| Settings::load_again(&directory))
        };
        match detached::run("settings", load).await {
            Ok(Ok(Ok(settings))) => self.apply(settings, trigger).await,
            Ok(Ok(Err(mistakes))) => self.say_once(mistakes.to_string(), trigger),
            Ok(Err(exhausted)) => self.postpone(exhausted, trigger),
            Err(error) => log::error!("cannot read the settings: {error}"),
        }
    }

    /// Builds a snapshot where its certificates can be read, and takes it into force if it is another one.
    async fn apply(&mut self, settings: Settings, trigger: Trigger) {
        let builder = Arc::clone(&self.builder);
        let build = move || {
            let mut builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
            exhausted::watch(|| builder.build(&settings))
                .map(|built| built.map(|snapshot| (snapshot, settings)))
        };
        match detached::run("certificates of the settings", build).await {
            Ok(Ok(Ok((snapshot, settings)))) => self.put_in_force(snapshot, settings, trigger),
            Ok(Ok(Err(error))) => self.say_once(error.to_string(), trigger),
            Ok(Err(exhausted)) => self.postpone(exhausted, trigger),
            Err(error) => log::error!("cannot apply the settings: {error}"),
        }
    }

    fn put_in_force(&mut self, snapshot: Snapshot, settings: Settings, trigger: Trigger) {
        let was_refused = self.refused.take().is_some() | std::mem::take(&mut self.is_postponed);
        // equal settings may lead to files that are others now
        if settings == self.settings && snapshot.is_made_of_the_same(&self.current.get()) {
            self.current.get().metrics.reloads.unchanged();
            if trigger == Trigger::Hangup || was_refused {
                log::info!("settings unchanged, generation {}", self.current.get().generation);
            }
            return;
        }
        let before = self.current.get();
        self.current.replace(snapshot);
        let after = self.current.get();
        after.metrics.reloads.applied();
        let changes = changes(&before, &after);
        let sections = sections(&self.settings, &settings);
        log::info!("settings reloaded, generation {}: {changes}{sections}", after.generation);
        let known = self.restart_only.differs_from(&self.settings);
        for key in self.restart_only.differs_from(&settings) {
            if !known.contains(&key) {
                log::warn!("`{key}` has changed; restart the process to use it");
            }
        }
        let shortage = after.capacity.shortage.clone().filter(|_| before.capacity != after.capacity);
        for warning in settings::warnings(&settings).into_iter().chain(shortage) {
            log::warn!("{warning}");
        }
        // a level that SIGUSR1 has set holds until another is set here
        if settings.log.level != self.settings.log.level {
            logging::set_level(settings.log.level);
        }
        self.settings = settings;
    }

    /// Leaves everything as it is until the next look at the files. Says so once until it has passed, or when
    /// asked.
    fn postpone(&mut self, exhausted: FileLimit, trigger: Trigger) {
        if trigger == Trigger::Hangup || !self.is_postponed {
            let generation = self.current.get().generation;
            log::error!(
                "cannot read the settings, retrying in {:?}; the old ones (generation {generation}) stay in \
                 use: {exhausted}",
                self.settings.reload.interval
            );
        }
        self.is_postponed = true;
    }

    /// Every mistake, a line each; the same ones only when somebody asks.
    fn say_once(&mut self, text: String, trigger: Trigger) {
        self.is_postponed = false;
        if trigger == Trigger::Hangup || self.refused.as_ref() != Some(&text) {
            self.current.get().metrics.reloads.rejected(&text);
            let generation = self.current.get().generation;
            log::error!(
                "the new settings have mistakes and are ignored; the old ones (generation {generation}) \
                 stay in use"
            );
            for line in text.lines() {
                log::error!("{line}");
            }
        }
        self.refused = Some(text);
    }
}

/// What new settings do to the routes. One is another where anything of it is: also a file that it names, whose name
/// stays.
fn changes(before: &Snapshot, after: &Snapshot) -> String {
    let (before, after) = (by_id(before), by_id(after));
    let (mut added, mut other) = (Vec::new(), Vec::new());
    for (id, route) in &after {
        match before.get(id) {
            None => added.push(*id),
            Some(last) if !Arc::ptr_eq(last, route) => other.push(*id),
            Some(_) => {}
        }
    }
    let removed = before.into_keys().filter(|id| !after.contains_key(id)).collect();
    let changes = [("added", added), ("changed", other), ("removed", removed)];
    let changes = changes.iter().filter(|(_, ids)| !ids.is_empty());
    let told: Vec<String> = changes.map(|(what, ids)| format!("{what} {}", ids.join(", "))).collect();
    if told.is_empty() { "no route has changed".to_owned() } else { told.join("; ") }
}

fn by_id(snapshot: &Snapshot) -> BTreeMap<&str, &Arc<Route>> {
    snapshot.routes.routes().iter().map(|route| (&*route.id, route)).collect()
}

/// The sections about the process that have changed and are in force.
fn sections(before: &Settings, after: &Settings) -> String {
    let sections = [
        ("limits", before.limits != after.limits),
        ("log", before.log.level != after.log.level || before.log.access != after.log.access),
        ("tracing", before.tracing != after.tracing),
        ("shutdown", before.shutdown != after.shutdown),
        ("reload", before.reload != after.reload),
    ];
    let changed: Vec<&str> = sections.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    if changed.is_empty() { String::new() } else { format!("; changed {}", changed.join(", ")) }
}

/// What was read at the start for good.
struct RestartOnly {
    listen: Listen,
    admin: AdminSettings,
    workers: u16,
    log_format: LogFormat,
}

impl RestartOnly {
    fn of(settings: &Settings) -> Self {
        Self {
            listen: settings.listen.clone(),
            admin: settings.admin.clone(),
            workers: settings.workers,
            log_format: settings.log.format,
        }
    }

    /// The keys that would take a restart.
    fn differs_from(&self, settings: &Settings) -> Vec<&'static str> {
        let keys = [
            ("listen", self.listen != settings.listen),
            ("admin", self.admin != settings.admin),
            ("workers", self.workers != settings.workers),
            ("log.format", self.log_format != settings.log.format),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}
