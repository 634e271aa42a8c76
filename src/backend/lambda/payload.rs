//! The event that a function is given: the client's request as JSON, in one of three shapes.
//!
//! The backend (`lambda.rs`) asks once the body is whole, and sends what comes from here as the body of the
//! Invoke API's request. No clock, no I/O: the same request gives the same bytes.

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

/// Makes the event of a request, as JSON of no more than `limit` bytes.
///
/// # Errors
/// The body is not what the mode can carry, or the event would have more.
pub fn event(
    settings: &PayloadSettings,
    inbound: &InboundRequest,
    limit: u64,
) -> Result<Vec<u8>, ProxyError> {
    if matches!(inbound.body, RequestBody::Stream(_)) {
        // it would be left out in silence; the backend's body mode sees to it that this never happens
        return Err(ProxyError::new(ErrorKind::Internal, "an event is made of a whole body"));
    }
    match settings {
        PayloadSettings::Gateway(settings) => gateway::event(settings, inbound, limit),
        PayloadSettings::Forward(parts) => forward::event(*parts, inbound, limit),
        PayloadSettings::Merge { body } => merge::event(body.as_ref(), inbound, limit),
    }
}
