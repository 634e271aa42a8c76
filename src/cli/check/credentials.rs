//! `check --credentials`: fetches the credentials of every source and verifies them with STS.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::routes_text;
use crate::{
    credentials::{CallerIdentity, CredentialState, FetchAttempt, FetchError, try_once},
    settings::{CredentialSettings, Settings},
    tls::TlsError,
};

/// The result for one source of credentials.
pub(super) struct CredentialCheck {
    routes: Vec<String>,
    outcome: Result<FetchAttempt, TlsError>,
}

/// Tries each source once, all concurrently, regardless of the number of routes that use it.
pub(super) async fn try_all(settings: &Settings) -> Vec<CredentialCheck> {
    let mut sources: Vec<(CredentialSettings, Vec<String>)> = Vec::new();
    // without its secrets, the keys of a route are placeholders
    for route in settings.routes.iter().filter(|route| route.enabled && !route.is_waiting()) {
        let Some(source) = route.backend.source() else { continue };
        match sources.iter_mut().find(|(known, _)| known == source) {
            Some((_, routes)) => routes.push(route.id.clone()),
            None => sources.push((source.clone(), vec![route.id.clone()])),
        }
    }
    let mut tasks = JoinSet::new();
    for (index, (source, routes)) in sources.into_iter().enumerate() {
        tasks.spawn(async move { (index, CredentialCheck { routes, outcome: try_once(&source).await }) });
    }
    let mut checks: Vec<(usize, CredentialCheck)> = tasks.join_all().await;
    checks.sort_by_key(|(index, _)| *index);
    checks.into_iter().map(|(_, check)| check).collect()
}

impl CredentialCheck {
    /// True if there are credentials and STS does not refuse them. An unreachable STS is no failure: private
    /// networks often have no route to it.
    pub(super) fn is_good(&self) -> bool {
        self.is_ready() && !matches!(self.unknown(), Some(FetchError::Refused { .. }))
    }

    fn is_ready(&self) -> bool {
        let Ok(FetchAttempt { status, .. }) = &self.outcome else { return false };
        matches!(status.state, CredentialState::Ready(_))
    }

    fn status(&self) -> String {
        match &self.outcome {
            Ok(attempt) => attempt.status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    fn caller(&self) -> Option<&CallerIdentity> {
        match &self.outcome.as_ref().ok()?.status.state {
            CredentialState::Ready(ready) => ready.caller.as_ref(),
            CredentialState::Waiting | CredentialState::Unavailable { .. } => None,
        }
    }

    fn unknown(&self) -> Option<&FetchError> {
        self.outcome.as_ref().ok()?.unknown.as_ref()
    }

    fn identity_problem(&self) -> Option<String> {
        self.unknown().map(ToString::to_string)
    }

    /// The line in the text output.
    pub(super) fn text(&self) -> String {
        let line = format!("{}: {}", routes_text(&self.routes), self.status());
        match self.identity_problem() {
            Some(problem) => format!("{line}; {problem}"),
            None => line,
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "routes": self.routes,
            "ready": self.is_ready(),
            "status": self.status(),
            "account": self.caller().map(|caller| &caller.account),
            "arn": self.caller().map(|caller| &caller.arn),
            "identity_problem": self.identity_problem(),
        })
    }
}
