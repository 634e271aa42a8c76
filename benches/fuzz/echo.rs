//! Upstream that returns each request as JSON. It rejects malformed requests and reports them.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::case::Escaped;

/// A request as the upstream received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// The client's address: the last entry of `X-Forwarded-For`.
    fn from(&self) -> Option<IpAddr> {
        let addresses = self.all("x-forwarded-for").join(&b',');
        let last = addresses.rsplit(|byte| *byte == b',').next()?;
        std::str::from_utf8(last.trim_ascii()).ok()?.parse().ok()
    }

    /// The JSON of the response.
    fn echo(&self) -> Vec<u8> {
        let own: Vec<_> = self.headers.iter().filter(|(name, _)| name.starts_with("x-fuzz")).collect();
        let headers: Vec<_> = own
            .iter()
            .map(|(name, value)| serde_json::json!([name, String::from_utf8_lossy(value)]))
            .collect();
        let body = serde_json::json!({
            "from": self.from().map(|from| from.to_string()),
            "method": self.method,
            "target": self.target,
            "headers": headers,
            "length": self.body.len(),
            "hash": crc32fast::hash(&self.body),
        });
        body.to_string().into_bytes()
    }
}

/// The echo upstream; it stops with its runtime.
pub struct Echo {
    pub address: SocketAddr,
    received: Rc<RefCell<Received>>,
}

#[derive(Default)]
struct Received {
    by_client: HashMap<IpAddr, Vec<Request>>,
    malformed: Vec<String>,
}

impl Echo {
    pub fn start() -> Self {
        let (listener, address) = listen();
        let received = Rc::<RefCell<Received>>::default();
        tokio::task::spawn_local(accept(listener, Rc::clone(&received)));
        Self { address, received }
    }

    /// Returns and removes the requests of this client.
    pub fn take(&self, client: IpAddr) -> Vec<Request> {
        self.received.borrow_mut().by_client.remove(&client).unwrap_or_default()
    }

    /// Returns and removes the malformed requests.
    pub fn take_malformed(&self) -> Vec<String> {
        std::mem::take(&mut self.received.borrow_mut().malformed)
    }
}

/// Binds a free port on the current runtime.
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket of a runtime");
    let address = listener.local_addr().expect("its address");
    (TcpListener::from_std(listener).expect("a socket of this runtime"), address)
}

async fn accept(listener: TcpListener, received: Rc<RefCell<Received>>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(stream, Rc::clone(&received)));
        }
    }
}

async fn serve(mut stream: TcpStream, received: Rc<RefCell<Received>>) {
    let mut buffer = Vec::new();
    loop {
        match read(&mut stream, &mut buffer).await {
            Ok(Some(request)) => {
                let body = request.echo();
                if let Some(from) = request.from() {
                    received.borrow_mut().by_client.entry(from).or_default().push(request);
                } else {
                    received.borrow_mut().malformed.push(format!("no client in {request:?}"));
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    received.borrow_mut().malformed.push(error.to_string());
                }
                return;
            }
        }
    }
}

/// Reads the next request; `None` if the connection ends before its first byte.
///
/// # Errors
///
/// The connection ends inside the request, or the request is malformed (`InvalidData`).
pub async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let Some((mut request, length)) = read_head(stream, buffer).await? else { return Ok(None) };
    request.body = read_body(stream, buffer, length).await?;
    Ok(Some(request))
}

/// Reads the next request's head, and the length of its body.
///
/// # Errors
///
/// See [`read`].
pub async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<(Request, usize)>> {
    let (request, head) = loop {
        match head(buffer)? {
            Some(parsed) => break parsed,
            None if stream.read_buf(buffer).await? == 0 => {
                return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            None => {}
        }
    };
    let length = match request.all("content-length")[..] {
        [] => 0,
        [digits] => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok())
            .ok_or_else(|| malformed("a length that is no number", buffer))?,
        _ => return Err(malformed("two lengths", buffer)),
    };
    if !request.all("transfer-encoding").is_empty() {
        return Err(malformed("a transfer coding, which API Gateway does not take", buffer));
    }
    buffer.drain(..head);
    Ok(Some((request, length)))
}

/// Reads a request body.
///
/// # Errors
///
/// The connection ends inside the body.
pub async fn read_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.drain(..length).collect())
}

fn head(buffer: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(malformed(&error.to_string(), buffer)),
    };
    let headers =
        parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()));
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
    };
    Ok(Some((request, length)))
}

fn malformed(problem: &str, bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{problem}: \"{}\"", Escaped(bytes)))
}
