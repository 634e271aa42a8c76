//! Raw bytes of HTTP/1.1 clients.
//!
//! Invariants: every response is well-formed and none is 500 `internal`; there are at most as many responses
//! as request heads; a client that waits gets a response; the upstream receives only well-formed requests,
//! which are those in the client's bytes; no response belongs to another client; the connection ends within
//! the limits; the next client is served.

use std::{fmt, net::IpAddr};

use fastrand::Rng;

use super::{
    answer::{Answer, Ended, Parsed, parse},
    case::{Escaped, Failure, client_address},
    client::{Client, Pace, probe},
    delivery::{Delivery, End, reset},
    echo::{Echo, Request},
    mutation::{self, mutate},
    reference::requests,
    run::{Place, Target},
    seeds::{self, Seed},
    sidecar::Sidecar,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Short limits, so that the sidecar soon ends every connection.
const LIMITS: &str = "header_timeout: 300ms, body_timeout: 300ms, keep_alive: 300ms, send_timeout: 1s";

pub struct Listener {
    sidecar: Sidecar,
    echo: Echo,
    seeds: Vec<Seed>,
}

pub struct Case {
    seed: &'static str,
    delivery: Delivery,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}\n{}", self.seed, self.delivery)
    }
}

/// Routes to the echo upstream: unsigned, signed, and POST only.
pub fn routes(echo: &Echo) -> Vec<(String, String)> {
    let to = format!("api_gateway:\n  function_uri: http://{}\n", echo.address);
    let keys = "  authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: secret } }\n";
    let pass = "  client_authorization: pass\n";
    vec![
        ("all".to_owned(), format!("uri: /*\n{to}")),
        ("signed".to_owned(), format!("uri: /signed/*\n{to}{keys}")),
        ("pass".to_owned(), format!("uri: /pass/*\n{to}{keys}{pass}")),
        ("post".to_owned(), format!("uri: /post/*\nmethods: [POST]\n{to}")),
        ("hosts".to_owned(), format!("uri: /hosts/*\nhosts: [known]\n{to}")),
    ]
}

impl Listener {
    pub fn start(_lanes: usize) -> Self {
        let echo = Echo::start();
        let sidecar = Sidecar::start(LIMITS, &routes(&echo));
        Self { sidecar, echo, seeds: seeds::requests::all() }
    }

    fn check(case: &Case, number: u64, received: &[u8], ended: Ended) -> Result<(), Failure> {
        let sent = case.delivery.bytes();
        if sent.starts_with(&PREFACE[..PREFACE.len().min(sent.len()).max(1)]) && sent.len() >= 16 {
            return Ok(());
        }
        let may_answer_head = sent.windows(4).any(|window| window == b"HEAD");
        let answers = answers(received, ended, may_answer_head).map_err(|problem| {
            Failure::new("a malformed answer", format!("{problem}: {}", Escaped(received)))
        })?;
        if let Some(answer) = answers.iter().find(|answer| answer.code().as_deref() == Some("internal")) {
            return Err(Failure::new("500 internal", format!("{}", Escaped(&answer.body))));
        }
        if answers.len() > requests::most_answers(&sent) {
            return Err(Failure::new("more answers than requests", format!("{}", Escaped(received))));
        }
        if answers.is_empty() && !sent.iter().all(u8::is_ascii_whitespace) {
            return Err(Failure::new("no answer", format!("{ended:?}")));
        }
        let own = format!("\"from\":\"{}\"", client_address(number));
        for answer in &answers {
            let body = String::from_utf8_lossy(&answer.body);
            if body.starts_with("{\"from\"") && !body.contains(&own) {
                return Err(Failure::new("an answer of another client", body));
            }
        }
        Ok(())
    }
}

impl Target for Listener {
    type Case = Case;

    fn case(&self, number: u64, random: &mut Rng) -> Case {
        let unchanged = usize::try_from(number).ok().and_then(|number| self.seeds.get(number));
        if let Some(seed) = unchanged {
            let delivery = Delivery::new(&seed.bytes, 0, End::Open, random);
            return Case { seed: seed.name, delivery };
        }
        let seed = &self.seeds[random.usize(..self.seeds.len())];
        let others: Vec<&[u8]> = self.seeds.iter().map(|seed| seed.bytes.as_slice()).collect();
        let mut bytes = seed.bytes.clone();
        mutate(&mut bytes, mutation::HTTP, &others, random);
        let end = match random.u8(..20) {
            0 => End::Close,
            1 => End::Reset,
            _ => End::Open,
        };
        let last_cut = bytes.len();
        Case { seed: seed.name, delivery: Delivery::new(&bytes, last_cut, end, random) }
    }

    async fn run(&self, case: &Case, place: Place) -> Result<(), Failure> {
        let mut client = Client::connect(place.number, self.sidecar.address, Pace::default()).await?;
        let _ = case.delivery.write(client.stream()).await;
        match case.delivery.end {
            End::Open => {
                let (received, ended) = client.read_all().await?;
                Self::check(case, place.number, &received, ended)?;
            }
            End::Close => drop(client),
            End::Reset => reset(client.stream()),
        }
        let forwarded = self.echo.take(IpAddr::V4(client_address(place.number)));
        check_forwarded(&requests::read(&case.delivery.bytes()), &forwarded)?;
        probe(place.number, self.sidecar.address).await?;
        self.echo.take(IpAddr::V4(client_address(place.number)));
        match self.echo.take_malformed().pop() {
            Some(seen) => Err(Failure::new("a malformed request to the upstream", seen)),
            None => Ok(()),
        }
    }
}

/// Parses all responses that a client received.
fn answers(received: &[u8], ended: Ended, may_answer_head: bool) -> Result<Vec<Answer>, String> {
    if received.is_empty() {
        return Ok(Vec::new());
    }
    let mut problem = String::new();
    for to_head in [false, true] {
        if to_head && !may_answer_head {
            break;
        }
        match parse(received, to_head, ended) {
            Parsed::Whole(answer, length) => match answers(&received[length..], ended, may_answer_head) {
                Ok(further) => return Ok([vec![answer], further].concat()),
                Err(other) => problem = other,
            },
            Parsed::Partial(_) => "an incomplete answer".clone_into(&mut problem),
            Parsed::Malformed(other) => problem = other,
        }
    }
    Err(problem)
}

/// Checks that the upstream received the requests in the client's bytes, in order, and no others.
pub fn check_forwarded(sent: &[requests::Request], forwarded: &[Request]) -> Result<(), Failure> {
    let mut left = sent.iter();
    for request in forwarded {
        if !left.any(|sent| sent.method == request.method && sent.body == request.body) {
            let detail = format!(
                "{} {} with \"{}\", of {} requests that the bytes hold",
                request.method,
                request.target,
                Escaped(&request.body),
                sent.len()
            );
            return Err(Failure::new("the upstream received what was not sent", detail));
        }
    }
    Ok(())
}
