//! Reloads changed settings while requests are served. Settings with a mistake are rejected as a whole.
//!
//! `app.rs` runs the reloader beside the workers. It reloads on SIGHUP, when the value of a secret in AWS has
//! changed, and when files have changed (`watched.rs`, checked every `reload.interval`, or at once after
//! `settings_source` has put another bundle in use). `builder.rs` builds the next snapshot, in which
//! unchanged routes are reused.

mod watched;

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{signal::unix::Signal, sync::Notify, time::sleep};

use crate::{
    credentials::Secrets,
    logging,
    settings::{self, AdminSettings, Listen, LogFormat, Mistakes, SecretReference, Settings, SettingsLoader},
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

/// Longest wait of a start or a reload for secrets that have never been fetched, after which only their
/// routes wait.
const FIRST_SECRETS_TIMEOUT: Duration = Duration::from_secs(5);

/// Wait after a change, so that files that are written one after the other are read together.
const SETTLING: Duration = Duration::from_millis(50);

/// The source of settings after the start.
#[derive(Debug)]
pub struct SettingsOrigin {
    pub loader: SettingsLoader,
    pub hangup: Signal,
    /// Notified when the settings have changed, besides the watch of their files.
    pub changed: Arc<Notify>,
}

pub struct Reloader {
    directory: PathBuf,
    hangup: Signal,
    changed: Arc<Notify>,
    /// Locked by one thread at a time, as the builder.
    loader: Arc<Mutex<SettingsLoader>>,
    builder: Arc<Mutex<SnapshotBuilder>>,
    secrets: Arc<Secrets>,
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
    /// The value of a secret in AWS has changed.
    Secrets,
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
        let SettingsOrigin { mut loader, hangup, changed } = origin;
        let directory = loader.directory().to_owned();
        let secrets = Arc::clone(builder.secrets());
        loader.use_secrets(secrets.store().clone());
        let (loader, builder) = (Arc::new(Mutex::new(loader)), Arc::new(Mutex::new(builder)));
        Self {
            directory,
            hangup,
            changed,
            loader,
            builder,
            secrets,
            current,
            settings,
            restart_only,
            logged_mistakes: None,
            is_postponed: false,
        }
    }

    /// Fetches the secrets in AWS that the settings of the start name, and waits for them, but not for long.
    pub async fn fetch_first_secrets(&mut self) {
        if self.settings.is_waiting() {
            self.reload(Trigger::Secrets).await;
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
                () = self.changed.notified() => Trigger::Files,
                () = self.secrets.changed() => Trigger::Secrets,
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
            if is_changed || trigger != Trigger::Files || self.logged_mistakes.is_some() || self.is_postponed
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

    /// Reads the settings, and applies them if they have changed and have no mistake. New secrets are fetched
    /// before.
    async fn reload(&mut self, trigger: Trigger) {
        let mut read = self.read().await;
        if let Ok(Ok(Ok(settings))) = &read {
            self.follow_secrets(settings).await;
            let untried = self.untried_secrets(settings);
            if !untried.is_empty() {
                self.secrets.tried(&untried, FIRST_SECRETS_TIMEOUT).await;
                read = self.read().await;
            }
        }
        match read {
            Ok(Ok(Ok(settings))) => self.apply(settings, trigger).await,
            Ok(Ok(Err(mistakes))) => self.reject(mistakes.to_string(), trigger),
            Ok(Err(exhausted)) => self.postpone(exhausted, trigger),
            Err(error) => log::error!("cannot read the settings: {error}"),
        }
    }

    async fn read(&self) -> io::Result<Result<Result<Settings, Mistakes>, FileLimit>> {
        let loader = Arc::clone(&self.loader);
        let load = move || {
            fault_points::pass("reload-read");
            let mut loader = loader.lock().unwrap_or_else(PoisonError::into_inner);
            exhausted::watch(|| loader.load_again())
        };
        detached::run("settings", load).await
    }

    /// Fetches the secrets of these settings and no others.
    async fn follow_secrets(&self, settings: &Settings) {
        if settings.secrets_access.is_none() && self.settings.secrets_access.is_none() {
            return;
        }
        let (builder, settings) = (Arc::clone(&self.builder), settings.clone());
        let follow = move || {
            let builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
            builder.follow_secrets(&settings).map_err(io::Error::other)
        };
        // on a thread that may block: reads the certificate authorities of the platform
        if let Err(error) = detached::run("certificate authorities", follow).await.flatten() {
            log::error!("cannot fetch secrets: {error}");
        }
    }

    /// The secrets of these settings that have not been tried.
    fn untried_secrets(&self, settings: &Settings) -> Vec<SecretReference> {
        let uses = settings.secret_uses().into_iter().map(|(reference, _)| reference.clone());
        uses.filter(|reference| self.secrets.is_untried(reference)).collect()
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
        for kept in after.kept_routes() {
            log::warn!("{kept}");
        }
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
        ("secrets", before.secrets != after.secrets),
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
