//! A body taken apart into arguments: JSON, a form, or a multipart form.
//!
//! `merge.rs` needs them and refuses what has none; `forward.rs` gives them beside the body if it has any.

use actix_http::header;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    arguments::{self, Argument},
    content_type::BodyKind,
    multipart,
    pairs::Pairs,
};
use crate::{
    error::{ErrorKind, ProxyError},
    proxy::inbound::{InboundRequest, RequestBody},
};

/// An argument costs far more than its bytes, and no form has as many.
const MOST_FIELDS: usize = 10_000;

/// What a body holds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum BodyArguments<'a> {
    /// A JSON document of any type, in its own words.
    Json(&'a RawValue),
    /// Fields; none if there is no body.
    Fields(Pairs<'a, Argument<'a>>),
}

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
            BodyKind::Form if arguments::count(body) > MOST_FIELDS => {
                Err(NoArguments::too_many("arguments", MOST_FIELDS))
            }
            BodyKind::Form => Ok(Self::Fields(arguments::decode(body, Argument::from))),
            BodyKind::Multipart => {
                let content_type = inbound.headers.get(header::CONTENT_TYPE);
                multipart::fields(content_type.map_or(b"", |value| value.as_bytes()), body).map(Self::Fields)
            }
            BodyKind::Raw | BodyKind::Other => {
                Err(NoArguments::Unreadable(ErrorKind::UnsupportedMediaType.into()))
            }
        }
    }

    /// Those of no body.
    pub fn none() -> Self {
        Self::Fields(Pairs::default())
    }

    /// Whether they have names: an array or a single value has none.
    pub fn are_named(&self) -> bool {
        match self {
            Self::Json(document) => document.get().starts_with('{'),
            Self::Fields(_) => true,
        }
    }
}

/// One whole JSON document. Its nesting costs no stack, and its numbers keep their digits.
fn document(body: &Bytes) -> Result<&RawValue, ProxyError> {
    serde_json::from_slice(body).map_err(|error| ProxyError::new(ErrorKind::InvalidBody, error))
}
