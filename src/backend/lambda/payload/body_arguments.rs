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
    no_arguments::NoArguments,
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
