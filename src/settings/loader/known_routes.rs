//! A cache of checked routes, each with the state of the files that its settings come from.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    path::PathBuf,
    time::SystemTime,
};

use super::{are_current, reading::CheckedRoute};
use crate::{
    settings::{
        RouteSettings,
        source::{
            document::{Document, RouteFile},
            mistake::Mistakes,
            remote_secret::SecretValues,
        },
    },
    system::file_stamps::Stamp,
};

#[derive(Debug, Default)]
pub struct KnownRoutes {
    digests: RandomState,
    routes: HashMap<String, KnownRoute>,
    /// The number of the current reading.
    reading: u64,
}

#[derive(Debug)]
struct KnownRoute {
    fingerprint: Fingerprint,
    /// The stamps of the files that the route leads to.
    files: Box<[Stamp]>,
    route: CheckedRoute,
    /// The last reading that found it.
    reading: u64,
}

/// The state of a route's file.
#[derive(Debug, Clone, Copy)]
pub struct Fingerprint {
    /// None while a change might give the same stamp.
    stamp: Option<Stamp>,
    /// Of the text.
    digest: u64,
}

/// The result of a search for a known route.
pub enum Lookup {
    Known(CheckedRoute),
    /// The file has another text.
    Changed(Document, Fingerprint),
    Unreadable,
}

/// The stamps of files and the secrets at one time. Each file is checked once.
pub struct StampCache<'s> {
    now: SystemTime,
    secrets: &'s SecretValues,
    stamps: HashMap<PathBuf, Option<Stamp>>,
}

impl KnownRoutes {
    /// The known route of a file if neither the file nor a file that it leads to has changed, otherwise the
    /// text.
    pub fn find(&mut self, file: &RouteFile, stamps: &mut StampCache<'_>, mistakes: &mut Mistakes) -> Lookup {
        let stamp = Stamp::of(&file.path).filter(|stamp| stamp.is_settled(stamps.now));
        let mut known = self.routes.get_mut(&file.stem);
        known = known.filter(|known| stamps.of(&known.route.files.paths).as_ref() == Some(&known.files));
        known = known.filter(|known| are_current(&known.route.secrets, stamps.secrets));
        if let Some(known) = &mut known
            && stamp.is_some()
            && known.fingerprint.stamp == stamp
        {
            return Lookup::Known(known.again(self.reading, mistakes));
        }
        let Some(document) = file.read(mistakes) else { return Lookup::Unreadable };
        let digest = self.digests.hash_one(&document.text);
        match known {
            Some(known) if known.fingerprint.digest == digest => {
                known.fingerprint.stamp = stamp;
                Lookup::Known(known.again(self.reading, mistakes))
            }
            _ => Lookup::Changed(document, Fingerprint { stamp, digest }),
        }
    }

    /// Caches a route without mistakes, unless a change of its files might be missed.
    pub fn keep(
        &mut self,
        stem: &str,
        fingerprint: Fingerprint,
        route: &CheckedRoute,
        stamps: &mut StampCache<'_>,
    ) {
        let files = &route.files;
        match stamps.of(&files.paths).filter(|_| files.is_complete) {
            Some(files) => {
                let known = KnownRoute { fingerprint, files, route: route.clone(), reading: self.reading };
                self.routes.insert(stem.to_owned(), known);
            }
            None => drop(self.routes.remove(stem)),
        }
    }

    /// True if the known route of this stem has the same id and matches the same requests.
    pub fn has_same_rule(&self, stem: &str, route: &RouteSettings) -> bool {
        self.routes.get(stem).is_some_and(|known| {
            let known = &known.route.settings;
            known.id == route.id && known.enabled == route.enabled && known.rule == route.rule
        })
    }

    /// Begins another reading of the directory.
    pub fn begin(&mut self) {
        self.reading += 1;
    }

    /// Forgets the routes that were neither found nor kept in this reading.
    pub fn forget_others(&mut self) {
        self.routes.retain(|_, known| known.reading == self.reading);
    }
}

impl KnownRoute {
    /// The route; its warnings are reported again.
    fn again(&mut self, reading: u64, mistakes: &mut Mistakes) -> CheckedRoute {
        self.reading = reading;
        self.route.warnings.iter().cloned().for_each(|warning| mistakes.warn(warning));
        self.route.clone()
    }
}

impl<'s> StampCache<'s> {
    pub fn new(now: SystemTime, secrets: &'s SecretValues) -> Self {
        Self { now, secrets, stamps: HashMap::new() }
    }

    /// The stamps of files; `None` if a file does not exist, or may change without another stamp.
    fn of(&mut self, paths: &[PathBuf]) -> Option<Box<[Stamp]>> {
        let now = self.now;
        let stamp = |path: &PathBuf| {
            let known = self.stamps.get(path).copied();
            let stamp = known.unwrap_or_else(|| {
                let stamp = Stamp::of(path);
                self.stamps.insert(path.clone(), stamp);
                stamp
            });
            stamp.filter(|stamp| stamp.is_settled(now))
        };
        paths.iter().map(stamp).collect()
    }
}
