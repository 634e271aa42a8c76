//! The faults of every signed call, for `dev --fault` and tests: a difference between both sides, or a proxy
//! that changes the signed request.

use actix_web::{
    http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
    web::Bytes,
};
use clap::ValueEnum;

use super::functions::ReceivedRequest;
use crate::stand_in::StandInKeys;

/// Seconds by which the clock is ahead; more than AWS tolerates.
const CLOCK_AHEAD: i64 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// The stand-in's clock is ten minutes ahead.
    Clock,
    /// The stand-in is in another region.
    Region,
    /// The stand-in is another service.
    Service,
    /// The stand-in has another secret for the access key.
    Secret,
    /// The stand-in does not know the access key.
    Key,
    /// The stand-in treats every access key as expired.
    Expired,
    /// A proxy in between rewrites the path.
    Path,
    /// A proxy in between rewrites `Content-Type`, or `Host` if there is none.
    Header,
    /// A proxy in between rewrites the body.
    Payload,
    /// A proxy in between removes `Authorization`.
    Missing,
    /// A proxy in between truncates `Authorization`.
    Incomplete,
}

impl Fault {
    /// Cause of the refusal, for a person.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Clock => "the stand-in's clock is ten minutes ahead",
            Self::Region => "the stand-in is in another region",
            Self::Service => "the stand-in is another service",
            Self::Secret => "the stand-in has another secret for the access key",
            Self::Key => "the stand-in does not know the access key",
            Self::Expired => "the stand-in treats every access key as expired",
            Self::Path => "a proxy in between rewrites the path",
            Self::Header => "a proxy in between rewrites Content-Type, or Host if there is none",
            Self::Payload => "a proxy in between rewrites the body",
            Self::Missing => "a proxy in between removes Authorization",
            Self::Incomplete => "a proxy in between truncates Authorization",
        }
    }

    /// The beginnings of AWS's message to a signed GET, and of the warning in the sidecar's log.
    pub fn expected(self) -> (&'static str, &'static str) {
        const MISMATCH: &str = "The request signature we calculated does not match";
        const CHANGED: &str =
            "AWS refused the signature because it received a different request than was signed";
        match self {
            Self::Clock => ("Signature expired", "AWS refused the signature for its date"),
            Self::Region => {
                ("Credential should be scoped to a valid region", "AWS refused the signature for its region")
            }
            Self::Service => (
                "Credential should be scoped to correct service",
                "AWS refused the signature for its service",
            ),
            Self::Secret => {
                (MISMATCH, "AWS refused the signature, although AWS and the sidecar signed the same request")
            }
            Self::Key => {
                ("The security token included in the request is invalid", "AWS does not know the access key")
            }
            Self::Expired => {
                ("The security token included in the request is expired", "AWS says that the access key")
            }
            Self::Path | Self::Header | Self::Payload => (MISMATCH, CHANGED),
            Self::Missing => (
                "Missing Authentication Token",
                "AWS answered `Missing Authentication Token` to a signed call",
            ),
            Self::Incomplete => ("Authorization header requires", "AWS could not parse the signature"),
        }
    }

    /// Seconds by which the stand-in's clock is ahead.
    pub fn clock_ahead(self) -> i64 {
        if self == Self::Clock { CLOCK_AHEAD } else { 0 }
    }

    /// The keys of the stand-in.
    pub fn keys(self, keys: StandInKeys) -> StandInKeys {
        match self {
            Self::Region => StandInKeys { region: "eu-west-1".into(), ..keys },
            Self::Service => StandInKeys { service: "another-service".into(), ..keys },
            Self::Secret => StandInKeys { secret_access_key: "another".into(), ..keys },
            Self::Key => StandInKeys { access_key_id: "AKIDANOTHER".into(), ..keys },
            _ => keys,
        }
    }

    /// Changes the request as the proxy does.
    pub fn tamper(self, call: &mut ReceivedRequest) {
        match self {
            Self::Path => call.path.push_str("/rewritten"),
            Self::Header => {
                // must be a signed header
                let (name, value) = if call.headers.contains_key(CONTENT_TYPE) {
                    (CONTENT_TYPE, "text/rewritten")
                } else {
                    (HOST, "rewritten.example")
                };
                call.headers.insert(name, HeaderValue::from_static(value));
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
