//! The header of the PROXY protocol, version 1 and 2 (haproxy.org, proxy-protocol.txt), with which a proxy
//! begins a connection to name its client.
//!
//! `accept.rs` reads it before TLS and HTTP. No byte after the header is read: it belongs to them.

use std::{fmt::Display, io, net::SocketAddr};

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::text::log_safe::log_safe;

/// The beginning of both versions that is read first. The shortest header has 15 bytes.
const START: usize = 6;
const V1_START: [u8; START] = *b"PROXY ";
/// Bytes of version 2 with which the header's length is known.
const V2_FIXED: usize = 16;
/// The place of version and command.
const V2_COMMAND: usize = 12;
/// Version 2 with the command `LOCAL`.
const V2_LOCAL: u8 = 0x20;
/// Bytes of the longest header of version 1, with its line end (2.1).
const MAX_V1: usize = 107;
/// Bytes of the longest header of version 2 that is accepted, as in nginx. Its TLVs may hold the names of a
/// client certificate.
const MAX_V2: usize = 4096;

/// Reads the header, and returns the client's address. `None` if the header names none: `UNKNOWN`, a proxy's
/// own health check (`LOCAL`), or a client that is not on TCP.
///
/// # Errors
/// `InvalidData` for bytes that are not such a header, and the connection's own.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; START];
    let mut length = 0;
    while length < START {
        match stream.read(&mut start[length..]).await? {
            0 if length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => return Err(missing()),
            read => length += read,
        }
        let start = &start[..length];
        if !(V1_START.starts_with(start) || v2::PROTOCOL_PREFIX.starts_with(start)) {
            return Err(missing());
        }
    }
    if start == V1_START { read_v1(stream, start).await } else { read_v2(stream, start).await }
}

/// Reads the rest of the line.
async fn read_v1(stream: &mut TcpStream, start: [u8; START]) -> io::Result<Option<SocketAddr>> {
    let mut line = [0; MAX_V1];
    line[..START].copy_from_slice(&start);
    let mut length = START;
    loop {
        let seen = stream.peek(&mut line[length..]).await?;
        let end = line[length..length + seen].iter().position(|byte| *byte == b'\n');
        let piece = end.map_or(seen, |end| end + 1);
        // the bytes have arrived
        stream.read_exact(&mut line[length..length + piece]).await?;
        length += piece;
        if end.is_some() {
            return named_by_v1(&line[..length]);
        }
        if seen == 0 {
            return Err(malformed("it has no end"));
        }
        if length == MAX_V1 {
            return Err(malformed("it is longer than 107 bytes"));
        }
    }
}

fn named_by_v1(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = v1::Header::try_from(line).map_err(malformed)?;
    if header.header.len() != line.len() {
        return Err(malformed("it has a carriage return in the middle"));
    }
    Ok(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
        v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
    })
}

async fn read_v2(stream: &mut TcpStream, start: [u8; START]) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; V2_FIXED];
    header[..START].copy_from_slice(&start);
    stream.read_exact(&mut header[START..]).await.map_err(unfinished)?;
    if !header.starts_with(v2::PROTOCOL_PREFIX) {
        return Err(missing());
    }
    let length = V2_FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > MAX_V2 {
        return Err(malformed(format_args!("it has {length} bytes, and {MAX_V2} are accepted")));
    }
    header.resize(length, 0);
    stream.read_exact(&mut header[V2_FIXED..]).await.map_err(unfinished)?;
    named_by_v2(&header)
}

fn named_by_v2(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    // the rest of such a header has no meaning (2.2)
    if header.get(V2_COMMAND) == Some(&V2_LOCAL) {
        return Ok(None);
    }
    let header = v2::Header::try_from(header).map_err(malformed)?;
    if header.protocol != v2::Protocol::Stream {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(of) => Some((of.source_address, of.source_port).into()),
        v2::Addresses::IPv6(of) => Some((of.source_address, of.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    })
}

fn unfinished(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { malformed("it has no end") } else { error }
}

fn missing() -> io::Error {
    invalid("no header of the PROXY protocol, which listen.proxy_protocol requires".into())
}

fn malformed(why: impl Display) -> io::Error {
    // some of the parser's texts have line ends
    let why = log_safe(&why.to_string(), usize::MAX);
    invalid(format!("malformed header of the PROXY protocol: {why}"))
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpSocket},
        time::{sleep, timeout},
    };

    use super::*;

    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_nodelay(true).unwrap();
        let client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// The result of reading pieces that arrive one after the other, and the bytes that are left.
    async fn read_pieces(pieces: &[&[u8]]) -> (Result<Option<SocketAddr>, String>, Vec<u8>) {
        let (mut client, mut server) = connection().await;
        let sending = async {
            for piece in pieces {
                // a server that closes early resets the connection
                if client.write_all(piece).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(2)).await;
            }
            let _ = client.shutdown().await;
        };
        let reading = async {
            let named = read(&mut server).await.map_err(|error| error.to_string());
            let mut rest = Vec::new();
            let _ = server.read_to_end(&mut rest).await;
            (named, rest)
        };
        tokio::join!(sending, reading).1
    }

    /// A header of version 2.
    fn v2_header(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, payload].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x9c, 0x40, 0, 80];

    fn v6() -> Vec<u8> {
        let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
        [&source[..], &[0; 16], &[0x9c, 0x40, 0, 80]].concat()
    }

    fn named_headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let tlv = [&V4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        let unknown = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       65535 65535\r\n";
        assert_eq!(unknown.len(), MAX_V1);
        vec![
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 40000 80\r\n".to_vec(), Some("203.0.113.7:40000")),
            (b"PROXY TCP6 2001:db8::7 fd00::1 40000 80\r\n".to_vec(), Some("[2001:db8::7]:40000")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (unknown.into(), None),
            (v2_header(1, 0x11, &V4), Some("203.0.113.7:40000")),
            (v2_header(1, 0x11, &tlv), Some("203.0.113.7:40000")),
            (v2_header(1, 0x21, &v6()), Some("[2001:db8::7]:40000")),
            (v2_header(0, 0x11, &V4), None),
            (v2_header(0, 0, &[]), None),
            (v2_header(0, 0xff, b"any"), None),
            (v2_header(1, 0, b"any"), None),
            (v2_header(1, 0x12, &V4), None),
            (v2_header(1, 0x31, &[b'/'; 216]), None),
            (
                v2_header(1, 0x11, &[&V4[..], &[0; MAX_V2 - V2_FIXED - 12]].concat()),
                Some("203.0.113.7:40000"),
            ),
        ]
    }

    #[actix_rt::test]
    async fn a_header_names_the_client_and_no_byte_after_it_is_read() {
        for (header, client) in named_headers() {
            let client = client.map(|client| client.parse::<SocketAddr>().unwrap());
            for rest in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\n", b"\x16\x03\x01", b"PROXY UNKNOWN\r\n", b""] {
                let (named, left) = read_pieces(&[&[&header[..], rest].concat()]).await;
                assert_eq!((named, &*left), (Ok(client), rest), "{}", header.escape_ascii());
            }
        }
    }

    #[actix_rt::test]
    async fn a_header_may_arrive_byte_by_byte() {
        for (header, client) in named_headers().into_iter().filter(|(header, _)| header.len() < 64) {
            let bytes: Vec<&[u8]> = header.chunks(1).chain([&b"rest"[..]]).collect();
            let client = client.map(|client| client.parse::<SocketAddr>().unwrap());
            assert_eq!(
                read_pieces(&bytes).await,
                (Ok(client), b"rest".to_vec()),
                "{}",
                header.escape_ascii()
            );
        }
    }

    #[actix_rt::test]
    async fn other_bytes_are_refused() {
        const MISSING: &str = "no header of the PROXY protocol";
        const MALFORMED: &str = "malformed header of the PROXY protocol";
        let long_line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1));
        let long = v2_header(1, 0x11, &[0; MAX_V2 - V2_FIXED + 1]);
        for (bytes, why) in [
            (&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], MISSING),
            (b"G", MISSING),
            (b"PROXY", MISSING),
            (b"proxy TCP4 203.0.113.7 10.0.0.1 1 2\r\n", MISSING),
            (b"\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c............", MISSING),
            (b"\x16\x03\x01\x02\0\x01\0", MISSING),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n", MALFORMED),
            (b"PROXY TCP4 203.0.113.300 10.0.0.1 1 2\r\n", MALFORMED),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", MALFORMED),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 1 65536\r\n", MALFORMED),
            (b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n", MALFORMED),
            (b"PROXY UNKNOWN\r\r\n", MALFORMED),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2", "it has no end"),
            (long_line.as_bytes(), "longer than 107 bytes"),
            (&long, "it has 4097 bytes, and 4096 are accepted"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c...", "it has no end"),
            (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c............", MALFORMED),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x03...", MALFORMED),
        ] {
            let (named, _) = read_pieces(&[bytes]).await;
            let error = named.expect_err(&bytes.escape_ascii().to_string());
            assert!(
                error.contains(why) && !error.contains(['\r', '\n']),
                "{}: {error}",
                bytes.escape_ascii()
            );
        }
    }

    #[actix_rt::test]
    async fn a_connection_without_a_byte_is_told_apart() {
        let (client, mut server) = connection().await;
        drop(client);
        assert_eq!(read(&mut server).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[actix_rt::test]
    async fn an_unfinished_header_is_waited_for() {
        for start in [&b"PRO"[..], b"PROXY TCP4 203.", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c.."] {
            let (mut client, mut server) = connection().await;
            client.write_all(start).await.unwrap();
            assert!(timeout(Duration::from_millis(20), read(&mut server)).await.is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = named_by_v1(&[&V1_START[..], &bytes, b"\r\n"].concat());
            let mut header = [v2::PROTOCOL_PREFIX, &bytes].concat();
            if let Ok(length) = u16::try_from(header.len().saturating_sub(V2_FIXED))
                && header.len() >= V2_FIXED
            {
                header[14..16].copy_from_slice(&length.to_be_bytes());
            }
            let _ = named_by_v2(&header);
        }
    }
}
