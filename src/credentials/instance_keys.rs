//! The keys of the instance that roles are assumed with, kept for the time when EC2's metadata service gives
//! none.
//!
//! `chain/instance.rs` and `chain/profile.rs` come here. Keys of an instance live for six hours and the sessions of
//! roles for one. Without the last keys a fault of the metadata service would end a role within that hour, although STS
//! still takes them. AWS's SDKs keep them past their expiry
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>).

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use aws_credential_types::Credentials;

use super::sts::Fetched;
use crate::system::wall_clock::Rfc3339;

/// The last keys that the metadata service gave.
#[derive(Debug, Default)]
pub struct InstanceKeys(Mutex<Option<Credentials>>);

impl InstanceKeys {
    /// Remembers new keys; replaces a failure by the last ones, with a remark that says so.
    ///
    /// # Errors
    /// The failure, where no keys came before it.
    pub fn or_last(&self, given: Result<Fetched, String>, now: SystemTime) -> Result<Fetched, String> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (given, &*last) {
            (Ok(fetched), _) => {
                *last = Some(fetched.credentials.clone());
                Ok(fetched)
            }
            (Err(reason), None) => Err(reason),
            (Err(reason), Some(keys)) => {
                let until = match keys.expiry() {
                    Some(expiry) if expiry <= now => format!(", which expired at {}", Rfc3339(expiry)),
                    Some(expiry) => format!(", which expire at {}", Rfc3339(expiry)),
                    None => String::new(),
                };
                let remark = format!(
                    "assuming the role with the last known keys of the instance{until}, because: {reason}"
                );
                Ok(Fetched { base_failure: Some(remark), ..keys.clone().into() })
            }
        }
    }
}
