use std::{collections::VecDeque, pin::pin, sync::LazyLock, task::Waker};

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue as Value};
use proptest::prelude::*;

use super::*;
use crate::client::{ReplyBody, UpstreamReply};

fn frame(headers: &[(&'static str, &'static str)], payload: &[u8]) -> Vec<u8> {
    let mut message = Message::new(Bytes::copy_from_slice(payload));
    for (name, value) in headers {
        message = message.add_header(Header::new(*name, Value::String((*value).into())));
    }
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

fn event(kind: &'static str, payload: &[u8]) -> Vec<u8> {
    frame(
        &[(":message-type", "event"), (":event-type", kind), (":content-type", "application/octet-stream")],
        payload,
    )
}

fn chunk(payload: &[u8]) -> Vec<u8> {
    event("PayloadChunk", payload)
}

fn complete(json: &str) -> Vec<u8> {
    event("InvokeComplete", json.as_bytes())
}

/// A function's output in these pieces, with a successful completion.
fn answer(pieces: &[&[u8]]) -> Vec<u8> {
    let mut frames: Vec<Vec<u8>> = pieces.iter().map(|piece| chunk(piece)).collect();
    frames.push(complete("{}"));
    frames.concat()
}

/// A body that is pending before each chunk and before its end.
struct ChunkedBody {
    left: VecDeque<Bytes>,
    waited: bool,
}

impl ChunkedBody {
    fn of(chunks: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let left = chunks.into_iter().map(|chunk| Bytes::copy_from_slice(chunk.as_ref())).collect();
        Self { left, waited: false }
    }
}

impl Stream for ChunkedBody {
    type Item = Result<Bytes, ProxyError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.waited = !this.waited;
        if this.waited { Poll::Pending } else { Poll::Ready(this.left.pop_front().map(Ok)) }
    }
}

/// A body that fails after its chunk.
struct FailingBody {
    chunk: Option<Bytes>,
    error: ErrorKind,
}

impl Stream for FailingBody {
    type Item = Result<Bytes, ProxyError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(self.chunk.take().ok_or_else(|| self.error.clone().into())))
    }
}

/// The runtime of the timers; it is never driven, so they never fire.
static CLOCK: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());

/// Polls until ready; the futures here never wait for anything else.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let _clock = CLOCK.enter();
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// The decoded stream.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    prelude: Option<Vec<u8>>,
    body: Vec<u8>,
    /// The body was forwarded before it was complete.
    streamed: bool,
    /// `X-Amz-Function-Error`.
    failed: Option<HeaderValue>,
    /// The error that ended the body.
    broken: Option<ErrorKind>,
}

fn whole(body: &[u8]) -> Seen {
    Seen { prelude: None, body: body.to_vec(), streamed: false, failed: None, broken: None }
}

fn streamed(prelude: Option<&[u8]>, body: &[u8]) -> Seen {
    Seen { prelude: prelude.map(<[u8]>::to_vec), streamed: true, ..whole(body) }
}

/// Decodes a whole stream; an `Err` occurs before the head could be sent.
fn seen(chunks: ChunkedBody, prelude: bool) -> Result<Seen, ProxyError> {
    let (prelude, mut body) = match finish(Events::of(chunks).open(prelude))? {
        StreamStart::Ended { output: Err(failure), .. } => {
            let failed = Some(failure.header());
            return Ok(Seen { failed, ..whole(&failure.body()) });
        }
        StreamStart::Ended { output: Ok(output), .. } => return Ok(whole(&output)),
        StreamStart::Streaming { prelude, body } => (prelude, body),
    };
    let mut seen = streamed(prelude.as_deref(), b"");
    finish(std::future::poll_fn(|context| {
        loop {
            match ready!(Pin::new(&mut body).poll_next(context)) {
                Some(Ok(bytes)) => {
                    assert!(!bytes.is_empty(), "an empty piece would end the client's chunks");
                    assert_eq!(seen.broken, None, "bytes after an error");
                    seen.body.extend_from_slice(&bytes);
                }
                Some(Err(error)) => {
                    assert_eq!(seen.broken.replace(error.kind), None, "two errors");
                }
                None => return Poll::Ready(()),
            }
        }
    }));
    Ok(seen)
}

fn at_once(bytes: &[u8], prelude: bool) -> Result<Seen, ProxyError> {
    seen(ChunkedBody::of([bytes]), prelude)
}

#[track_caller]
fn assert_refused(result: Result<Seen, ProxyError>, kind: &ErrorKind, cause: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind, *kind, "{error}");
    assert!(error.to_string().contains(cause), "{error}");
}

/// Streams, whether a prelude is requested, and the expected result.
fn streams() -> Vec<(Vec<u8>, bool, Seen)> {
    let failure = complete(r#"{"ErrorCode":"Unhandled","ErrorDetails":"{\"errorType\":\"E\"}"}"#);
    let failed =
        || Seen { failed: Some(HeaderValue::from_static("Unhandled")), ..whole(br#"{"errorType":"E"}"#) };
    let broken = |seen| Seen { broken: Some(ErrorKind::UpstreamTruncated), ..seen };
    let head = br#"{"statusCode":201}"#;
    vec![
        (answer(&[b"hello ", b"", b"wor\0ld"]), false, streamed(None, b"hello wor\0ld")),
        ([event("Later", b"?"), answer(&[b"x"])].concat(), false, streamed(None, b"x")),
        (answer(&[]), false, whole(b"")),
        (answer(&[b"", b""]), false, whole(b"")),
        (failure.clone(), false, failed()),
        (failure.clone(), true, failed()),
        ([chunk(b"{\"st"), failure.clone()].concat(), true, failed()),
        ([chunk(b"hello"), failure.clone()].concat(), false, broken(streamed(None, b"hello"))),
        (
            [chunk(b"{}\0\0\0\0\0\0\0\0hello"), failure].concat(),
            true,
            broken(streamed(Some(b"{}"), b"hello")),
        ),
        (answer(&[head, &[0; 8], b"body"]), true, streamed(Some(head), b"body")),
        (answer(&[b"{}\0\0\0", b"\0\0\0\0\0\0\0bo", b"dy\0"]), true, streamed(Some(b"{}"), b"\0\0body\0")),
        (answer(&[b"{}\0\0\0\0\0\0\0\0"]), true, streamed(Some(b"{}"), b"")),
        (answer(&[&[0; 8], b"x"]), true, streamed(Some(b""), b"x")),
        (answer(&[head, b" and no more"]), true, whole(br#"{"statusCode":201} and no more"#)),
        (answer(&[]), true, whole(b"")),
    ]
}

#[test]
fn a_stream_gives_the_same_wherever_it_is_cut_in_two() {
    for (bytes, prelude, expected) in streams() {
        assert_eq!(at_once(&bytes, prelude).unwrap(), expected);
        for cut in 0..=bytes.len() {
            let (start, end) = bytes.split_at(cut);
            assert_eq!(seen(ChunkedBody::of([start, end]), prelude).unwrap(), expected, "cut at {cut}");
        }
        assert_eq!(seen(ChunkedBody::of(bytes.chunks(1)), prelude).unwrap(), expected, "byte by byte");
    }
}

#[test]
fn a_stream_truncated_at_any_byte_never_ends_successfully() {
    for (bytes, prelude, _) in streams() {
        for end in 0..bytes.len() {
            match at_once(&bytes[..end], prelude) {
                Ok(seen) => assert_eq!(seen.broken, Some(ErrorKind::UpstreamTruncated), "{end}: {seen:?}"),
                Err(error) => assert_eq!(error.kind, ErrorKind::UpstreamTruncated, "{end}: {error}"),
            }
        }
    }
}

#[test]
fn a_stream_with_any_flipped_bit_never_ends_successfully() {
    let bytes = answer(&[b"hello", b"world"]);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match at_once(&damaged, false) {
            Ok(seen) => {
                assert_eq!(seen.broken, Some(ErrorKind::UpstreamProtocol), "{bit}: {seen:?}");
                assert!(b"helloworld".starts_with(&seen.body[..]), "{bit}: {seen:?}");
            }
            Err(error) => assert_eq!(error.kind, ErrorKind::UpstreamProtocol, "{bit}: {error}"),
        }
    }
}

#[test]
fn a_frame_that_claims_too_much_is_refused_before_it_is_waited_for() {
    let mut prelude = [u32::to_be_bytes((16 << 20) + 1), u32::to_be_bytes(0)].concat();
    prelude.extend_from_slice(&crc32fast::hash(&prelude).to_be_bytes());
    let protocol = ErrorKind::UpstreamProtocol;
    assert_refused(at_once(&prelude, false), &protocol, "a frame of 16777217 bytes");
    let seen = at_once(&[chunk(b"x"), prelude].concat(), false).unwrap();
    assert_eq!(seen.broken, Some(protocol));
}

#[test]
fn lambdas_own_exceptions_and_errors_end_the_stream_with_their_type_and_message() {
    let exception = frame(
        &[(":message-type", "exception"), (":exception-type", "ThrottlingException")],
        br#"{"message":"slow down"}"#,
    );
    let error = frame(
        &[(":message-type", "error"), (":error-code", "Internal"), (":error-message", "out of luck")],
        b"",
    );
    let truncated = ErrorKind::UpstreamTruncated;
    for (frame, kind, message) in
        [(exception, "ThrottlingException", "slow down"), (error, "Internal", "out of luck")]
    {
        for prelude in [false, true] {
            assert_refused(at_once(&frame, prelude), &truncated, kind);
            assert_refused(at_once(&frame, prelude), &truncated, message);
        }
        // later frames are ignored
        let bytes = [chunk(b"x"), frame, answer(&[b"y"])].concat();
        let expected = Seen { broken: Some(truncated.clone()), ..streamed(None, b"x") };
        assert_eq!(at_once(&bytes, false).unwrap(), expected);
    }
}

#[test]
fn messages_without_required_fields_are_rejected() {
    for bytes in [
        frame(&[], b"x"),
        frame(&[(":message-type", "news")], b"x"),
        frame(&[(":message-type", "event")], b"x"),
        frame(&[(":event-type", "PayloadChunk")], b"x"),
        complete(""),
        complete("[]"),
        complete("[null,null,null]"),
        complete("{\"ErrorCode\":1}"),
        [answer(&[]), b"x".to_vec()].concat(),
        [answer(&[]), chunk(b"late")].concat(),
    ] {
        assert_refused(at_once(&bytes, false), &ErrorKind::UpstreamProtocol, "");
    }
}

#[test]
fn a_completion_without_code_and_details_is_a_success() {
    for json in ["{}", r#"{"ErrorCode":null,"LogResult":"aGVsbG8="}"#, r#"{"ErrorCode":"","New":{}}"#] {
        let bytes = [chunk(b"x"), complete(json)].concat();
        assert_eq!(at_once(&bytes, false).unwrap(), streamed(None, b"x"), "{json}");
    }
}

#[test]
fn a_failure_has_the_answer_that_invoke_would_give() {
    for (json, header, body) in [
        (r#"{"ErrorCode":"Unhandled"}"#, "Unhandled", r#"{"errorType":"Unhandled"}"#),
        (
            r#"{"ErrorDetails":"no JSON"}"#,
            "Unhandled",
            r#"{"errorType":"Unhandled","errorMessage":"no JSON"}"#,
        ),
        (r#"{"ErrorCode":"Runtime.Exit","ErrorDetails":"{\"a\":1}"}"#, "Runtime.Exit", r#"{"a":1}"#),
        (r#"{"ErrorCode":"a\r\nb: c"}"#, "Unhandled", r#"{"errorType":"a\r\nb: c"}"#),
    ] {
        let seen = at_once(&complete(json), false).unwrap();
        assert_eq!(seen, Seen { failed: Some(HeaderValue::from_static(header)), ..whole(body.as_bytes()) });
    }
}

#[test]
fn the_code_of_a_failure_is_truncated_in_its_header_and_is_one_word() {
    for (code, header) in [("x".repeat(1000), "x".repeat(256)), ("é".to_owned(), "Unhandled".to_owned())] {
        let seen = at_once(&complete(&format!(r#"{{"ErrorCode":"{code}"}}"#)), false).unwrap();
        assert_eq!(seen.failed.unwrap(), header);
    }
}

#[test]
fn the_end_of_the_log_is_known_when_the_stream_is_over_and_goes_with_its_error() {
    log::set_max_level(log::LevelFilter::Debug);
    let tail = |json: &str| {
        let mut events = Events::<ChunkedBody>::of_whole([chunk(b"x"), complete(json)].concat().into());
        let mut next = || finish(std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)));
        assert_eq!(next().unwrap().unwrap(), "x");
        let end = next();
        (events.take_log_tail().map(|remark| remark.text), end)
    };
    let expected = Some("the function's log ends with:\nhello".to_owned());
    for encoded in ["aGVsbG8=", "aGVsbG8"] {
        let (log, end) = tail(&format!(r#"{{"LogResult":"{encoded}"}}"#));
        assert_eq!((log, end.is_none()), (expected.clone(), true));
    }
    let (log, end) = tail(r#"{"LogResult":"aGVsbG8=","ErrorCode":"E"}"#);
    assert_eq!(log, None);
    let error = format!("{:?}", end.unwrap().unwrap_err());
    assert!(error.contains(r"log ends with:\nhello"), "{error}");
}

#[test]
fn the_end_of_the_log_of_a_function_that_wrote_nothing_is_where_invoke_would_have_it() {
    for json in [r#"{"LogResult":"aGVsbG8="}"#, r#"{"LogResult":"aGVsbG8=","ErrorCode":"E"}"#] {
        let body = ReplyBody::Whole(complete(json).into());
        let reply =
            finish(reply(Some("application/vnd.amazon.eventstream"), body).decode_events(true)).unwrap();
        assert_eq!(reply.headers.get("x-amz-log-result").unwrap(), "aGVsbG8=");
    }
}

#[test]
fn a_body_that_fails_after_its_last_event_is_complete() {
    let mut events =
        Events::of(FailingBody { chunk: Some(answer(&[b"x"]).into()), error: ErrorKind::UpstreamTruncated });
    let mut next = || finish(std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)));
    assert_eq!(next().unwrap().unwrap(), "x");
    assert!(next().is_none());
}

#[test]
fn details_of_a_failure_are_truncated_in_the_log() {
    let json = format!(r#"{{"ErrorCode":"E","ErrorDetails":"{}"}}"#, "ä".repeat(1 << 20));
    let Ok(Completion { failure: Some(failure), log_result: None }) = Completion::read(&json.into()) else {
        panic!()
    };
    let text = ProxyError::from(failure).to_string();
    assert!(text.contains("E: ää") && text.len() < 4096, "{}", text.len());
}

#[test]
fn a_nul_that_does_not_end_the_prelude_is_refused() {
    for pieces in [&[&b"{\0}"[..]][..], &[b"{}\0\0\0\0\0\0\0body"], &[b"{}\0", b"}"], &[b"{}\0\0"]] {
        assert_refused(at_once(&answer(pieces), true), &ErrorKind::FunctionResponseInvalid, "a NUL");
    }
}

#[test]
fn a_prelude_is_taken_up_to_its_limit_and_what_follows_does_not_count() {
    let limit = vec![b'x'; 8 << 20];
    assert_eq!(at_once(&answer(&[&limit]), true).unwrap().body.len(), 8 << 20);
    let with_body = answer(&[&limit, &[0; 8], b"body"]);
    assert_eq!(at_once(&with_body, true).unwrap(), streamed(Some(&limit), b"body"));
    let refused = at_once(&answer(&[&limit, b"x"]), true);
    assert_refused(refused, &ErrorKind::FunctionResponseInvalid, "8388608 bytes");
}

#[test]
fn an_error_of_the_body_ends_the_stream() {
    let mut events =
        Events::of(FailingBody { chunk: Some(chunk(b"x").into()), error: ErrorKind::UpstreamTimeout });
    let mut next = || finish(std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)));
    assert_eq!(next().unwrap().unwrap(), "x");
    assert_eq!(next().unwrap().unwrap_err().kind, ErrorKind::UpstreamTimeout);
    assert!(next().is_none());
}

fn reply(content_type: Option<&'static str>, body: ReplyBody) -> UpstreamReply {
    let mut headers = HeaderMap::new();
    headers.insert(header::VARY, HeaderValue::from_static("x"));
    if let Some(value) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
    }
    UpstreamReply { status: StatusCode::OK, headers, body, prelude: None }
}

fn names(reply: &UpstreamReply) -> Vec<String> {
    let mut names: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
    names.sort();
    names
}

#[test]
fn a_reply_loses_the_type_of_the_events_and_gains_the_prelude() {
    for content_type in ["application/vnd.amazon.eventstream", "Application/VND.Amazon.EventStream ; x=y"] {
        let body = ReplyBody::Whole(answer(&[b"{}", &[0; 8], b"body"]).into());
        let reply = finish(reply(Some(content_type), body).decode_events(true)).unwrap();
        assert_eq!((names(&reply), reply.prelude.as_deref()), (vec!["vary".to_owned()], Some(&b"{}"[..])));
        let ReplyBody::Events(mut events) = reply.body else { panic!("{:?}", reply.body) };
        let mut next = || finish(std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)));
        assert_eq!(next().unwrap().unwrap(), "body");
        assert!(next().is_none() && next().is_none());
    }
}

#[test]
fn a_reply_of_a_function_that_failed_is_that_of_invoke() {
    let body = ReplyBody::Whole(complete(r#"{"ErrorCode":"Unhandled","ErrorDetails":"{}"}"#).into());
    let reply = finish(reply(Some("application/vnd.amazon.eventstream"), body).decode_events(false)).unwrap();
    assert_eq!(reply.headers.get("x-amz-function-error").unwrap(), "Unhandled");
    assert_eq!(reply.headers.get("content-type").unwrap(), "application/json");
    assert_eq!(names(&reply), ["content-type", "vary", "x-amz-function-error"]);
    assert!(matches!(reply.body, ReplyBody::Whole(bytes) if bytes == "{}"));
}

#[test]
fn a_reply_that_is_no_event_stream_is_refused_and_its_type_named() {
    for content_type in [Some("application/json"), Some("application/vnd.amazon.eventstreams"), None] {
        let body = ReplyBody::Whole(answer(&[b"x"]).into());
        let error = finish(reply(content_type, body).decode_events(false)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UpstreamProtocol);
        assert!(error.to_string().contains(content_type.unwrap_or("without a type")), "{error}");
    }
    let empty = reply(Some("application/vnd.amazon.eventstream"), ReplyBody::None { length: Some(0) });
    assert_eq!(finish(empty.decode_events(false)).unwrap_err().kind, ErrorKind::UpstreamTruncated);
}

proptest! {
    #[test]
    fn chunks_of_any_size_give_what_the_whole_gives(
        pieces in prop::collection::vec(
            prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..40),
            0..6,
        ),
        cuts in prop::collection::vec(1_usize..200, 0..30),
        end in prop_oneof![Just("{}"), Just(r#"{"ErrorCode":"E"}"#), Just("?")],
        prelude in any::<bool>(),
    ) {
        let mut frames: Vec<Vec<u8>> = pieces.iter().map(|piece| chunk(piece)).collect();
        frames.push(complete(end));
        let bytes = frames.concat();
        let mut rest = &bytes[..];
        let mut chunks = Vec::new();
        for cut in cuts {
            let (start, end) = rest.split_at(cut.min(rest.len()));
            chunks.push(start);
            rest = end;
        }
        chunks.push(rest);
        let result = |seen: Result<Seen, ProxyError>| seen.map_err(|error| error.kind);
        prop_assert_eq!(result(seen(ChunkedBody::of(chunks), prelude)), result(at_once(&bytes, prelude)));
    }

    #[test]
    fn random_bytes_are_rejected_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        prelude in any::<bool>(),
    ) {
        let result = at_once(&bytes, prelude);
        prop_assert!(result.is_err(), "{result:?}");
    }

    #[test]
    fn no_sound_frame_makes_it_panic(
        content in prop::collection::vec(any::<u8>(), 0..200),
        headers in 0_u32..210,
        prelude in any::<bool>(),
    ) {
        let length = u32::try_from(content.len() + 16).unwrap();
        let mut bytes = [length.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend_from_slice(&content);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        prop_assert!(at_once(&bytes, prelude).is_err());
    }
}
