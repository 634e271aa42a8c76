//! The last failure of a route, stored by a request that fails.

use std::time::SystemTime;

use actix_http::StatusCode;

use super::{Record, error_type_text};
use crate::{
    backend::ClientReply, client::FUNCTION_ERROR, message::error::ErrorKind, metrics::Failure,
    text::log_safe::log_safe,
};

/// Characters of the cause of a route's last failure.
const LONGEST_CAUSE: usize = 2000;
const UPSTREAM_CURE: &str =
    "look into the log of the API or the function, for this request id if there is one";

impl Record {
    /// Stores the failure of this request as the last one of its route.
    #[cold]
    pub(super) fn set_failure(
        &self,
        status: Option<u16>,
        code: Option<&'static str>,
        cause: &str,
        cure: Option<&'static str>,
    ) {
        let (at, request_id) = (SystemTime::now(), self.request_id_text().to_owned());
        let cause = log_safe(cause, LONGEST_CAUSE);
        self.counters().last_failure.set(Failure { at, request_id, status, code, cause, cure });
    }

    /// Logs the notes of a response. The error of a function that is passed on has one, and is the last
    /// failure of the route, though the status may be 200.
    pub fn on_notes(&mut self, reply: &ClientReply) {
        for note in &reply.notes {
            self.log_note(note);
        }
        // the header of a good response is not looked up
        if let Some(note) = reply.notes.first()
            && reply.headers.contains_key(FUNCTION_ERROR)
        {
            self.is_diagnosed = true;
            let (status, cure) = (reply.status.as_u16(), ErrorKind::FunctionFailed.code().cure());
            self.set_failure(Some(status), None, &note.text, cure);
        }
    }

    /// Stores a response of AWS, or of what it called, with a status of 5xx as the route's last failure.
    #[cold]
    pub(super) fn set_upstream_failure(&self, status: StatusCode) {
        let upstream = self.upstream.as_ref();
        let kind = upstream.and_then(|upstream| error_type_text(upstream.error_type.as_ref()?));
        let kind = kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
        let id = upstream.and_then(|upstream| upstream.request_id.as_ref()?.to_str().ok());
        let id = id.map(|id| format!(", with the request id {id}")).unwrap_or_default();
        let cause = format!("the API or the function answered {}{kind}{id}", status.as_u16());
        self.set_failure(Some(status.as_u16()), None, &cause, Some(UPSTREAM_CURE));
    }
}
