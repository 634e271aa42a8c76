//! The state of a source, for `/ready`, the log and `check --credentials`; without secrets.

use std::{fmt, time::SystemTime};

use aws_credential_types::Credentials;

use crate::{message::redaction::key_id_end, system::wall_clock::Rfc3339, text::log_safe::log_safe};

/// Characters of a displayed ARN.
const MAX_ARN: usize = 300;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `environment`, `profile x`, `ECS container as role arn:…`.
    pub source: String,
    pub state: CredentialState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialState {
    Ready(Ready),
    /// The first fetch is in progress.
    Waiting,
    Unavailable {
        reason: String,
    },
}

/// Usable keys, without their secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The owner, if known.
    pub caller: Option<CallerIdentity>,
    /// The last four characters of the access key's id, or half of a short id.
    pub key_id_end: String,
    /// `None` for keys that do not expire.
    pub expires: Option<SystemTime>,
    /// Keys of EC2's metadata service in use past their expiry, because it returns no newer ones.
    pub is_past_expiry: bool,
    /// The failure of the last refresh; these keys stay in use.
    pub last_failure: Option<String>,
}

/// The owner of keys, as `GetCallerIdentity` returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    pub account: String,
    /// The ARN of a user, or of a session of a role.
    pub arn: String,
}

impl CallerIdentity {
    /// Parses an ARN, whose fifth part is the account.
    pub fn of_arn(arn: &str) -> Option<Self> {
        let arn = log_safe(arn, MAX_ARN);
        let account = arn.split(':').nth(4)?.to_owned();
        Some(Self { account, arn })
    }
}

impl Ready {
    pub fn of(
        credentials: &Credentials,
        caller: Option<CallerIdentity>,
        last_failure: Option<String>,
    ) -> Self {
        let key_id_end = key_id_end(credentials.access_key_id()).to_owned();
        Self { caller, key_id_end, expires: credentials.expiry(), is_past_expiry: false, last_failure }
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.caller {
            Some(CallerIdentity { account, arn }) => write!(f, "account {account}, {arn}")?,
            None => write!(f, "access key ending in {}", self.key_id_end)?,
        }
        match self.expires {
            Some(time) if self.is_past_expiry => {
                write!(f, ", expired {}, used until AWS refuses it", Rfc3339(time))?;
            }
            Some(time) => write!(f, ", expires {}", Rfc3339(time))?,
            None => f.write_str(", without expiry")?,
        }
        match &self.last_failure {
            Some(reason) => write!(f, "; the last refresh failed: {reason}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match &self.state {
            CredentialState::Ready(ready) => {
                // an article before `settings` and `environment`, none before `profile work`
                let the = if source.starts_with("settings") || source == "environment" { "the " } else { "" };
                write!(f, "keys from {the}{source}, {ready}")
            }
            CredentialState::Waiting => write!(f, "{source}: waiting for the first keys"),
            CredentialState::Unavailable { reason } => write!(f, "{source}: unavailable: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_shows_the_owner_and_the_expiry() {
        let expiry = humantime::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
        let keys = Credentials::new("AKIDEXAMPLE", "hush", Some("hush".into()), Some(expiry), "t");
        let caller = CallerIdentity::of_arn("arn:aws:sts::123456789012:assumed-role/r/s");
        let show = |state| Status { source: "profile work".into(), state }.to_string();
        assert_eq!(
            show(CredentialState::Ready(Ready::of(&keys, caller, None))),
            "keys from profile work, account 123456789012, arn:aws:sts::123456789012:assumed-role/r/s, \
             expires 2030-01-01T00:00:00Z"
        );
        let keys = Credentials::new("AKIDEXAMPLE", "hush", None, None, "t");
        assert_eq!(
            show(CredentialState::Ready(Ready::of(&keys, None, Some("AccessDenied".into())))),
            "keys from profile work, access key ending in MPLE, without expiry; the last refresh failed: \
             AccessDenied"
        );
        assert_eq!(show(CredentialState::Waiting), "profile work: waiting for the first keys");
        assert_eq!(
            show(CredentialState::Unavailable { reason: "no".into() }),
            "profile work: unavailable: no"
        );
    }

    #[test]
    fn of_a_short_key_id_no_more_than_half_is_shown() {
        let end = |id| Ready::of(&Credentials::new(id, "s", None, None, "t"), None, None).key_id_end;
        assert_eq!(["", "a", "abcd", "AKIDEXAMPLE"].map(end), ["", "", "cd", "MPLE"]);
    }
}
