//! The event of an API Gateway: `awsgateway_compatible`.
//!
//! `request.rs` finds what both versions tell of a request; `rest.rs` writes 1.0, `http.rs` 2.0.

mod http;
mod request;
mod rest;

use self::request::GatewayRequest;
use crate::{
    message::{error::ProxyError, inbound::InboundRequest},
    settings::{GatewayEvent, PayloadVersion},
};

/// Makes the event of a request.
///
/// # Errors
/// The event is too large; every other request has one.
pub fn event(settings: &GatewayEvent, inbound: &InboundRequest, limit: u64) -> Result<Vec<u8>, ProxyError> {
    let call = GatewayRequest::new(settings, inbound);
    match settings.version {
        PayloadVersion::V1 => rest::event(call, limit),
        PayloadVersion::V2 => http::event(call, limit),
    }
}

#[cfg(test)]
mod tests;
