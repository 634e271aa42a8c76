//! The errors of a function in Lambda's words, as the client of the Lambda API gets them.
//!
//! The texts are those of the Lambda service and of AWS's Runtime Interface Emulator.

use std::time::Duration;

use actix_web::web::Bytes;
use serde_json::json;

use crate::text::log_safe::log_safe;

/// Characters of an error in the log.
const MAX_SENTENCE: usize = 300;

/// The way in which a function's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// The command cannot be started, with the reason.
    CannotStart(String),
}

impl Ended {
    /// Parses the report of the supervisor: its first line. A supervisor that was killed reports nothing.
    pub fn parse(report: &str) -> Self {
        match report.lines().next().unwrap_or_default().split_once(' ') {
            Some(("exit", code)) => Self::Exit(code.parse().unwrap_or(1)),
            Some(("signal", number)) => Self::Signal(number.parse().unwrap_or(9)),
            Some(("cannot", rest)) => {
                Self::CannotStart(rest.strip_prefix("start ").unwrap_or(rest).to_owned())
            }
            _ => Self::Signal(9),
        }
    }

    /// A clause for the log.
    pub fn clause(&self) -> String {
        match self {
            Self::Exit(code) => format!("its process exited with code {code}"),
            Self::Signal(number) => format!("its process was ended by signal {number}"),
            Self::CannotStart(reason) => format!("its command cannot be started: {reason}"),
        }
    }

    /// The error of a call that the process did not answer.
    pub fn error(&self, request_id: &str, program: &str) -> Bytes {
        match self {
            Self::Exit(0) => runtime_exit(request_id, "Runtime exited without providing a reason"),
            Self::Exit(code) => {
                runtime_exit(request_id, &format!("Runtime exited with error: exit status {code}"))
            }
            Self::Signal(number) => {
                let name = signal_name(*number);
                runtime_exit(request_id, &format!("Runtime exited with error: signal: {name}"))
            }
            Self::CannotStart(reason) => error(
                "Runtime.InvalidEntrypoint",
                &format!("RequestId: {request_id} Error: fork/exec {program}: {}", without_number(reason)),
            ),
        }
    }
}

/// The names of Go's `syscall.Signal`, in which Lambda is written.
fn signal_name(number: i32) -> String {
    match number {
        6 => "aborted".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}

/// The operating system's sentence without Rust's ` (os error 2)`.
fn without_number(reason: &str) -> String {
    reason.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn runtime_exit(request_id: &str, sentence: &str) -> Bytes {
    error("Runtime.ExitError", &format!("RequestId: {request_id} Error: {sentence}"))
}

/// The error of a call that did not end in time.
pub fn timed_out(request_id: &str, timeout: Duration) -> Bytes {
    let seconds = timeout.as_secs_f64();
    error(
        "Sandbox.Timedout",
        &format!("RequestId: {request_id} Error: Task timed out after {seconds:.2} seconds"),
    )
}

/// The error of a response over the limit.
pub fn too_large(limit: usize) -> Bytes {
    error(
        "Function.ResponseSizeTooLarge",
        &format!("Response payload size exceeded maximum allowed payload size ({limit} bytes)."),
    )
}

/// The type and the message of an error object, for the log.
pub fn sentence(error: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(error).unwrap_or_default();
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let sentence = format!("{}: {}", text("errorType"), text("errorMessage"));
    log_safe(&sentence, MAX_SENTENCE)
}

/// An error object.
pub fn error(kind: &str, message: &str) -> Bytes {
    json!({ "errorType": kind, "errorMessage": message }).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_has_lambdas_words() {
        for (report, expected) in [
            ("exit 0\n", "RequestId: 1 Error: Runtime exited without providing a reason"),
            ("exit 3", "RequestId: 1 Error: Runtime exited with error: exit status 3"),
            ("signal 9", "RequestId: 1 Error: Runtime exited with error: signal: killed"),
            ("", "RequestId: 1 Error: Runtime exited with error: signal: killed"),
            ("signal 9\nexit 1\n", "RequestId: 1 Error: Runtime exited with error: signal: killed"),
            (
                "cannot start No such file or directory (os error 2)",
                "RequestId: 1 Error: fork/exec ./main: no such file or directory",
            ),
        ] {
            let error: serde_json::Value =
                serde_json::from_slice(&Ended::parse(report).error("1", "./main")).unwrap();
            assert_eq!(error["errorMessage"], expected, "{report}");
        }
    }

    #[test]
    fn a_timeout_has_two_decimals() {
        let error = timed_out("1", Duration::from_millis(2500));
        let error: serde_json::Value = serde_json::from_slice(&error).unwrap();
        assert_eq!(error["errorMessage"], "RequestId: 1 Error: Task timed out after 2.50 seconds");
    }
}
