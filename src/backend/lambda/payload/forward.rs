//! Kong's `forward_request_*`: an event with a member for each part of the request that the route forwards.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    arguments::Arguments, body_arguments::BodyArguments, body_arguments::NoArguments, content_type::BodyKind,
    event_body::EventBody, groups::Indexed, headers::EventHeaders, multipart::FormParts, writer::json,
};
use crate::{
    message::{error::ProxyError, inbound::InboundRequest},
    settings::ForwardedParts,
};

#[derive(Debug, Serialize)]
struct ForwardEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_method: Option<&'a str>,
    #[serde(flatten)]
    uri: Option<ForwardedUri<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_headers: Option<EventHeaders<'a>>,
    #[serde(flatten)]
    body: Option<ForwardedBody<'a>>,
}

#[derive(Debug, Serialize)]
struct ForwardedUri<'a> {
    request_uri: &'a str,
    request_uri_args: Indexed<Arguments<'a>>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are Kong's")]
struct ForwardedBody<'a> {
    request_body: EventBody<'a>,
    request_body_args: IndexedArguments<'a>,
    /// Kong leaves it out instead of writing `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body_base64: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum IndexedArguments<'a> {
    Json(&'a RawValue),
    Form(Indexed<Arguments<'a>>),
    Parts(Indexed<FormParts<'a>>),
}

impl<'a> From<BodyArguments<'a>> for IndexedArguments<'a> {
    fn from(arguments: BodyArguments<'a>) -> Self {
        match arguments {
            BodyArguments::Json(document) => Self::Json(document),
            BodyArguments::Form(fields) => Self::Form(Indexed::new(fields)),
            BodyArguments::Parts(parts) => Self::Parts(Indexed::new(parts)),
        }
    }
}

/// Builds the event.
///
/// # Errors
/// The event is too large, or the body has too many arguments. A body that cannot be parsed is forwarded
/// without arguments.
pub fn event(parts: ForwardedParts, inbound: &InboundRequest, limit: u64) -> Result<Vec<u8>, ProxyError> {
    let body = if parts.body { Some(forwarded_body(inbound, parts.base64_encode_body)?) } else { None };
    // the body is written twice: as it is, and as arguments
    let likely =
        body.as_ref().map_or(0, |body| body.request_body.likely_length() + inbound.body.bytes().len());
    let event = ForwardEvent {
        request_method: parts.method.then_some(inbound.method.as_str()),
        uri: parts.uri.then(|| forwarded_uri(inbound)),
        request_headers: parts.headers.then(|| EventHeaders::of(inbound)),
        body,
    };
    json(&event, likely, limit)
}

fn forwarded_uri(inbound: &InboundRequest) -> ForwardedUri<'_> {
    let uri = &inbound.uri;
    ForwardedUri {
        request_uri: uri.path_and_query().map_or(uri.path(), |both| both.as_str()),
        request_uri_args: Indexed::new(Arguments(uri.query().unwrap_or_default().as_bytes())),
    }
}

fn forwarded_body(
    inbound: &InboundRequest,
    base64_encode_body: bool,
) -> Result<ForwardedBody<'_>, ProxyError> {
    let may_be_text = !base64_encode_body || BodyKind::of(&inbound.headers) != BodyKind::Other;
    let request_body = match EventBody::new(inbound.body.bytes(), may_be_text) {
        EventBody::Nothing => EventBody::Text(""),
        some => some,
    };
    let request_body_args = match BodyArguments::read(inbound) {
        Ok(arguments) if arguments.are_named() => arguments,
        // H01, H02: a malformed body and other types have no arguments
        Ok(_) | Err(NoArguments::OtherType | NoArguments::Unreadable(_)) => BodyArguments::none(),
        // an event without them would be wrong
        Err(NoArguments::TooMany(error)) => return Err(error),
    };
    Ok(ForwardedBody {
        request_body,
        request_body_args: request_body_args.into(),
        request_body_base64: request_body.is_base64().then_some(true),
    })
}

#[cfg(test)]
mod tests;
