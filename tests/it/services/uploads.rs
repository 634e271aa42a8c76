//! Bodies of signed routes: whole, streamed, chunked and `aws-chunked`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Mutex,
    thread::sleep,
    time::Duration,
};

use apigw_invoker::signing::hash;
use http::Request;

use super::{
    super::support::{App, Http2, Response, Upstream, call, get, open, read_response, send},
    Service, chunked, signed,
};

const UNSIGNED: &str = "payload: unsigned";
const TRAILER: &str = "x-amz-checksum-crc32:NSRBwg==\r\n";

/// Sends a request with a chunked body.
fn send_chunks(service: &Service, headers: &str, body: &[u8]) -> Response {
    let head = format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{headers}\r\n");
    send(service.address(), [head.as_bytes(), body].concat())
}

/// The headers of an `aws-chunked` upload without signatures.
fn unsigned_trailer(length: usize) -> String {
    format!(
        "content-encoding: aws-chunked\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\
         x-amz-decoded-content-length: {length}\r\nx-amz-trailer: x-amz-checksum-crc32\r\n"
    )
}

#[test]
fn a_chunked_body_with_an_unsigned_payload_is_sent_chunked() {
    let service = Service::new("es", UNSIGNED);
    let response = send_chunks(&service, "", &chunked(&[b"hello ", b"world"], ""));
    assert_eq!(response.status, 200, "{}", response.text());
    let arrived = response.json();
    assert_eq!(arrived["body"]["text"], "hello world");
    assert_eq!(arrived["headers"]["transfer-encoding"][0], "chunked");
    assert_eq!(arrived["headers"]["x-amz-content-sha256"][0], "UNSIGNED-PAYLOAD");
    assert!(arrived["headers"]["content-length"].is_null());
    // the connection can be used again
    assert_eq!(send_chunks(&service, "", &chunked(&[b"again"], "")).json()["body"]["text"], "again");
}

#[test]
fn a_body_of_a_signed_payload_is_sent_whole_with_its_hash() {
    for (service, sends_hash) in [("s3", true), ("aoss", true), ("glacier", true), ("es", false)] {
        let response = send_chunks(&Service::new(service, ""), "", &chunked(&[b"hello ", b"world"], ""));
        assert_eq!(response.status, 200, "{service}: {}", response.text());
        let headers = &response.json()["headers"];
        assert_eq!(headers["content-length"][0], "11", "{service}");
        let expected = if sends_hash { hash(b"hello world").into() } else { serde_json::Value::Null };
        assert_eq!(headers["x-amz-content-sha256"][0], expected, "{service}");
    }
}

#[test]
fn a_body_of_known_length_keeps_it_with_an_unsigned_payload() {
    let body = vec![b'x'; 100_000];
    for service in ["s3", "vpc-lattice-svcs", "es"] {
        let iam = if service == "vpc-lattice-svcs" { "" } else { UNSIGNED };
        let response = call(Service::new(service, iam).address(), "PUT", "/b/k", &[], &body);
        assert_eq!(response.status, 200, "{service}: {}", response.text());
        let arrived = response.json();
        assert_eq!(arrived["headers"]["content-length"][0], "100000", "{service}");
        assert_eq!(arrived["headers"]["x-amz-content-sha256"][0], "UNSIGNED-PAYLOAD", "{service}");
        assert_eq!(arrived["body"]["sha256"], hash(&body), "{service}");
    }
}

#[test]
fn a_chunked_upload_to_s3_without_a_length_is_411() {
    let service = Service::new("s3", UNSIGNED);
    let refused = send_chunks(&service, "", &chunked(&[b"hello"], ""));
    assert_eq!((refused.status, &*refused.code()), (411, "length_required"));
    let mut client = Http2::open(service.address());
    let request = Request::put(format!("http://{}/b/k", service.address())).body(()).unwrap();
    let mut stream = client.begin(request, false).unwrap();
    stream.body.send_data("hello".into(), true).unwrap();
    assert_eq!(client.finish(stream.response).unwrap().status, 411);
}

#[test]
fn a_request_without_a_body_over_http_2_needs_no_length() {
    let service = Service::new("s3", UNSIGNED);
    for method in ["GET", "DELETE", "PUT"] {
        let answer = Http2::open(service.address())
            .call(method, &format!("http://{}/b/k", service.address()), &[], b"")
            .unwrap();
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
    }
}

#[test]
fn an_unsigned_trailer_is_kept_and_signed_with_its_body() {
    let body = chunked(&[b"hello ", b"world"], TRAILER);
    for iam in ["", UNSIGNED] {
        let service = Service::new("s3", iam);
        let response = send_chunks(&service, &unsigned_trailer(11), &chunked(&[&body], ""));
        assert_eq!(response.status, 200, "{}", response.text());
        let arrived = response.json();
        let header = |name: &str| arrived["headers"][name][0].as_str().unwrap_or_default().to_owned();
        assert_eq!(header("x-amz-content-sha256"), "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        assert_eq!(header("content-encoding"), "aws-chunked");
        assert_eq!(header("x-amz-trailer"), "x-amz-checksum-crc32");
        assert_eq!(arrived["body"]["sha256"], hash(&body));
        let authorization = header("authorization");
        assert!(
            authorization.contains(
                "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
                 x-amz-trailer,"
            ),
            "{authorization}"
        );
    }
}

#[test]
fn an_aws_chunked_body_of_a_client_without_keys_is_signed_as_one() {
    let body = chunked(&[b"hello"], TRAILER);
    let headers = unsigned_trailer(5);
    let without_payload: String =
        headers.split_inclusive("\r\n").filter(|line| !line.starts_with("x-amz-content-sha256")).collect();
    let response = send_chunks(&Service::new("s3", UNSIGNED), &without_payload, &chunked(&[&body], ""));
    assert_eq!(response.status, 200, "{}", response.text());
    let payload = response.json()["headers"]["x-amz-content-sha256"][0].clone();
    assert_eq!(payload, "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
}

#[test]
fn a_clients_signed_chunks_are_400_with_the_cure() {
    for iam in ["", UNSIGNED] {
        let service = Service::new("s3", iam);
        for payload in [
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        ] {
            let refused = call(service.address(), "PUT", "/b/k", &[("X-Amz-Content-Sha256", payload)], b"5");
            assert_eq!((refused.status, &*refused.code()), (400, "chunks_signed"), "{payload}");
            assert!(refused.text().contains("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), "{}", refused.text());
        }
    }
    // a service that knows no aws-chunked bodies gets the body's own hash
    let response = call(
        Service::new("es", "").address(),
        "PUT",
        "/",
        &[("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")],
        b"5",
    );
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn a_streamed_body_beyond_its_limit_is_413() {
    let service = Service::with("es", UNSIGNED, "", "max_req_body_size: 1000\n");
    assert_eq!(send_chunks(&service, "", &chunked(&[&[b'x'; 600], &[b'x'; 400]], "")).status, 200);
    let refused = send_chunks(&service, "", &chunked(&[&[b'x'; 600], &[b'x'; 401]], ""));
    assert_eq!((refused.status, &*refused.code()), (413, "payload_too_large"));
    let refused = call(service.address(), "PUT", "/", &[], &[b'x'; 1001]);
    assert_eq!((refused.status, &*refused.code()), (413, "payload_too_large"));
}

#[test]
fn without_a_limit_a_body_may_have_any_size() {
    // more than the default of `limits.max_request_body`; the upstream counts and drops it
    const LARGE: usize = 80 << 20;
    let upstream = Upstream::accepting(|_, mut stream, _: &Mutex<Vec<_>>| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        std::io::copy(&mut reader.by_ref().take(LARGE as u64), &mut std::io::sink())?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    });
    let rest = format!("max_req_body_size: none\ntimeout: 60s\n{}", signed("s3", UNSIGNED));
    let app = App::with("limits: { max_request_body: none }\n")
        .gateway("r", "/*", &upstream.uri("/"), &rest)
        .start();
    assert_eq!(call(app.address, "PUT", "/b/k", &[], &vec![b'x'; LARGE]).status, 200);
}

/// Sends pieces of a body with a pause before each.
fn send_slowly(service: &Service, pieces: usize, pause: Duration) -> Response {
    let mut stream = open(service.address());
    let head = format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {pieces}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..pieces {
        sleep(pause);
        if stream.write_all(b"x").is_err() {
            break;
        }
    }
    read_response(&mut BufReader::new(stream), false).unwrap()
}

#[test]
fn body_timeout_counts_silence_with_an_unsigned_payload_and_the_whole_body_otherwise() {
    const LIMIT: &str = "limits: { body_timeout: 1s }";
    const ROUTE: &str = "timeout: 20s\n";
    let unsigned = Service::with("s3", UNSIGNED, LIMIT, ROUTE);
    let signed = Service::with("s3", "", LIMIT, ROUTE);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let response = send_slowly(&unsigned, 6, Duration::from_millis(300));
            assert_eq!(response.status, 200, "{}", response.text());
        });
        scope.spawn(|| {
            let refused = send_slowly(&signed, 6, Duration::from_millis(300));
            assert_eq!((refused.status, &*refused.code()), (408, "request_timeout"));
        });
        let refused = send_slowly(&unsigned, 1, Duration::from_millis(1800));
        assert_eq!((refused.status, &*refused.code()), (408, "request_timeout"));
    });
}

#[test]
fn a_streamed_body_arrives_before_the_client_has_sent_all_of_it() {
    let upstream = Upstream::accepting(|_, mut stream: TcpStream, _: &Mutex<Vec<_>>| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let mut first = [0; 8];
        reader.read_exact(&mut first)?;
        assert_eq!(&first, b"5\r\nfirst");
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        let mut rest = Vec::new();
        reader.read_until(b'0', &mut rest)?;
        assert_eq!(rest, b"\r\n6\r\nsecond\r\n0");
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n")
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), &signed("es", UNSIGNED)).start();
    let mut stream = open(app.address);
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    stream.write_all(head).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while line != "first\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the connection ends");
    }
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    line.clear();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "4\r\n");
}

#[test]
fn a_client_that_breaks_off_its_chunks_never_ends_the_body_at_the_upstream() {
    let upstream = Upstream::accepting(|_, mut stream: TcpStream, received: &Mutex<Vec<_>>| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        received.lock().unwrap().push(super::super::support::upstream::Received {
            line: String::new(),
            headers: Vec::new(),
            body: bytes,
            connection: 0,
        });
        Ok(())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), &signed("es", UNSIGNED)).start();
    let mut stream = open(app.address);
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    stream.write_all(head).unwrap();
    sleep(Duration::from_millis(200));
    drop(stream);
    super::super::support::eventually("the upstream's connection ends", || !upstream.received().is_empty());
    let body = upstream.only().body;
    assert!(!body.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&body));
}

#[test]
fn s3_gets_the_path_in_strict_escapes_and_other_services_get_it_as_it_came() {
    let target = "/a%2fb/%7Ec+d/$e//./f%20g?acl&x=a+b";
    let arrived = get(Service::new("s3", "").address(), target).json();
    assert_eq!(arrived["path"], "/iam/echo/a%2Fb/~c%2Bd/%24e//./f%20g");
    assert_eq!(arrived["query"], "acl=&x=a%20b");
    let arrived = get(Service::new("aoss", "").address(), target).json();
    assert_eq!(arrived["path"], "/iam/echo/a%2fb/%7Ec+d/$e//./f%20g");
}
