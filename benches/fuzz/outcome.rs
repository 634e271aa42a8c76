//! The oracle for upstream responses: a client gets the response, or a part of it and a broken connection, or
//! an error of the sidecar. The connection never ends without a byte.

use super::{
    answer::{Answer, Ended},
    case::{Escaped, Failure},
    client::Got,
};

/// The expected response, computed from the upstream's bytes.
#[derive(Debug)]
pub enum Truth {
    /// Complete, whatever happens to the connection later.
    Whole { status: Option<u16>, body: Vec<u8> },
    /// Complete, followed by a reset that the sidecar may notice first.
    WholeOrCut { status: Option<u16>, body: Vec<u8> },
    /// A prefix of a response that never completes.
    Cut { status: Option<u16>, body: Vec<u8> },
    /// No byte of it may be forwarded.
    NoAnswer,
    /// Parsers may disagree.
    Unclear,
}

/// True if the call failed because it reused a pooled connection while the upstream was closing it. No client
/// can prevent that, and a POST is not retried (RFC 9110, 9.2.2).
pub fn met_a_closing_connection(got: &Got, calls: u32) -> bool {
    let is_truncated = |answer: &Answer| answer.code().is_some_and(|code| code == "upstream_truncated");
    calls == 0 && matches!(got, Got::Whole(answer) if is_truncated(answer))
}

/// Checks what the client received. `to_head` is set if the request's method was HEAD.
pub fn check(truth: &Truth, got: &Got, to_head: bool) -> Result<(), Failure> {
    let answer = match got {
        Got::Nothing(ended) => {
            return Err(Failure::new("the connection ended without a byte (C1)", format!("{ended:?}")));
        }
        Got::Malformed(problem) => return Err(Failure::new("a malformed answer", problem.clone())),
        Got::Broken(None, ended) => {
            return Err(Failure::new("the connection ended within the head", format!("{ended:?}")));
        }
        Got::Broken(Some(answer), ended) => return check_broken(truth, answer, *ended),
        Got::Whole(answer) => answer,
    };
    // a response to HEAD has no body, so its error code cannot be read
    let is_ours = to_head && matches!(answer.status, 502 | 504) && !matches!(truth, Truth::Whole { .. });
    if let Some(code) = answer.code().or_else(|| is_ours.then(String::new)) {
        return match truth {
            _ if code == "internal" => Err(wrong("500 internal", truth, answer)),
            Truth::Whole { .. } => Err(wrong(&format!("a whole answer became {code}"), truth, answer)),
            _ if answer.status < 500 => {
                Err(wrong(&format!("an upstream's fault became {code}"), truth, answer))
            }
            _ => Ok(()),
        };
    }
    match truth {
        Truth::Unclear => Ok(()),
        Truth::Whole { status, body } | Truth::WholeOrCut { status, body } => {
            if status.is_some_and(|status| status != answer.status) {
                return Err(wrong("another status", truth, answer));
            }
            if *body == answer.body { Ok(()) } else { Err(wrong("another body", truth, answer)) }
        }
        Truth::Cut { .. } => Err(wrong("a cut answer looks whole", truth, answer)),
        Truth::NoAnswer => Err(wrong("an answer of no answer", truth, answer)),
    }
}

fn check_broken(truth: &Truth, answer: &Answer, ended: Ended) -> Result<(), Failure> {
    match truth {
        Truth::Unclear => Ok(()),
        Truth::Whole { .. } => {
            Err(wrong(&format!("a whole answer was broken off ({ended:?})"), truth, answer))
        }
        Truth::NoAnswer => Err(wrong("a part of no answer", truth, answer)),
        Truth::Cut { status, body } | Truth::WholeOrCut { status, body } => {
            if status.is_some_and(|status| status != answer.status) {
                return Err(wrong("another status, broken off", truth, answer));
            }
            if body.starts_with(&answer.body) {
                Ok(())
            } else {
                Err(wrong("another body, broken off", truth, answer))
            }
        }
    }
}

fn wrong(kind: &str, truth: &Truth, answer: &Answer) -> Failure {
    let told = match truth {
        Truth::Whole { status, body } | Truth::WholeOrCut { status, body } => {
            format!("expected a whole {status:?} \"{}\"", Escaped(body))
        }
        Truth::Cut { status, body } => format!("expected a cut {status:?} \"{}\"", Escaped(body)),
        Truth::NoAnswer => "expected 502 or 504".to_owned(),
        Truth::Unclear => "expected nothing in particular".to_owned(),
    };
    let got = format!("{} \"{}\"", answer.status, Escaped(&answer.body));
    Failure::new(kind, format!("{told}\n  got {got}, {} interim", answer.interim))
}
