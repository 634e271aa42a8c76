//! A case: the input of a target. It depends on the seed and the case's number only.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use fastrand::Rng;
use tokio::net::{TcpSocket, TcpStream};

/// Timeout of a case, longer than every limit in the sidecars' settings.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Most escaped bytes of an input that a failure prints; `--from` repeats the case.
const MAX_QUOTE: usize = 3000;
/// Longest run of equal bytes that is printed in full.
const MAX_RUN: usize = 24;

/// A violated invariant.
#[derive(Debug)]
pub struct Failure {
    /// The invariant, in one sentence; failures with the same text are counted together.
    pub kind: String,
    /// The observation.
    pub detail: String,
}

impl Failure {
    pub fn new(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into() }
    }
}

/// The random number generator of one case.
pub fn random(seed: u64, number: u64) -> Rng {
    // similar seeds give similar first numbers, so seed and number are mixed first
    let mut mixer = Rng::with_seed(seed);
    Rng::with_seed(mixer.u64(..) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The client's address in a case. The upstream identifies the case by it (`X-Forwarded-For`) even if the
/// request's bytes were mutated.
pub fn client_address(number: u64) -> Ipv4Addr {
    let [.., b, c, d] = number.to_be_bytes();
    // 127.0.0.0/12 is left to other connections
    Ipv4Addr::new(127, 16 | (b & 0x0f), c, d)
}

/// Connects from the case's client address.
pub async fn connect(number: u64, to: SocketAddr, receive_buffer: Option<u32>) -> Result<TcpStream, Failure> {
    let failed = |error: std::io::Error| Failure::new("the sidecar does not accept", error.to_string());
    let socket = TcpSocket::new_v4().map_err(failed)?;
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).map_err(failed)?;
    }
    socket.bind(SocketAddr::new(IpAddr::V4(client_address(number)), 0)).map_err(failed)?;
    let connecting = tokio::time::timeout(TIMEOUT, socket.connect(to)).await;
    let stream = connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// Bytes in the form of a Rust literal; long runs of one byte are abbreviated.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for run in self.0.chunk_by(|one, other| one == other) {
            if run.len() > MAX_RUN {
                write!(text, "[{}]*{}", run[..1].escape_ascii(), run.len())?;
            } else {
                write!(text, "{}", run.escape_ascii())?;
            }
            if text.len() > MAX_QUOTE {
                return write!(f, "{text}… ({} bytes)", self.0.len());
            }
        }
        f.write_str(&text)
    }
}
