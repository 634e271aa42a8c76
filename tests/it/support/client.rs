//! HTTP/1.1 client that sends exactly the given bytes and exposes the whole response.

use std::{
    io::{self, BufRead, BufReader, Read as _, Write},
    net::{SocketAddr, TcpStream},
};

use super::wait::PATIENCE;

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// Value of the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    /// Values of all headers with this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Error code of a response that the sidecar made itself.
    pub fn code(&self) -> String {
        serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|body| Some(body.get("code")?.as_str()?.to_owned()))
            .unwrap_or_else(|| format!("no code in {:?}", self.text()))
    }
}

/// Opens a connection with a read timeout.
pub fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the sidecar accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends bytes on a new connection and reads one response.
#[track_caller]
pub fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    let request = request.as_ref();
    let mut stream = open(address);
    // a server may respond and close before it has read everything
    let _ = stream.write_all(request);
    read_response(&mut BufReader::new(stream), request.starts_with(b"HEAD ")).expect("a whole answer")
}

/// Sends a GET for `target`.
#[track_caller]
pub fn get(address: SocketAddr, target: &str) -> Response {
    call(address, "GET", target, &[], b"")
}

/// Sends a request with headers and, if it is not empty, a body.
#[track_caller]
pub fn call(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() {
        request.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    request.push_str("\r\n");
    send(address, [request.as_bytes(), body].concat())
}

/// Reads one response; an error if it is cut.
pub fn read_response(stream: &mut impl BufRead, to_head: bool) -> io::Result<Response> {
    let status_line = line(stream)?;
    let mut words = status_line.splitn(3, ' ');
    let version = words.next().unwrap_or_default().to_owned();
    let status = words.next().and_then(|word| word.parse().ok()).ok_or_else(|| bad(&status_line))?;
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    if to_head || matches!(status, 100..200 | 204 | 304) {
        return Ok(response);
    }
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        assert_eq!(version, "HTTP/1.1", "chunks are unknown to HTTP/1.0");
        read_chunks(stream, &mut response.body)?;
    } else if let Some(length) = response.header("content-length") {
        // reads what arrives: `Content-Length` may exceed the memory
        let length: u64 = length.parse().map_err(|_| bad(length))?;
        stream.take(length).read_to_end(&mut response.body)?;
        if response.body.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else {
        stream.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(stream)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| bad(&size))?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        if !line(stream)?.is_empty() {
            return Err(bad("no line end after a chunk"));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("cut off after {line:?}"))),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
