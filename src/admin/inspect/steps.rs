//! The times of a request's steps, as bars.

use std::time::Duration;

use serde::Serialize;

use super::view::milliseconds;
use crate::state::inspector::{InspectedRequest, Step};

/// A bar.
#[derive(Debug, Serialize)]
pub(super) struct StepView {
    name: String,
    from_ms: f64,
    to_ms: f64,
    /// Nothing happens but waiting, between two attempts.
    is_pause: bool,
}

/// The steps in order; one that did not happen is left out.
pub(super) fn steps(request: &InspectedRequest) -> Vec<StepView> {
    let mut bars = Bars { steps: Vec::new(), until: Duration::ZERO };
    let at = |step: Step| request.steps.iter().find(|(own, _)| *own == step).map(|(_, at)| *at);
    bars.until("check the head, find the route", at(Step::Routed));
    bars.until("read the request", at(Step::BodyRead));
    for (index, attempt) in request.attempts.iter().enumerate() {
        let number = if request.attempts.len() > 1 { format!(" {}", index + 1) } else { String::new() };
        if index == 0 {
            bars.until("build the request to AWS", Some(attempt.started));
        } else {
            bars.pause(attempt.started);
        }
        bars.until(&format!("sign{number}"), attempt.signed);
        let waits = if attempt.failure.is_some() { "call, failed" } else { "call, to the first byte" };
        bars.until(&format!("{waits}{number}"), attempt.answered.or(attempt.ended));
        if index + 1 < request.attempts.len() {
            bars.until(&format!("drop the answer{number}"), attempt.ended);
        }
    }
    bars.until("read AWS's answer", at(Step::ReplyRead));
    bars.until("build the response", at(Step::Responded));
    bars.until("send the response", Some(request.end.took));
    bars.steps
}

struct Bars {
    steps: Vec<StepView>,
    /// The end of the last bar.
    until: Duration,
}

impl Bars {
    /// A bar from the end of the last one.
    fn until(&mut self, name: &str, end: Option<Duration>) {
        if let Some(end) = end.filter(|end| *end >= self.until) {
            self.push(name, end, false);
        }
    }

    fn pause(&mut self, end: Duration) {
        if end >= self.until {
            self.push("pause", end, true);
        }
    }

    fn push(&mut self, name: &str, end: Duration, is_pause: bool) {
        let (from_ms, to_ms) = (milliseconds(self.until), milliseconds(end));
        self.steps.push(StepView { name: name.to_owned(), from_ms, to_ms, is_pause });
        self.until = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::inspector::{HeadLines, InspectedAttempt};

    fn attempt(
        started: u64,
        signed: Option<u64>,
        answered: Option<u64>,
        ended: Option<u64>,
    ) -> InspectedAttempt {
        let at = |ms: Option<u64>| ms.map(Duration::from_millis);
        InspectedAttempt {
            started: Duration::from_millis(started),
            signed: at(signed),
            sent: at(signed),
            answered: at(answered),
            ended: at(ended),
            status: None,
            reply: HeadLines::none(),
            failure: answered.is_none().then(|| "no".to_owned()),
            retry: None,
            signature: None,
        }
    }

    #[test]
    fn steps_follow_each_other_and_a_pause_is_between_attempts() {
        let mut request = InspectedRequest::for_tests("r");
        let steps_at = [(Step::Routed, 1), (Step::BodyRead, 2), (Step::ReplyRead, 60), (Step::Responded, 61)];
        request.steps = steps_at.map(|(step, ms)| (step, Duration::from_millis(ms))).to_vec();
        request.attempts = vec![attempt(3, Some(4), None, Some(10)), attempt(40, Some(41), Some(50), None)];
        request.end.took = Duration::from_millis(70);
        let steps = steps(&request);
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "check the head, find the route",
                "read the request",
                "build the request to AWS",
                "sign 1",
                "call, failed 1",
                "drop the answer 1",
                "pause",
                "sign 2",
                "call, to the first byte 2",
                "read AWS's answer",
                "build the response",
                "send the response",
            ]
        );
        assert!(steps.windows(2).all(|pair| (pair[0].to_ms - pair[1].from_ms).abs() < 1e-9));
        assert_eq!(steps.iter().filter(|step| step.is_pause).count(), 1);
    }

    #[test]
    fn a_request_that_matches_no_route_has_only_its_response() {
        let mut request = InspectedRequest::for_tests("r");
        request.steps = vec![(Step::Responded, Duration::from_millis(1))];
        request.end.took = Duration::from_millis(2);
        assert_eq!(steps(&request).len(), 2);
    }
}
