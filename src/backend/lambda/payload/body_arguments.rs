//! Parses a request body into arguments: JSON, a form, or a multipart form.
//!
//! `merge.rs` refuses a body that cannot be parsed; `forward.rs` then forwards it without arguments.

use actix_http::header::{self, HeaderMap};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    arguments::Arguments,
    content_type::{self, BodyKind},
    groups::NamedValues as _,
    multipart::{self, FormParts},
};
use crate::message::{
    error::{ErrorKind, ProxyError},
    inbound::{InboundRequest, RequestBody},
};

/// Bounds the memory of the index; no real form has as many fields.
const MAX_FIELDS: usize = 10_000;

#[derive(Debug)]
pub enum BodyArguments<'a> {
    /// A JSON document of any type, as it was sent.
    Json(&'a RawValue),
    /// The fields of a form; empty without a body.
    Form(Arguments<'a>),
    Parts(FormParts<'a>),
}

impl<'a> BodyArguments<'a> {
    /// # Errors
    /// The body has no arguments, for the reason in the error.
    pub fn read(inbound: &'a InboundRequest) -> Result<Self, NoArguments> {
        let RequestBody::Whole(body) = &inbound.body else { return Ok(Self::none()) };
        if body.is_empty() {
            return Ok(Self::none());
        }
        match BodyKind::of(&inbound.headers) {
            BodyKind::Json => document(body).map(Self::Json).map_err(NoArguments::Unreadable),
            BodyKind::Form if Arguments(body).count() > MAX_FIELDS => {
                Err(NoArguments::too_many("arguments", MAX_FIELDS))
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

    /// False for JSON that is not an object.
    pub fn are_named(&self) -> bool {
        match self {
            Self::Json(document) => document.get().starts_with('{'),
            Self::Form(_) | Self::Parts(_) => true,
        }
    }
}

/// Checks that the body is one JSON document. Nesting needs no stack, and numbers keep their digits.
fn document(body: &Bytes) -> Result<&RawValue, ProxyError> {
    serde_json::from_slice(body).map_err(|error| ProxyError::new(ErrorKind::InvalidBody, error))
}

/// The reason why a body has no arguments.
#[derive(Debug)]
pub enum NoArguments {
    /// The content type has no arguments.
    OtherType,
    /// The body is malformed for its content type.
    Unreadable(ProxyError),
    TooMany(ProxyError),
}

impl NoArguments {
    pub fn too_many(what: &str, most: usize) -> Self {
        Self::TooMany(ProxyError::new(
            ErrorKind::InvalidBody,
            format!("the body has more than {most} {what}"),
        ))
    }

    /// The error for the client of a request with these headers.
    pub fn of_body(self, headers: &HeaderMap) -> ProxyError {
        match self {
            Self::OtherType => {
                ProxyError::new(ErrorKind::UnsupportedMediaType, content_type::unsupported(headers))
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
