//! C1: truncated responses. The client gets all bytes that were received and can detect the cut, or gets an
//! error of the sidecar. Its connection never ends without a byte, because clients would then send the
//! request again.

use std::{
    io::{self, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use socket2::SockRef;

use super::{
    faults::kinds::{BODY, Kind},
    support::{
        App, Response, Upstream, open,
        process::{ANY_PORT, Process, settings},
        read_response,
        upstream::Received,
    },
};

/// All bytes received on a connection, and how it ended.
struct Heard {
    bytes: Vec<u8>,
    is_reset: bool,
}

/// Reads to the end of the connection.
fn hear(stream: &mut impl io::Read) -> Heard {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Heard { bytes, is_reset: false },
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Heard { bytes, is_reset: true };
            }
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

/// An upstream that sends these bytes and closes.
fn cut_after(bytes: impl Into<Vec<u8>>) -> Upstream {
    let bytes = bytes.into();
    Upstream::serving(move |_, stream| {
        stream.write_all(&bytes)?;
        Err(ErrorKind::ConnectionAborted.into())
    })
}

const POST: &[u8] =
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const POST_1_0: &[u8] = b"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";
const TIMES: usize = 40;

fn heard_from(address: SocketAddr, request: &[u8]) -> Heard {
    let mut stream = open(address);
    stream.write_all(request).unwrap();
    hear(&mut stream)
}

/// Upstream responses that are cut after the first half of [`BODY`], for each kind of backend.
fn halves() -> Vec<(Kind, Vec<u8>)> {
    let chunked = |kind: Kind| {
        let cut = kind.chunked().half();
        [&cut[..], b"zz\r\n"].concat()
    };
    vec![
        (Kind::Signed, kind_sized(Kind::Signed)),
        (Kind::Streamed, chunked(Kind::Streamed)),
        (Kind::Invoke, kind_sized(Kind::Invoke)),
        (Kind::Events, kind_sized(Kind::Events)),
    ]
}

fn kind_sized(kind: Kind) -> Vec<u8> {
    kind.sized().half()
}

#[test]
fn c1_what_was_received_of_a_cut_answer_arrives_before_the_connection_breaks() {
    for (kind, bytes) in halves() {
        let upstream = cut_after(bytes);
        let app = App::with("").route("r", &kind.route("/*", upstream.address, false, "")).start();
        for _ in 0..TIMES {
            let heard = heard_from(app.address, POST);
            let text = String::from_utf8_lossy(&heard.bytes).into_owned();
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{kind:?}: {text:?}");
            assert!(text.contains(&BODY[..5]) && !text.contains(BODY), "{kind:?}: {text:?}");
            assert!(!text.ends_with("0\r\n\r\n"), "{kind:?}: {text:?} looks whole");
            assert!(!heard.is_reset, "{kind:?}: {text:?}");
        }
    }
}

#[test]
fn c1_an_answer_of_unknown_length_that_is_cut_for_an_http_1_0_client_arrives_and_ends_in_a_reset() {
    let upstream = cut_after(Kind::Streamed.chunked().half());
    let app = App::with("").route("r", &Kind::Streamed.route("/*", upstream.address, false, "")).start();
    for _ in 0..TIMES {
        let heard = heard_from(app.address, POST_1_0);
        let text = String::from_utf8_lossy(&heard.bytes).into_owned();
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with(&BODY[..5]), "{text:?}");
        assert!(heard.is_reset, "{text:?} looks whole");
    }
}

#[test]
fn c1_an_answer_that_breaks_before_its_first_byte_is_502_on_a_connection_that_stays() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    for (bytes, code) in [
        (format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\nhello"), "upstream_protocol"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n5;\x01\r\nhello"), "upstream_protocol"),
    ] {
        for kind in [Kind::Signed, Kind::Streamed, Kind::Invoke] {
            let upstream = cut_after(bytes.clone());
            let app = App::with("").route("r", &kind.route("/*", upstream.address, false, "")).start();
            let mut stream = BufReader::new(open(app.address));
            for _ in 0..TIMES {
                stream.get_mut().write_all(POST).unwrap();
                let response = read_response(&mut stream, false).unwrap();
                assert_eq!((response.status, response.code().as_str()), (502, code), "{kind:?} {bytes:?}");
                assert_eq!(response.header("content-type"), Some("application/json"));
            }
        }
    }
}

/// Sends a POST like curl: again, on a new connection, if a reused connection ends without a byte.
fn post_as_curl(stream: &mut Option<BufReader<TcpStream>>, address: SocketAddr) -> io::Result<Response> {
    loop {
        let is_kept = stream.is_some();
        let mut connection = stream.take().unwrap_or_else(|| BufReader::new(open(address)));
        let _ = connection.get_mut().write_all(POST);
        let mut first = [0];
        let is_stale = !matches!(connection.get_ref().peek(&mut first), Ok(1));
        if is_stale && is_kept {
            continue;
        }
        let response = read_response(&mut connection, false)?;
        if response.header("connection") != Some("close") {
            *stream = Some(connection);
        }
        return Ok(response);
    }
}

#[test]
fn c1_no_client_sends_a_post_twice_because_its_answer_was_cut() {
    let whole = Kind::Signed.sized().whole();
    let cut = kind_sized(Kind::Signed);
    let answers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answers);
    let upstream = Upstream::serving(move |_, stream| {
        let is_cut = count.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        stream.write_all(if is_cut { &cut } else { &whole })?;
        if is_cut { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    });
    let app = App::with("").route("r", &Kind::Signed.route("/*", upstream.address, false, "")).start();
    let mut stream = None;
    for number in 0..TIMES {
        let response = post_as_curl(&mut stream, app.address);
        assert_eq!(response.is_ok(), number % 2 == 0, "{number}: {response:?}");
    }
    assert_eq!(upstream.received().len(), TIMES);
}

#[test]
fn c1_the_access_log_names_the_bytes_that_left() {
    let upstream = cut_after(kind_sized(Kind::Streamed));
    let route = Kind::Streamed.route("/*", upstream.address, false, "");
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    for _ in 0..TIMES {
        assert!(heard_from(address, POST).bytes.ends_with(&BODY.as_bytes()[..5]));
    }
    process.stop();
    let log = process.errors();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("POST / 200 ")).collect();
    assert_eq!(lines.len(), TIMES, "{log}");
    for line in lines {
        assert!(line.contains(" response_bytes=5 ") && line.contains(" code=upstream_truncated"), "{line}");
    }
}

/// Behaviour of the upstream in the property test, encoded in the request target.
#[derive(Debug, Clone, Copy)]
struct Plan {
    framing: usize,
    length: usize,
    cut: usize,
    pause_at: usize,
}

impl Plan {
    fn target(self) -> String {
        format!("/{}/{}/{}/{}", self.framing, self.length, self.cut, self.pause_at)
    }

    fn read(request: &Received) -> Self {
        let numbers: Vec<usize> =
            request.target().split('/').skip(1).map(|number| number.parse().unwrap()).collect();
        let [framing, length, cut, pause_at] = numbers[..] else { panic!("{numbers:?}") };
        Self { framing, length, cut, pause_at }
    }

    fn body(self) -> Vec<u8> {
        (0..self.length).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect()
    }

    /// The whole response, and the offset of its body.
    fn answer(self) -> Vec<u8> {
        let body = self.body();
        if self.framing == 0 {
            return [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body]
                .concat();
        }
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in body.chunks(7000) {
            answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            answer.extend_from_slice(piece);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        answer
    }

    /// Sends the response up to the cut, in two parts.
    fn play(self, stream: &mut TcpStream) -> io::Result<()> {
        let mut answer = self.answer();
        answer.truncate(self.cut);
        let (first, rest) = answer.split_at(self.pause_at.min(answer.len()));
        stream.write_all(first)?;
        if self.pause_at.is_multiple_of(2) {
            std::thread::sleep(Duration::from_millis(2));
        }
        stream.write_all(rest)?;
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn check(self, seen: &Heard, version: &str) -> Result<(), TestCaseError> {
        let whole = self.body();
        prop_assert!(!seen.bytes.is_empty(), "an empty end, reset: {}", seen.is_reset);
        let end = seen.bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.ok_or_else(|| TestCaseError::fail("half a head"))? + 4;
        let (head, body) = seen.bytes.split_at(end);
        let head = String::from_utf8_lossy(head).to_lowercase();
        if head.starts_with(&format!("http/{version} 502 ")) {
            let body = String::from_utf8_lossy(body).into_owned();
            prop_assert!(body.contains("\"upstream_truncated\""), "{body}");
            return Ok(());
        }
        prop_assert!(head.starts_with(&format!("http/{version} 200 ")), "{head}");
        let (body, looks_whole) = if let Some(length) = head.split_once("content-length: ") {
            let length: usize = length.1.split_once("\r\n").unwrap().0.parse().unwrap();
            (body.to_vec(), body.len() == length)
        } else if head.contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            (body.to_vec(), !seen.is_reset)
        };
        prop_assert!(whole.starts_with(&body), "not a prefix: {} of {} bytes", body.len(), whole.len());
        prop_assert!(!looks_whole || body == whole, "{} of {} bytes look whole", body.len(), whole.len());
        prop_assert_eq!(looks_whole, self.cut >= self.answer().len());
        Ok(())
    }
}

/// Decoded data of a chunked body, and whether the last chunk was received.
fn unchunked(mut chunks: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(end) = chunks.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (data, chunks[end..] == *b"\r\n\r\n");
        }
        chunks = &chunks[end + 2..];
        let length = size.min(chunks.len());
        data.extend_from_slice(&chunks[..length]);
        chunks = chunks.get(size + 2..).unwrap_or_default();
    }
    (data, false)
}

/// Reads in pieces of this size with pauses, through a small receive window.
fn heard_slowly(address: SocketAddr, request: &[u8], piece: usize, pauses: usize) -> Heard {
    let mut stream = open(address);
    SockRef::from(&stream).set_recv_buffer_size(8 << 10).unwrap();
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; piece];
    for _ in 0..pauses {
        std::thread::sleep(Duration::from_millis(1));
        match stream.read(&mut buffer) {
            Ok(0) => return Heard { bytes, is_reset: false },
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(_) => return Heard { bytes, is_reset: true },
        }
    }
    let rest = hear(&mut stream);
    bytes.extend_from_slice(&rest.bytes);
    Heard { bytes, is_reset: rest.is_reset }
}

#[test]
fn c1_any_truncated_response_is_a_prefix_with_a_visible_break_or_502() {
    let upstream = Upstream::serving(|request, stream| Plan::read(request).play(stream));
    let app = App::with("log: { access: false }").gateway("r", "/*", &upstream.uri("/"), "").start();
    let plans =
        (0..2_usize, prop_oneof![0..50_usize, 0..200_000_usize], any::<prop::sample::Index>(), 0..400_usize);
    let clients = (1..4000_usize, 0..6_usize, prop::sample::select(vec!["1.1", "1.0"]));
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
        .run(&(plans, clients), |((framing, length, cut, pause_at), (piece, pauses, version))| {
            let whole = Plan { framing, length, cut: usize::MAX, pause_at };
            let plan = Plan { cut: cut.index(whole.answer().len() + 1), ..whole };
            let target = plan.target();
            let request = format!("GET {target} HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n");
            plan.check(&heard_slowly(app.address, request.as_bytes(), piece, pauses), version)
        })
        .unwrap();
}

/// All bytes received on a Unix socket for an HTTP/1.0 request.
fn heard_on_a_unix_socket(upstream: &Upstream) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("unix: {}", path.display());
    let _app = App::listening(&listen, "").gateway("r", "/*", &upstream.uri("/"), "").start();
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\nhost: h\r\n\r\n").unwrap();
    hear(&mut stream).bytes
}

/// A Unix socket has no reset: a response delimited by the end of the connection would look complete wherever
/// it is cut.
#[test]
fn c1_an_answer_to_http_1_0_on_a_unix_socket_has_its_length_or_is_502() {
    let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (answer, expected) in [(whole, 200), (&whole[..whole.len() - 5], 502)] {
        let heard = String::from_utf8(heard_on_a_unix_socket(&cut_after(answer))).unwrap();
        assert!(heard.starts_with(&format!("HTTP/1.0 {expected} ")), "{heard}");
        assert_eq!(
            heard.contains("content-length: 5\r\n") && heard.ends_with("hello"),
            expected == 200,
            "{heard}"
        );
    }
}

#[test]
fn c1_an_answer_to_http_1_0_on_a_unix_socket_is_held_up_to_16_mib() {
    const MOST: usize = 16 << 20;
    for (length, expected) in [(MOST, 200), (MOST + 1, 502)] {
        let intro = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n");
        let answer = [intro.as_bytes(), &vec![b'x'; length], b"\r\n0\r\n\r\n"].concat();
        let all = heard_on_a_unix_socket(&cut_after(answer));
        let beginning = String::from_utf8_lossy(&all[..all.len().min(1000)]).into_owned();
        assert!(beginning.starts_with(&format!("HTTP/1.0 {expected} ")), "{length}: {beginning}");
        let is_told = beginning.contains(&format!("content-length: {length}\r\n"));
        assert_eq!((is_told, all.len() > length), (expected == 200, expected == 200), "{beginning}");
        assert_eq!(beginning.contains("upstream_truncated"), expected == 502, "{beginning}");
    }
}
