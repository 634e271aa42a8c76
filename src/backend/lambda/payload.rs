//! The event that a function is given.

use crate::{error::ProxyError, proxy::inbound::InboundRequest, settings::PayloadSettings};

/// Makes the event of a request, as JSON.
///
/// # Errors
/// The body is not what the mode can carry.
pub fn event(_settings: &PayloadSettings, _inbound: &InboundRequest) -> Result<Vec<u8>, ProxyError> {
    Ok(Vec::new())
}
