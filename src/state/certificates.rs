//! The expiry of the process's certificates: the server certificate of `listen.https`, and the routes'
//! `client_certificate` and `certificate` of `roles_anywhere`. One warning is logged when a certificate
//! expires soon, and another when it has expired.
//!
//! `app.rs` runs the watch beside the workers, `cli/check.rs` prints the same warnings, and
//! `admin/certificates.rs` exports the times.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    settings::{CredentialProvider, RouteSettings, Settings},
    state::{current::Current, snapshot::Snapshot},
    text::listing,
    tls::{Validity, ValidityStatus, server as tls, server::ServerTls},
};

/// The setting that names a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateSetting {
    /// `listen.https.certificate`.
    Listener,
    /// `client_certificate` of a route.
    Client,
    /// `certificate` of a route's `roles_anywhere`.
    Exchanged,
}

impl CertificateSetting {
    /// The value of the label in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listener => "listen.https",
            Self::Client => "client_certificate",
            Self::Exchanged => "roles_anywhere",
        }
    }
}

/// Certificates with the routes that use them; the listener's has no routes.
type CertificateUsers<'a> = BTreeMap<(CertificateSetting, Validity), Vec<&'a str>>;

/// The enabled routes with a client certificate, and its validity.
pub fn of_routes<'a>(
    routes: impl IntoIterator<Item = &'a RouteSettings>,
) -> impl Iterator<Item = (&'a str, Validity)> {
    routes.into_iter().filter(|route| route.enabled).filter_map(|route| {
        let validity = route.backend.upstream().client_identity.as_ref()?.validity()?;
        Some((route.id.as_str(), validity))
    })
}

/// The enabled routes whose certificate IAM Roles Anywhere exchanges, and its validity. Reads the files,
/// because they are renewed.
fn exchanged<'a>(routes: impl IntoIterator<Item = &'a RouteSettings>) -> Vec<(Arc<str>, Validity)> {
    let validity = |route: &RouteSettings| match &route.backend.source()?.origin {
        CredentialProvider::RolesAnywhere(source) => source.validity(),
        _ => None,
    };
    let enabled = routes.into_iter().filter(|route| route.enabled);
    enabled.filter_map(|route| Some((Arc::from(route.id.as_str()), validity(route)?))).collect()
}

/// A warning for each certificate of the settings that is not valid or expires soon, for `check`.
pub fn warnings(settings: &Settings, now: SystemTime) -> Vec<String> {
    let listener = settings.listen.https.as_ref();
    let listener = listener.and_then(|https| tls::configuration(&https.files).ok()?.validity);
    let routes = || settings.routes.iter().map(|route| &**route);
    let exchanged = exchanged(routes());
    let shown = shown(listener, of_routes(routes()), &exchanged);
    shown.iter().filter_map(|(shown, routes)| warning(*shown, routes, now)).collect()
}

fn shown<'a>(
    listener: Option<Validity>,
    routes: impl Iterator<Item = (&'a str, Validity)>,
    exchanged: &'a [(Arc<str>, Validity)],
) -> CertificateUsers<'a> {
    let mut shown = CertificateUsers::new();
    shown.extend(listener.map(|validity| ((CertificateSetting::Listener, validity), Vec::new())));
    for (route, validity) in routes {
        shown.entry((CertificateSetting::Client, validity)).or_default().push(route);
    }
    for (route, validity) in exchanged {
        shown.entry((CertificateSetting::Exchanged, *validity)).or_default().push(route);
    }
    shown
}

/// The warning for a certificate that needs a replacement, with cause and cure.
fn warning(
    (setting, validity): (CertificateSetting, Validity),
    routes: &[&str],
    now: SystemTime,
) -> Option<String> {
    let state = validity.warning(now)?;
    let is_valid = validity.status(now) == ValidityStatus::EndsSoon;
    let (certificate, consequence) = match setting {
        CertificateSetting::Listener => ("listen.https.certificate".to_owned(), "clients refuse it"),
        CertificateSetting::Client => {
            (format!("{}: client_certificate", listing::routes(routes)), "servers refuse it")
        }
        CertificateSetting::Exchanged => (
            format!("{}: certificate of roles_anywhere", listing::routes(routes)),
            "IAM Roles Anywhere refuses it",
        ),
    };
    let cure = "replace the file, which takes no restart";
    Some(if is_valid {
        format!("{certificate} {state}: {cure}")
    } else {
        format!("{certificate} {state}, and {consequence}: {cure}")
    })
}

/// Watches the certificates in use.
pub struct CertificateWatch {
    current: Arc<Current>,
    listener: Option<Arc<ServerTls>>,
    /// The last logged state of each certificate.
    logged: Mutex<BTreeMap<(CertificateSetting, Validity), ValidityStatus>>,
}

impl CertificateWatch {
    pub fn new(current: &Arc<Current>, listener: Option<Arc<ServerTls>>) -> Self {
        Self { current: Arc::clone(current), listener, logged: Mutex::default() }
    }

    /// Checks the certificates in this interval; never ends.
    pub async fn watch(&self, interval: Duration) {
        loop {
            let snapshot = self.current.get();
            let exchanged = exchanged_in(&snapshot).await;
            self.check(&snapshot, exchanged, SystemTime::now());
            drop(snapshot);
            tokio::time::sleep(interval).await;
        }
    }

    fn check(&self, snapshot: &Snapshot, exchanged: Vec<(Arc<str>, Validity)>, now: SystemTime) {
        let listener = self.listener.as_ref().and_then(|tls| tls.validity());
        snapshot.metrics.set_listener_certificate(listener);
        let client = of_routes(snapshot.routes_as_set.iter().map(|route| &**route));
        let shown = shown(listener, client, &exchanged);
        for warning in
            new_warnings(&shown, &mut self.logged.lock().unwrap_or_else(PoisonError::into_inner), now)
        {
            log::warn!("{warning}");
        }
        snapshot.metrics.set_exchanged_certificates(exchanged);
    }
}

/// The certificates of a snapshot that IAM Roles Anywhere exchanges, read on another thread: a file system
/// may hang.
async fn exchanged_in(snapshot: &Arc<Snapshot>) -> Vec<(Arc<str>, Validity)> {
    let is_exchanged = |route: &RouteSettings| {
        route.backend.source().is_some_and(|source| {
            route.enabled && matches!(source.origin, CredentialProvider::RolesAnywhere(_))
        })
    };
    if !snapshot.routes_as_set.iter().any(|route| is_exchanged(route)) {
        return Vec::new();
    }
    let snapshot = Arc::clone(snapshot);
    let read = move || exchanged(snapshot.routes_as_set.iter().map(|route| &**route));
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// The warnings that have not been logged yet; they are marked as logged.
fn new_warnings(
    shown: &CertificateUsers<'_>,
    logged: &mut BTreeMap<(CertificateSetting, Validity), ValidityStatus>,
    now: SystemTime,
) -> Vec<String> {
    let is_new = |shown: &(CertificateSetting, Validity)| logged.get(shown) != Some(&shown.1.status(now));
    let warnings = shown
        .iter()
        .filter(|(shown, _)| is_new(shown))
        .filter_map(|(shown, routes)| warning(*shown, routes, now))
        .collect();
    // a removed certificate is forgotten, because it may come back
    *logged = shown.keys().map(|shown| (*shown, shown.1.status(now))).collect();
    warnings
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
    fn k3_each_certificate_is_logged_once_and_again_when_it_has_expired() {
        let mut logged = BTreeMap::new();
        let routes = ["a", "b"].map(|route| (route, CERTIFICATE));
        let shown = shown(Some(CERTIFICATE), routes.into_iter(), &[]);
        let mut on = |day| new_warnings(&shown, &mut logged, on_day(day));
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
    fn k3_a_replaced_certificate_is_logged_again() {
        let mut logged = BTreeMap::new();
        let next = Validity { not_after: 101 * DAY, ..CERTIFICATE };
        for certificate in [CERTIFICATE, next, CERTIFICATE] {
            let warnings =
                new_warnings(&shown(Some(certificate), std::iter::empty(), &[]), &mut logged, on_day(90));
            assert_eq!(warnings.len(), 1, "{warnings:?}");
        }
    }
}
