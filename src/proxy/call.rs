//! One call to AWS, from an unsigned request to the head of the answer: signed, sent, and made again where that is
//! allowed and may help.
//!
//! `proxy.rs` hands it what a backend has made of the client's request, and gets the answer that the backend is to
//! pass on: the last attempt's. `retry.rs` knows what may be repeated, `circuit_breaker.rs` whether anything is sent
//! at all. Dropping the future ends it, whatever it is waiting for.

use std::{sync::Arc, time::Instant};

use aws_credential_types::Credentials;
use tokio::time::sleep;

use super::{
    deadline::Deadline,
    inbound::RequestBody,
    outbound::{OutboundRequest, Signature},
    record::Record,
};
use crate::{
    backend::verdict::{Verdict, error_type},
    client::{Client, ReplyBody, UpstreamReply},
    error::{ErrorKind, ProxyError},
    retry::{Pause, Retries, spare::Spare},
    snapshot::Route,
};

/// Bytes of an answer that is dropped, which are read so that its connection can be used again.
const TINY: u64 = 16 << 10;

/// What one attempt has come to, and the keys that it was signed with.
type Attempted = (Result<UpstreamReply, ProxyError>, Option<Arc<Credentials>>);

/// Makes a call, several times if need be.
///
/// # Errors
/// Those of the last attempt; or the circuit breaker is open, or there are no keys.
pub(super) async fn call(
    client: &Client,
    route: &Route,
    outbound: OutboundRequest,
    deadline: Deadline,
    record: &mut Record,
) -> Result<UpstreamReply, ProxyError> {
    let again = route.retries.as_ref().and_then(|retries| {
        retries.budget.earn();
        Some((retries, Spare::of(&outbound)?))
    });
    let mut next = outbound;
    let mut dropped = None;
    for number in 1.. {
        let pass = match route.enter() {
            Ok(pass) => pass,
            // what was to be repeated is not, and so it is the answer
            Err(refusal) => return dropped.unwrap_or(Err(refusal)),
        };
        // lets its connection go before another is taken
        drop(dropped.take());
        let (result, keys) = attempt(client, route, next, deadline, record).await?;
        let verdict = result.as_ref().map(|reply| route.backend.verdict(reply));
        if let Some(pass) = pass {
            pass.report(verdict);
        }
        let Some((retries, spare)) = &again else { return result };
        let Some(pause) = pause(route, retries, spare, number, &result, verdict, deadline) else {
            return result;
        };
        say(record, number, pause, &result);
        let result = settle(result, deadline).await;
        if !wait(pause, route, keys.as_deref(), deadline).await {
            return result;
        }
        dropped = Some(result);
        next = spare.request();
    }
    Err(ErrorKind::Internal.into())
}

/// Signs a request and sends it.
async fn attempt(
    client: &Client,
    route: &Route,
    mut outbound: OutboundRequest,
    deadline: Deadline,
    record: &mut Record,
) -> Result<Attempted, ProxyError> {
    let signing = route.signing.as_ref().filter(|_| outbound.signature == Signature::Ours);
    let keys = match signing {
        Some(signing) => Some(deadline.heed(signing.sign(&mut outbound)).await?),
        None => None,
    };
    record.sent(outbound.body.length());
    let arrival = match &outbound.body {
        RequestBody::Stream(stream) => Some(stream.arrival()),
        RequestBody::Empty | RequestBody::Whole(_) => None,
    };
    let target = route.backend.target();
    let mut result = deadline.heed(client.send(&target.endpoint, target.timeouts, outbound)).await;
    match &result {
        Ok(reply) => {
            record.answered(reply);
            if let (Some(signing), Some(keys)) = (signing, &keys) {
                signing.heed(reply, keys);
            }
        }
        // it was the client that took too long with its body
        Err(error)
            if error.kind == ErrorKind::UpstreamTimeout
                && arrival.is_some_and(|arrival| arrival.is_awaited()) =>
        {
            result = Err(ErrorKind::RequestTimeout.into());
        }
        Err(_) => {}
    }
    Ok((result, keys))
}

/// What to wait for before the next attempt; `None` if there is none.
fn pause(
    route: &Route,
    retries: &Retries,
    spare: &Spare,
    number: u32,
    result: &Result<UpstreamReply, ProxyError>,
    verdict: Result<Verdict, &ProxyError>,
    deadline: Deadline,
) -> Option<Pause> {
    let outcome = result.as_ref().and_then(|reply| verdict.map(|verdict| (verdict, &reply.headers)));
    let pause = retries.after(number, outcome, spare.is_idempotent(), fastrand::f64())?;
    let is_worth_it = match pause {
        Pause::For(time) => deadline.has_room_for(time),
        Pause::UntilNewKeys(_) => route.signing.is_some(),
    };
    (is_worth_it && route.is_open() && retries.budget.spend(Instant::now())).then_some(pause)
}

/// Waits; whether the next attempt is worth it then.
async fn wait(pause: Pause, route: &Route, keys: Option<&Credentials>, deadline: Deadline) -> bool {
    match (pause, &route.signing, keys) {
        (Pause::For(time), ..) => {
            sleep(time).await;
            true
        }
        (Pause::UntilNewKeys(limit), Some(signing), Some(keys)) => {
            let newer = async { Ok(signing.newer_than(keys, limit).await) };
            deadline.heed(newer).await.unwrap_or(false)
        }
        // keys of the client's own
        (Pause::UntilNewKeys(_), ..) => false,
    }
}

/// Reads the rest of an answer that is about to be dropped, if there is little of it, so that its connection serves
/// on. Nothing of it is lost.
async fn settle(
    result: Result<UpstreamReply, ProxyError>,
    deadline: Deadline,
) -> Result<UpstreamReply, ProxyError> {
    match result {
        Ok(reply) if is_tiny(&reply.body) => deadline.heed(reply.collect(TINY)).await,
        other => other,
    }
}

fn is_tiny(body: &ReplyBody) -> bool {
    matches!(body, ReplyBody::Stream(stream) if stream.length().is_some_and(|length| length <= TINY))
}

/// The line in the log for an attempt that is followed by another.
fn say(record: &Record, number: u32, pause: Pause, result: &Result<UpstreamReply, ProxyError>) {
    let reason = match result {
        Ok(reply) => {
            let kind = error_type(&reply.headers).map(|kind| format!(" {kind}")).unwrap_or_default();
            format!("{}{kind}", reply.status.as_u16())
        }
        Err(error) => error.to_string(),
    };
    let pause = match pause {
        Pause::For(time) => format!("in {time:?}"),
        Pause::UntilNewKeys(_) => "with new keys".to_owned(),
    };
    record.repeats(number, &pause, &reason);
}
