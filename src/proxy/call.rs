//! One call to AWS, from an unsigned request to the head of the answer: signed, sent, and made again where that is
//! allowed and may help.
//!
//! `proxy.rs` hands it what a backend has made of the client's request, and gets the answer that the backend is to
//! pass on: the last attempt's. `resilience/retry.rs` knows what may be repeated, `resilience/circuit_breaker.rs`
//! whether anything is sent at all. Dropping the future ends it, whatever it is waiting for.

mod debug_line;

use std::{pin::pin, time::Instant};

use tokio::time::sleep;

use self::debug_line::Attempted;
use super::{deadline::Deadline, record::Record};
use crate::{
    backend::Verdict,
    client::{
        Client, ConnectionReuse, ReplyBody, UpstreamReply,
        aws_error::{error_type, shown},
    },
    diagnosis::{self, Caller, RefusedCall, SignedRequest},
    message::{
        error::{ErrorKind, ProxyError},
        header_map_pool as header_maps,
        inbound::RequestBody,
        outbound::{OutboundRequest, Signature},
    },
    resilience::{
        circuit_breaker::CallGuard,
        retry::{Pause, Retries},
    },
    state::{signing::SignatureRecord, snapshot::Route},
};

/// Bytes of an answer that is dropped, which are read so that its connection can be used again.
const TINY: u64 = 16 << 10;

pub(super) struct UpstreamCall<'a> {
    pub(super) client: &'a Client,
    pub(super) route: &'a Route,
    pub(super) deadline: Deadline,
}

/// What a call came to.
pub(super) struct CallOutcome {
    pub(super) reply: UpstreamReply,
    /// The call as it was sent, if AWS has refused it.
    pub(super) refused: Option<Box<RefusedCall>>,
}

/// What became of one attempt.
struct Attempt {
    result: Result<UpstreamReply, ProxyError>,
    /// What it was signed with, if it was.
    signed: Option<SignatureRecord>,
    /// AWS has refused its signature for a wrong clock, which is now set right.
    clock_was_wrong: bool,
}

impl UpstreamCall<'_> {
    /// Makes the call, several times if need be.
    ///
    /// # Errors
    /// Those of the last attempt; or the circuit breaker is open, or there are no keys.
    pub(super) async fn make(
        &self,
        mut outbound: OutboundRequest,
        record: &mut Record,
    ) -> Result<CallOutcome, ProxyError> {
        if let Some(retries) = &self.route.retries {
            retries.budget.earn();
        }
        let Attempt { result, signed, .. } = self.until_settled(&mut outbound, record).await?;
        let reply = result?;
        let target = self.route.backend.target();
        let refused = target.api.filter(|_| diagnosis::concerns(&reply)).map(|api| {
            let signed_request = signed.and_then(|signed| self.signed_request(&outbound, &signed));
            let caller = Caller { signs: target.scope.is_some(), api };
            Box::new(RefusedCall::of(&outbound, signed_request, caller))
        });
        header_maps::give_back(outbound.headers);
        Ok(CallOutcome { reply, refused })
    }

    /// Attempts it until there is an answer to pass on, or none to hope for.
    async fn until_settled(
        &self,
        outbound: &mut OutboundRequest,
        record: &mut Record,
    ) -> Result<Attempt, ProxyError> {
        // a body that passes as it arrives is gone once it was sent
        let again = self.route.retries.as_ref().filter(|_| outbound.body.is_buffered());
        let (mut number, mut before) = (0, None);
        loop {
            let pass = match self.enter() {
                Ok(pass) => pass,
                // what was to be repeated is not, and so it is the answer
                Err(refusal) => return before.ok_or(refusal),
            };
            // lets its connection go before another is taken
            drop(before.take());
            number += 1;
            let mut attempt = self.attempt(outbound, record).await?;
            let verdict = attempt.result.as_ref().map(|reply| {
                if attempt.clock_was_wrong { Verdict::ClockWrong } else { self.route.backend.verdict(reply) }
            });
            if let Some(pass) = pass {
                pass.report(verdict, Instant::now);
            }
            let Some(retries) = again else { return Ok(attempt) };
            let outcome = attempt.result.as_ref().and_then(|reply| Ok((verdict?, &reply.headers)));
            let is_idempotent = outbound.method.is_idempotent();
            let Some(pause) = retries.after(number, outcome, is_idempotent, fastrand::f64) else {
                return Ok(attempt);
            };
            if !self.is_worth(pause, attempt.signed.is_some(), retries, record) {
                return Ok(attempt);
            }
            record.on_attempt_end();
            let why = Retries::reason(verdict);
            // on the heap, since it is rare and would make every request's future larger
            let (result, goes_on) =
                Box::pin(self.between(pause, attempt.signed.as_ref(), attempt.result)).await;
            attempt = Attempt { result, signed: attempt.signed, clock_was_wrong: attempt.clock_was_wrong };
            if !goes_on {
                return Ok(attempt);
            }
            self.route.metrics.retries.count(why);
            record.on_retry(number, &reason(&attempt.result));
            before = Some(attempt);
        }
    }

    /// Asks the circuit breaker, if there is one, whether to make an attempt.
    ///
    /// # Errors
    /// It is open.
    fn enter(&self) -> Result<Option<CallGuard<'_>>, ProxyError> {
        self.route.circuit_breaker.as_ref().map(|breaker| breaker.enter(Instant::now)).transpose()
    }

    /// What was signed, written out once more: that is cheaper than to keep it of every call.
    fn signed_request(&self, outbound: &OutboundRequest, used: &SignatureRecord) -> Option<SignedRequest> {
        let signing = self.route.signing.as_ref()?;
        Some(SignedRequest::of(outbound, &signing.signer, &used.keys, used.dated))
    }

    /// Signs a request and sends it.
    async fn attempt(
        &self,
        outbound: &mut OutboundRequest,
        record: &mut Record,
    ) -> Result<Attempt, ProxyError> {
        let signing = self.route.signing.as_ref().filter(|_| outbound.signature == Signature::Ours);
        record.on_attempt_start(outbound, self.route);
        let (signing_headers, signed) = match signing {
            Some(signing) => {
                let signed = self.deadline.run_within(pin!(signing.sign(outbound))).await;
                let (signing_headers, signed) =
                    signed.inspect_err(|_| self.route.metrics.signing_failures.add(1))?;
                (Some(signing_headers), Some(signed))
            }
            None => (None, None),
        };
        record.on_sent(outbound.body.length());
        let arrival = match &outbound.body {
            RequestBody::Stream(stream) => Some(stream.arrival()),
            RequestBody::Empty | RequestBody::Whole(_) => None,
        };
        let target = self.route.backend.target();
        let (endpoint, mut connection) = (&target.endpoint, ConnectionReuse::None);
        let mut result = {
            let (timeouts, signing_headers) = (target.timeouts, signing_headers.as_ref());
            let sending = self.client.send(endpoint, timeouts, outbound, signing_headers, &mut connection);
            self.deadline.run_within(pin!(sending)).await
        };
        let is_late = |error: &ProxyError| error.kind == ErrorKind::UpstreamTimeout;
        if result.as_ref().is_err_and(is_late) && arrival.is_some_and(|arrival| arrival.is_awaited()) {
            // it was the client that took too long with its body
            result = Err(ErrorKind::RequestTimeout.into());
        }
        let mut clock_was_wrong = false;
        match &result {
            Ok(reply) => {
                record.on_response_head(reply);
                if let (Some(signing), Some(signed)) = (signing, &signed) {
                    clock_was_wrong = signing.observe_reply(reply, signed);
                }
            }
            Err(error) => record.on_attempt_failed(error),
        }
        if log::log_enabled!(log::Level::Debug) {
            self.log_attempt(record, signed.as_ref(), connection, &result);
        }
        Ok(Attempt { result, signed, clock_was_wrong })
    }

    fn log_attempt(
        &self,
        record: &Record,
        signed: Option<&SignatureRecord>,
        connection: ConnectionReuse,
        result: &Result<UpstreamReply, ProxyError>,
    ) {
        let attempted = Attempted {
            request_id: record.request_id_text(),
            route: record.route_id(),
            attempt: record.attempts(),
            endpoint: &self.route.backend.target().endpoint,
            keys: signed.map(|signed| &*signed.keys),
            connection,
            bytes: record.bytes_in(),
            took: record.since_sent(),
            result,
        };
        attempted.log();
    }

    /// Whether there is room for another attempt after this pause: within the deadline, for the circuit breaker, and
    /// in the budget, which then has paid for it. There are no new keys where the route has not signed; waiting for
    /// them costs nothing, because a refusal of keys is no sign of an upstream in trouble.
    fn is_worth(&self, pause: Pause, is_signed: bool, retries: &Retries, record: &Record) -> bool {
        let can_come = match pause {
            Pause::For(time) => self.deadline.has_room_for(time),
            Pause::UntilNewKeys(_) => is_signed,
        };
        let is_kept_away = self.route.circuit_breaker.as_ref().is_some_and(|breaker| !breaker.is_closed());
        if !can_come || is_kept_away {
            return false;
        }
        if matches!(pause, Pause::UntilNewKeys(_)) {
            return true;
        }
        let is_paid = retries.budget.spend(Instant::now());
        if !is_paid {
            self.route.metrics.budget_exhausted.add(1);
            record.on_retry_skipped("the retry budget is exhausted");
        }
        is_paid
    }

    /// What happens between two attempts: the first one's result, and whether it is followed by the second.
    ///
    /// The rest of an answer that is about to be dropped is read, if there is little of it, so that its connection
    /// serves on. Nothing of it is lost.
    async fn between(
        &self,
        pause: Pause,
        signed: Option<&SignatureRecord>,
        result: Result<UpstreamReply, ProxyError>,
    ) -> (Result<UpstreamReply, ProxyError>, bool) {
        let result = match result {
            Ok(reply) if is_tiny(&reply.body) => self.deadline.run_within(pin!(reply.collect(TINY))).await,
            other => other,
        };
        let goes_on = match (pause, &self.route.signing, signed) {
            (Pause::For(time), ..) => {
                sleep(time).await;
                true
            }
            (Pause::UntilNewKeys(limit), Some(signing), Some(signed)) => {
                let newer = pin!(async { Ok(signing.credentials.newer_than(&signed.keys, limit).await) });
                self.deadline.run_within(newer).await.unwrap_or(false)
            }
            (Pause::UntilNewKeys(_), ..) => false,
        };
        (result, goes_on)
    }
}

fn is_tiny(body: &ReplyBody) -> bool {
    matches!(body, ReplyBody::Stream(stream) if stream.length().is_some_and(|length| length <= TINY))
}

/// Why a call is made again, for the log.
fn reason(result: &Result<UpstreamReply, ProxyError>) -> String {
    match result {
        Ok(reply) => {
            let kind = error_type(&reply.headers).map(|kind| format!(" {}", shown(kind))).unwrap_or_default();
            format!("{}{kind}", reply.status.as_u16())
        }
        Err(error) => error.to_string(),
    }
}
