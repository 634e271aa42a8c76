//! What a stand-in can be told to find wrong with every signed call: a difference between both sides, or something on the
//! way that changes what was signed.
//!
//! `options.rs` and `account.rs` hold it; `dev --fault` and the tests choose it.

use actix_web::{
    http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    web::Bytes,
};
use clap::ValueEnum;

use super::{functions::Call, verify::Keys};

/// Seconds that a stand-in with another clock is ahead: more than AWS forgives.
const AHEAD: i64 = 600;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// The other side's clock is ten minutes ahead.
    Clock,
    /// It is in another region.
    Region,
    /// It is another service.
    Service,
    /// It knows another secret of the key.
    Secret,
    /// It does not know the key.
    Key,
    /// It takes every key for expired.
    Expired,
    /// Something on the way rewrites the path.
    Path,
    /// Something on the way rewrites `Content-Type`.
    Header,
    /// Something on the way rewrites the body.
    Payload,
    /// Something on the way takes `Authorization` out.
    Missing,
    /// Something on the way cuts `Authorization` off.
    Incomplete,
}

impl Fault {
    /// How far the other side's clock is ahead, in seconds.
    pub fn clock_ahead(self) -> i64 {
        if self == Self::Clock { AHEAD } else { 0 }
    }

    /// The keys that the other side knows.
    pub fn keys(self, keys: Keys) -> Keys {
        match self {
            Self::Region => Keys { region: "eu-west-1".into(), ..keys },
            Self::Service => Keys { service: "another-service".into(), ..keys },
            Self::Secret => Keys { secret_access_key: "another".into(), ..keys },
            Self::Key => Keys { access_key_id: "AKIDANOTHER".into(), ..keys },
            _ => keys,
        }
    }

    /// What becomes of a request on the way.
    pub fn tamper(self, call: &mut Call) {
        match self {
            Self::Path => call.path.push_str("/rewritten"),
            Self::Header => {
                call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/rewritten"));
            }
            Self::Payload => call.body = Bytes::from_static(b"rewritten"),
            Self::Missing => {
                call.headers.remove(AUTHORIZATION);
            }
            Self::Incomplete => {
                call.headers.insert(AUTHORIZATION, HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=A"));
            }
            _ => {}
        }
    }
}
