//! The temporary keys that the stand-in has handed out, and to whom.
//!
//! `sts.rs`, `metadata.rs` and `container.rs` issue them; `verify.rs` asks here whether a request was signed
//! with one of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The account that all of the stand-in belongs to, the one of AWS's examples.
pub const ACCOUNT: &str = "123456789012";
/// Lives below this are a test's, which wants to see them end to the millisecond; AWS tells whole seconds.
const WHOLE_SECONDS: Duration = Duration::from_mins(1);

/// Whoever signs a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The user with the long-term keys.
    User,
    Session {
        /// The role's name, without its path.
        role: String,
        session: String,
    },
}

/// Keys that were handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedKeys {
    /// `ASIA…`: "temporary (AWS STS) access key IDs" (IAM user guide, "IAM identifiers").
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The token that must come with them.
    pub session_token: String,
    pub expires: SystemTime,
    pub identity: Identity,
}

#[derive(Debug, Default)]
pub struct Register(Mutex<HashMap<String, IssuedKeys>>);

impl Identity {
    /// A session of a role.
    pub fn session(role: impl Into<String>, session: impl Into<String>) -> Self {
        Self::Session { role: role.into(), session: session.into() }
    }

    /// The ARN that AWS calls it by ("IAM ARNs", IAM user guide).
    pub fn arn(&self) -> String {
        match self {
            Self::User => format!("arn:aws:iam::{ACCOUNT}:user/dev"),
            Self::Session { role, session } => {
                format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}")
            }
        }
    }

    /// The unique id that `GetCallerIdentity` tells ("Unique identifiers", IAM user guide).
    pub fn id(&self) -> String {
        match self {
            Self::User => "AIDACKCEVSQ6C2EXAMPLE".into(),
            Self::Session { session, .. } => format!("AROA3XFRBF535PLBIFPI4:{session}"),
        }
    }
}

impl IssuedKeys {
    /// When they end, as STS and the metadata services write it.
    pub fn expiration(&self) -> String {
        written(self.expires)
    }
}

impl fmt::Debug for IssuedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Register {
    /// Hands out new keys that live this long from `now` on.
    pub fn issue(&self, identity: Identity, now: SystemTime, life: Duration) -> IssuedKeys {
        let keys = IssuedKeys {
            access_key_id: format!("ASIA{}", letters(16)),
            secret_access_key: random_base64(30),
            session_token: random_base64(240),
            expires: end(now, life),
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
        // an insertion cannot leave the map half done
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A moment as RFC 3339 has it.
pub fn written(moment: SystemTime) -> String {
    OffsetDateTime::from(moment).format(&Rfc3339).unwrap_or_default()
}

/// What is told of the end and what is held against a request must be the same moment, so it is rounded here.
fn end(now: SystemTime, life: Duration) -> SystemTime {
    let precision = if life < WHOLE_SECONDS { Duration::from_millis(1) } else { Duration::from_secs(1) };
    rounded_down(now + life, precision)
}

/// The last moment of this precision before another one.
pub fn rounded_down(moment: SystemTime, precision: Duration) -> SystemTime {
    let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let beyond = u64::try_from(since_epoch % precision.as_nanos().max(1)).unwrap_or_default();
    moment - Duration::from_nanos(beyond)
}

/// Random text of the letters that key ids are made of.
fn letters(count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    (0..count).map(|_| char::from(fastrand::choice(ALPHABET).copied().unwrap_or(b'A'))).collect()
}

/// Random bytes in base64, with the `/`, `+` and `=` that secrets and tokens have.
pub fn random_base64(bytes: usize) -> String {
    let random: Vec<u8> = (0..bytes).map(|_| fastrand::u8(..)).collect();
    BASE64_STANDARD.encode(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_like_those_of_sts() {
        let register = Register::default();
        let keys = register.issue(Identity::session("a", "b"), SystemTime::now(), Duration::from_hours(1));
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
    fn the_end_that_is_told_is_the_end_that_counts() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let register = Register::default();
        let hour = register.issue(Identity::User, now, Duration::from_hours(1));
        assert_eq!(hour.expiration(), "2023-11-14T23:13:20Z");
        let short = register.issue(Identity::User, now, Duration::from_millis(1500));
        assert_eq!(short.expiration(), "2023-11-14T22:13:21.623Z");
        assert_eq!(short.expires, now + Duration::from_millis(1500));
    }

    #[test]
    fn an_identity_has_the_arn_that_aws_gives_it() {
        assert_eq!(Identity::User.arn(), "arn:aws:iam::123456789012:user/dev");
        let session = Identity::session("reader", "pod-1");
        assert_eq!(session.arn(), "arn:aws:sts::123456789012:assumed-role/reader/pod-1");
        assert!(session.id().starts_with("AROA") && session.id().ends_with(":pod-1"));
    }
}
