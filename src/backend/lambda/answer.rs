//! What becomes of a function's answer.

use crate::{
    backend::{ClientReply, ReplyMode},
    client::UpstreamReply,
    error::ProxyError,
    settings::{AnswerSettings, InvocationType, InvokeMode},
};

/// All that decides over an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The route's settings.
    pub settings: AnswerSettings,
    /// What the API was asked to do.
    pub invocation_type: InvocationType,
    /// Which API was asked.
    pub invoke_mode: InvokeMode,
}

/// Whether the answer's body is needed before anything can be said.
pub fn reply_mode(_rules: Rules, _upstream: &UpstreamReply) -> ReplyMode {
    ReplyMode::Streamed
}

/// Turns what the Lambda API sent into the answer for the client.
///
/// # Errors
/// The API refused the call, or the function's answer is not what the mode demands.
pub fn reply(_rules: Rules, upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
    let UpstreamReply { status, headers, body, prelude: _ } = upstream;
    Ok(ClientReply { status, headers, body, remarks: Vec::new() })
}
