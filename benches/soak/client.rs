//! The clients: connections that send request after request, with and without bodies. Some read slowly, some
//! leave in the middle. Each response is compared with the planned one.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

use super::{
    answer::{Answer, Broken, Reader},
    plan::{Fault, Plan, body, padding, unavailable},
    tally::{Tally, Verdict},
    upstream::HELD,
};

/// One in this many connections reads slowly.
const SLOW_EVERY: usize = 10;
/// One in this many requests is aborted by the client.
const LEAVE_EVERY: u32 = 30;
/// A request sent this long before SIGTERM must be answered.
const BEFORE_SIGTERM: Duration = Duration::from_millis(50);
/// Requests that are sent beyond the limit.
const BEYOND: usize = 10;

/// Number of the next request, unique over all connections.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Running clients.
pub struct Load {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

struct State {
    plan: Plan,
    address: SocketAddr,
    tally: Arc<Tally>,
    is_over: AtomicBool,
    /// Time of SIGTERM.
    stop: OnceLock<Instant>,
}

impl Load {
    /// Starts the clients on a separate thread.
    pub fn start(plan: Plan, address: SocketAddr, connections: usize, tally: Arc<Tally>) -> Self {
        let state =
            Arc::new(State { plan, address, tally, is_over: AtomicBool::new(false), stop: OnceLock::new() });
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || block_on(all(state, connections))
        });
        Self { state, thread }
    }

    /// Announces SIGTERM: from now on the sidecar may close and refuse connections.
    pub fn expect_stop(&self) {
        let _ = self.state.stop.set(Instant::now());
    }

    /// Waits until every client has finished its request.
    pub fn finish(self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.thread.join().expect("the clients' thread does not panic");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

async fn all(state: Arc<State>, connections: usize) {
    let clients: Vec<_> = (0..connections)
        .map(|index| tokio::spawn(client(Arc::clone(&state), index % SLOW_EVERY == SLOW_EVERY - 1)))
        .collect();
    for client in clients {
        client.await.expect("a client does not panic");
    }
}

async fn client(state: Arc<State>, is_slow: bool) {
    // spreads the clients' starts
    sleep(Duration::from_millis(fastrand::u64(..1000))).await;
    while !state.is_over.load(Ordering::SeqCst) {
        match connect(state.address, is_slow).await {
            Ok(stream) => connection(&state, stream, is_slow).await,
            Err(_) if state.stop.get().is_some() => return,
            Err(_) => {
                state.tally.unconnected();
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connect(address: SocketAddr, is_slow: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if is_slow {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// A request and its expected response.
struct Request {
    number: u64,
    size: usize,
    padding: String,
    is_lambda: bool,
    bytes: Vec<u8>,
}

impl Request {
    fn new(is_slow: bool) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let size = match fastrand::u32(..20) {
            _ if is_slow => 256 << 10,
            0 => fastrand::usize(..100_000),
            _ => fastrand::usize(..2000),
        };
        let route = ["unsigned", "signed", "lambda"][fastrand::usize(..3)];
        let (method, padding) = match fastrand::u32(..100) {
            0..70 => ("GET", String::new()),
            70..97 => ("POST", padding(number, fastrand::usize(..2000))),
            _ => ("POST", padding(number, fastrand::usize(..200_000))),
        };
        let mut text = format!(
            "{method} /{route}?number={number}&size={size} HTTP/1.1\r\nHost: soak\r\nX-Request-Id: {}\r\n",
            request_id(number)
        );
        if method == "POST" {
            let body = format!(r#"{{"number":"{number}","size":"{size}","padding":"{padding}"}}"#);
            let length = body.len().to_string();
            text.extend(["Content-Type: application/json\r\nContent-Length: ", &length, "\r\n\r\n", &body]);
        } else {
            text.push_str("\r\n");
        }
        Self { number, size, padding, is_lambda: route == "lambda", bytes: text.into_bytes() }
    }

    fn body(&self) -> Vec<u8> {
        body(self.number, crc32fast::hash(self.padding.as_bytes()), self.size)
    }
}

fn request_id(number: u64) -> String {
    format!("soak-{number}")
}

async fn connection(state: &State, mut stream: TcpStream, is_slow: bool) {
    let mut reader = Reader::new(is_slow);
    let mut is_served = false;
    while !state.is_over.load(Ordering::SeqCst) {
        let request = Request::new(is_slow);
        if fastrand::u32(..LEAVE_EVERY) == 0 {
            leave(&mut stream, &request).await;
            state.tally.count(Verdict::Left, "", String::new);
            return;
        }
        let start = Instant::now();
        // the response may arrive, and the connection end, before everything is sent
        let _ = stream.write_all(&request.bytes).await;
        let sent = Instant::now();
        let result = reader.answer(&mut stream).await;
        let fault = state.plan.fault(request.number);
        let verdict = match &result {
            Ok(answer) => judge(&request, fault, answer),
            Err(broken) if is_planned_break(fault) && broken.error.kind() != std::io::ErrorKind::TimedOut => {
                Verdict::Broken
            }
            Err(Broken { bytes: 0, .. })
                if state.stop.get().is_some_and(|stop| sent + BEFORE_SIGTERM > *stop) =>
            {
                Verdict::ClosedIdle
            }
            // the connection may not have been accepted
            Err(Broken { bytes: 0, .. }) if state.stop.get().is_some() && !is_served => Verdict::ClosedIdle,
            Err(Broken { bytes: 0, .. }) if state.stop.get().is_some() => Verdict::Lost,
            Err(_) => Verdict::Innocent,
        };
        if verdict == Verdict::Right && fault.is_none() && !is_slow {
            state.tally.took(start.elapsed());
        }
        let id = request_id(request.number);
        state.tally.count(verdict, &id, || format!("with {fault:?} planned, {}", shown(&result)));
        if result.map_or(true, |answer| answer.is_last) {
            return;
        }
        is_served = true;
    }
}

/// Leaves in the middle of the body, after the head, or in the middle of the response.
async fn leave(stream: &mut TcpStream, request: &Request) {
    let part = match fastrand::u32(..3) {
        0 => request.bytes.len() / 2,
        _ => request.bytes.len(),
    };
    let _ = stream.write_all(&request.bytes[..part]).await;
    if part == request.bytes.len() && fastrand::bool() {
        let _ = stream.read(&mut [0; 100]).await;
    }
    if fastrand::bool() {
        let _ = stream.set_zero_linger();
    }
}

fn is_planned_break(fault: Option<Fault>) -> bool {
    matches!(fault, Some(Fault::ResetInBody | Fault::CutInBody | Fault::TooShort | Fault::StallInBody))
}

/// Compares a complete response with the plan.
fn judge(request: &Request, fault: Option<Fault>, answer: &Answer) -> Verdict {
    let goes_well = matches!(fault, None | Some(Fault::Slow | Fault::Surplus));
    if answer.status == 200 {
        let is_right = goes_well && answer.body == request.body();
        return if is_right { Verdict::Right } else { Verdict::Wrong };
    }
    if answer.status == 503 && answer.body == unavailable(request.number).as_bytes() {
        let is_planned = fault == Some(Fault::Unavailable) && !request.is_lambda;
        return if is_planned { Verdict::PassedOn } else { Verdict::Wrong };
    }
    let Some(code) = code(request, answer) else { return Verdict::Wrong };
    let planned: &[(u16, &str)] = match fault {
        Some(Fault::Reset | Fault::ResetInBody | Fault::CutInBody | Fault::TooShort) => {
            &[(502, "upstream_truncated")]
        }
        Some(Fault::Stall) => &[(504, "upstream_timeout")],
        Some(Fault::Garbage) => &[(502, "upstream_protocol")],
        Some(Fault::Unavailable) if request.is_lambda => &[(500, "lambda_rejected")],
        None | Some(Fault::Unavailable | Fault::StallInBody | Fault::Slow | Fault::Surplus) => &[],
    };
    if planned.contains(&(answer.status, code.as_str())) {
        Verdict::Error(code)
    } else if (answer.status, code.as_str()) == (504, "upstream_timeout") {
        Verdict::Late
    } else {
        Verdict::Innocent
    }
}

/// Error code of the sidecar's response, if it has this request's id.
fn code(request: &Request, answer: &Answer) -> Option<String> {
    let error: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let id = request_id(request.number);
    let is_ours =
        error.get("request_id")?.as_str()? == id && answer.request_id.as_deref() == Some(id.as_str());
    is_ours.then(|| error.get("code")?.as_str().map(ToOwned::to_owned))?
}

fn shown(result: &Result<Answer, Broken>) -> String {
    match result {
        Ok(answer) => {
            let beginning = &answer.body[..answer.body.len().min(200)];
            format!(
                "{} with {} bytes {:?}",
                answer.status,
                answer.body.len(),
                String::from_utf8_lossy(beginning)
            )
        }
        Err(Broken { bytes, error }) => format!("broken after {bytes} bytes: {error}"),
    }
}

/// Sends requests that wait for each other until the sidecar is full; returns how many were admitted and how
/// many were rejected.
pub fn fill(address: SocketAddr, limit: usize) -> (usize, usize) {
    block_on(async move {
        let clients: Vec<_> = (0..limit + BEYOND).map(|_| tokio::spawn(held(address, limit))).collect();
        let (mut admitted, mut overloaded) = (0, 0);
        for client in clients {
            match client.await {
                Ok(Some(503)) => overloaded += 1,
                Ok(Some(200)) => admitted += 1,
                _ => {}
            }
        }
        (admitted, overloaded)
    })
}

async fn held(address: SocketAddr, limit: usize) -> Option<u16> {
    let mut stream = connect(address, false).await.ok()?;
    let request = format!("GET /{HELD}?size={limit} HTTP/1.1\r\nHost: soak\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    Reader::new(false).answer(&mut stream).await.ok().map(|answer| answer.status)
}

/// True if exactly the requests beyond the limit were rejected.
pub fn is_limit_exact(limit: usize, admitted: usize, overloaded: usize) -> bool {
    (admitted, overloaded) == (limit, BEYOND)
}
