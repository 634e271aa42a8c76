//! Which secrets are fetched, and when: the state behind `credentials/secrets.rs`, without I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use secrecy::SecretString;
use tokio::time::Instant;

use super::call::selected;
use crate::{
    credentials::schedule::back_off,
    settings::{SecretId, SecretReference, SecretStore},
};

/// Shortest time between two fetches of a secret whose value AWS seems to refuse.
const MIN_EARLY_INTERVAL: Duration = Duration::from_secs(30);

/// The secrets in use.
#[derive(Debug, Default)]
pub struct FollowedSecrets {
    by_id: BTreeMap<SecretId, FollowedSecret>,
    interval: Duration,
}

#[derive(Debug)]
struct FollowedSecret {
    /// The references to it, with their users.
    references: BTreeMap<SecretReference, BTreeSet<String>>,
    due: Instant,
    fetched: Option<Instant>,
    is_in_flight: bool,
    /// Consecutive failures.
    failures: u32,
    /// The failures of the last fetch.
    problems: BTreeMap<SecretReference, String>,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: log::Level,
    pub text: String,
}

/// The effects of a fetch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// A value is new.
    pub has_changed: bool,
    pub lines: Vec<LogLine>,
}

impl FollowedSecrets {
    /// Follows these secrets and no others. Those without a value are fetched at once.
    pub fn follow(
        &mut self,
        uses: Vec<(&SecretReference, String)>,
        interval: Duration,
        store: &SecretStore,
        now: Instant,
    ) {
        let mut former = std::mem::take(&mut self.by_id);
        for (reference, user) in uses {
            let secret = self.by_id.entry(reference.id.clone()).or_insert_with(|| {
                let known = former.remove(&reference.id);
                let known = known.map(|known| FollowedSecret { references: BTreeMap::new(), ..known });
                known.unwrap_or_else(|| FollowedSecret::new(now))
            });
            if !secret.references.contains_key(reference) {
                secret.references.insert(reference.clone(), BTreeSet::new());
                let is_tried = secret.problems.contains_key(reference);
                if !is_tried && store.values().get(reference).is_none() {
                    secret.due = now;
                }
            }
            secret.references.entry(reference.clone()).or_default().insert(user);
        }
        for secret in self.by_id.values_mut() {
            if interval < self.interval {
                secret.due = secret.due.min(now + interval);
            }
            let references = &secret.references;
            secret.problems.retain(|reference, _| references.contains_key(reference));
        }
        self.interval = interval;
    }

    /// Forgets the calls in flight, after the task that made them has ended.
    pub fn restart(&mut self) {
        self.by_id.values_mut().for_each(|secret| secret.is_in_flight = false);
    }

    /// The secrets to fetch now, at most `most`.
    pub fn take_due(&mut self, now: Instant, most: usize) -> Vec<SecretId> {
        let due = self.by_id.iter_mut().filter(|(_, secret)| !secret.is_in_flight && secret.due <= now);
        let taken = due.take(most).map(|(id, secret)| {
            secret.is_in_flight = true;
            id.clone()
        });
        taken.collect()
    }

    /// The time of the next fetch; `None` without one.
    pub fn next_due(&self) -> Option<Instant> {
        self.by_id.values().filter(|secret| !secret.is_in_flight).map(|secret| secret.due).min()
    }

    /// Fetches these secrets soon, because AWS refused a key that may have come from one.
    pub fn refresh_soon<'r>(&mut self, references: impl Iterator<Item = &'r SecretReference>, now: Instant) {
        for reference in references {
            if let Some(secret) = self.by_id.get_mut(&reference.id)
                && secret.fetched.is_none_or(|fetched| now >= fetched + MIN_EARLY_INTERVAL)
            {
                secret.due = secret.due.min(now);
            }
        }
    }

    /// Publishes the result of a fetch, and schedules the next one.
    pub fn record(
        &mut self,
        id: &SecretId,
        fetched: &Result<SecretString, String>,
        store: &SecretStore,
        now: Instant,
        jitter: f64,
    ) -> Recorded {
        let interval = self.interval;
        let Some(secret) = self.by_id.get_mut(id) else { return Recorded::default() };
        secret.is_in_flight = false;
        secret.fetched = Some(now);
        let mut recorded = Recorded::default();
        let mut problems = BTreeMap::new();
        for reference in secret.references.keys() {
            let value = fetched.as_ref().map_err(String::clone);
            match value.and_then(|value| selected(value, reference.key.as_deref())) {
                Ok(value) => recorded.has_changed |= store.publish(reference, value),
                Err(problem) => drop(problems.insert(reference.clone(), problem)),
            }
        }
        recorded.lines = secret.lines(&problems, store);
        secret.failures = if problems.is_empty() { 0 } else { secret.failures.saturating_add(1) };
        secret.problems = problems;
        secret.due = now
            + match secret.failures {
                0 => interval.mul_f64(0.9 + 0.2 * jitter),
                failures => back_off(failures, None, jitter),
            };
        recorded
    }

    /// The failure of the last fetch.
    pub fn problem(&self, reference: &SecretReference) -> Option<&str> {
        self.by_id.get(&reference.id)?.problems.get(reference).map(String::as_str)
    }

    /// True for a followed secret that has not been tried yet.
    pub fn is_untried(&self, reference: &SecretReference, store: &SecretStore) -> bool {
        self.by_id.get(&reference.id).is_some_and(|secret| secret.references.contains_key(reference))
            && self.problem(reference).is_none()
            && store.values().get(reference).is_none()
    }

    /// The number of references without a value, and of those whose last refresh failed.
    pub fn missing_and_stale(&self, store: &SecretStore) -> (u64, u64) {
        let (values, mut missing, mut stale) = (store.values(), 0, 0);
        for secret in self.by_id.values() {
            for reference in secret.references.keys() {
                match values.get(reference) {
                    None => missing += 1,
                    Some(_) if secret.problems.contains_key(reference) => stale += 1,
                    Some(_) => {}
                }
            }
        }
        (missing, stale)
    }

    pub fn is_followed(&self, reference: &SecretReference) -> bool {
        self.by_id.get(&reference.id).is_some_and(|secret| secret.references.contains_key(reference))
    }
}

impl FollowedSecret {
    fn new(now: Instant) -> Self {
        Self {
            references: BTreeMap::new(),
            due: now,
            fetched: None,
            is_in_flight: false,
            failures: 0,
            problems: BTreeMap::new(),
        }
    }

    /// The lines about problems that are new or over. References with the same problem share a line.
    fn lines(&self, problems: &BTreeMap<SecretReference, String>, store: &SecretStore) -> Vec<LogLine> {
        let values = store.values();
        let mut lines: Vec<LogLine> = Vec::new();
        for (reference, problem) in problems {
            if self.problems.get(reference) == Some(problem) {
                continue;
            }
            let users = self
                .references
                .get(reference)
                .map(|users| users.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
            let users = users.unwrap_or_default();
            let (level, what) = match values.get(reference) {
                Some(_) => (log::Level::Warn, "keeps its last value"),
                None => (log::Level::Error, "waits"),
            };
            let text = format!("secrets: cannot fetch {reference}: {problem}; {users} {what}");
            lines.push(LogLine { level, text });
        }
        for reference in self.problems.keys() {
            if !problems.contains_key(reference) && self.references.contains_key(reference) {
                let text = format!("secrets: {reference}: works again");
                lines.push(LogLine { level: log::Level::Info, text });
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SecretService;

    fn reference(name: &str, key: Option<&str>) -> SecretReference {
        let (service, region) = (SecretService::SecretsManager, "us-east-1".to_owned());
        let id = SecretId { service, region, name: name.to_owned() };
        SecretReference { id, key: key.map(str::to_owned) }
    }

    const INTERVAL: Duration = Duration::from_mins(5);

    #[test]
    fn references_to_one_secret_share_a_fetch() {
        let (store, now) = (SecretStore::default(), Instant::now());
        let (user, password) = (reference("db", Some("user")), reference("db", Some("password")));
        let mut followed = FollowedSecrets::default();
        let named = vec![(&user, "route a".to_owned()), (&password, "route a".to_owned())];
        followed.follow(named, INTERVAL, &store, now);
        let due = followed.take_due(now, 9);
        assert_eq!(due, std::slice::from_ref(&user.id));
        assert!(followed.take_due(now, 9).is_empty());
        let fetched = Ok(r#"{"user":"u","password":"hush"}"#.to_owned().into());
        let recorded = followed.record(&due[0], &fetched, &store, now, 0.5);
        assert_eq!(recorded, Recorded { has_changed: true, lines: Vec::new() });
        assert_eq!(followed.next_due(), Some(now + INTERVAL));
        assert_eq!(followed.missing_and_stale(&store), (0, 0));
        assert_eq!(followed.record(&due[0], &fetched, &store, now, 0.5), Recorded::default());
    }

    #[test]
    fn a_failure_is_logged_once_and_the_last_value_stays() {
        let (store, now) = (SecretStore::default(), Instant::now());
        let secret = reference("db", None);
        let mut followed = FollowedSecrets::default();
        followed.follow(vec![(&secret, "route a".to_owned())], INTERVAL, &store, now);
        let mut record = |fetched: Result<&str, &str>| {
            let fetched = fetched.map(|text| text.to_owned().into()).map_err(str::to_owned);
            followed.take_due(now + INTERVAL * 2, 9);
            followed.record(&secret.id, &fetched, &store, now, 1.0).lines
        };
        let waits = "secrets: cannot fetch the secret db of Secrets Manager in us-east-1: no; route a waits";
        assert_eq!(record(Err("no")), [LogLine { level: log::Level::Error, text: waits.to_owned() }]);
        assert_eq!(record(Err("no")), []);
        assert_eq!(record(Ok("hush"))[0].level, log::Level::Info);
        let kept = &record(Err("no"))[0];
        assert!(
            kept.level == log::Level::Warn && kept.text.ends_with("route a keeps its last value"),
            "{kept:?}"
        );
        assert_eq!(followed.missing_and_stale(&store), (0, 1));
        assert!(followed.next_due().unwrap() <= now + Duration::from_secs(2));
    }

    #[test]
    fn an_early_refresh_waits_half_a_minute_after_the_last_fetch() {
        let (store, now) = (SecretStore::default(), Instant::now());
        let secret = reference("db", None);
        let mut followed = FollowedSecrets::default();
        followed.follow(vec![(&secret, "route a".to_owned())], INTERVAL, &store, now);
        followed.take_due(now, 9);
        followed.record(&secret.id, &Ok("hush".to_owned().into()), &store, now, 0.5);
        let mut due_after = |seconds| {
            let later = now + Duration::from_secs(seconds);
            followed.refresh_soon([&secret].into_iter(), later);
            followed.take_due(later, 9).len()
        };
        assert_eq!([due_after(29), due_after(30)], [0, 1]);
    }

    #[test]
    fn a_secret_that_nobody_names_any_more_is_forgotten() {
        let (store, now) = (SecretStore::default(), Instant::now());
        let (one, other) = (reference("a", None), reference("b", None));
        let mut followed = FollowedSecrets::default();
        followed.follow(vec![(&one, "route a".to_owned())], INTERVAL, &store, now);
        followed.follow(vec![(&other, "route b".to_owned())], INTERVAL, &store, now);
        assert_eq!(followed.take_due(now, 9), std::slice::from_ref(&other.id));
        let recorded = followed.record(&one.id, &Ok("hush".to_owned().into()), &store, now, 0.5);
        assert_eq!(recorded, Recorded::default());
        assert!(store.values().get(&one).is_none());
    }
}
