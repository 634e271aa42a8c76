//! Calls with both directions active: slow bodies, early responses, and reuse of the connection afterwards.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use super::support::{
    App, Response, Upstream, call, eventually, get, open, read_response, upstream::Received,
};

const SIGNED: &str = "authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }\n";
/// More than the kernel's buffers of two connections can hold.
const LARGE: usize = 32 << 20;

/// A sidecar with one route that accepts large bodies.
fn app(upstream: &Upstream, rest: &str) -> App {
    let rest = format!("max_req_body_size: 64MiB\n{rest}");
    App::with("limits: { max_request_body: 64MiB }").gateway("r", "/*", &upstream.uri("/"), &rest).start()
}

/// Reads a head without its body; returns the first line.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut first = String::new();
    let mut line = String::new();
    reader.read_line(&mut first)?;
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    Ok((!first.is_empty()).then_some(first))
}

/// Sends a request whose body may never be read completely, and reads the response.
fn upload(app: &App, length: usize) -> Response {
    let stream = open(app.address);
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let head = format!("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
            // the peer may close once it has the response
            let _ = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&vec![b'x'; length]));
        });
        let answer = read_response(&mut BufReader::new(&stream), false).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Both);
        answer
    })
}

/// An upstream that reads heads only, responds to uploads with these bytes, and then neither reads nor closes
/// until the returned sender is dropped.
fn responding_early(answer: &str) -> (Upstream, mpsc::Sender<()>) {
    let (release, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let answer = answer.to_owned();
    let upstream = Upstream::accepting(move |connection, mut stream, received: &Mutex<Vec<Received>>| {
        let mut reader = BufReader::with_capacity(512, stream.try_clone()?);
        while let Some(line) = read_head(&mut reader)? {
            let uploads = line.starts_with("POST");
            let request = Received { line, headers: Vec::new(), body: Vec::new(), connection };
            received.lock().unwrap().push(request);
            if uploads {
                stream.write_all(answer.as_bytes())?;
                let _ = hold.lock().unwrap().recv();
                return Ok(());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    (upstream, release)
}

#[test]
fn an_early_response_of_an_upstream_that_stops_reading_is_relayed_at_once() {
    for (status, headers) in
        [(413, "Content-Length: 2\r\n"), (403, "Content-Length: 2\r\nConnection: close\r\n")]
    {
        for rest in ["timeout: 1h\n", &format!("timeout: 1h\n{SIGNED}")] {
            let (upstream, release) = responding_early(&format!("HTTP/1.1 {status} No\r\n{headers}\r\nno"));
            let app = app(&upstream, rest);
            assert_eq!(get(app.address, "/first").status, 200);
            let response = upload(&app, LARGE);
            assert_eq!((response.status, response.text().as_str()), (status, "no"));
            assert_eq!(get(app.address, "/second").status, 200);
            let connections: Vec<usize> =
                upstream.received().iter().map(|request| request.connection).collect();
            assert_eq!(connections, [0, 0, 1], "half a request is on its way on the first one");
            drop(release);
        }
    }
}

#[test]
fn an_upstream_that_refuses_and_closes_is_sent_no_more_of_the_body() {
    let (seen, told) = mpsc::channel();
    let (release, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let upstream = Upstream::accepting(move |_, mut stream, _| {
        read_head(&mut BufReader::with_capacity(512, stream.try_clone()?))?;
        stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nn")?;
        let _ = hold.lock().unwrap().recv();
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        seen.send(stream.read(&mut [0; 1]).map_err(|error| error.kind())).unwrap();
        stream.write_all(b"o")
    });
    let app = app(&upstream, "timeout: 1h\n");
    let mut stream = posting(&app, 3);
    let mut answer = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(read_head(&mut answer).unwrap().as_deref(), Some("HTTP/1.1 413 Payload Too Large\r\n"));
    stream.write_all(b"abc").unwrap();
    release.send(()).unwrap();
    let mut body = [0; 2];
    answer.read_exact(&mut body).unwrap();
    assert_eq!((&body, told.recv().unwrap()), (b"no", Err(io::ErrorKind::WouldBlock)));
}

#[test]
fn an_upstream_that_stops_reading_is_504_after_the_time_limit() {
    for rest in ["", SIGNED] {
        let (upstream, release) = responding_early("");
        let app = app(&upstream, &format!("timeout: 1h\nfirst_byte_timeout: 300\n{rest}"));
        let start = Instant::now();
        let response = upload(&app, LARGE);
        assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
        assert!(start.elapsed() >= Duration::from_millis(300));
        drop(release);
    }
}

/// A client connection on which the head of a POST with this `Content-Length` was sent.
fn posting(app: &App, length: usize) -> TcpStream {
    let mut stream = open(app.address);
    write!(stream, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream
}

#[test]
fn a_slow_body_is_forwarded_piece_by_piece() {
    let (seen, told) = mpsc::channel();
    let upstream = Upstream::accepting(move |_, mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone()?);
        read_head(&mut reader)?;
        seen.send(b'H').unwrap();
        for _ in 0..3 {
            let mut byte = [0];
            reader.read_exact(&mut byte)?;
            seen.send(byte[0]).unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let app = app(&upstream, "timeout: 1h\n");
    let mut stream = posting(&app, 3);
    let patience = super::support::wait::PATIENCE;
    // each byte is sent after the previous one has arrived
    assert_eq!(told.recv_timeout(patience), Ok(b'H'));
    for byte in *b"abc" {
        stream.write_all(&[byte]).unwrap();
        assert_eq!(told.recv_timeout(patience), Ok(byte));
    }
    assert_eq!(read_response(&mut BufReader::new(stream), false).unwrap().status, 200);
}

#[test]
fn an_answer_may_come_while_the_body_is_still_on_its_way() {
    let upstream = Upstream::accepting(|_, mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone()?);
        read_head(&mut reader)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<")?;
        let mut byte = [0];
        for _ in 0..4 {
            reader.read_exact(&mut byte)?;
            stream.write_all(&byte)?;
        }
        stream.write_all(b">")
    });
    let app = app(&upstream, "timeout: 300\n");
    let stream = posting(&app, 4);
    let mut answer = BufReader::new(stream.try_clone().unwrap());
    let status_line = read_head(&mut answer).unwrap();
    assert_eq!(status_line.as_deref(), Some("HTTP/1.1 200 OK\r\n"));
    let mut next = |expected: u8| {
        let mut byte = [0];
        answer.read_exact(&mut byte).unwrap();
        assert_eq!(char::from(byte[0]), char::from(expected));
    };
    next(b'<');
    for (byte, pause) in b"echo".iter().copied().zip([0, 450, 0, 0]) {
        // longer than the upstream's limit, which must not apply while the client is slow
        std::thread::sleep(Duration::from_millis(pause));
        (&stream).write_all(&[byte]).unwrap();
        next(byte);
    }
    next(b'>');
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_cancels_the_call() {
    let upstream = Upstream::accepting(|_, stream, received| {
        let mut reader = BufReader::new(stream);
        let line = read_head(&mut reader)?.unwrap_or_default();
        reader.read_exact(&mut [0; 3])?;
        let request = Received { line, headers: Vec::new(), body: Vec::new(), connection: 0 };
        received.lock().unwrap().push(request);
        // returns when the sidecar closes
        let _ = reader.read(&mut [0; 1]);
        Ok(())
    });
    let app = app(&upstream, "timeout: 1h\n");
    let mut stream = posting(&app, 10);
    stream.write_all(b"123").unwrap();
    eventually("the body is under way", || upstream.received().len() == 1);
    drop(stream);
    eventually("the call is cancelled", || upstream.open() == 0 && app.snapshot.admission.in_flight() == 0);
}

#[test]
fn head_and_body_leave_together() {
    let (seen, told) = mpsc::channel();
    let upstream = Upstream::accepting(move |_, mut stream, _| {
        let mut bytes = vec![0; 1 << 16];
        let length = stream.read(&mut bytes)?;
        seen.send(bytes[..length].ends_with(b"the body")).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    for rest in ["", SIGNED] {
        let app = app(&upstream, rest);
        assert_eq!(call(app.address, "POST", "/", &[], b"the body").status, 200);
        assert_eq!(told.recv(), Ok(true), "{rest}");
    }
}

#[test]
fn a_connection_with_bytes_after_the_last_chunk_is_not_reused() {
    for (behind, accepted) in [("", 1), ("x", 3), ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 3)] {
        let chunks = "5;a=b\r\nhello\r\n0\r\nTrailer: dropped\r\n\r\n";
        let upstream = Upstream::answering(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{behind}"
        ));
        let app = app(&upstream, "");
        for _ in 0..3 {
            let response = get(app.address, "/");
            assert_eq!((response.text().as_str(), response.header("trailer")), ("hello", None));
        }
        assert_eq!(upstream.accepted(), accepted, "{behind:?}");
    }
}

#[test]
fn interim_answers_are_swallowed_in_bounded_number() {
    for (count, status) in [(32, 200), (33, 502)] {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
        let upstream =
            Upstream::answering(&format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        let response = get(app(&upstream, "").address, "/");
        assert_eq!(response.status, status, "{count}: {}", response.text());
        if status == 502 {
            assert_eq!(response.code(), "upstream_protocol");
        }
    }
}

#[test]
fn a_date_goes_out_only_if_the_client_has_sent_one() {
    let upstream = Upstream::ok();
    let app = app(&upstream, SIGNED);
    let date = "Tue, 15 Nov 1994 08:12:31 GMT";
    assert_eq!(get(app.address, "/").status, 200);
    assert_eq!(call(app.address, "GET", "/", &[("Date", date)], b"").status, 200);
    let received = upstream.received();
    assert_eq!((received[0].header("date"), received[1].header("date")), (None, Some(date)));
}

#[test]
fn the_host_is_the_first_header_that_goes_out() {
    let upstream = Upstream::ok();
    let app = app(&upstream, SIGNED);
    assert_eq!(call(app.address, "POST", "/", &[("Accept", "*/*")], b"x").status, 200);
    assert_eq!(upstream.only().headers[0], ("host".to_owned(), upstream.address.to_string()));
}

/// A POST with a body that ends with a marker, as bytes.
fn numbered(number: usize, length: usize, more: &str) -> Vec<u8> {
    let mut request =
        format!("POST /{number} HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {length}\r\n\r\n").into_bytes();
    request.resize(request.len() + length - 1, b'0' + u8::try_from(number % 10).unwrap());
    request.push(b'.');
    request
}

#[test]
fn bodies_of_any_size_end_correctly_whatever_follows_in_the_same_packet() {
    let upstream = Upstream::ok();
    let app = app(&upstream, SIGNED);
    let lengths = [9_999, 10_000, 1, 100_000, 16_384, 65_536, 1_000_000, 3, 300_000];
    let requests: Vec<u8> =
        lengths.iter().enumerate().flat_map(|(number, length)| numbered(number, *length, "")).collect();
    let stream = open(app.address);
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&requests).unwrap());
        let mut reader = BufReader::new(&stream);
        for _ in lengths {
            assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
        }
    });
    let received = upstream.received();
    assert_eq!(received.len(), lengths.len());
    for (number, (call, length)) in received.iter().zip(lengths).enumerate() {
        assert_eq!((call.target(), call.body.len()), (&*format!("/{number}"), length));
        assert!(numbered(number, length, "").ends_with(&call.body), "{number}");
        assert_eq!(call.body.last(), Some(&b'.'));
    }
}

#[test]
fn a_large_body_is_asked_for_before_it_is_read_where_the_client_waits_for_that() {
    let upstream = Upstream::ok();
    let app = app(&upstream, SIGNED);
    let request = numbered(7, 100_000, "Expect: 100-continue\r\n");
    let (head, body) = request.split_at(request.len() - 100_000);
    let mut stream = open(app.address);
    stream.write_all(head).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(read_head(&mut reader).unwrap().unwrap(), "HTTP/1.1 100 Continue\r\n");
    stream.write_all(body).unwrap();
    assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
    assert_eq!(upstream.only().body, body);
}

#[test]
fn a_large_body_that_stops_in_the_middle_is_408_and_one_whose_client_leaves_is_never_sent() {
    let upstream = Upstream::ok();
    let app =
        App::with("limits: { body_timeout: 200ms }").gateway("r", "/*", &upstream.uri("/"), SIGNED).start();
    let request = numbered(1, 100_000, "");
    let mut stream = open(app.address);
    stream.write_all(&request[..60_000]).unwrap();
    let answer = read_response(&mut BufReader::new(&stream), false).unwrap();
    assert_eq!((answer.status, &*answer.code()), (408, "request_timeout"));
    assert_eq!(
        answer.header("connection"),
        Some("close"),
        "what is left of it cannot be told from what follows"
    );
    let mut stream = open(app.address);
    stream.write_all(&request[..60_000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = io::copy(&mut stream, &mut io::sink());
    assert_eq!(upstream.received().len(), 0);
}
