//! The secrets in AWS that a route's settings name, and those for which it waits.

use std::{fmt, sync::Arc};

use crate::{
    credentials::Secrets,
    message::error::{ErrorKind, ProxyError},
    settings::{NamedSecret, RouteSettings, SecretReference},
};

/// The missing secrets of a route, without which it answers 503.
#[derive(Debug, Clone)]
pub struct WaitingSecrets {
    missing: Vec<NamedSecret>,
    secrets: Arc<Secrets>,
}

impl WaitingSecrets {
    /// `None` if no secret is missing.
    pub fn of(settings: &RouteSettings, secrets: &Arc<Secrets>) -> Option<Self> {
        let missing: Vec<_> = settings.missing_secrets().cloned().collect();
        (!missing.is_empty()).then(|| Self { missing, secrets: Arc::clone(secrets) })
    }

    /// The error that the route answers.
    pub fn error(&self) -> ProxyError {
        ProxyError::new(ErrorKind::SecretUnavailable, self.to_string())
    }
}

/// The secrets that a route's settings name, among them perhaps its keys.
#[derive(Debug, Clone)]
pub struct NamedSecrets {
    references: Arc<[SecretReference]>,
    secrets: Arc<Secrets>,
}

impl NamedSecrets {
    /// `None` if the settings name no secret.
    pub fn of(settings: &RouteSettings, secrets: &Arc<Secrets>) -> Option<Self> {
        let references: Arc<[_]> = settings.secrets.iter().map(|named| named.reference.clone()).collect();
        (!references.is_empty()).then(|| Self { references, secrets: Arc::clone(secrets) })
    }

    /// Fetches them soon, because AWS refused a key of the route.
    pub fn refresh_soon(&self) {
        self.secrets.refresh_soon(self.references.iter());
    }
}

impl fmt::Display for WaitingSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = |NamedSecret { reference, refused, .. }: &NamedSecret| match refused {
            Some(refused) => format!("{reference}: {refused}"),
            None => self.secrets.reason(reference),
        };
        let reasons: Vec<String> = self.missing.iter().map(reason).collect();
        write!(f, "waiting for {}", reasons.join("; "))
    }
}
