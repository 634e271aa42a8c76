//! Long and odd traffic: silent event streams, MCP, remote write, bulk requests, requests of S3's clients.

use std::{
    io::{BufReader, Read as _, Write as _},
    thread::sleep,
    time::Duration,
};

use super::{
    super::support::{App, Upstream, call, get, open, read_response, send},
    Service, signed,
};

/// An upstream that sends an event, is silent for longer than the usual limits, and sends another.
fn silent_stream() -> Upstream {
    Upstream::serving(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\
            mcp-session-id: 1868a90c\r\n\r\n";
        stream.write_all(head)?;
        stream.write_all(b"9\r\ndata: 1\n\n\r\n")?;
        sleep(Duration::from_millis(1200));
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    })
}

#[test]
fn idle_timeout_none_lets_a_response_be_silent() {
    let upstream = silent_stream();
    let agentcore = signed("bedrock-agentcore", "");
    let in_route = App::with("")
        .gateway("r", "/*", &upstream.uri("/"), &format!("timeout: 300ms\nidle_timeout: none\n{agentcore}"))
        .start();
    let in_defaults = App::with("defaults: { api_gateway: { timeout: 300ms, idle_timeout: none } }\n")
        .gateway("r", "/*", &upstream.uri("/"), &agentcore)
        .gateway("limited", "/limited/*", &upstream.uri("/"), "idle_timeout: 300ms")
        .start();
    std::thread::scope(|scope| {
        for app in [&in_route, &in_defaults] {
            scope.spawn(|| {
                let response = get(app.address, "/mcp");
                assert_eq!(response.text(), "data: 1\n\ndata: 2\n\n");
                assert_eq!(response.header("mcp-session-id"), Some("1868a90c"));
            });
        }
        let mut stream = open(in_defaults.address);
        stream.write_all(b"GET /limited/mcp HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let cut = read_response(&mut BufReader::new(stream), false);
        assert!(cut.is_err(), "{cut:?}");
    });
}

#[test]
fn the_requests_of_an_mcp_client_arrive_with_their_session() {
    let service = Service::new("bedrock-agentcore", "");
    let json = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let session = ("Mcp-Session-Id", "1868a90c");
    let accept = ("Accept", "application/json, text/event-stream");
    for (method, headers, body) in [
        ("POST", &[session, accept, ("Content-Type", "application/json")][..], json),
        ("GET", &[session, ("Accept", "text/event-stream"), ("Last-Event-ID", "7")], ""),
        ("DELETE", &[session], ""),
    ] {
        let response = call(service.address(), method, "/mcp", headers, body.as_bytes());
        assert_eq!(response.status, 200, "{}", response.text());
        let arrived = response.json();
        assert_eq!(arrived["method"], method);
        for (name, value) in headers {
            assert_eq!(arrived["headers"][name.to_ascii_lowercase()][0], *value, "{method}");
        }
    }
}

#[test]
fn bulk_requests_and_remote_writes_arrive_byte_for_byte() {
    let ndjson = b"{\"index\":{}}\n{\"a\":1}\n";
    // a snappy block is no UTF-8
    let snappy: Vec<u8> = [&[0x0c, 0x2c][..], b"hello world\xff\x00"].concat();
    let remote_write = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", "application/x-protobuf"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ];
    for (service, target, headers, body) in [
        ("es", "/_bulk", &[("Content-Type", "application/x-ndjson")][..], &ndjson[..]),
        ("aoss", "/i/_bulk", &[("Content-Type", "application/x-ndjson")], ndjson),
        ("aps", "/workspaces/ws-1/api/v1/remote_write", &remote_write, &snappy),
    ] {
        let response = call(Service::new(service, "").address(), "POST", target, headers, body);
        assert_eq!(response.status, 200, "{service}: {}", response.text());
        let arrived = response.json();
        assert_eq!(arrived["body"]["sha256"], apigw_invoker::signing::hash(body), "{service}");
        for (name, value) in headers {
            assert_eq!(arrived["headers"][name.to_ascii_lowercase()][0], *value, "{service}");
        }
    }
}

#[test]
fn the_requests_of_s3s_clients_are_accepted() {
    for iam in ["", "payload: unsigned"] {
        let service = Service::new("s3", iam);
        let metadata = [
            ("x-amz-meta-Owner", "a  b"),
            ("x-amz-acl", "private"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-checksum-crc32", "NSRBwg=="),
            ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="),
            ("x-amz-date", "20200101T000000Z"),
        ];
        for (method, target, headers, body) in [
            ("PUT", "/b/k", &metadata[..], "hello"),
            ("GET", "/b/k", &[("Range", "bytes=0-9"), ("If-None-Match", "\"1\"")], ""),
            ("POST", "/b/k?uploads", &[], ""),
            ("PUT", "/b/k?partNumber=10000&uploadId=VXBsb2FkIElE.a-_~", &[], "part"),
            ("POST", "/b/k?uploadId=VXBsb2FkIElE", &[], "<CompleteMultipartUpload/>"),
            ("GET", "/b?list-type=2&delimiter=%2F&prefix=a/b&encoding-type=url", &[], ""),
            ("DELETE", "/b/k", &[], ""),
        ] {
            let response = call(service.address(), method, target, headers, body.as_bytes());
            assert_eq!(response.status, 200, "{method} {target}: {}", response.text());
            let arrived = response.json();
            if let Some(range) = headers.iter().find(|(name, _)| *name == "Range") {
                assert_eq!(arrived["headers"]["range"][0], range.1);
            }
            let authorization = arrived["headers"]["authorization"][0].as_str().unwrap();
            for (name, _) in headers.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
                assert!(authorization.contains(&name.to_ascii_lowercase()), "{authorization}");
            }
        }
        assert_eq!(call(service.address(), "HEAD", "/b/k", &[], b"").status, 200);
    }
}

#[test]
fn an_upload_that_waits_for_100_continue_gets_it() {
    for iam in ["", "payload: unsigned"] {
        let service = Service::new("s3", iam);
        let mut stream = open(service.address());
        let head = b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        assert_eq!(read_response(&mut reader, false).unwrap().status, 100);
        stream.write_all(b"hello").unwrap();
        let response = read_response(&mut reader, false).unwrap();
        assert_eq!((response.status, &response.json()["body"]["text"]), (200, &"hello".into()));
    }
}

#[test]
fn a_ranged_response_and_the_head_of_an_object_pass_as_they_are() {
    let upstream = Upstream::serving(|request, stream| {
        let is_head = request.line.starts_with("HEAD");
        let answer = if is_head {
            "HTTP/1.1 200 OK\r\ncontent-length: 5368709120\r\netag: \"1\"\r\naccept-ranges: bytes\r\n\r\n"
        } else {
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-4/5368709120\r\n\
             content-length: 5\r\n\r\nhello"
        };
        stream.write_all(answer.as_bytes())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), &signed("s3", "")).start();
    let mut stream = open(app.address);
    stream.write_all(b"HEAD /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let head = read_response(&mut reader, true).unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("5368709120")));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    let part = send(app.address, "GET /b/k HTTP/1.1\r\nHost: h\r\nRange: bytes=0-4\r\n\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "hello"));
    assert_eq!(part.header("content-range"), Some("bytes 0-4/5368709120"));
}
