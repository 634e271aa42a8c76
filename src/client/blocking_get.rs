//! One GET by a blocking socket, without a runtime, TLS or proxy: `apigw-invoker health` asks the admin port.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::text::units::duration_text;

/// Bytes of a response that are read: `/ready` has a line for each route.
const MAX_RESPONSE: usize = 1 << 20;

/// Requests `path` from the first of the targets that accepts. Returns the status, and the body unless the
/// status is 200.
///
/// # Errors
/// The reason why there is no response within `timeout`.
pub fn blocking_get(
    targets: &[SocketAddr],
    host: &str,
    path: &str,
    timeout: Duration,
) -> Result<(u16, Vec<u8>), String> {
    let deadline = Deadline { at: Instant::now() + timeout, timeout };
    let mut stream = connect(targets, deadline)?;
    let mut response =
        exchange(&mut stream, host, path, deadline).map_err(|error| deadline.cause("no response", &error))?;
    let status = status(&response).ok_or("the response is not HTTP")?;
    let head = response.windows(4).position(|four| four == b"\r\n\r\n");
    let body = response.split_off(head.map_or(response.len(), |end| end + 4));
    Ok((status, body))
}

/// The end of the whole exchange.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    /// The time that is left, never zero.
    fn left(self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn cause(self, what: &str, error: &io::Error) -> String {
        match error.kind() {
            // a socket's own timeout is `WouldBlock` on Unix
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                format!("{what} within {}", duration_text(self.timeout))
            }
            _ => format!("{what}: {error}"),
        }
    }
}

/// Connects to the first of the targets that accepts.
fn connect(targets: &[SocketAddr], deadline: Deadline) -> Result<TcpStream, String> {
    let mut causes = Vec::new();
    for target in targets {
        match deadline.left().and_then(|left| TcpStream::connect_timeout(target, left)) {
            Ok(stream) => return Ok(stream),
            Err(error) => causes.push(deadline.cause(&format!("cannot connect to {target}"), &error)),
        }
    }
    Err(causes.join(", "))
}

/// Sends the request and reads the response: its status line if that has 200, otherwise all of it.
fn exchange(stream: &mut TcpStream, host: &str, path: &str, deadline: Deadline) -> io::Result<Vec<u8>> {
    // responses to HTTP/1.0 are not chunked and end with the connection
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.set_write_timeout(Some(deadline.left()?))?;
    stream.write_all(request.as_bytes())?;
    let (mut response, mut piece) = (Vec::new(), [0; 4096]);
    while response.len() < MAX_RESPONSE && status(&response) != Some(200) {
        let read = deadline.left().and_then(|left| {
            stream.set_read_timeout(Some(left))?;
            stream.read(&mut piece)
        });
        match read {
            Ok(0) => break,
            Ok(length) => response.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // the status is worth more than the missing rest
            Err(_) if status(&response).is_some() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(response)
}

/// The status of a response whose status line is complete (RFC 9112, section 4).
fn status(response: &[u8]) -> Option<u16> {
    let end = response.iter().position(|byte| *byte == b'\n')?;
    let line = str::from_utf8(&response[..end]).ok()?.strip_prefix("HTTP/1.")?;
    line.split(' ').nth(1)?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_a_whole_status_line_alone() {
        for (response, expected) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503 Service Unavailable\r\nx: y\r\n\r\n", Some(503)),
            ("HTTP/1.1 200\n", Some(200)),
            ("HTTP/1.1 200 OK", None),
            ("HTTP/1.1 2000000 OK\r\n", None),
            ("HTTP/1.1 \r\n", None),
            ("SSH-2.0-OpenSSH_9.2\r\n", None),
            ("", None),
        ] {
            assert_eq!(status(response.as_bytes()), expected, "{response}");
        }
        assert_eq!(status(b"HTTP/1.1 \xff 200\n"), None);
    }
}
