//! A tunnel through an HTTP proxy (RFC 9110, 9.3.6).
//!
//! `dial.rs` opens the connection to the proxy, here it becomes one to the target, and then `dial.rs` goes on
//! as without a proxy: TLS, if any, is with the target, and the proxy sees none of what passes.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::endpoint::Endpoint;
use crate::{
    message::error::{ErrorKind, ProxyError},
    settings::ForwardProxy,
};

/// Bytes of the proxy's answer.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
/// Bytes looked at in one go: most answers are shorter.
const PIECE: usize = 1 << 10;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
enum ProxyRefusal {
    /// The proxy says no.
    #[error("status {0}")]
    Status(u16),
    /// It says nothing that is understood.
    #[error("not an HTTP response: {0}")]
    Head(httparse::Error),
    /// It says too much.
    #[error("an answer of more than {MAX_HEAD} bytes")]
    TooLarge,
    /// The connection to it broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ProxyRefusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ProxyRefusal {
    /// The operator's next step.
    fn cure(&self) -> &'static str {
        match self {
            Self::Status(407) => {
                "The proxy requires other credentials: correct user and password in proxy_url, \
                 http://USER:PASSWORD@HOST:PORT"
            }
            Self::Status(403) => "The proxy's rules forbid this host and port: have them allowed there",
            Self::Status(_) => "The proxy's log says why; it has to reach this host and port",
            Self::Head(_) | Self::TooLarge | Self::Io(_) => {
                "See whether proxy_url is that of an HTTP proxy, spoken to without TLS"
            }
        }
    }
}

/// Asks the proxy at the other end of `stream` for a tunnel to `endpoint`. It resolves the name: ours may not
/// be known here, nor would it be the same address. A refusal's cure is put into `cure`.
///
/// # Errors
/// The proxy refuses, or gives no answer that is understood.
pub async fn open(
    stream: &mut TcpStream,
    proxy: &ForwardProxy,
    endpoint: &Endpoint,
    cure: &mut Option<&'static str>,
) -> Result<(), ProxyError> {
    negotiate(stream, proxy, endpoint).await.map_err(|refusal| {
        *cure = Some(refusal.cure());
        let cause = format!("the proxy {proxy} opened no tunnel (CONNECT {endpoint}): {refusal}");
        ProxyError::new(ErrorKind::UpstreamConnect, cause)
    })
}

async fn negotiate(
    stream: &mut TcpStream,
    proxy: &ForwardProxy,
    endpoint: &Endpoint,
) -> Result<(), ProxyRefusal> {
    let mut request = format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n").into_bytes();
    if let Some(value) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    loop {
        match read_status(stream).await? {
            // an interim answer; nobody asked for another protocol
            100 | 102..=199 => {}
            200..=299 => return Ok(()),
            status => return Err(ProxyRefusal::Status(status)),
        }
    }
}

/// Reads one head and not a byte more: what follows is the target's. Lengths in it mean nothing when the answer
/// is yes, and nothing is read after any other.
async fn read_status(stream: &mut TcpStream) -> Result<u16, ProxyRefusal> {
    let mut head = Vec::with_capacity(PIECE);
    loop {
        let before = head.len();
        head.resize((before + PIECE).min(MAX_HEAD), 0);
        if head.len() == before {
            return Err(ProxyRefusal::TooLarge);
        }
        let seen = stream.peek(&mut head[before..]).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        head.truncate(before + seen);
        let status = parse(&head)?;
        let end = status.map_or(head.len(), |(_, end)| end);
        stream.read_exact(&mut head[before..end]).await?;
        if let Some((status, _)) = status {
            return Ok(status);
        }
    }
}

/// The status and the length of a head, once it is complete.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize)>, ProxyRefusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => {
            let code = response.code.ok_or(ProxyRefusal::Head(httparse::Error::Status))?;
            Ok(Some((code, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(ProxyRefusal::Head(error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_head_that_comes_in_pieces_is_read_when_it_is_whole_and_not_a_byte_more(
            status in 100_u16..1000,
            headers in prop::collection::vec("[a-z-]{1,8}: [ -~]{0,12}\r\n", 0..6),
            after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let head = format!("HTTP/1.1 {status} Any Reason\r\n{}\r\n", headers.concat());
            let bytes = [head.as_bytes(), &after].concat();
            for cut in 0..head.len() {
                prop_assert!(matches!(parse(&bytes[..cut]), Ok(None)), "{cut}");
            }
            for cut in head.len()..=bytes.len() {
                prop_assert!(matches!(parse(&bytes[..cut]), Ok(Some((own, end))) if (own, end) == (status, head.len())));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (parse(&bytes), parse(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat()));
        }
    }
}
