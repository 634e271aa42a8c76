//! `awsgateway_compatible`: the event of API Gateway.
//!
//! `request.rs` collects the values that both versions contain; `rest.rs` writes version 1.0, `http.rs`
//! version 2.0.

mod http;
mod request;
mod rest;

use self::request::GatewayRequest;
use crate::{
    message::{error::ProxyError, inbound::InboundRequest},
    settings::{GatewayEvent, PayloadVersion},
};

/// # Errors
/// The event is too large.
pub fn event(settings: &GatewayEvent, inbound: &InboundRequest, limit: u64) -> Result<Vec<u8>, ProxyError> {
    let call = GatewayRequest::new(settings, inbound);
    match settings.version {
        PayloadVersion::V1 => rest::event(call, limit),
        PayloadVersion::V2 => http::event(call, limit),
    }
}

#[cfg(test)]
mod tests;
