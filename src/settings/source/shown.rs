//! Checked values in `/routes` and `routes`, without secrets by their keys' declarations.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use actix_http::StatusCode;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{declaration::Key, secrecy::Secrecy};
use crate::text::units::{NONE, OrNone, duration_text, size_text};

/// Shown in the place of a secret.
pub const REDACTED: &str = "(redacted)";

/// A checked value that can be shown.
pub trait Show {
    /// The value as JSON, without what the key's secrecy hides.
    fn show(&self, secrecy: Secrecy) -> Value;
}

/// Adds the value of a key.
pub fn put(members: &mut Map<String, Value>, prefix: &str, key: &Key, value: &impl Show) {
    members.insert(format!("{prefix}{}", key.name), value.show(key.secrecy));
}

/// The part of a section that a closure returns.
pub fn part<'s, S, P>(section: &'s S, pick: impl FnOnce(&'s S) -> P) -> P {
    pick(section)
}

/// A secret that is set.
pub struct Redacted;

impl Show for Redacted {
    fn show(&self, _: Secrecy) -> Value {
        REDACTED.into()
    }
}

impl Show for str {
    fn show(&self, secrecy: Secrecy) -> Value {
        match secrecy {
            Secrecy::Open | Secrecy::Reference => self.into(),
            Secrecy::Query => match self.split_once('?') {
                Some((start, _)) => format!("{start}?{REDACTED}").into(),
                None => self.into(),
            },
            Secrecy::UnlessPath | Secrecy::Secret => REDACTED.into(),
        }
    }
}

impl Show for String {
    fn show(&self, secrecy: Secrecy) -> Value {
        self.as_str().show(secrecy)
    }
}

impl Show for PathBuf {
    fn show(&self, secrecy: Secrecy) -> Value {
        self.display().to_string().show(secrecy)
    }
}

impl Show for SecretString {
    fn show(&self, _: Secrecy) -> Value {
        REDACTED.into()
    }
}

impl Show for Duration {
    fn show(&self, _: Secrecy) -> Value {
        duration_text(*self).into()
    }
}

/// A size: no other number of a checked section is a `u64`.
impl Show for u64 {
    fn show(&self, _: Secrecy) -> Value {
        size_text(*self).into()
    }
}

impl Show for StatusCode {
    fn show(&self, _: Secrecy) -> Value {
        self.as_u16().into()
    }
}

/// Types whose JSON is serde's.
macro_rules! as_json {
    ($($Type:ty)*) => { $(
        impl Show for $Type {
            fn show(&self, _: Secrecy) -> Value {
                json!(self)
            }
        }
    )* };
}

as_json! { bool u16 u32 i32 f64 SocketAddr Value }

impl<T: Show> Show for Option<T> {
    fn show(&self, secrecy: Secrecy) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.show(secrecy))
    }
}

impl<T: Show> Show for OrNone<T> {
    fn show(&self, secrecy: Secrecy) -> Value {
        self.0.as_ref().map_or_else(|| NONE.into(), |value| value.show(secrecy))
    }
}

impl<T: Show + ?Sized> Show for &T {
    fn show(&self, secrecy: Secrecy) -> Value {
        (**self).show(secrecy)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self, secrecy: Secrecy) -> Value {
        self.iter().map(|item| item.show(secrecy)).collect()
    }
}

impl<T> Show for BTreeMap<String, T> {
    fn show(&self, _: Secrecy) -> Value {
        names(self.keys())
    }
}

impl Show for Map<String, Value> {
    fn show(&self, _: Secrecy) -> Value {
        names(self.keys())
    }
}

/// Names alone: the values may be secrets.
fn names<'a>(names: impl Iterator<Item = &'a String>) -> Value {
    names.map(|name| (name.clone(), json!(REDACTED))).collect()
}
