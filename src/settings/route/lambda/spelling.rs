//! Values of the section `lambda` with several spellings.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::PayloadVersion;
use crate::settings::source::{
    declaration::{Key, Kind, Standard, Typed},
    secrecy::Secrecy,
    shown::Show,
};

/// A table, or a text with a JSON object: Kong accepts both as `client_context`, and its prototype as `body`.
#[derive(Debug, Clone)]
pub struct WrittenObject(pub(super) serde_json::Map<String, serde_json::Value>);

impl<'de> Deserialize<'de> for WrittenObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let value = match &value {
            serde_json::Value::String(text) => serde_json::from_str(text).unwrap_or(value),
            _ => value,
        };
        match value {
            serde_json::Value::Object(object) => Ok(Self(object)),
            _ => Err(de::Error::custom("a table, or a text with a JSON object")),
        }
    }
}

as_read! {
    WrittenObject, Kind::Object, |_| Self(serde_json::Map::new());
    PayloadVersion, Kind::Version,
        |key: &Key| if key.standard == Standard::Text(Self::V2.spelling()) { Self::V2 } else { Self::V1 };
}

impl PayloadVersion {
    const fn spelling(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

impl Typed<PayloadVersion> {
    pub const fn standard(self) -> Standard {
        Standard::Text(self.0.spelling())
    }
}

impl Show for PayloadVersion {
    fn show(&self, _: Secrecy) -> serde_json::Value {
        self.spelling().into()
    }
}

impl<'de> Deserialize<'de> for PayloadVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

/// `1.0` is a number in YAML and a text in Kong's settings.
struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = PayloadVersion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1.0 or 2.0")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PayloadVersion, E> {
        match text {
            "1.0" | "1" => Ok(PayloadVersion::V1),
            "2.0" | "2" => Ok(PayloadVersion::V2),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<PayloadVersion, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<PayloadVersion, E> {
        self.visit_str(&number.to_string())
    }
}
