//! Opens connections as calls would, sends nothing on them, and says what failed: for `check --connect`.
//!
//! `cli/check/connect.rs` comes here with the endpoints of the routes; `dial.rs` does for them what it does
//! for calls.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    dial::{DialProgress, DialStep, dial_noting},
    endpoint::Endpoint,
    stream::Stream,
};
use crate::{
    message::error::{ErrorKind, ProxyError},
    tls::failure::{self, Cure, TlsFailure},
};

/// For all of them together.
const WHOLE: Duration = Duration::from_secs(5);
/// For one, where the route's `connect_timeout` is longer: the rest is for what comes after the handshake.
const EACH: Duration = Duration::from_millis(4500);
/// In TLS 1.3 a server refuses a client's certificate after the client has done its part of the handshake
/// (RFC 8446, 4.4.2.4), and so a moment later.
const REFUSAL: Duration = Duration::from_millis(250);
/// Sockets open at a time, well within the usual limit of 1024 files.
const AT_A_TIME: usize = 256;

/// The connection that was opened.
#[derive(Debug)]
pub struct Probed {
    /// Until it was there.
    pub elapsed: Duration,
}

/// The connection that could not be opened.
#[derive(Debug)]
pub struct Unreached {
    pub step: &'static str,
    /// The cause, without any secret, and the operator's next step.
    pub failure: TlsFailure,
}

/// Probes every endpoint, all at the same time and within five seconds; the outcomes are in the same order.
pub async fn probe_all(endpoints: Vec<Endpoint>) -> Vec<Result<Probed, Unreached>> {
    let deadline = Instant::now() + WHOLE;
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = JoinSet::new();
    let mut outcomes = Vec::new();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        outcomes.push(Err(Unreached::for_want_of_time(&endpoint)));
        let places = Arc::clone(&places);
        tasks.spawn(async move {
            let probed = timeout_at(deadline, async {
                // it is never closed
                let _place = places.acquire().await;
                probe(&endpoint).await
            });
            (index, probed.await.unwrap_or_else(|_| Err(Unreached::for_want_of_time(&endpoint))))
        });
    }
    while let Some(joined) = tasks.join_next().await {
        if let Ok((index, outcome)) = joined {
            outcomes[index] = outcome;
        }
    }
    outcomes
}

async fn probe(endpoint: &Endpoint) -> Result<Probed, Unreached> {
    let limit = if endpoint.connect_timeout <= EACH {
        ("connect_timeout", endpoint.connect_timeout)
    } else {
        ("the time of `check --connect`", EACH)
    };
    let mut progress = DialProgress::default();
    let begun = Instant::now();
    match dial_noting(endpoint, limit, &mut progress).await {
        Err(error) => Err(Unreached::by(&error, progress)),
        Ok(stream) => {
            let elapsed = begun.elapsed();
            match refusal(endpoint, stream).await {
                Some(failure) => Err(Unreached { step: name(DialStep::Tls), failure }),
                None => Ok(Probed { elapsed }),
            }
        }
    }
}

/// The server's word against the client's certificate, if it comes after the handshake.
async fn refusal(endpoint: &Endpoint, mut stream: Stream) -> Option<TlsFailure> {
    endpoint.tls.as_ref()?;
    let read: io::Result<usize> = timeout(REFUSAL, stream.read(&mut [0])).await.ok()?;
    let failure = failure::of_session(&read.err()?)?;
    Some(TlsFailure { problem: format!("{endpoint}: {}", failure.problem), ..failure })
}

impl Unreached {
    fn by(error: &ProxyError, progress: DialProgress) -> Self {
        let is_late = error.kind == ErrorKind::UpstreamTimeout;
        let failure = progress.handshake.unwrap_or_else(|| {
            let cure = progress.cure.or_else(|| general_cure(progress.step, is_late));
            TlsFailure { problem: error.causes(), cure: cure.map(Cure::CheckAlone) }
        });
        Self { step: name(progress.step), failure }
    }

    fn for_want_of_time(endpoint: &Endpoint) -> Self {
        let problem = format!("no connection to {endpoint} within the time of `check --connect`, {WHOLE:?}");
        let cure = general_cure(DialStep::Connect, true).map(Cure::CheckAlone);
        Self { step: name(DialStep::Connect), failure: TlsFailure { problem, cure } }
    }
}

fn name(step: DialStep) -> &'static str {
    match step {
        DialStep::Resolve => "resolve",
        DialStep::Connect => "connect",
        DialStep::Tunnel => "proxy",
        DialStep::Tls => "tls",
    }
}

/// The cure for a step that failed, or that did not end in time.
fn general_cure(step: DialStep, is_late: bool) -> Option<&'static str> {
    Some(match (step, is_late) {
        (DialStep::Resolve, false) => {
            "Correct the name, or see that this machine's DNS knows it: names of private APIs are known \
             only inside their VPC"
        }
        (DialStep::Resolve, true) => {
            "This machine's DNS does not answer: in Kubernetes look at a NetworkPolicy towards it"
        }
        (DialStep::Connect, false) => {
            "See that host and port are right and that something listens there, then that routes and \
             firewalls let this machine out"
        }
        (DialStep::Connect, true) => {
            "Packets are dropped on the way: look at security groups, network ACLs, NAT, NetworkPolicies \
             and, for a private API, at its VPC endpoint"
        }
        (DialStep::Tunnel, _) => {
            "See that proxy_url is that of an HTTP proxy, and that it reaches this host and port"
        }
        (DialStep::Tls, true) => {
            "Something takes connections there and does not answer in TLS: see that host and port are right, \
             and that no firewall on the way holds TLS up"
        }
        // the sentence about the handshake has it
        (DialStep::Tls, false) => return None,
    })
}
