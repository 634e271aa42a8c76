//! One call to AWS with its retries: signs the request, sends it, and returns the head of the response.
//!
//! `proxy.rs` passes the backend's request and gets the last attempt's response. `resilience/retry.rs`
//! decides about retries, `resilience/circuit_breaker.rs` whether a request is sent at all. Dropping the
//! future aborts the call.

mod debug_line;

use std::{pin::pin, sync::Arc, time::Instant};

use aws_credential_types::Credentials;
use tokio::time::sleep;

use self::debug_line::AttemptLine;
use super::{deadline::Deadline, record::Record};
use crate::{
    backend::{ReplyMode, Verdict},
    client::{
        Client, ReplyBody, SendRecord, UpstreamReply,
        aws_error::{error_type, log_word},
    },
    diagnosis::{self, Caller, RefusedCall, SignedRequest},
    message::{
        error::{ErrorKind, ProxyError},
        header_map_pool as header_maps,
        outbound::{OutboundRequest, Signature},
        request_body::StreamProgress,
    },
    resilience::{
        circuit_breaker::CallGuard,
        retry::{Retries, RetryDelay},
    },
    signing::KeyOwner,
    state::{signing::SignatureRecord, snapshot::Route},
};

/// Maximum bytes of a dropped response that are read so that its connection can be reused.
const MAX_DISCARDED: u64 = 16 << 10;

pub(super) struct UpstreamCall<'a> {
    pub(super) client: &'a Client,
    pub(super) route: &'a Route,
    /// Keys of the caller, which sign instead of the route's.
    pub(super) caller: Option<&'a Arc<Credentials>>,
    pub(super) deadline: Deadline,
}

/// Result of a call.
pub(super) struct CallOutcome {
    pub(super) reply: UpstreamReply,
    /// The call as sent, if AWS rejected it.
    pub(super) refused: Option<Box<RefusedCall>>,
}

/// Result of one attempt.
struct AttemptResult {
    result: Result<UpstreamReply, ProxyError>,
    /// Credentials and time of the signature; `None` if unsigned.
    signed: Option<SignatureRecord>,
    /// AWS rejected the signature because of clock skew, which is now corrected.
    clock_was_wrong: bool,
}

impl UpstreamCall<'_> {
    /// Makes the call, with retries.
    ///
    /// # Errors
    /// The error of the last attempt; or the circuit breaker is open, or there are no credentials.
    pub(super) async fn make(
        &self,
        mut outbound: OutboundRequest,
        record: &mut Record,
    ) -> Result<CallOutcome, ProxyError> {
        if let Some(retries) = &self.route.retries {
            retries.budget.earn();
        }
        let AttemptResult { result, signed, .. } = self.until_settled(&mut outbound, record).await?;
        let reply = result?;
        let target = self.route.backend.target();
        let caller = target.api.map(|api| Caller {
            signs: target.scope.is_some(),
            api,
            has_doubtful_scope: target.has_doubtful_scope,
        });
        let refused = caller.filter(|caller| diagnosis::concerns(&reply, *caller)).map(|caller| {
            let signed_request = signed.and_then(|signed| self.signed_request(&outbound, &signed));
            Box::new(RefusedCall::of(&outbound, signed_request, caller))
        });
        header_maps::give_back(outbound.headers);
        Ok(CallOutcome { reply, refused })
    }

    /// Makes attempts until one must not be retried.
    async fn until_settled(
        &self,
        outbound: &mut OutboundRequest,
        record: &mut Record,
    ) -> Result<AttemptResult, ProxyError> {
        // a streamed body cannot be sent again
        let retries = self.route.retries.as_ref().filter(|_| outbound.body.is_buffered());
        let (mut number, mut previous) = (0, None);
        loop {
            let guard = match self.enter() {
                Ok(guard) => guard,
                // the breaker opened meanwhile: the previous attempt's result is the call's
                Err(open) => return previous.ok_or(open),
            };
            // releases its connection before another is taken
            drop(previous.take());
            number += 1;
            let mut attempt = self.attempt(outbound, record).await?;
            let verdict = attempt.result.as_ref().map(|reply| {
                if attempt.clock_was_wrong { Verdict::ClockWrong } else { self.route.backend.verdict(reply) }
            });
            if let Some(guard) = guard {
                guard.report(verdict, Instant::now);
            }
            let Some(retries) = retries else { return Ok(attempt) };
            let outcome = attempt.result.as_ref().and_then(|reply| Ok((verdict?, &reply.headers)));
            let is_idempotent = outbound.method.is_idempotent();
            let Some(pause) = retries.after(number, outcome, is_idempotent, fastrand::f64) else {
                return Ok(attempt);
            };
            let is_renewable = attempt.signed.as_ref().is_some_and(|signed| signed.owner == KeyOwner::Route);
            if !self.may_retry(pause, is_renewable, retries, record) {
                return Ok(attempt);
            }
            record.on_attempt_end();
            let why = Retries::reason(verdict);
            // boxed: it is rare, and would enlarge every request's future
            let can_retry;
            (attempt.result, can_retry) =
                Box::pin(self.pause(pause, attempt.signed.as_ref(), attempt.result)).await;
            if !can_retry {
                return Ok(attempt);
            }
            self.route.metrics.retries.count(why);
            record.on_retry(number, &reason(&attempt.result));
            previous = Some(attempt);
        }
    }

    /// Enters the circuit breaker, if there is one.
    ///
    /// # Errors
    /// The circuit breaker is open.
    fn enter(&self) -> Result<Option<CallGuard<'_>>, ProxyError> {
        self.route.circuit_breaker.as_ref().map(|breaker| breaker.enter(Instant::now)).transpose()
    }

    /// Recomputes what was signed, which is cheaper than to keep it for every call.
    fn signed_request(&self, outbound: &OutboundRequest, used: &SignatureRecord) -> Option<SignedRequest> {
        let signing = self.route.signing.as_ref()?;
        let SignatureRecord { keys, owner, dated, .. } = used;
        Some(SignedRequest::of(outbound, &signing.signer, keys, *owner, *dated))
    }

    async fn attempt(
        &self,
        outbound: &mut OutboundRequest,
        record: &mut Record,
    ) -> Result<AttemptResult, ProxyError> {
        let signing = self.route.signing.as_ref().filter(|_| outbound.signature == Signature::Ours);
        record.on_attempt_start(outbound, self.route);
        let (signing_headers, signed) = match signing {
            Some(signing) => {
                let signed = self.deadline.run_within(pin!(signing.sign(outbound, self.caller))).await;
                let signed = signed.inspect_err(|_| record.on_not_signed(outbound, self.route));
                let (signing_headers, signed, input) = signed?;
                record.on_signed(&signed, &input);
                (Some(signing_headers), Some(signed))
            }
            None => (None, None),
        };
        let length = outbound.body.length();
        record.on_sent(length.unwrap_or_default());
        let progress = outbound.body.progress();
        let target = self.route.backend.target();
        let endpoint = &target.endpoint;
        let mut attempt = SendRecord { heads: record.head_observer(), ..SendRecord::default() };
        let mut result = {
            let (timeouts, signing_headers) = (target.timeouts, signing_headers.as_ref());
            let sending = self.client.send(endpoint, timeouts, outbound, signing_headers, &mut attempt);
            self.deadline.run_within(pin!(sending)).await
        };
        let connection = attempt.connection;
        if let Some(progress) = progress {
            if length.is_none() {
                record.on_body_received(progress.received.get());
            }
            result = result.map_err(|error| timeout_of_the_client(error, &progress));
        }
        if matches!(&result, Ok(reply) if reply.is_xml_refusal()) {
            result = Box::pin(self.with_xml_code(result)).await;
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
            let keys = signed.as_ref().map(|signed| &*signed.keys);
            AttemptLine { record, endpoint, keys, connection, result: &result }.log();
        }
        Ok(AttemptResult { result, signed, clock_was_wrong })
    }

    /// Reads the body of an error of Amazon S3: it has the code that a header has in other services.
    async fn with_xml_code(
        &self,
        result: Result<UpstreamReply, ProxyError>,
    ) -> Result<UpstreamReply, ProxyError> {
        let reply = result?;
        let ReplyMode::Collected { limit } = self.route.backend.reply_mode(&reply) else { return Ok(reply) };
        self.deadline.run_within(pin!(reply.collect(limit))).await
    }

    /// True if another attempt may follow after this pause: the deadline allows it, the circuit breaker is
    /// closed, and the budget has paid for it. To wait for new credentials costs no budget, because rejected
    /// credentials do not mean an overloaded upstream; an unsigned call, or one with keys of the caller,
    /// never gets any.
    fn may_retry(&self, pause: RetryDelay, is_renewable: bool, retries: &Retries, record: &Record) -> bool {
        let in_time = match pause {
            RetryDelay::For(time) => self.deadline.has_room_for(time),
            RetryDelay::UntilNewKeys(_) => is_renewable,
        };
        let is_blocked = self.route.circuit_breaker.as_ref().is_some_and(|breaker| !breaker.is_closed());
        if !in_time || is_blocked {
            return false;
        }
        if matches!(pause, RetryDelay::UntilNewKeys(_)) {
            return true;
        }
        let is_paid = retries.budget.spend(Instant::now());
        if !is_paid {
            self.route.metrics.budget_exhausted.add(1);
            record.on_retry_skipped("the retry budget is exhausted");
        }
        is_paid
    }

    /// Waits between two attempts; returns the first one's result and whether the second follows.
    ///
    /// The rest of a dropped response is read if it is small, so that its connection can be reused.
    async fn pause(
        &self,
        pause: RetryDelay,
        signed: Option<&SignatureRecord>,
        result: Result<UpstreamReply, ProxyError>,
    ) -> (Result<UpstreamReply, ProxyError>, bool) {
        let result = match result {
            Ok(reply) if is_small(&reply.body) => {
                self.deadline.run_within(pin!(reply.collect(MAX_DISCARDED))).await
            }
            other => other,
        };
        let can_retry = match (pause, &self.route.signing, signed) {
            (RetryDelay::For(time), ..) => {
                sleep(time).await;
                true
            }
            (RetryDelay::UntilNewKeys(limit), Some(signing), Some(signed)) => {
                let newer = pin!(async { Ok(signing.has_newer_keys(signed, limit).await) });
                self.deadline.run_within(newer).await.unwrap_or(false)
            }
            (RetryDelay::UntilNewKeys(_), ..) => false,
        };
        (result, can_retry)
    }
}

fn is_small(body: &ReplyBody) -> bool {
    matches!(body, ReplyBody::Stream(stream) if stream.length().is_some_and(|length| length <= MAX_DISCARDED))
}

/// The reason of a retry, for the log.
fn reason(result: &Result<UpstreamReply, ProxyError>) -> String {
    match result {
        Ok(reply) => {
            let kind =
                error_type(&reply.headers).map(|kind| format!(" {}", log_word(kind))).unwrap_or_default();
            format!("{}{kind}", reply.status.as_u16())
        }
        Err(error) => error.to_string(),
    }
}

/// The error for a client that was too slow with its body, in place of one for a slow upstream.
fn timeout_of_the_client(error: ProxyError, progress: &StreamProgress) -> ProxyError {
    let is_late = error.kind == ErrorKind::UpstreamTimeout;
    if is_late && progress.waits_for_client.get() { ErrorKind::RequestTimeout.into() } else { error }
}
