//! Reads responses of the sidecar; reports where one was cut.

use std::{io, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};

/// Timeout of a response.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes per read and pause between reads of a slow client.
const SLOW_READ: (usize, Duration) = (16 << 10, Duration::from_millis(20));

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub request_id: Option<String>,
    /// The connection closes after this response.
    pub is_last: bool,
}

/// A response that never became complete.
#[derive(Debug)]
pub struct Broken {
    /// Bytes received.
    pub bytes: usize,
    pub error: io::Error,
}

/// Reads responses from a connection.
pub struct Reader {
    buffer: Vec<u8>,
    received: usize,
    is_slow: bool,
}

impl Reader {
    pub fn new(is_slow: bool) -> Self {
        Self { buffer: Vec::new(), received: 0, is_slow }
    }

    /// Reads one response.
    pub async fn answer(&mut self, stream: &mut TcpStream) -> Result<Answer, Broken> {
        self.received = self.buffer.len();
        let read = timeout(TIMEOUT, self.read(stream)).await;
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "no whole answer within a minute"));
        read.unwrap_or_else(|_| late()).map_err(|error| Broken { bytes: self.received, error })
    }

    async fn read(&mut self, stream: &mut TcpStream) -> io::Result<Answer> {
        let head = self.until(stream, b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let header = |name: &str| {
            let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
            lines
                .into_iter()
                .find(|(own, _)| own.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| bad(&head))?;
        let mut is_last = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let body = if header("transfer-encoding").is_some() {
            self.chunks(stream).await?
        } else if let Some(length) = header("content-length") {
            self.exactly(stream, length.parse().map_err(|_| bad(&length))?).await?
        } else {
            is_last = true;
            while self.more(stream).await? > 0 {}
            std::mem::take(&mut self.buffer)
        };
        Ok(Answer { status, body, request_id: header("x-request-id"), is_last })
    }

    async fn chunks(&mut self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(stream, b"\r\n").await?;
            let size = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
            let size = usize::from_str_radix(&size, 16).map_err(|_| bad(&size))?;
            let mut chunk = self.exactly(stream, size + 2).await?;
            if chunk.split_off(size) != b"\r\n" {
                return Err(bad("no line end after a chunk"));
            }
            if size == 0 {
                return Ok(body);
            }
            body.append(&mut chunk);
        }
    }

    /// Reads up to and including `end`.
    async fn until(&mut self, stream: &mut TcpStream, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self.buffer.windows(end.len()).position(|window| window == end);
            if let Some(start) = found {
                return Ok(self.buffer.drain(..start + end.len()).collect());
            }
            self.some(stream).await?;
        }
    }

    async fn exactly(&mut self, stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.some(stream).await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn some(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        match self.more(stream).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn more(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let (piece, rest) = SLOW_READ;
        let length = if self.is_slow {
            sleep(rest).await;
            let mut limited = (&mut *stream).take(piece as u64);
            limited.read_buf(&mut self.buffer).await?
        } else {
            self.buffer.reserve(piece);
            stream.read_buf(&mut self.buffer).await?
        };
        self.received += length;
        Ok(length)
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
