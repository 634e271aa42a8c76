//! Responses of an API Gateway endpoint, read by clients of every HTTP version at different speeds.
//!
//! Invariants: the client gets the response that `reference/answers.rs` parses from the upstream's bytes, or
//! a part of it and a broken connection, or an error of the sidecar; no POST is sent twice; the client's
//! connection is usable after a complete response.

use std::{cell::RefCell, collections::HashMap, fmt, io, net::SocketAddr, rc::Rc};

use fastrand::Rng;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::{
    case::Failure,
    client::{Client, Got, Pace, probe},
    delivery::{Delivery, End, reset},
    echo, http2_client,
    mutation::{self, mutate},
    outcome::{self, Truth},
    reference::answers::{self, BodyEnd, Reading},
    run::{Place, Target},
    seeds::{self, Seed},
    sidecar::Sidecar,
};

/// Placeholder for the case's number in a seed, replaced by a number of the same length.
const NUMBER: &[u8] = b"{case-number}";
const LIMITS: &str = "max_in_flight: 10000";
/// Timeouts far above the pauses between two pieces.
const TIMEOUTS: &str = "  timeout: 2s\n  idle_timeout: 2s\n  keepalive_timeout: 5s\n";

/// Behaviour of the upstream for each case number.
type Scripts = Rc<RefCell<HashMap<u64, Script>>>;

struct Script {
    delivery: Delivery,
    /// The response is sent before the request's body was read.
    is_early: bool,
    /// Number of requests that this script has served.
    served: u32,
}

pub struct Upstream {
    sidecar: Sidecar,
    scripts: Scripts,
    seeds: Vec<Seed>,
}

pub struct Case {
    seed: &'static str,
    request: Request,
    is_early: bool,
    delivery: Delivery,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    method: &'static str,
    route: &'static str,
    version: Version,
    body: usize,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
    Http2,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.is_early { ", before the body is read" } else { "" };
        write!(f, "  {} for {:?}{early}\n{}", self.seed, self.request, self.delivery)
    }
}

impl Request {
    fn any(random: &mut Rng) -> Self {
        let method = ["GET", "GET", "POST", "POST", "HEAD"][random.usize(..5)];
        let body = match method {
            "POST" => [0, 5, 5, 70_000][random.usize(..4)],
            _ => 0,
        };
        let version = match random.u8(..8) {
            0 => Version::Http10,
            1 | 2 => Version::Http2,
            _ => Version::Http11,
        };
        let route = ["unsigned", "signed"][random.usize(..2)];
        Self { method, route, version, body, pace: Pace::any(random) }
    }
}

impl Upstream {
    pub fn start(_lanes: usize) -> Self {
        let (listener, address) = echo::listen();
        let scripts = Scripts::default();
        tokio::task::spawn_local(accept(listener, Rc::clone(&scripts)));
        Self { sidecar: Sidecar::start(LIMITS, &routes(address)), scripts, seeds: seeds::answers::all() }
    }

    async fn ask(&self, request: Request, number: u64) -> Result<Got, Failure> {
        let target = format!("/{}/{number}", request.route);
        let body = vec![b'b'; request.body];
        if request.version == Version::Http2 {
            return http2_client::ask(number, self.sidecar.address, request.method, &target, body).await;
        }
        let is_1_1 = request.version == Version::Http11;
        let version = if is_1_1 { "1.1" } else { "1.0" };
        let mut head = format!("{} {target} HTTP/{version}\r\nHost: h\r\n", request.method);
        if request.method == "POST" {
            head.extend(["Content-Length: ", &request.body.to_string(), "\r\n"]);
        }
        let mut client = Client::connect(number, self.sidecar.address, request.pace).await?;
        client.send(&[head.as_bytes(), b"\r\n", &body].concat()).await;
        let got = client.read(request.method == "HEAD").await?;
        if let Got::Whole(answer) = &got
            && is_1_1
            && !answer.is_last
        {
            serves_on(&mut client, number).await?;
        }
        Ok(got)
    }
}

/// Sends another request on the same connection and checks its response.
async fn serves_on(client: &mut Client, number: u64) -> Result<(), Failure> {
    client.send(format!("GET /probe/{number} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await;
    match client.read(false).await? {
        Got::Whole(answer) if answer.body == probe_body(&format!("/probe/{number}")) => Ok(()),
        other => Err(Failure::new("the connection does not serve on", format!("{other:?}"))),
    }
}

impl Target for Upstream {
    type Case = Case;

    fn case(&self, number: u64, random: &mut Rng) -> Case {
        let request = Request::any(random);
        let unchanged = usize::try_from(number).ok().and_then(|number| self.seeds.get(number));
        let seed = unchanged.unwrap_or_else(|| &self.seeds[random.usize(..self.seeds.len())]);
        let mut bytes = numbered(&seed.bytes, number);
        if unchanged.is_none() {
            let others: Vec<&[u8]> = self.seeds.iter().map(|seed| seed.bytes.as_slice()).collect();
            mutate(&mut bytes, mutation::HTTP, &others, random);
            if random.u8(..4) == 0 {
                bytes.truncate(random.usize(..=bytes.len()));
            }
        }
        let end = match random.u8(..16) {
            0 | 1 => End::Reset,
            2 => End::Open,
            3..10 => End::Close,
            // a connection left open would make the sidecar wait for its timeout
            _ if ends(&bytes, request).is_some() => End::Open,
            _ => End::Close,
        };
        // surplus bytes follow in the same write as the last byte: later ones could be read as the next
        // response
        let last_cut = ends(&bytes, request).map_or(bytes.len(), |end| end.saturating_sub(1));
        let is_early = request.body > 0 && random.u8(..4) == 0;
        Case { seed: seed.name, request, is_early, delivery: Delivery::new(&bytes, last_cut, end, random) }
    }

    async fn run(&self, case: &Case, place: Place) -> Result<(), Failure> {
        let script = Script { delivery: case.delivery.clone(), is_early: case.is_early, served: 0 };
        self.scripts.borrow_mut().insert(place.number, script);
        let got = self.ask(case.request, place.number).await;
        let served = self.scripts.borrow_mut().remove(&place.number).map_or(0, |script| script.served);
        let reading = answers::read(&case.delivery.bytes(), case.request.method == "HEAD");
        let truth = truth(&reading, case.delivery.end, case.is_early);
        let got = got?;
        if outcome::met_a_closing_connection(&got, served) {
            return Ok(());
        }
        outcome::check(&truth, &got, case.request.method == "HEAD").map_err(|failure| {
            Failure::new(format!("{} ({:?})", failure.kind, case.request.version), failure.detail)
        })?;
        // AWS uses these statuses if nothing ran, or the route's `retry.unsafe` allows them
        let may_repeat = matches!(reading, Reading::Answer { status: 403 | 429 | 500.., .. });
        if case.request.method == "POST" && served > 1 && !may_repeat {
            return Err(Failure::new("a POST arrived more than once", format!("{served} times")));
        }
        probe(place.number, self.sidecar.address).await
    }
}

/// Length of the response in bytes; `None` if it ends with the connection.
fn ends(bytes: &[u8], request: Request) -> Option<usize> {
    match answers::read(bytes, request.method == "HEAD") {
        Reading::Answer { end: BodyEnd::Whole(length), .. } => Some(length),
        _ => None,
    }
}

fn truth(reading: &Reading, end: End, is_early: bool) -> Truth {
    let Reading::Answer { status, body, end: body_end } = reading else {
        return if matches!(reading, Reading::Unclear) { Truth::Unclear } else { Truth::NoAnswer };
    };
    let (status, body) = (Some(*status), body.clone());
    match (body_end, end) {
        // closing with an unread request sends a reset, which may overtake the response
        (BodyEnd::Whole(_) | BodyEnd::UntilClose, End::Close) if is_early => {
            Truth::WholeOrCut { status, body }
        }
        (BodyEnd::Whole(_), End::Open | End::Close) | (BodyEnd::UntilClose, End::Close) => {
            Truth::Whole { status, body }
        }
        (BodyEnd::Whole(_), End::Reset) => Truth::WholeOrCut { status, body },
        _ => Truth::Cut { status, body },
    }
}

fn routes(upstream: SocketAddr) -> Vec<(String, String)> {
    let to = format!("api_gateway:\n  function_uri: http://{upstream}/\n{TIMEOUTS}");
    let keys = "  authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: secret } }\n";
    let probe = format!("api_gateway:\n  function_uri: http://{upstream}/probe\n{TIMEOUTS}");
    vec![
        ("unsigned".to_owned(), format!("uri: /unsigned/*\n{to}")),
        ("signed".to_owned(), format!("uri: /signed/*\n{to}{keys}")),
        ("probe".to_owned(), format!("uri: /probe/*\n{probe}")),
    ]
}

/// Writes the case's number into a response, so that it cannot be confused with another case's.
fn numbered(bytes: &[u8], number: u64) -> Vec<u8> {
    let number = format!("{number:0width$}", width = NUMBER.len());
    let mut result = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(NUMBER.len() - 1) {
        if bytes[at..].starts_with(NUMBER) {
            result[at..at + NUMBER.len()].copy_from_slice(number.as_bytes());
        }
    }
    result
}

async fn accept(listener: TcpListener, scripts: Scripts) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let scripts = Rc::clone(&scripts);
            tokio::task::spawn_local(async move {
                let _ = serve(stream, &scripts).await;
            });
        }
    }
}

async fn serve(mut stream: TcpStream, scripts: &Scripts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some((request, length)) = echo::read_head(&mut stream, &mut buffer).await? {
        if request.target.starts_with("/probe/") {
            let body = probe_body(&request.target);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).await?;
            continue;
        }
        let number = request.target.trim_start_matches('/').parse().unwrap_or(u64::MAX);
        let script = scripts.borrow_mut().get_mut(&number).map(|script| {
            script.served += 1;
            (script.delivery.clone(), script.is_early)
        });
        let Some((delivery, is_early)) = script else { return Ok(()) };
        if !is_early {
            echo::read_body(&mut stream, &mut buffer, length).await?;
        }
        delivery.write(&mut stream).await?;
        if is_early && delivery.end == End::Open {
            echo::read_body(&mut stream, &mut buffer, length).await?;
        }
        match delivery.end {
            End::Open => {}
            End::Close => return stream.shutdown().await,
            End::Reset => {
                reset(&stream);
                return Ok(());
            }
        }
    }
    Ok(())
}

fn probe_body(target: &str) -> Vec<u8> {
    format!("{{\"target\":\"{target}\"}}").into_bytes()
}
