//! What one worker serves connections with.
//!
//! `worker.rs` makes it; `accept.rs` brings connections to it, which `http1.rs` and `http2.rs` serve.

use std::{cell::Cell, rc::Rc};

use actix_http::ServiceConfig;

use super::draining::Draining;
use crate::proxy::Worker;

/// What connections are served with.
pub struct Server {
    /// The path of their requests.
    pub worker: Rc<Worker>,
    /// What writes `Date`.
    pub config: ServiceConfig,
    /// Clients that are being told that there is none.
    pub turned_away: Cell<u32>,
    /// Whether this worker ends.
    pub draining: Draining,
}
