//! State that one worker serves the connections of one listening socket with.
//!
//! `worker.rs` makes it for each socket; `accept.rs` brings connections to it, which `http1.rs` and `http2.rs` serve.

use std::{cell::Cell, rc::Rc};

use super::date::Dated;
use crate::proxy::{Worker, draining::Draining};

/// What connections are served with.
pub struct Server {
    /// The path of their requests.
    pub worker: Rc<Worker>,
    /// What writes `Date`.
    pub dated: Rc<Dated>,
    /// Clients that are being told that there is none.
    pub turned_away: Rc<Cell<u32>>,
    /// Whether this worker ends.
    pub draining: Draining,
}
