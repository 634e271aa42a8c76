//! Sequences of well-formed requests on one connection: each gets the same response as on a connection of its
//! own.
//!
//! The connection may end early if the last response announces it, and the request gave a reason.

use std::{fmt, net::IpAddr};

use fastrand::Rng;

use super::{
    answer::Answer,
    case::{Escaped, Failure, client_address},
    client::{Client, Got, Pace, probe},
    delivery::{Delivery, End},
    echo::Echo,
    listener,
    reference::requests,
    run::{Place, Target},
    sidecar::Sidecar,
};

const LIMITS: &str = "header_timeout: 8s, body_timeout: 8s, keep_alive: 8s";

pub struct Sequence {
    sidecar: Sidecar,
    echo: Echo,
}

pub struct Case {
    requests: Vec<Request>,
    delivery: Delivery,
}

/// A well-formed request.
#[derive(Debug, Clone, Default)]
struct Request {
    to_head: bool,
    bytes: Vec<u8>,
    /// The sidecar may close the connection after this response.
    may_end: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} requests\n{}", self.requests.len(), self.delivery)
    }
}

impl Request {
    /// A random request, made unique by its number.
    fn any(number: usize, random: &mut Rng) -> Self {
        let pick = |random: &mut Rng, from: &[&'static str]| from[random.usize(..from.len())];
        let method = pick(
            random,
            &["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "OPTIONS", "CONNECT", "DELETE"],
        );
        let path =
            pick(random, &["/", "/a", "/signed/a", "/post/a", "/hosts/a", "/a%2Fb", "/%zz", "/signed/../x"]);
        let target = match (method, random.u8(..8)) {
            ("CONNECT", 0..6) => "h:443".to_owned(),
            ("OPTIONS", 0..3) => "*".to_owned(),
            (_, 0) => format!("http://h{path}?n={number}"),
            _ => format!("{path}?n={number}"),
        };
        let is_old = random.u8(..12) == 0;
        let version = if is_old { "1.0" } else { "1.1" };
        let mut head = format!("{method} {target} HTTP/{version}\r\nHost: h\r\nX-Fuzz: {number}\r\n");
        let closes =
            pick(random, &["", "", "", "", "", "", "", "close", "keep-alive", "Upgrade", "x-fuzz, te"]);
        if !closes.is_empty() {
            head.extend(["Connection: ", closes, "\r\n"]);
        }
        if closes == "Upgrade" || random.u8(..8) == 0 {
            head.push_str(pick(
                random,
                &[
                    "Upgrade: websocket\r\n",
                    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
                    "Upgrade: TLS/1.0, foo/2\r\n",
                ],
            ));
        }
        let body = body(&mut head, method, is_old, random);
        Self {
            to_head: method == "HEAD",
            // a response may be sent before the body is complete, and then closes the connection
            may_end: closes == "close" || is_old || method == "CONNECT" || !body.is_empty(),
            bytes: [head.as_bytes(), b"\r\n", &body].concat(),
        }
    }
}

/// A random body; its headers are appended to `head`.
fn body(head: &mut String, method: &str, is_old: bool, random: &mut Rng) -> Vec<u8> {
    if !matches!(method, "POST" | "PUT") && random.u8(..10) > 0 {
        return Vec::new();
    }
    let hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let data = match random.u8(..5) {
        0 => Vec::new(),
        1 => hidden.to_vec(),
        2 => vec![b'x'; random.usize(9000..20_000)],
        _ => b"hello".to_vec(),
    };
    if random.u8(..6) == 0 && !is_old {
        head.push_str("Expect: 100-continue\r\n");
    }
    if is_old || random.bool() {
        head.extend(["Content-Length: ", &data.len().to_string(), "\r\n"]);
        return data;
    }
    head.push_str("Transfer-Encoding: chunked\r\n");
    let mut chunks = Vec::new();
    for piece in data.chunks(random.usize(1..9000).max(data.len() / 20)) {
        chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

impl Sequence {
    pub fn start(_lanes: usize) -> Self {
        let echo = Echo::start();
        let sidecar = Sidecar::start(LIMITS, &listener::routes(&echo));
        Self { sidecar, echo }
    }

    async fn alone(&self, request: &Request, number: u64) -> Result<Answer, Failure> {
        let mut client = Client::connect(number, self.sidecar.address, Pace::default()).await?;
        client.send(&request.bytes).await;
        match client.read(request.to_head).await? {
            Got::Whole(answer) => Ok(answer),
            other => {
                let detail = format!("{other:?} for \"{}\"", Escaped(&request.bytes));
                Err(Failure::new("no answer to a request alone", detail))
            }
        }
    }
}

impl Target for Sequence {
    type Case = Case;

    fn case(&self, _: u64, random: &mut Rng) -> Case {
        let requests: Vec<Request> =
            (0..random.usize(2..6)).map(|number| Request::any(number, random)).collect();
        let bytes: Vec<u8> = requests.iter().flat_map(|request| request.bytes.iter().copied()).collect();
        let last_cut = bytes.len();
        Case { requests, delivery: Delivery::new(&bytes, last_cut, End::Open, random) }
    }

    async fn run(&self, case: &Case, place: Place) -> Result<(), Failure> {
        let mut alone = Vec::new();
        for request in &case.requests {
            alone.push(self.alone(request, place.number).await?);
        }
        self.echo.take(IpAddr::V4(client_address(place.number)));
        let mut client = Client::connect(place.number, self.sidecar.address, Pace::default()).await?;
        let _ = case.delivery.write(client.stream()).await;
        for (request, alone) in case.requests.iter().zip(&alone) {
            let told = || format!("\"{}\"", Escaped(&request.bytes));
            let answer = match client.read(request.to_head).await? {
                Got::Whole(answer) => answer,
                other => {
                    return Err(Failure::new(
                        "no answer on a kept connection",
                        format!("{other:?} for {}", told()),
                    ));
                }
            };
            if comparable(&answer) != comparable(alone) {
                let detail = format!("{answer:?}\n  alone {alone:?}\n  for {}", told());
                return Err(Failure::new("another answer than alone", detail));
            }
            if answer.is_last {
                if !request.may_end {
                    return Err(Failure::new("the connection ends without a reason (C3)", told()));
                }
                match client.read(false).await? {
                    Got::Nothing(_) => break,
                    other => return Err(Failure::new("more behind the last answer", format!("{other:?}"))),
                }
            }
        }
        let forwarded = self.echo.take(IpAddr::V4(client_address(place.number)));
        listener::check_forwarded(&requests::read(&case.delivery.bytes()), &forwarded)?;
        probe(place.number, self.sidecar.address).await?;
        self.echo.take(IpAddr::V4(client_address(place.number)));
        match self.echo.take_malformed().pop() {
            Some(seen) => Err(Failure::new("a malformed request to the upstream", seen)),
            None => Ok(()),
        }
    }
}

/// A response without the parts that differ between calls.
fn comparable(answer: &Answer) -> (u16, Vec<(String, Vec<u8>)>, String) {
    let differs = ["date", "x-request-id", "connection", "content-length"];
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !differs.contains(&name.to_ascii_lowercase().as_str()));
    // the order of headers with different names has no meaning (RFC 9110, 5.3)
    headers.sort();
    let mut body = String::from_utf8_lossy(&answer.body).into_owned();
    if let Some(code) = answer.code() {
        body = code;
    }
    (answer.status, headers, body)
}
