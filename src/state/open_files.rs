//! The limit of open files, and its division between clients, calls to AWS, the admin port and files that are
//! read.
//!
//! `app/process.rs` raises the limit before the process opens files. `builder.rs` divides it for each
//! snapshot.

use std::{collections::HashSet, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::{CredentialProvider, RouteSettings, Settings};

/// Open files of an idle process besides standard streams, listeners and workers: the runtimes of the main
/// thread, of the credentials and of the admin port.
const PROCESS: u64 = 22;
/// Open files of a worker's runtime.
const WORKER: u64 = 4;
/// Open files of a worker for each listener: its handle, and the spare descriptor of `listener/accept.rs`.
const LISTENER: u64 = 2;
/// Files that are read at the same time: settings, certificates, mounted keys, and `/proc` for the metrics.
const READING: u64 = 4;
/// Open files of the exporter of spans: its runtime and connection, and those of an exporter that is being
/// replaced.
const EXPORTER: u64 = 8;
/// Open files of a fetch of credentials: a connection, or the pipes of `credential_process`.
const FETCH: u64 = 2;
/// If files are scarce, the admin port gets 1/32 of those that are not reserved, and so do the rejected
/// clients.
const PORTION: u64 = 32;
/// With fewer connections, probes and Prometheus would wait for each other.
const LEAST_ADMIN: u64 = 6;
const LEAST_FAREWELLS: u64 = 2;

/// The limit of open files, if there is one.
#[derive(Debug, Clone, Copy)]
pub struct OpenFiles {
    limit: Option<u64>,
    /// Files that stay open until the process ends.
    standing: u64,
    workers: u64,
}

/// The division of open files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// Connections of clients: `limits.max_connections`, or fewer.
    pub max_connections: u32,
    /// Requests in flight, each of which may need a connection to AWS: `limits.max_in_flight`, or fewer.
    pub max_in_flight: u32,
    /// Connections to AWS, idle ones included.
    pub upstream_connections: u32,
    /// Connections to the admin port. They are limited so that they never take the files that clients need.
    pub admin_connections: u32,
    /// Connections of one worker that are being rejected with 503.
    pub farewells: u32,
    /// The warning for the log if the limit is lower than the settings need.
    pub shortage: Option<String>,
}

/// The limit of open files is too low for a single client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{limit} files may be open (`ulimit -n`), and these settings need {least} at least: raise the \
     limit (LimitNOFILE of systemd, --ulimit nofile of Docker)"
)]
pub struct TooFewFiles {
    limit: u64,
    least: u64,
}

impl OpenFiles {
    /// Raises the limit to the system's maximum: many systems start a process with 1024 and let it raise
    /// that. Must be called before the process opens files, because it counts the inherited ones.
    pub fn raise(settings: &Settings) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let is_raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        let limit = if is_raised { maximum } else { current };
        Self::within(limit, inherited(limit), settings)
    }

    /// No limit, for an application that is embedded in another process.
    pub fn unlimited() -> Self {
        Self { limit: None, standing: 0, workers: 1 }
    }

    /// Reserves further files until the process ends.
    #[must_use]
    pub fn reserving(self, files: u64) -> Self {
        Self { standing: self.standing + files, ..self }
    }

    fn within(limit: Option<u64>, inherited: u64, settings: &Settings) -> Self {
        let workers = u64::from(settings.workers);
        let listeners =
            1 + u64::from(settings.listen.https.is_some()) + u64::from(settings.listen.unix.is_some());
        // the sockets that the workers' handles are cloned from
        let standing = inherited + PROCESS + listeners + workers * (WORKER + LISTENER * listeners);
        Self { limit, standing, workers }
    }

    /// Divides the files by the settings, or proportionally if the limit is too low for them.
    ///
    /// # Errors
    /// No file would be left for clients.
    pub fn divide(&self, settings: &Settings) -> Result<Capacity, TooFewFiles> {
        let limits = &settings.limits;
        let mut ample = Capacity {
            max_connections: limits.max_connections,
            max_in_flight: limits.max_in_flight,
            upstream_connections: u32::MAX,
            admin_connections: 128,
            farewells: 64,
            shortage: None,
        };
        let set_aside = self.standing + READING + for_fetches(settings) + for_exporter(settings);
        let needed = set_aside + self.used_by(&ample);
        let Some(limit) = self.limit else { return Ok(ample) };
        let Some(beyond) = limit.checked_sub(needed) else {
            return self.divide_scarce(limit, set_aside, needed, &ample);
        };
        ample.upstream_connections = narrowed(beyond + u64::from(ample.max_in_flight));
        Ok(ample)
    }

    /// Gives half of the remaining files to calls, because an HTTP/1.1 client makes one call at a time. Files
    /// that one half does not need go to the other.
    fn divide_scarce(
        &self,
        limit: u64,
        set_aside: u64,
        needed: u64,
        asked: &Capacity,
    ) -> Result<Capacity, TooFewFiles> {
        let portion = limit.saturating_sub(set_aside) / PORTION;
        let admin = portion.clamp(LEAST_ADMIN, asked.admin_connections.into());
        let farewells = (portion / self.workers).clamp(LEAST_FAREWELLS, asked.farewells.into());
        let taken = set_aside + admin + farewells * self.workers;
        let left = limit.saturating_sub(taken);
        if left < 2 {
            return Err(TooFewFiles { limit, least: taken + 2 });
        }
        let calls = (left / 2).max(left.saturating_sub(asked.max_connections.into()));
        let max_in_flight = asked.max_in_flight.min(narrowed(calls));
        let max_connections = asked.max_connections.min(narrowed(left - u64::from(max_in_flight)));
        let shortage = shortage(
            limit,
            needed,
            &[
                ("limits.max_connections", asked.max_connections, max_connections),
                ("limits.max_in_flight", asked.max_in_flight, max_in_flight),
            ],
        );
        Ok(Capacity {
            max_connections,
            max_in_flight,
            upstream_connections: narrowed(left - u64::from(max_connections)),
            admin_connections: narrowed(admin),
            farewells: narrowed(farewells),
            shortage,
        })
    }

    fn used_by(&self, capacity: &Capacity) -> u64 {
        u64::from(capacity.max_connections)
            + u64::from(capacity.max_in_flight)
            + u64::from(capacity.admin_connections)
            + u64::from(capacity.farewells) * self.workers
    }
}

/// The warning about limits that were lowered; `None` if none was.
fn shortage(limit: u64, needed: u64, settings: &[(&str, u32, u32)]) -> Option<String> {
    let lowered: Vec<String> = settings
        .iter()
        .filter(|(_, asked, in_force)| in_force < asked)
        .map(|(key, asked, in_force)| format!("{key} is {in_force} instead of {asked}"))
        .collect();
    (!lowered.is_empty()).then(|| {
        format!(
            "{limit} files may be open (`ulimit -n`), and these settings can need {needed}: {}; raise the \
             limit (LimitNOFILE of systemd, --ulimit nofile of Docker), or ask for less",
            lowered.join(", ")
        )
    })
}

/// Files inherited at the start. The limit is on descriptor numbers, so a descriptor above it does not count.
fn inherited(limit: Option<u64>) -> u64 {
    // a guess without `/dev/fd`: three standard streams and some more
    let Ok(entries) = fs::read_dir("/dev/fd") else { return 8 };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let open = numbers.filter(|number| limit.is_none_or(|limit| *number < limit)).count();
    // one of them is the directory that is being read
    open.saturating_sub(1) as u64
}

/// Files for fetches of credentials: at the start all sources fetch at the same time.
fn for_fetches(settings: &Settings) -> u64 {
    let sources: HashSet<_> = settings
        .routes
        .iter()
        .filter(|route| route.enabled)
        .filter_map(|route| fetched_from(route))
        .collect();
    FETCH * sources.len() as u64
}

/// Role, and profile or role of IAM Roles Anywhere, of a source that fetches credentials; `None` for a route
/// with static keys or without keys.
fn fetched_from(route: &RouteSettings) -> Option<(&str, &str)> {
    let source = route.backend.source()?;
    let role = source.role.as_ref().map_or("", |role| &role.arn);
    match &source.origin {
        CredentialProvider::Keys(_) | CredentialProvider::Mounted(_) if role.is_empty() => None,
        CredentialProvider::Profile(profile) => Some((role, profile)),
        CredentialProvider::RolesAnywhere(source) => Some((role, &source.role_arn)),
        CredentialProvider::Keys(_) | CredentialProvider::Mounted(_) | CredentialProvider::Chain => {
            Some((role, ""))
        }
    }
}

fn for_exporter(settings: &Settings) -> u64 {
    if settings.tracing.otlp.is_some() { EXPORTER } else { 0 }
}

fn narrowed(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Limits;

    fn settings(workers: u16, max_connections: u32, max_in_flight: u32) -> Settings {
        let limits = Limits { max_connections, max_in_flight, ..Limits::default() };
        Settings { workers, limits, ..Settings::default() }
    }

    fn divided(limit: Option<u64>, settings: &Settings) -> Result<Capacity, TooFewFiles> {
        OpenFiles::within(limit, 3, settings).divide(settings)
    }

    #[test]
    fn c9_enough_files_leave_the_settings_as_they_are() {
        let settings = settings(2, 10_000, 1024);
        for limit in [None, Some(1 << 20)] {
            let capacity = divided(limit, &settings).unwrap();
            assert_eq!((capacity.max_connections, capacity.max_in_flight), (10_000, 1024));
            assert_eq!((capacity.admin_connections, capacity.farewells), (128, 64));
            assert!(capacity.shortage.is_none() && capacity.upstream_connections > 500_000, "{capacity:?}");
        }
    }

    #[test]
    fn c9_too_few_files_are_halved_and_the_warning_names_limit_settings_and_cure() {
        let settings = settings(1, 10_000, 1024);
        let capacity = divided(Some(1024), &settings).unwrap();
        assert!(capacity.max_connections.abs_diff(capacity.max_in_flight) <= 1, "{capacity:?}");
        let warning = capacity.shortage.unwrap();
        for part in [
            "1024 files may be open (`ulimit -n`)".to_owned(),
            format!("limits.max_connections is {} instead of 10000", capacity.max_connections),
            format!("limits.max_in_flight is {} instead of 1024", capacity.max_in_flight),
            "raise the limit (LimitNOFILE".to_owned(),
        ] {
            assert!(warning.contains(&part), "{part}: {warning}");
        }
    }

    #[test]
    fn c9_files_that_one_half_does_not_need_go_to_the_other() {
        let few_calls = divided(Some(1024), &settings(1, 10_000, 10)).unwrap();
        assert!(few_calls.max_in_flight == 10 && few_calls.max_connections > 700, "{few_calls:?}");
        // the warning names only lowered limits
        assert!(!few_calls.shortage.unwrap().contains("max_in_flight"));
        let few_clients = divided(Some(1024), &settings(1, 10, 10_000)).unwrap();
        assert!(few_clients.max_connections == 10 && few_clients.max_in_flight > 700, "{few_clients:?}");
    }

    #[test]
    fn c9_a_limit_that_leaves_no_file_for_clients_is_an_error_with_the_least_limit() {
        let settings = settings(4, 100, 100);
        let too_few = divided(Some(40), &settings).unwrap_err();
        assert!(
            too_few.to_string().starts_with("40 files may be open (`ulimit -n`), and these settings need")
        );
        let least = divided(Some(too_few.least), &settings).unwrap();
        assert_eq!((least.max_connections, least.max_in_flight), (1, 1));
        assert!(divided(Some(too_few.least - 1), &settings).is_err());
    }

    proptest! {
        #[test]
        fn c9_a_division_never_exceeds_the_limit(
            limit in 0_u64..20_000,
            workers in 1_u16..=64,
            connections in 1_u32..20_000,
            in_flight in 1_u32..20_000,
        ) {
            let settings = settings(workers, connections, in_flight);
            let files = OpenFiles::within(Some(limit), 3, &settings);
            match files.divide(&settings) {
                Ok(capacity) => {
                    let Capacity { max_in_flight, upstream_connections, .. } = capacity;
                    prop_assert!(upstream_connections >= max_in_flight);
                    let idle = u64::from(upstream_connections - max_in_flight);
                    prop_assert!(files.standing + READING + files.used_by(&capacity) + idle <= limit);
                    prop_assert!((1..=connections).contains(&capacity.max_connections));
                    prop_assert!((1..=in_flight).contains(&capacity.max_in_flight));
                    prop_assert!(capacity.farewells >= 2 && capacity.admin_connections >= 6);
                }
                Err(TooFewFiles { least, .. }) => {
                    prop_assert!(least > limit && divided(Some(least), &settings).is_ok());
                }
            }
        }
    }
}
