//! The temporary keys that the stand-in issued, and their owners.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The account's number, that of AWS's examples.
pub const ACCOUNT: &str = "123456789012";
/// Shorter lives occur in tests, which need milliseconds; AWS has whole seconds.
const WHOLE_SECONDS: Duration = Duration::from_mins(1);

/// The signer of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The user with the long-term keys.
    User,
    Session {
        /// The role's name, without its path.
        role: String,
        session: String,
    },
}

#[derive(Clone, PartialEq, Eq)]
pub struct IssuedKeys {
    /// `ASIA…`: "temporary (AWS STS) access key IDs" (IAM user guide, "IAM identifiers").
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    pub expires: SystemTime,
    pub identity: Principal,
}

/// All issued keys, by their ids.
#[derive(Debug, Default)]
pub struct KeyRegister(Mutex<HashMap<String, IssuedKeys>>);

impl Principal {
    /// A session of a role.
    pub fn session(role: impl Into<String>, session: impl Into<String>) -> Self {
        Self::Session { role: role.into(), session: session.into() }
    }

    /// The ARN ("IAM ARNs", IAM user guide).
    pub fn arn(&self) -> String {
        match self {
            Self::User => format!("arn:aws:iam::{ACCOUNT}:user/dev"),
            Self::Session { role, session } => {
                format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}")
            }
        }
    }

    /// The unique id of `GetCallerIdentity` ("Unique identifiers", IAM user guide).
    pub fn id(&self) -> String {
        match self {
            Self::User => "AIDACKCEVSQ6C2EXAMPLE".into(),
            Self::Session { session, .. } => format!("AROA3XFRBF535PLBIFPI4:{session}"),
        }
    }
}

impl IssuedKeys {
    /// The expiry in RFC 3339.
    pub fn expiration(&self) -> String {
        rfc_3339(self.expires)
    }

    /// The common part of the responses of the metadata service and of containers' endpoints.
    pub fn json(&self) -> Value {
        json!({
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.session_token,
            "Expiration": self.expiration(),
        })
    }
}

impl fmt::Debug for IssuedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl KeyRegister {
    /// Issues new keys.
    pub fn issue(&self, identity: Principal, now: SystemTime, life: Duration) -> IssuedKeys {
        let keys = IssuedKeys {
            access_key_id: format!("ASIA{}", letters(16)),
            secret_access_key: random_base64(30),
            session_token: random_base64(240),
            expires: expiry(now, life),
            identity,
        };
        self.locked().insert(keys.access_key_id.clone(), keys.clone());
        keys
    }

    /// The keys with this id, expired or not.
    pub fn find(&self, access_key_id: &str) -> Option<IssuedKeys> {
        self.locked().get(access_key_id).cloned()
    }

    /// The secrets and tokens of all keys so far.
    pub fn secrets(&self) -> Vec<String> {
        let locked = self.locked();
        locked
            .values()
            .flat_map(|keys| [keys.secret_access_key.clone(), keys.session_token.clone()])
            .collect()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, IssuedKeys>> {
        // a panic cannot leave the map in an invalid state
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn rfc_3339(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}

/// Rounds the expiry, so that the response and the verification have the same.
fn expiry(now: SystemTime, life: Duration) -> SystemTime {
    let precision = if life < WHOLE_SECONDS { Duration::from_millis(1) } else { Duration::from_secs(1) };
    rounded_down(now + life, precision)
}

pub fn rounded_down(time: SystemTime, precision: Duration) -> SystemTime {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let beyond = u64::try_from(since_epoch % precision.as_nanos().max(1)).unwrap_or_default();
    time - Duration::from_nanos(beyond)
}

/// Random letters of key ids.
fn letters(count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    (0..count).map(|_| char::from(fastrand::choice(ALPHABET).copied().unwrap_or(b'A'))).collect()
}

/// Random bytes in base64; `/`, `+` and `=` occur as in real secrets and tokens.
pub fn random_base64(bytes: usize) -> String {
    let random: Vec<u8> = (0..bytes).map(|_| fastrand::u8(..)).collect();
    BASE64_STANDARD.encode(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_keys_have_the_form_of_sts_and_debug_hides_their_secrets() {
        let register = KeyRegister::default();
        let keys = register.issue(Principal::session("a", "b"), SystemTime::now(), Duration::from_hours(1));
        assert_eq!((keys.access_key_id.len(), &keys.access_key_id[..4]), (20, "ASIA"));
        assert_eq!(keys.secret_access_key.len(), 40);
        assert!(keys.session_token.len() > 300);
        assert_eq!(register.find(&keys.access_key_id), Some(keys.clone()));
        assert_eq!(register.find("ASIAANOTHER"), None);
        assert_eq!(register.secrets(), [&*keys.secret_access_key, &*keys.session_token]);
        let shown = format!("{keys:?}");
        assert!(!shown.contains(&keys.secret_access_key) && !shown.contains(&keys.session_token), "{shown}");
    }

    #[test]
    fn the_expiry_is_the_rounded_one_of_the_response() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let register = KeyRegister::default();
        let hour = register.issue(Principal::User, now, Duration::from_hours(1));
        assert_eq!(hour.expiration(), "2023-11-14T23:13:20Z");
        let short = register.issue(Principal::User, now, Duration::from_millis(1500));
        assert_eq!(short.expiration(), "2023-11-14T22:13:21.623Z");
        assert_eq!(short.expires, now + Duration::from_millis(1500));
    }

    #[test]
    fn a_principal_has_the_arn_of_aws() {
        assert_eq!(Principal::User.arn(), "arn:aws:iam::123456789012:user/dev");
        let session = Principal::session("reader", "pod-1");
        assert_eq!(session.arn(), "arn:aws:sts::123456789012:assumed-role/reader/pod-1");
        assert!(session.id().starts_with("AROA") && session.id().ends_with(":pod-1"));
    }
}
