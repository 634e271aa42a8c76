//! Why a body cannot be taken apart: `multipart.rs` and `body_arguments.rs` say it, and each mode makes of it what fits.

use crate::message::error::{ErrorKind, ProxyError};

/// Why a body has no arguments.
#[derive(Debug)]
pub enum NoArguments {
    /// It is not of a type that can be taken apart, or not what its type says.
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
}

impl From<NoArguments> for ProxyError {
    fn from(why: NoArguments) -> Self {
        match why {
            NoArguments::Unreadable(error) | NoArguments::TooMany(error) => error,
        }
    }
}
