//! Why a body cannot be taken apart: `multipart.rs` and `body_arguments.rs` say it, and each mode makes of it what
//! fits.

use actix_http::header::HeaderMap;

use super::content_type;
use crate::message::error::{ErrorKind, ProxyError};

/// Why a body has no arguments.
#[derive(Debug)]
pub enum NoArguments {
    /// It is not of a type that can be taken apart.
    OtherType,
    /// It is not what its type says.
    Unreadable(ProxyError),
    /// It has more of them than are taken.
    TooMany(ProxyError),
}

impl NoArguments {
    /// It has more than `most` of what is counted.
    pub fn too_many(what: &str, most: usize) -> Self {
        Self::TooMany(ProxyError::new(
            ErrorKind::InvalidBody,
            format!("the body has more than {most} {what}"),
        ))
    }

    /// The error for a body with these headers.
    pub fn of_body(self, headers: &HeaderMap) -> ProxyError {
        match self {
            Self::OtherType => {
                ProxyError::new(ErrorKind::UnsupportedMediaType, content_type::not_taken(headers))
            }
            other => other.into(),
        }
    }
}

impl From<NoArguments> for ProxyError {
    fn from(why: NoArguments) -> Self {
        match why {
            NoArguments::OtherType => ErrorKind::UnsupportedMediaType.into(),
            NoArguments::Unreadable(error) | NoArguments::TooMany(error) => error,
        }
    }
}
