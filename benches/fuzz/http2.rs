//! Frames of HTTP/2 clients.
//!
//! Invariants: the sidecar sends well-formed frames, and none on a closed stream; a connection with a valid
//! preface ends within the limits and with GOAWAY; the upstream receives well-formed requests; other clients
//! are served, both on a new connection and on one that stays open.

use std::{cell::RefCell, collections::HashMap, fmt};

use bytes::Bytes;
use fastrand::Rng;
use h2::client::SendRequest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    case::{Escaped, Failure, TIMEOUT, client_address, connect},
    client::probe,
    delivery::{Delivery, End, reset},
    echo::Echo,
    frames::{DATA, END_STREAM, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS},
    listener,
    mutation::{self, mutate},
    run::{Place, Target},
    seeds::frames::{self, Connection},
    sidecar::Sidecar,
};

const LIMITS: &str = "header_timeout: 300ms, body_timeout: 300ms, keep_alive: 300ms, send_timeout: 500ms";

pub struct Http2 {
    sidecar: Sidecar,
    echo: Echo,
    seeds: Vec<Connection>,
    /// A connection of another client, which stays open over all cases.
    other: RefCell<Option<SendRequest<Bytes>>>,
}

pub struct Case {
    seed: &'static str,
    frames: Vec<Frame>,
    delivery: Delivery,
    /// The preface and the SETTINGS frame are valid.
    has_begun: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.seed)?;
        for frame in self.frames.iter().take(20) {
            writeln!(f, "    {frame}")?;
        }
        write!(f, "{}", self.delivery)
    }
}

impl Http2 {
    pub fn start(_lanes: usize) -> Self {
        let echo = Echo::start();
        let sidecar = Sidecar::start(LIMITS, &listener::routes(&echo));
        Self { sidecar, echo, seeds: frames::all(), other: RefCell::default() }
    }

    /// Sends a request on the other client's connection; reconnects if it was idle for too long.
    async fn probe_other(&self, number: u64) -> Result<(), Failure> {
        let failed =
            |error: h2::Error| Failure::new("another client of HTTP/2 is not served", error.to_string());
        let path = format!("http://h/other/{number}");
        let kept = self.other.borrow().clone();
        let sender = match kept {
            Some(sender) => sender.ready().await.ok(),
            None => None,
        };
        let mut sender = match sender {
            Some(sender) => sender,
            None => {
                let stream = connect(number, self.sidecar.address, None).await?;
                let (sender, connection) = h2::client::handshake(stream).await.map_err(failed)?;
                tokio::task::spawn_local(connection);
                sender
            }
        };
        let request = http::Request::builder()
            .uri(path)
            .body(())
            .map_err(|error| Failure::new("no request", error.to_string()))?;
        let (response, _) = sender.send_request(request, true).map_err(failed)?;
        *self.other.borrow_mut() = Some(sender);
        let status = match response.await {
            Ok(response) => response.status().as_u16(),
            // GOAWAY for the connection's age crossed the request
            Err(error) if error.is_go_away() => 200,
            Err(error) => return Err(failed(error)),
        };
        let kind = "another client of HTTP/2 is not served";
        if status == 200 { Ok(()) } else { Err(Failure::new(kind, status.to_string())) }
    }
}

impl Target for Http2 {
    type Case = Case;

    fn case(&self, number: u64, random: &mut Rng) -> Case {
        let unchanged = usize::try_from(number).ok().and_then(|number| self.seeds.get(number));
        let seed = unchanged.unwrap_or_else(|| &self.seeds[random.usize(..self.seeds.len())]);
        let mut frames = seed.frames.clone();
        let mut bytes = PREFACE.to_vec();
        Frame::new(SETTINGS, 0, 0, []).write(&mut bytes);
        let begins = bytes.len();
        if unchanged.is_none() {
            let other = &self.seeds[random.usize(..self.seeds.len())];
            for _ in 0..random.usize(1..4) {
                change(&mut frames, &other.frames, random);
            }
        }
        for frame in &frames {
            frame.write(&mut bytes);
        }
        let mut has_begun = true;
        if unchanged.is_none() && random.u8(..6) == 0 {
            let before = bytes.clone();
            mutate(&mut bytes, mutation::HTTP, &[], random);
            has_begun = bytes.starts_with(&before[..begins]);
        }
        let end = match random.u8(..20) {
            0 => End::Close,
            1 => End::Reset,
            _ => End::Open,
        };
        let last_cut = bytes.len();
        Case { seed: seed.name, frames, delivery: Delivery::new(&bytes, last_cut, end, random), has_begun }
    }

    async fn run(&self, case: &Case, place: Place) -> Result<(), Failure> {
        let mut stream = connect(place.number, self.sidecar.address, None).await?;
        let _ = case.delivery.write(&mut stream).await;
        match case.delivery.end {
            End::Open => {
                let received = read_to_end(&mut stream).await?;
                if case.has_begun {
                    check(&received)?;
                }
            }
            End::Close => drop(stream),
            End::Reset => reset(&stream),
        }
        probe(place.number, self.sidecar.address).await?;
        timeout(TIMEOUT, self.probe_other(place.number))
            .await
            .unwrap_or_else(|_| Err(Failure::new("another client of HTTP/2 hangs", "")))?;
        self.echo.take(client_address(place.number).into());
        match self.echo.take_malformed().pop() {
            Some(seen) => Err(Failure::new("a malformed request to the upstream", seen)),
            None => Ok(()),
        }
    }
}

/// Changes one frame or the order of frames.
fn change(frames: &mut Vec<Frame>, others: &[Frame], random: &mut Rng) {
    if frames.is_empty() {
        frames.extend_from_slice(others);
        return;
    }
    let at = random.usize(..frames.len());
    match random.u8(..12) {
        0 => drop(frames.remove(at)),
        1 => frames.insert(at, frames[random.usize(..frames.len())].clone()),
        2 => frames.swap(0, at),
        3 => frames.insert(at, others[random.usize(..others.len())].clone()),
        4 => frames[at].kind = random.u8(..12),
        5 => frames[at].flags ^= 1 << random.u8(..8),
        6 => frames[at].stream = [0, 1, 2, 3, 5, 7, 0x7fff_ffff, 0x8000_0001][random.usize(..8)],
        7 => frames[at].length = Some([0, 1, 5, 16_384, 16_385, 0x00ff_ffff][random.usize(..6)]),
        8 => {
            let length = [0, 1, 3, 4, 5, 6, 8, 9][random.usize(..8)];
            frames[at].payload = (0..length).map(|_| random.u8(..)).collect();
        }
        _ => mutate(&mut frames[at].payload, mutation::HTTP, &[], random),
    }
}

/// Reads until the connection ends; closes it after GOAWAY.
async fn read_to_end(stream: &mut tokio::net::TcpStream) -> Result<Vec<u8>, Failure> {
    let mut received = Vec::new();
    let reading = async {
        loop {
            match stream.read_buf(&mut received).await {
                Ok(0) | Err(_) => return,
                Ok(_) if goes_away(&received) => {
                    let _ = stream.shutdown().await;
                }
                Ok(_) => {}
            }
        }
    };
    let is_over = timeout(TIMEOUT, reading).await.is_ok();
    if is_over {
        return Ok(received);
    }
    Err(Failure::new(
        "a connection hangs",
        format!("{} bytes so far: \"{}\"", received.len(), Escaped(&received)),
    ))
}

fn goes_away(mut received: &[u8]) -> bool {
    std::iter::from_fn(|| Frame::read(&mut received)).any(|frame| frame.kind == GOAWAY)
}

/// Checks the sidecar's frames and their order.
fn check(received: &[u8]) -> Result<(), Failure> {
    let mut rest = received;
    let frames: Vec<Frame> = std::iter::from_fn(|| Frame::read(&mut rest)).collect();
    let wrong = |kind: &str| Err(Failure::new(kind, format!("\"{}\"", Escaped(received))));
    if !rest.is_empty() {
        return wrong("an incomplete frame");
    }
    if frames.first().is_some_and(|frame| frame.kind != SETTINGS) {
        return wrong("the first frame is no SETTINGS");
    }
    if !frames.iter().any(|frame| frame.kind == GOAWAY) {
        return wrong("the connection ended without GOAWAY");
    }
    let mut ended: HashMap<u32, u8> = HashMap::new();
    for frame in &frames {
        let is_of_stream = matches!(frame.kind, DATA | HEADERS);
        if frame.kind > 9 || (is_of_stream && ended.contains_key(&frame.stream)) {
            return wrong("a frame behind the end of its stream, or of no known kind");
        }
        if frame.kind == RST_STREAM || (is_of_stream && frame.flags & END_STREAM != 0) {
            ended.insert(frame.stream, frame.kind);
        }
    }
    Ok(())
}
