//! `check --credentials`: fetches the secrets in AWS that the settings name. Their values are not shown.

use std::io;

use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::{
    credentials::{SecretAttempt, fetch_once},
    settings::{SecretStore, Settings},
};

/// The result for one reference.
pub(super) struct SecretCheck(SecretAttempt);

/// Fetches each secret once into `store`.
pub(super) fn fetch_all(settings: &Settings, store: &SecretStore) -> io::Result<Vec<SecretCheck>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let attempts = runtime.block_on(fetch_once(settings, store));
    runtime.shutdown_background();
    Ok(attempts?.into_iter().map(SecretCheck).collect())
}

impl SecretCheck {
    pub(super) fn is_good(&self) -> bool {
        self.0.problem.is_none()
    }

    /// The line in the text output.
    pub(super) fn text(&self) -> String {
        let SecretAttempt { reference, users, problem } = &self.0;
        let users = users.join(", ");
        match problem {
            None => format!("{users}: {reference}: fetched"),
            Some(problem) => format!("{users}: {reference}: {problem}"),
        }
    }

    pub(super) fn json(&self) -> Value {
        let SecretAttempt { reference, users, problem } = &self.0;
        json!({
            "secret": reference.to_string(),
            "users": users,
            "fetched": problem.is_none(),
            "problem": problem,
        })
    }
}
