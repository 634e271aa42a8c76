//! Connection test of `check --connect`: opens a connection as a call would, sends nothing, and reports the
//! step that failed.
//!
//! `cli/check/connect.rs` passes the endpoints of the routes; `dial.rs` opens the connections.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    dial::{DialProgress, DialStep, dial_with_progress},
    endpoint::Endpoint,
    stream::UpstreamStream,
};
use crate::{
    message::error::{ErrorKind, ProxyError},
    tls::failure::{self, Cure, TlsFailure},
};

/// Timeout for all endpoints together.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for one endpoint if its `connect_timeout` is longer; the rest is for a rejection after the
/// handshake.
const PROBE_TIMEOUT: Duration = Duration::from_millis(4500);
/// Time to wait for a rejected client certificate: in TLS 1.3 a server rejects it after the client's last
/// handshake message (RFC 8446, 4.4.2.4), so a moment later.
const REJECTION_TIMEOUT: Duration = Duration::from_millis(250);
/// Maximum concurrent connections, well below the usual limit of 1024 files.
const MAX_CONCURRENT: usize = 256;

/// A connection that could not be opened.
#[derive(Debug)]
pub struct ProbeFailure {
    pub step: &'static str,
    /// Cause, without any secret, and the operator's next step.
    pub failure: TlsFailure,
}

/// Probes all endpoints concurrently within five seconds; returns the time to connect or the failure, in the
/// order of `endpoints`.
pub async fn probe_all(endpoints: Vec<Endpoint>) -> Vec<Result<Duration, ProbeFailure>> {
    let deadline = Instant::now() + TOTAL_TIMEOUT;
    let places = Arc::new(Semaphore::new(MAX_CONCURRENT));
    let mut tasks = JoinSet::new();
    let mut outcomes = Vec::new();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        outcomes.push(Err(ProbeFailure::timed_out(&endpoint)));
        let places = Arc::clone(&places);
        tasks.spawn(async move {
            let probed = timeout_at(deadline, async {
                // the semaphore is never closed
                let _place = places.acquire().await;
                probe(&endpoint).await
            });
            (index, probed.await.unwrap_or_else(|_| Err(ProbeFailure::timed_out(&endpoint))))
        });
    }
    while let Some(joined) = tasks.join_next().await {
        if let Ok((index, outcome)) = joined {
            outcomes[index] = outcome;
        }
    }
    outcomes
}

async fn probe(endpoint: &Endpoint) -> Result<Duration, ProbeFailure> {
    let limit = if endpoint.connect_timeout <= PROBE_TIMEOUT {
        ("connect_timeout", endpoint.connect_timeout)
    } else {
        ("the time of `check --connect`", PROBE_TIMEOUT)
    };
    let mut progress = DialProgress::default();
    let begun = Instant::now();
    match dial_with_progress(endpoint, limit, &mut progress).await {
        Err(error) => Err(ProbeFailure::new(&error, progress)),
        Ok(stream) => {
            let elapsed = begun.elapsed();
            match late_rejection(endpoint, stream).await {
                Some(failure) => Err(ProbeFailure { step: name(DialStep::Tls), failure }),
                None => Ok(elapsed),
            }
        }
    }
}

/// A rejection of the client's certificate that arrives after the handshake.
async fn late_rejection(endpoint: &Endpoint, mut stream: UpstreamStream) -> Option<TlsFailure> {
    endpoint.tls.as_ref()?;
    let read: io::Result<usize> = timeout(REJECTION_TIMEOUT, stream.read(&mut [0])).await.ok()?;
    let failure = failure::of_session(&read.err()?)?;
    Some(TlsFailure { problem: format!("{endpoint}: {}", failure.problem), ..failure })
}

impl ProbeFailure {
    fn new(error: &ProxyError, progress: DialProgress) -> Self {
        let is_late = error.kind == ErrorKind::UpstreamTimeout;
        let failure = progress.handshake.unwrap_or_else(|| {
            let cure = progress.cure.or_else(|| general_cure(progress.step, is_late));
            TlsFailure { problem: error.causes(), cure: cure.map(Cure::CheckAlone) }
        });
        Self { step: name(progress.step), failure }
    }

    fn timed_out(endpoint: &Endpoint) -> Self {
        let problem =
            format!("no connection to {endpoint} within the time of `check --connect`, {TOTAL_TIMEOUT:?}");
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

/// The next step for the operator after a step failed or timed out.
fn general_cure(step: DialStep, is_late: bool) -> Option<&'static str> {
    Some(match (step, is_late) {
        (DialStep::Resolve, false) => {
            "Correct the host name, or check that this machine's DNS resolves it: names of private APIs \
             resolve only inside their VPC"
        }
        (DialStep::Resolve, true) => {
            "This machine's DNS server does not answer: in Kubernetes check the NetworkPolicies for DNS"
        }
        (DialStep::Connect, false) => {
            "Check host and port and that a server listens there, then that routing and firewalls allow \
             outbound connections"
        }
        (DialStep::Connect, true) => {
            "Packets are dropped: check security groups, network ACLs, NAT, NetworkPolicies and, for a \
             private API, its VPC endpoint"
        }
        (DialStep::Tunnel, _) => {
            "Check that proxy_url, or HTTPS_PROXY or HTTP_PROXY of the environment, is the URL of an HTTP \
             proxy, and that the proxy can reach this host and port"
        }
        (DialStep::Tls, true) => {
            "The server accepts connections but does not answer the TLS handshake: check host and port, and \
             that no firewall blocks TLS"
        }
        // `tls/failure.rs` has it
        (DialStep::Tls, false) => return None,
    })
}
