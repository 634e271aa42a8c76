//! HTTP/1.1 client with a configurable read speed. It reports exactly which bytes it received.

use std::{net::SocketAddr, time::Duration};

use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::{
    answer::{Answer, Ended, Parsed, parse},
    case::{Escaped, Failure, TIMEOUT, connect},
};

/// The speed at which a client reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Delay before the first read.
    pub first: Duration,
    /// Delay before each further read.
    pub each: Duration,
    /// Most bytes per read; 0 means no limit.
    pub piece: usize,
    /// Size of the socket's receive buffer, if not the system's default.
    pub buffer: Option<u32>,
}

impl Pace {
    /// A random speed: usually fast, sometimes delayed or slow.
    pub fn any(random: &mut Rng) -> Self {
        let mut pace = Self::default();
        if random.u8(..4) == 0 {
            pace.first = Duration::from_millis(random.u64(..15));
        }
        if random.u8(..6) == 0 {
            pace.each = Duration::from_millis(random.u64(..3));
            // large enough to read every response before the timeout
            pace.piece = 1 << random.u32(10..15);
        }
        if random.u8(..6) == 0 {
            pace.buffer = Some(4096);
        }
        pace
    }
}

/// Result of a request, as the client sees it.
#[derive(Debug)]
pub enum Got {
    Whole(Answer),
    /// An incomplete response: the head, if it is complete, and the body bytes received so far.
    Broken(Option<Answer>, Ended),
    /// No byte was received.
    Nothing(Ended),
    Malformed(String),
}

/// A connection to the sidecar.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    pace: Pace,
}

impl Client {
    pub async fn connect(number: u64, to: SocketAddr, pace: Pace) -> Result<Self, Failure> {
        let stream = connect(number, to, pace.buffer).await?;
        Ok(Self { stream, received: Vec::new(), pace })
    }

    /// Sends a request. Write errors are ignored: a server may respond and close before it has read
    /// everything.
    pub async fn send(&mut self, request: &[u8]) {
        let _ = self.stream.write_all(request).await;
    }

    /// Reads one response.
    ///
    /// # Errors
    ///
    /// Timeout: neither a response nor the end of the connection was received.
    pub async fn read(&mut self, to_head: bool) -> Result<Got, Failure> {
        sleep_some(self.pace.first).await;
        let until = Instant::now() + TIMEOUT;
        let mut ended = Ended::NotYet;
        loop {
            match parse(&self.received, to_head, ended) {
                Parsed::Whole(answer, length) => {
                    self.received.drain(..length);
                    return Ok(Got::Whole(answer));
                }
                Parsed::Malformed(problem) => return Ok(Got::Malformed(problem)),
                Parsed::Partial(_) if ended != Ended::NotYet && self.received.is_empty() => {
                    return Ok(Got::Nothing(ended));
                }
                Parsed::Partial(answer) if ended != Ended::NotYet => return Ok(Got::Broken(answer, ended)),
                Parsed::Partial(_) => {}
            }
            ended = match timeout_at(until, self.more()).await {
                Ok(ended) => ended,
                Err(_) => {
                    let seen = format!("\"{}\" so far", Escaped(&self.received));
                    return Err(Failure::new("a connection hangs", seen));
                }
            };
        }
    }

    /// Reads until the connection ends.
    pub async fn read_all(mut self) -> Result<(Vec<u8>, Ended), Failure> {
        let until = Instant::now() + TIMEOUT;
        loop {
            match timeout_at(until, self.more()).await {
                Ok(Ended::NotYet) => {}
                Ok(ended) => return Ok((self.received, ended)),
                Err(_) => {
                    let seen = format!("\"{}\" so far", Escaped(&self.received));
                    return Err(Failure::new("a connection hangs", seen));
                }
            }
        }
    }

    async fn more(&mut self) -> Ended {
        sleep_some(self.pace.each).await;
        let mut piece = vec![0; if self.pace.piece == 0 { 64 << 10 } else { self.pace.piece }];
        match self.stream.read(&mut piece).await {
            Ok(0) => Ended::Closed,
            Ok(length) => {
                self.received.extend_from_slice(&piece[..length]);
                Ended::NotYet
            }
            Err(_) => Ended::Reset,
        }
    }

    /// The socket, for a caller that reads and writes concurrently.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

async fn sleep_some(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

/// Attempts of a probe; one fails if it reuses a connection that the upstream is closing.
const ATTEMPTS: usize = 5;

/// Sends a well-formed request on a new connection. It must get a 200, whatever the cases before it did.
pub async fn probe(number: u64, to: SocketAddr) -> Result<(), Failure> {
    let mut got = None;
    for _ in 0..ATTEMPTS {
        let mut client = Client::connect(number, to, Pace::default()).await?;
        client.send(format!("GET /probe/{number} HTTP/1.1\r\nHost: probe\r\n\r\n").as_bytes()).await;
        got = Some(client.read(false).await?);
        match &got {
            Some(Got::Whole(answer)) if answer.code().is_some_and(|code| code == "upstream_truncated") => {}
            Some(Got::Whole(answer)) if answer.status == 200 => {
                let expected = format!("/probe/{number}\"");
                if String::from_utf8_lossy(&answer.body).contains(&expected) {
                    return Ok(());
                }
                return Err(Failure::new("the answer of another request", format!("{answer:?}")));
            }
            _ => break,
        }
    }
    Err(Failure::new("the next client is not served", format!("{got:?}")))
}
