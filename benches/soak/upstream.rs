//! The upstream of all routes, on raw sockets. It finds the number in each request and responds as planned.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::sleep,
};

use super::plan::{Fault, Framing, Plan, body, unavailable};

/// Requests to this path wait until as many of them have arrived as their `size` says.
pub const HELD: &str = "hold";

/// The upstream's thread.
pub struct Upstream {
    pub address: SocketAddr,
}

/// The parsed parts of a request.
struct Request {
    number: u64,
    size: usize,
    received: u32,
    is_held: bool,
}

impl Upstream {
    pub fn start(plan: Plan) -> Self {
        let listener = listen().expect("a free port");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(accept(listener, plan));
        });
        Self { address }
    }
}

/// A socket with a backlog that a burst of connections does not overflow: a connection dropped by the kernel
/// would look like a failure of the sidecar.
fn listen() -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn accept(listener: std::net::TcpListener, plan: Plan) {
    let listener = TcpListener::from_std(listener).expect("a socket of this runtime");
    let held = Arc::new(Held::default());
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let held = Arc::clone(&held);
            tokio::spawn(async move {
                let _ = serve(stream, plan, &held).await;
            });
        }
    }
}

/// Requests that wait for each other.
#[derive(Default)]
struct Held {
    count: AtomicUsize,
    released: Notify,
}

async fn serve(mut stream: TcpStream, plan: Plan, held: &Held) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        if request.is_held {
            wait(held, request.size).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld").await?;
            continue;
        }
        match plan.fault(request.number) {
            Some(fault) => answer_wrong(&mut stream, &request, fault).await?,
            None => answer(&mut stream, &request).await?,
        }
    }
    Ok(())
}

/// Waits until `all` requests are waiting.
async fn wait(held: &Held, all: usize) {
    let released = held.released.notified();
    if held.count.fetch_add(1, Ordering::SeqCst) + 1 >= all {
        // time for requests beyond the limit to be rejected
        sleep(Duration::from_secs(1)).await;
        held.released.notify_waiters();
        return;
    }
    // if some requests are missing, the last one never arrives
    let _ = tokio::time::timeout(Duration::from_secs(20), released).await;
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let end = head + length.and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    while buffer.len() < end {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let sent = String::from_utf8_lossy(&buffer[head..end]).into_owned();
    buffer.drain(..end);
    // from the query, or from the event that contains it
    let number_of = |name: &str| {
        let found = value(&text, &format!("{name}=")).or_else(|| value(&sent, &format!("\"{name}\":\"")));
        found.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or_default()
    };
    let padding = sent.split_once("\"padding\":\"").and_then(|(_, rest)| rest.split('"').next());
    Ok(Some(Request {
        number: number_of("number"),
        size: usize::try_from(number_of("size")).unwrap_or_default(),
        received: crc32fast::hash(padding.unwrap_or_default().as_bytes()),
        is_held: text.starts_with(&format!("get /{HELD}")),
    }))
}

/// The digits after `name`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(name)?;
    let end = rest.find(|other: char| !other.is_ascii_digit()).unwrap_or(rest.len());
    Some(&rest[..end])
}

async fn answer(stream: &mut TcpStream, request: &Request) -> io::Result<()> {
    let framing = Plan::framing(request.number);
    stream.write_all(&whole(request, framing)).await?;
    if framing == Framing::UntilClose { end(stream).await } else { Ok(()) }
}

/// The bytes of a correct response.
fn whole(request: &Request, framing: Framing) -> Vec<u8> {
    let body = body(request.number, request.received, request.size);
    let head =
        |framing: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{framing}\r\n").into_bytes();
    match framing {
        Framing::Sized => [head(&format!("Content-Length: {}\r\n", body.len())), body].concat(),
        Framing::UntilClose => [head(""), body].concat(),
        Framing::Chunked => {
            let mut bytes = head("Transfer-Encoding: chunked\r\n");
            for piece in body.chunks(10_000) {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            bytes
        }
    }
}

async fn answer_wrong(stream: &mut TcpStream, request: &Request, fault: Fault) -> io::Result<()> {
    let framing = match Plan::framing(request.number) {
        // a cut could not be detected
        Framing::UntilClose => Framing::Sized,
        framing => framing,
    };
    let right = whole(request, framing);
    let half = right.len() - (request.size / 2).max(10);
    if matches!(fault, Fault::ResetInBody | Fault::CutInBody | Fault::StallInBody) {
        stream.write_all(&right[..half]).await?;
    }
    match fault {
        Fault::Reset | Fault::ResetInBody => reset(stream),
        Fault::CutInBody => end(stream).await,
        Fault::Stall | Fault::StallInBody => end_by_the_other_side(stream).await,
        Fault::TooShort => {
            let body = body(request.number, request.received, request.size);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len() + 7);
            stream.write_all(&[head.as_bytes(), &body].concat()).await?;
            end(stream).await
        }
        Fault::Garbage => {
            stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await?;
            end(stream).await
        }
        Fault::Unavailable => {
            let body = unavailable(request.number);
            let head = format!("HTTP/1.1 503 Service Unavailable\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await
        }
        Fault::Slow => {
            for piece in right.chunks(right.len().div_ceil(5)) {
                stream.write_all(piece).await?;
                sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        }
        Fault::Surplus => {
            let surplus = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            stream.write_all(&[right.as_slice(), surplus].concat()).await?;
            end_by_the_other_side(stream).await
        }
    }
}

/// Closes the connection gracefully: waits until the peer has closed it too.
async fn end(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    end_by_the_other_side(stream).await
}

async fn end_by_the_other_side(stream: &mut TcpStream) -> io::Result<()> {
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()?;
    Err(io::ErrorKind::ConnectionReset.into())
}
