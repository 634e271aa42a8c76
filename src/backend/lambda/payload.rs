//! Builds the event of a function from the client's request: JSON in one of three shapes.
//!
//! No clock, no I/O: the same request gives the same bytes.

mod arguments;
mod body_arguments;
mod content_type;
mod event_body;
mod forward;
mod gateway;
mod groups;
mod headers;
mod merge;
mod multipart;
mod object;
#[cfg(test)]
mod samples;
mod text;
mod writer;

use crate::{
    message::{
        error::{ErrorKind, ProxyError},
        inbound::{InboundRequest, RequestBody},
    },
    settings::PayloadSettings,
};

/// Builds an event of at most `limit` bytes.
///
/// # Errors
/// The mode does not accept the body, or the event is too large.
pub fn event(
    settings: &PayloadSettings,
    inbound: &InboundRequest,
    limit: u64,
) -> Result<Vec<u8>, ProxyError> {
    if matches!(inbound.body, RequestBody::Stream(_)) {
        // never happens, because the backend's body mode is `Buffered`; the event would have no body
        return Err(ProxyError::new(ErrorKind::Internal, "an event is made of a whole body"));
    }
    match settings {
        PayloadSettings::Gateway(settings) => gateway::event(settings, inbound, limit),
        PayloadSettings::Forward(parts) => forward::event(*parts, inbound, limit),
        PayloadSettings::Merge { body } => merge::event(body.as_ref(), inbound, limit),
    }
}
