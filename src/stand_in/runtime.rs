//! Functions that run on this machine: their processes, and the Runtime API through which they get events.
//!
//! A [`FunctionHost`] has one thread. Each instance of a function has a process below a supervisor
//! (`supervisor.rs`), a Runtime API on a loopback port of its own (`api.rs`), and a task that gives it events
//! (`instance.rs`). A change of the function's files ends its processes (`watch.rs`).

mod api;
mod host;
mod instance;
mod output;
mod sandbox;
mod slot;
pub mod supervisor;
mod watch;
mod words;

use std::time::Duration;

use actix_web::web::Bytes;
use tokio::sync::mpsc;

pub use self::{
    host::{FunctionHost, Functions},
    slot::Piece,
};

/// "Quotas for functions": 6 MB, and the size of the API's envelope.
const MAX_ANSWER: usize = 6_291_556;
/// "The Init phase is limited to 10 seconds" (Lambda developer guide).
const LONGEST_INIT: LongestInit = LongestInit(Duration::from_secs(10));

/// Timeout of a process's initialization: from its start to its first `next` request.
#[derive(Debug, Clone, Copy)]
struct LongestInit(Duration);

/// An event for a function, with its context.
#[derive(Debug, Clone)]
pub struct Event {
    /// The function's name.
    pub function: String,
    pub payload: Bytes,
    pub request_id: String,
    /// The function's ARN with the qualifier of the call.
    pub arn: String,
    pub trace_id: String,
    /// JSON.
    pub client_context: Option<String>,
    pub tenant_id: Option<String>,
}

impl Event {
    /// The region of the ARN.
    fn region(&self) -> &str {
        self.arn.split(':').nth(3).unwrap_or("us-east-1")
    }
}

/// The answer of a function.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    /// The end of the log of the call.
    pub log: Vec<u8>,
}

#[derive(Debug)]
pub enum Outcome {
    Returned(Bytes),
    /// With Lambda's error object.
    Failed(Bytes),
    Streamed {
        content_type: Option<String>,
        /// Ends with [`Piece::End`].
        body: mpsc::Receiver<Piece>,
    },
}

#[cfg(test)]
impl Event {
    fn of(function: &str, id: &str, payload: &str) -> Self {
        Self {
            function: function.to_owned(),
            payload: payload.to_owned().into(),
            request_id: id.to_owned(),
            arn: format!("arn:aws:lambda:us-east-1:123456789012:function:{function}"),
            trace_id: String::new(),
            client_context: None,
            tenant_id: None,
        }
    }
}
