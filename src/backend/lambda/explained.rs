//! The answers to `explain` about a call of the Lambda API: no header of a client goes there but its trace, and the
//! event has what the settings put into it.

use crate::{message::trace, settings::PayloadSettings};

/// The reason why a header of a client does not go out.
pub(super) fn why_left_out(payload: &PayloadSettings) -> &'static str {
    match payload {
        PayloadSettings::Gateway(_) => "no header of a client goes to the Lambda API; the event has it",
        PayloadSettings::Forward(parts) if parts.headers => {
            "no header of a client goes to the Lambda API; the event has it"
        }
        PayloadSettings::Forward(_) => {
            "no header of a client goes to the Lambda API; forward_request_headers puts them into the event"
        }
        PayloadSettings::Merge { .. } => {
            "no header of a client goes to the Lambda API; awsgateway_compatible or forward_request_headers put \
             them into the event"
        }
    }
}

/// The parts of a call that are another each time; `made` are the headers that the sidecar makes.
pub(super) fn varies(payload: &PayloadSettings, made: &[&str]) -> Vec<String> {
    let all = || made.iter().map(|name| (*name).to_owned());
    let (tells_headers, tells_time) = match payload {
        PayloadSettings::Gateway(_) => (true, true),
        PayloadSettings::Forward(parts) => (parts.headers, false),
        PayloadSettings::Merge { .. } => (false, false),
    };
    let mut varies: Vec<String> = all().filter(|name| trace::is_trace_header(name)).collect();
    if tells_headers {
        varies.extend(all().map(|name| format!("{name} in the event")));
    }
    if tells_time {
        varies.push("time and request id in the event's requestContext".to_owned());
    }
    if tells_headers || tells_time {
        varies.push("payload hash, and so signature".to_owned());
    }
    varies
}
