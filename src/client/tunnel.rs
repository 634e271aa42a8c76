//! Opens a tunnel through an HTTP proxy with CONNECT (RFC 9110, 9.3.6).
//!
//! `dial.rs` connects to the proxy before and performs the TLS handshake with the target afterwards, so the
//! proxy sees only encrypted bytes.

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

/// Maximum bytes of the proxy's response head.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
/// Bytes peeked at a time; most responses are shorter.
const PEEK_SIZE: usize = 1 << 10;

/// A failed CONNECT request.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("status {0}")]
    Status(u16),
    #[error("not an HTTP response: {0}")]
    Head(httparse::Error),
    #[error("an answer of more than {MAX_HEAD} bytes")]
    TooLarge,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

impl TunnelError {
    /// The operator's next step.
    fn cure(&self) -> &'static str {
        match self {
            Self::Status(407) => {
                "The proxy requires other credentials: correct user and password in proxy_url, or in \
                 HTTPS_PROXY or HTTP_PROXY of the environment, http://USER:PASSWORD@HOST:PORT"
            }
            Self::Status(403) => {
                "The proxy's rules forbid this host and port: allow them there, or connect without the proxy \
                 by NO_PROXY in the environment or `proxy_url: none`"
            }
            Self::Status(_) => "The proxy's log says why; it has to reach this host and port",
            Self::Head(_) | Self::TooLarge | Self::Io(_) => {
                "Check that proxy_url, or HTTPS_PROXY or HTTP_PROXY of the environment, is the URL of an \
                 HTTP proxy that is reached without TLS"
            }
        }
    }
}

/// Sends CONNECT for `endpoint` to the proxy at the other end of `stream`. The proxy resolves the name, which
/// may be unknown here or resolve to another address. On failure the operator's next step is stored in
/// `cure`.
///
/// # Errors
/// The proxy rejects the request, or its response is malformed.
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
) -> Result<(), TunnelError> {
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
            // an interim response; 101 is an error, because `Upgrade` is never sent
            100 | 102..=199 => {}
            200..=299 => return Ok(()),
            status => return Err(TunnelError::Status(status)),
        }
    }
}

/// Reads one head and not a byte more: the next bytes are the target's. A body is never read: a success has
/// none, and after a failure the connection is closed.
async fn read_status(stream: &mut TcpStream) -> Result<u16, TunnelError> {
    let mut head = Vec::with_capacity(PEEK_SIZE);
    loop {
        let before = head.len();
        head.resize((before + PEEK_SIZE).min(MAX_HEAD), 0);
        if head.len() == before {
            return Err(TunnelError::TooLarge);
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

/// The status and the length of a complete head.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize)>, TunnelError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => {
            let code = response.code.ok_or(TunnelError::Head(httparse::Error::Status))?;
            Ok(Some((code, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(TunnelError::Head(error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_head_is_read_once_it_is_complete_and_not_a_byte_more(
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
                let parsed = parse(&bytes[..cut]);
                prop_assert!(matches!(parsed, Ok(Some((own, end))) if (own, end) == (status, head.len())));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (parse(&bytes), parse(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat()));
        }
    }
}
