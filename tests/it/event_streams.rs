//! Event streams of the Lambda API over the client's own sockets: bytes are forwarded as they arrive, and a
//! connection is reused after a stream was read to its end.

use std::{
    future::poll_fn,
    io::{self, Write},
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use actix_http::{Method, header::HeaderMap};
use apigw_invoker::{
    client::{Client, Endpoint, EventStream, KeepAlive, ReplyBody, SendRecord, UpstreamReply},
    message::{
        error::{ErrorKind, ProxyError},
        inbound::RequestBody,
        outbound::{OutboundRequest, Signature, SignedPayload},
    },
    settings::Timeouts,
};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use futures_core::Stream as _;

use super::support::{
    Upstream, call,
    process::{ANY_PORT, Process, settings},
    wait::PATIENCE,
};

/// A message in the event stream encoding.
pub fn event(kind: &'static str, payload: &'static [u8]) -> Vec<u8> {
    let text = |text: &'static str| HeaderValue::String(text.into());
    let message = Message::new(payload)
        .add_header(Header::new(":message-type", text("event")))
        .add_header(Header::new(":event-type", text(kind)));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

/// Head of a response with an event stream.
pub const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";

/// Writes bytes as one chunk.
pub fn write_chunk(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// Runs a test with the HTTP client of a worker.
fn with_client(upstream: &Upstream, test: impl AsyncFnOnce(&Caller)) {
    let endpoint = Endpoint {
        host: upstream.address.ip().to_string(),
        port: upstream.address.port(),
        tls: None,
        proxy: None,
        connect_timeout: PATIENCE,
        keepalive: KeepAlive { enabled: true, pool: 5, timeout: Duration::from_hours(1) },
        listed: None,
    };
    actix_rt::System::new().block_on(async {
        test(&Caller {
            client: Client::new(Arc::default(), apigw_invoker::metrics::Metrics::new()),
            endpoint: Arc::new(endpoint),
        })
        .await;
    });
}

struct Caller {
    client: Client,
    endpoint: Arc<Endpoint>,
}

impl Caller {
    async fn invoke(&self, target: &str) -> UpstreamReply {
        let mut request = OutboundRequest {
            method: Method::POST,
            path_and_query: target.to_owned(),
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            signature: Signature::Ours,
            payload: SignedPayload::Hash,
        };
        let timeouts = Timeouts { connect: PATIENCE, first_byte: PATIENCE, idle: Some(PATIENCE) };
        self.client
            .send(&self.endpoint, timeouts, &mut request, None, &mut SendRecord::default())
            .await
            .unwrap()
    }

    async fn stream(&self, target: &str) -> Box<EventStream> {
        match self.invoke(target).await.decode_events(false).await.unwrap().body {
            ReplyBody::Events(events) => events,
            other => panic!("{other:?}"),
        }
    }
}

async fn next(events: &mut EventStream) -> Option<Result<String, ProxyError>> {
    let item = poll_fn(|context| Pin::new(&mut *events).poll_next(context)).await;
    item.map(|item| item.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
}

#[test]
fn pieces_arrive_one_by_one_and_the_connection_serves_again() {
    let (send, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let upstream = Upstream::serving(move |_, stream| {
        stream.write_all(HEAD.as_bytes())?;
        write_chunk(stream, &event("PayloadChunk", b"first"))?;
        let _ = hold.lock().unwrap().recv();
        // a frame split into two chunks, and the end of the events before the end of the body
        let second = event("PayloadChunk", b"second");
        let (start, rest) = second.split_at(7);
        write_chunk(stream, start)?;
        write_chunk(stream, rest)?;
        write_chunk(stream, &event("InvokeComplete", b"{}"))?;
        stream.write_all(b"0\r\n\r\n")
    });
    with_client(&upstream, async |caller| {
        for _ in 0..3 {
            let mut events = caller.stream("/").await;
            assert_eq!(next(&mut events).await.unwrap().unwrap(), "first");
            send.send(()).unwrap();
            assert_eq!(next(&mut events).await.unwrap().unwrap(), "second");
            assert!(next(&mut events).await.is_none());
        }
    });
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn the_connection_serves_again_after_a_function_that_failed() {
    let upstream = Upstream::serving(|request, stream| {
        stream.write_all(HEAD.as_bytes())?;
        if request.target() == "/late" {
            write_chunk(stream, &event("PayloadChunk", b"x"))?;
        }
        write_chunk(stream, &event("InvokeComplete", br#"{"ErrorCode":"Unhandled","ErrorDetails":"{}"}"#))?;
        stream.write_all(b"0\r\n\r\n")
    });
    with_client(&upstream, async |caller| {
        for prelude in [false, true] {
            let reply = caller.invoke("/").await.decode_events(prelude).await.unwrap();
            assert_eq!(reply.headers.get("x-amz-function-error").unwrap(), "Unhandled");
            assert!(matches!(reply.body, ReplyBody::Whole(bytes) if bytes == "{}"));
        }
        let mut events = caller.stream("/late").await;
        assert_eq!(next(&mut events).await.unwrap().unwrap(), "x");
        let error = next(&mut events).await.unwrap().unwrap_err();
        assert_eq!(error.kind, ErrorKind::UpstreamTruncated);
        assert!(error.to_string().contains("the function failed"), "{error}");
        caller.invoke("/").await;
    });
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn a_body_that_ends_well_without_invoke_complete_is_truncated_and_one_that_is_cut_too() {
    for end in ["0\r\n\r\n", ""] {
        let upstream = Upstream::serving(move |_, stream| {
            stream.write_all(HEAD.as_bytes())?;
            write_chunk(stream, &event("PayloadChunk", b"x"))?;
            stream.write_all(end.as_bytes())?;
            Err(io::ErrorKind::ConnectionAborted.into())
        });
        with_client(&upstream, async |caller| {
            let mut events = caller.stream("/").await;
            assert_eq!(next(&mut events).await.unwrap().unwrap(), "x");
            let error = next(&mut events).await.unwrap().unwrap_err();
            assert_eq!(error.kind, ErrorKind::UpstreamTruncated, "{end:?}: {error}");
        });
    }
}

#[test]
fn a_stream_left_open_after_its_last_event_is_complete_and_its_connection_closed() {
    let (send, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let upstream = Upstream::serving(move |_, stream| {
        stream.write_all(HEAD.as_bytes())?;
        write_chunk(stream, &event("PayloadChunk", b"x"))?;
        write_chunk(stream, &event("InvokeComplete", b"{}"))?;
        let _ = hold.lock().unwrap().recv();
        stream.write_all(b"0\r\n\r\n")
    });
    with_client(&upstream, async |caller| {
        for _ in 0..2 {
            let mut events = caller.stream("/").await;
            assert_eq!(next(&mut events).await.unwrap().unwrap(), "x");
            // the upstream continues only now
            assert!(next(&mut events).await.is_none());
            send.send(()).unwrap();
        }
    });
    assert_eq!(upstream.accepted(), 2);
}

#[test]
fn the_log_tail_of_a_function_is_logged_with_the_request_id_wherever_the_stream_ends() {
    let upstream = Upstream::serving(|request, stream| {
        stream.write_all(HEAD.as_bytes())?;
        // base64 of `hello`
        let end: &[u8] = match request.body.as_slice() {
            br#"{"a":"1"}"# => br#"{"LogResult":"aGVsbG8="}"#,
            br#"{"a":"2"}"# => br#"{"LogResult":"aGVsbG8=","ErrorCode":"E"}"#,
            _ => {
                write_chunk(stream, &event("PayloadChunk", b"x"))?;
                br#"{"LogResult":"aGVsbG8="}"#
            }
        };
        write_chunk(stream, &event("InvokeComplete", end))?;
        stream.write_all(b"0\r\n\r\n")
    });
    let route = format!(
        "uri: /*\nlambda: {{ host: {}, port: {}, disable_https: true, aws_region: us-east-1, aws_key: a, \
         aws_secret: s, function_name: f, invoke_mode: response_stream }}\n",
        upstream.address.ip(),
        upstream.address.port()
    );
    let directory = settings(&format!("{ANY_PORT}log: {{ level: debug }}\n"), &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    for number in 1..=3 {
        let id = format!("id-{number}");
        let target = format!("/?a={number}");
        assert_eq!(call(address, "GET", &target, &[("X-Request-Id", &id)], b"").status, 200);
    }
    let log = process.stop();
    for number in 1..=3 {
        let told = format!("the function's log ends with:\n    hello request_id=id-{number} route=r\n");
        assert!(log.contains(&told), "{number}: {log}");
    }
}
