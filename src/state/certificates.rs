//! The certificates that the process shows others, to clients by `listen.https` and to AWS by
//! `client_certificate`: the log says once that one ends soon, and once more that it has expired.
//!
//! `app.rs` runs the watch beside the workers, `cli/check.rs` asks for the same sentences, and
//! `admin/exposition.rs` exports the times.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    settings::{RouteSettings, Settings},
    state::current::Current,
    text::listing,
    tls::{Validity, ValidityStatus, server as tls, server::ServerTls},
};

/// A setting that names a certificate of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// `listen.https.certificate`.
    Listener,
    /// `client_certificate` of a route.
    Client,
}

impl Setting {
    /// The label in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listener => "listen.https",
            Self::Client => "client_certificate",
        }
    }
}

/// Certificates, and the routes that show each; none for the listener's.
type Shown<'a> = BTreeMap<(Setting, Validity), Vec<&'a str>>;

/// The routes in force that show a certificate, and the time in which that is valid.
pub fn of_routes<'a>(
    routes: impl IntoIterator<Item = &'a RouteSettings>,
) -> impl Iterator<Item = (&'a str, Validity)> {
    routes.into_iter().filter(|route| route.enabled).filter_map(|route| {
        let validity = route.backend.upstream().client_identity.as_ref()?.validity()?;
        Some((route.id.as_str(), validity))
    })
}

/// A sentence for each certificate of the settings that is not valid, or not for long: for `check`.
pub fn warnings(settings: &Settings, now: SystemTime) -> Vec<String> {
    let listener = settings.listen.https.as_ref();
    let listener = listener.and_then(|https| tls::configuration(&https.files).ok()?.validity);
    let shown = shown(listener, of_routes(&settings.routes));
    shown.iter().filter_map(|(shown, routes)| sentence(*shown, routes, now)).collect()
}

fn shown<'a>(listener: Option<Validity>, routes: impl Iterator<Item = (&'a str, Validity)>) -> Shown<'a> {
    let mut shown = Shown::new();
    shown.extend(listener.map(|validity| ((Setting::Listener, validity), Vec::new())));
    for (route, validity) in routes {
        shown.entry((Setting::Client, validity)).or_default().push(route);
    }
    shown
}

/// Cause and cure, for a certificate that needs a replacement.
fn sentence((setting, validity): (Setting, Validity), routes: &[&str], now: SystemTime) -> Option<String> {
    let told = validity.warning(now)?;
    let is_valid = validity.status(now) == ValidityStatus::EndsSoon;
    let (certificate, consequence) = match setting {
        Setting::Listener => ("listen.https.certificate".to_owned(), "clients refuse it"),
        Setting::Client => (format!("{}: client_certificate", listing::routes(routes)), "servers refuse it"),
    };
    let cure = "replace the file, which takes no restart";
    Some(if is_valid {
        format!("{certificate} {told}: {cure}")
    } else {
        format!("{certificate} {told}, and {consequence}: {cure}")
    })
}

/// Watches the certificates in force while the process runs.
pub struct Watch {
    current: Arc<Current>,
    listener: Option<Arc<ServerTls>>,
    /// The last logged state of each certificate.
    said: Mutex<BTreeMap<(Setting, Validity), ValidityStatus>>,
}

impl Watch {
    /// Of the routes in force and of the listener with TLS, if there is one.
    pub fn new(current: &Arc<Current>, listener: Option<Arc<ServerTls>>) -> Self {
        Self { current: Arc::clone(current), listener, said: Mutex::default() }
    }

    /// Looks at the certificates in this interval, and never ends.
    pub async fn follow(&self, interval: Duration) {
        loop {
            self.look(SystemTime::now());
            tokio::time::sleep(interval).await;
        }
    }

    fn look(&self, now: SystemTime) {
        let snapshot = self.current.get();
        let listener = self.listener.as_ref().and_then(|tls| tls.validity());
        snapshot.metrics.set_listener_certificate(listener);
        let shown = shown(listener, of_routes(snapshot.routes_as_set.iter().map(|route| &**route)));
        for news in news(&shown, &mut self.said.lock().unwrap_or_else(PoisonError::into_inner), now) {
            log::warn!("{news}");
        }
    }
}

/// The sentences that have not been said, which are then taken for said.
fn news(
    shown: &Shown<'_>,
    said: &mut BTreeMap<(Setting, Validity), ValidityStatus>,
    now: SystemTime,
) -> Vec<String> {
    let is_new = |shown: &(Setting, Validity)| said.get(shown) != Some(&shown.1.status(now));
    let sentences = shown
        .iter()
        .filter(|(shown, _)| is_new(shown))
        .filter_map(|(shown, routes)| sentence(*shown, routes, now))
        .collect();
    // a certificate that is gone may come back
    *said = shown.keys().map(|shown| (*shown, shown.1.status(now))).collect();
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valid from day 0 to day 100, so that a replacement is due from day 80 on.
    const DAY: u64 = 86_400;
    const CERTIFICATE: Validity = Validity { not_before: 0, not_after: 100 * DAY, renewal_due: 80 * DAY };

    fn on_day(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * DAY)
    }

    #[test]
    fn k3_each_certificate_is_told_of_once_and_again_when_it_has_expired() {
        let mut said = BTreeMap::new();
        let routes = ["a", "b"].map(|route| (route, CERTIFICATE));
        let shown = shown(Some(CERTIFICATE), routes.into_iter());
        let mut on = |day| news(&shown, &mut said, on_day(day));
        assert!(on(79).is_empty());
        assert_eq!(
            on(80),
            [
                "listen.https.certificate expires on 1970-04-11, in 20 days (this machine's clock: \
                 1970-03-22): \
                 replace the file, which takes no restart",
                "routes a, b: client_certificate expires on 1970-04-11, in 20 days (this machine's clock: \
                 1970-03-22): replace the file, which takes no restart",
            ]
        );
        assert!(on(80).is_empty() && on(99).is_empty());
        let expired = on(102);
        assert_eq!(
            expired[0],
            "listen.https.certificate expired on 1970-04-11, 2 days ago (this machine's clock: 1970-04-13), \
             and \
             clients refuse it: replace the file, which takes no restart"
        );
        assert!(expired[1].contains("and servers refuse it"), "{expired:?}");
        assert!(on(102).is_empty());
    }

    #[test]
    fn k3_another_certificate_is_told_of_anew() {
        let mut said = BTreeMap::new();
        let next = Validity { not_after: 101 * DAY, ..CERTIFICATE };
        for certificate in [CERTIFICATE, next, CERTIFICATE] {
            let told = news(&shown(Some(certificate), std::iter::empty()), &mut said, on_day(90));
            assert_eq!(told.len(), 1, "{told:?}");
        }
    }
}
