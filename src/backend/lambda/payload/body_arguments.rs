//! A body taken apart into arguments: JSON, a form, or a multipart form.
//!
//! `merge.rs` needs them and refuses what has none; `forward.rs` gives them beside the body if it has any.

use actix_http::header::{self, HeaderMap};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    arguments::Arguments,
    content_type::{self, BodyKind},
    groups::Source as _,
    multipart::{self, Parts},
};
use crate::message::{
    error::{ErrorKind, ProxyError},
    inbound::{InboundRequest, RequestBody},
};

/// An argument costs more than its bytes, and no form has as many.
const MOST_FIELDS: usize = 10_000;

#[derive(Debug)]
pub enum BodyArguments<'a> {
    /// A JSON document of any type, in its own words.
    Json(&'a RawValue),
    /// The fields of a form; none if there is no body.
    Form(Arguments<'a>),
    /// The parts of a multipart form.
    Parts(Parts<'a>),
}

impl<'a> BodyArguments<'a> {
    /// Takes a request's body apart.
    ///
    /// # Errors
    /// It cannot be, or should not.
    pub fn read(inbound: &'a InboundRequest) -> Result<Self, NoArguments> {
        let RequestBody::Whole(body) = &inbound.body else { return Ok(Self::none()) };
        if body.is_empty() {
            return Ok(Self::none());
        }
        match BodyKind::of(&inbound.headers) {
            BodyKind::Json => document(body).map(Self::Json).map_err(NoArguments::Unreadable),
            BodyKind::Form if Arguments(body).count() > MOST_FIELDS => {
                Err(NoArguments::too_many("arguments", MOST_FIELDS))
            }
            BodyKind::Form => Ok(Self::Form(Arguments(body))),
            BodyKind::Multipart => {
                let content_type = inbound.headers.get(header::CONTENT_TYPE);
                multipart::parts(content_type.map_or(b"", |value| value.as_bytes()), body).map(Self::Parts)
            }
            BodyKind::Raw | BodyKind::Other => Err(NoArguments::OtherType),
        }
    }

    pub fn none() -> Self {
        Self::Form(Arguments(b""))
    }

    /// Whether they have names: an array or a single value has none.
    pub fn are_named(&self) -> bool {
        match self {
            Self::Json(document) => document.get().starts_with('{'),
            Self::Form(_) | Self::Parts(_) => true,
        }
    }
}

/// One whole JSON document. Its nesting costs no stack, and its numbers keep their digits.
fn document(body: &Bytes) -> Result<&RawValue, ProxyError> {
    serde_json::from_slice(body).map_err(|error| ProxyError::new(ErrorKind::InvalidBody, error))
}

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
