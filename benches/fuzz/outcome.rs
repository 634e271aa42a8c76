//! The oracle for answers of upstreams. A client gets the answer, or a part of it and a visible break, or an
//! error of the sidecar, and never a connection that ends without a byte.

use super::{
    answer::{Answer, Ended},
    case::{Escaped, Failure},
    client::Got,
};

/// The expected answer, from the upstream's bytes.
#[derive(Debug)]
pub enum Truth {
    /// An answer that is whole whatever happens next.
    Whole { status: Option<u16>, body: Vec<u8> },
    /// One that was whole when its connection was reset, which may have been noticed first.
    WholeOrCut { status: Option<u16>, body: Vec<u8> },
    /// The beginning of an answer that never becomes whole.
    Cut { status: Option<u16>, body: Vec<u8> },
    /// Nothing that may be passed on.
    NoAnswer,
    /// Readers may differ.
    Unclear,
}

/// True if the call never reached this case's script because it took a pooled connection that the upstream
/// was closing. No client can exclude that, and a POST is not repeated (RFC 9110, 9.2.2).
pub fn met_a_closing_connection(got: &Got, calls: u32) -> bool {
    let is_truncated = |answer: &Answer| answer.code().is_some_and(|code| code == "upstream_truncated");
    calls == 0 && matches!(got, Got::Whole(answer) if is_truncated(answer))
}

/// Checks what the client got; `to_head` tells that it had asked with HEAD.
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
    // an answer to HEAD has no code
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
