//! Derived keys of callers: a bounded set, so that a caller's key is not derived for each of its requests.
//!
//! An entry contains a digest of the caller's keys and the derived key of a day, but neither the secret nor
//! the token.
//! Derivation takes four HMACs, so an entry that was evicted costs little.

use std::fmt;

use aws_credential_types::Credentials;
use hmac::Hmac;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

/// The most callers whose derived keys are kept, for each route.
const MAX_CALLERS: usize = 256;

/// A digest of the keys of a caller. Callers that share a key id but not the secret have different ones.
type Fingerprint = [u8; 32];

/// The derived keys of a route's callers.
pub struct DerivedKeys(Cache<Fingerprint, DerivedKey>);

#[derive(Clone)]
struct DerivedKey {
    day: [u8; 8],
    mac: Hmac<Sha256>,
}

impl Default for DerivedKeys {
    fn default() -> Self {
        Self(Cache::new(MAX_CALLERS))
    }
}

impl fmt::Debug for DerivedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedKeys").field("callers", &self.0.len()).finish_non_exhaustive()
    }
}

impl DerivedKeys {
    /// The derived key of these keys for a day; `derive` makes it if it is not here.
    pub(super) fn get(
        &self,
        credentials: &Credentials,
        day: [u8; 8],
        derive: impl FnOnce() -> Hmac<Sha256>,
    ) -> Hmac<Sha256> {
        let fingerprint = fingerprint(credentials);
        if let Some(kept) = self.0.get(&fingerprint).filter(|kept| kept.day == day) {
            return kept.mac;
        }
        let mac = derive();
        self.0.insert(fingerprint, DerivedKey { day, mac: mac.clone() });
        mac
    }
}

/// The length before each part keeps different keys from having one text.
fn fingerprint(credentials: &Credentials) -> Fingerprint {
    let token = credentials.session_token().unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [credentials.access_key_id(), credentials.secret_access_key(), token] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use hmac::{KeyInit as _, Mac as _};

    use super::*;

    const DAY: [u8; 8] = *b"20261130";

    fn keys(id: &str, secret: &str, token: Option<&str>) -> Credentials {
        Credentials::new(id, secret, token.map(str::to_owned), None, "test")
    }

    /// The signature of nothing by the derived key for these keys, which stands for the key.
    fn signature(
        derived_keys: &DerivedKeys,
        credentials: &Credentials,
        day: [u8; 8],
        derived: &Cell<u32>,
    ) -> Vec<u8> {
        let mac = derived_keys.get(credentials, day, || {
            derived.set(derived.get() + 1);
            let text = format!("{}{day:?}", credentials.secret_access_key());
            Hmac::new_from_slice(text.as_bytes()).unwrap()
        });
        mac.finalize().into_bytes().to_vec()
    }

    #[test]
    fn two_callers_never_share_a_derived_key() {
        let (derived_keys, derived) = (DerivedKeys::default(), Cell::new(0));
        let callers = [
            keys("AKID", "one", None),
            keys("AKID", "other", None),
            keys("AKIDo", "ne", None),
            keys("AKID", "one", Some("token")),
            keys("AKID", "onetoken", None),
            keys("AKIDTHER", "one", None),
        ];
        for number in 1..=3 {
            for caller in &callers {
                let expected = Hmac::<Sha256>::new_from_slice(
                    format!("{}{DAY:?}", caller.secret_access_key()).as_bytes(),
                );
                let expected = expected.unwrap().finalize().into_bytes().to_vec();
                assert_eq!(signature(&derived_keys, caller, DAY, &derived), expected);
            }
            assert_eq!(derived.get(), 6, "round {number}");
        }
    }

    #[test]
    fn a_key_is_derived_again_for_another_day_and_replaces_the_old_one() {
        let (derived_keys, derived) = (DerivedKeys::default(), Cell::new(0));
        let caller = keys("AKID", "secret", None);
        let first = signature(&derived_keys, &caller, DAY, &derived);
        assert_ne!(first, signature(&derived_keys, &caller, *b"20261201", &derived));
        assert_eq!((derived.get(), derived_keys.0.len()), (2, 1));
    }

    #[test]
    fn the_set_is_bounded() {
        let (derived_keys, derived) = (DerivedKeys::default(), Cell::new(0));
        for number in 0..10 * MAX_CALLERS {
            signature(&derived_keys, &keys(&format!("AKID{number}"), "secret", None), DAY, &derived);
        }
        assert!(derived_keys.0.len() <= MAX_CALLERS, "{}", derived_keys.0.len());
    }

    #[test]
    fn debug_of_derived_keys_shows_their_number_alone() {
        let derived_keys = DerivedKeys::default();
        signature(&derived_keys, &keys("hush", "hush", Some("hush")), DAY, &Cell::new(0));
        assert_eq!(format!("{derived_keys:?}"), "DerivedKeys { callers: 1, .. }");
    }
}
