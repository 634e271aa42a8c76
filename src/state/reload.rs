//! Reloads changed settings while requests are served. Settings with a mistake are rejected as a whole.
//!
//! `app.rs` runs the reloader beside the workers. It reloads on SIGHUP, and when files have changed
//! (`watched.rs`, checked every `reload.interval`). `builder.rs` builds the next snapshot, in which unchanged
//! routes are reused.

mod watched;

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{signal::unix::Signal, time::sleep};

use crate::{
    logging,
    settings::{self, AdminSettings, Listen, LogFormat, Settings, SettingsLoader},
    state::{
        builder::SnapshotBuilder,
        current::Current,
        snapshot::{Route, Snapshot},
    },
    system::{
        detached,
        exhausted::{self, FileLimit},
        fault_points, service_manager,
    },
};

/// Wait after a change, so that files that are written one after the other are read together.
const SETTLING: Duration = Duration::from_millis(50);

/// The source of settings after the start.
#[derive(Debug)]
pub struct SettingsOrigin {
    pub loader: SettingsLoader,
    pub hangup: Signal,
}

pub struct Reloader {
    directory: PathBuf,
    hangup: Signal,
    /// Locked by one thread at a time, as the builder.
    loader: Arc<Mutex<SettingsLoader>>,
    builder: Arc<Mutex<SnapshotBuilder>>,
    current: Arc<Current>,
    settings: Settings,
    /// The settings that only a restart changes.
    restart_only: RestartOnly,
    /// The mistakes that were logged last.
    logged_mistakes: Option<String>,
    /// The last reload failed for lack of file descriptors.
    is_postponed: bool,
}

/// The reason of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Files,
    Hangup,
}

impl Reloader {
    /// A reloader for the settings in use and the builder of their snapshot.
    pub fn new(
        origin: SettingsOrigin,
        builder: SnapshotBuilder,
        current: Arc<Current>,
        settings: Settings,
    ) -> Self {
        let restart_only = RestartOnly::of(&settings);
        let SettingsOrigin { loader, hangup } = origin;
        let directory = loader.directory().to_owned();
        let (loader, builder) = (Arc::new(Mutex::new(loader)), Arc::new(Mutex::new(builder)));
        Self {
            directory,
            hangup,
            loader,
            builder,
            current,
            settings,
            restart_only,
            logged_mistakes: None,
            is_postponed: false,
        }
    }

    /// Reloads on each change; never ends. When it is restarted after a panic, it reads the settings again.
    pub async fn run(&mut self) {
        // files may have changed between the start and the first look
        let mut seen = None;
        loop {
            let interval = self.settings.reload.interval;
            let trigger = tokio::select! {
                _ = self.hangup.recv() => Trigger::Hangup,
                () = sleep(interval) => Trigger::Files,
            };
            fault_points::pass("reload");
            if trigger == Trigger::Hangup {
                service_manager::reloading();
            }
            let now = self.digest().await;
            // without a digest there may be a change
            let is_changed = now.is_none() || seen != now;
            seen = now;
            // a mistake may be in a file that is not watched
            if is_changed || trigger == Trigger::Hangup || self.logged_mistakes.is_some() || self.is_postponed
            {
                seen = self.reload_until_settled(trigger, seen).await;
            }
            if trigger == Trigger::Hangup {
                service_manager::reloaded(self.logged_mistakes.is_none() && !self.is_postponed);
            }
        }
    }

    /// Reloads until the files no longer change in the meantime. `seen` is the digest from before the reload.
    async fn reload_until_settled(&mut self, mut trigger: Trigger, mut seen: Option<u64>) -> Option<u64> {
        loop {
            // files that change together are read together
            sleep(SETTLING).await;
            self.reload(trigger).await;
            let now = self.digest().await;
            if now == seen {
                return seen;
            }
            (seen, trigger) = (now, Trigger::Files);
        }
    }

    /// A digest that changes when a file changes; `None` if the files cannot be looked at, which reading them
    /// then explains.
    async fn digest(&self) -> Option<u64> {
        let (directory, files) = (self.directory.clone(), self.settings.files.clone());
        let look = move || exhausted::watch(|| watched::digest(&directory, &files));
        detached::run("times of the settings", look).await.ok()?.ok()
    }

    /// Reads the settings, and applies them if they have changed and have no mistake.
    async fn reload(&mut self, trigger: Trigger) {
        let loader = Arc::clone(&self.loader);
        let load = move || {
            fault_points::pass("reload-read");
            let mut loader = loader.lock().unwrap_or_else(PoisonError::into_inner);
            exhausted::watch(|| loader.load_again())
        };
        match detached::run("settings", load).await {
            Ok(Ok(Ok(settings))) => self.apply(settings, trigger).await,
            Ok(Ok(Err(mistakes))) => self.reject(mistakes.to_string(), trigger),
            Ok(Err(exhausted)) => self.postpone(exhausted, trigger),
            Err(error) => log::error!("cannot read the settings: {error}"),
        }
    }

    /// Builds a snapshot on a thread for blocking reads of certificates, and applies it if it differs.
    async fn apply(&mut self, settings: Settings, trigger: Trigger) {
        let builder = Arc::clone(&self.builder);
        let build = move || {
            let mut builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
            exhausted::watch(|| builder.build(&settings))
                .map(|built| built.map(|snapshot| (snapshot, settings)))
        };
        match detached::run("certificates of the settings", build).await {
            Ok(Ok(Ok((snapshot, settings)))) => self.put_in_use(snapshot, settings, trigger),
            Ok(Ok(Err(error))) => self.reject(error.to_string(), trigger),
            Ok(Err(exhausted)) => self.postpone(exhausted, trigger),
            Err(error) => log::error!("cannot apply the settings: {error}"),
        }
    }

    fn put_in_use(&mut self, snapshot: Snapshot, settings: Settings, trigger: Trigger) {
        let was_rejected = self.logged_mistakes.take().is_some() | std::mem::take(&mut self.is_postponed);
        // with equal settings a certificate file may have changed
        if settings == self.settings && snapshot.has_same_routes(&self.current.get()) {
            self.current.get().metrics.reloads.unchanged();
            if trigger == Trigger::Hangup || was_rejected {
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
        // a level set by SIGUSR1 stays until `log.level` changes
        if settings.log.level != self.settings.log.level {
            logging::set_level(settings.log.level);
        }
        self.settings = settings;
    }

    /// Keeps the old settings until the next check. Logs this once, and again on each SIGHUP.
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

    /// Logs every mistake, one line each; the same mistakes again only on SIGHUP.
    fn reject(&mut self, text: String, trigger: Trigger) {
        self.is_postponed = false;
        if trigger == Trigger::Hangup || self.logged_mistakes.as_ref() != Some(&text) {
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
        self.logged_mistakes = Some(text);
    }
}

/// The routes that were added, changed or removed. A route is changed also if only the content of a file that
/// it names has changed.
fn changes(before: &Snapshot, after: &Snapshot) -> String {
    let (before, after) = (before.routes.routes(), after.routes.routes());
    let (gone, new) = (routes_missing_in(after, before), routes_missing_in(before, after));
    let (changed, added): (Vec<_>, Vec<_>) = new.iter().partition(|id| gone.contains(*id));
    let removed = gone.difference(&new).collect();
    let lists = [("added", added), ("changed", changed), ("removed", removed)];
    let lists = lists.into_iter().filter(|(_, ids)| !ids.is_empty());
    let joined = |ids: Vec<&&str>| ids.into_iter().copied().collect::<Vec<_>>().join(", ");
    let parts: Vec<String> = lists.map(|(what, ids)| format!("{what} {}", joined(ids))).collect();
    if parts.is_empty() { "no route has changed".to_owned() } else { parts.join("; ") }
}

/// The ids of the `routes` that are not the same as one of `others`.
fn routes_missing_in<'r>(others: &[Arc<Route>], routes: &'r [Arc<Route>]) -> BTreeSet<&'r str> {
    let others: HashSet<_> = others.iter().map(Arc::as_ptr).collect();
    routes.iter().filter(|route| !others.contains(&Arc::as_ptr(route))).map(|route| &*route.id).collect()
}

/// The changed sections about the process that are applied without a restart.
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

/// The settings that are read only at the start.
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

    /// The changed keys that need a restart.
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
