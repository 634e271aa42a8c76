//! Tests of the filter: connections in pieces of any size, and between the client and the server of `h2`.

use std::{future::poll_fn, time::Duration};

use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;

use super::{
    frames::{CONTINUATION, END_HEADERS, END_STREAM, FrameHead, HEAD, HEADERS, MAX_FRAME, PADDED, PRIORITY},
    hpack::{
        Decoder,
        tests::{Encoder, Pair, decoded, pairs},
    },
    *,
};

const LIMIT: usize = 256 << 10;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const SETTINGS: u8 = 4;

/// A client whose bytes are read in pieces of the given sizes; the connection then ends unless `stays`.
struct Pieces {
    bytes: Vec<u8>,
    start: usize,
    sizes: Vec<usize>,
    next: usize,
    stays: bool,
}

impl Pieces {
    fn new(bytes: Vec<u8>, sizes: Vec<usize>) -> Self {
        Self { bytes, start: 0, sizes, next: 0, stays: false }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.sizes[self.next % self.sizes.len()];
        self.next += 1;
        if size == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.stays && self.start == self.bytes.len() {
            return Poll::Pending;
        }
        let size = size.min(buffer.remaining()).min(self.bytes.len() - self.start);
        buffer.put_slice(&self.bytes[self.start..self.start + size]);
        self.start += size;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Reads a connection to its end or to its violation.
fn through(client: Pieces, buffers: &[usize]) -> (Vec<u8>, Option<Violation>) {
    let mut fields = FieldFilter::new(client, LIMIT);
    let findings = fields.findings();
    let mut output = Vec::new();
    let mut sizes = buffers.iter().cycle();
    let reading = async {
        loop {
            let mut buffer = vec![0; *sizes.next().unwrap()];
            let mut read = std::pin::pin!(fields.read(&mut buffer));
            let count = poll_fn(|context| match read.as_mut().poll(context) {
                Poll::Ready(count) => Poll::Ready(count.unwrap()),
                Poll::Pending if findings.violation.get().is_some() => Poll::Ready(0),
                Poll::Pending => Poll::Pending,
            });
            match count.await {
                0 => return,
                count => output.extend_from_slice(&buffer[..count]),
            }
        }
    };
    run(reading);
    (output, findings.violation.get())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A block in frames, the first with `first` bytes of the block, padding and priority.
fn in_frames(block: &[u8], stream: u32, first: usize, padding: u8, has_priority: bool) -> Vec<u8> {
    let (beginning, rest) = block.split_at(first.min(block.len()).min(MAX_FRAME - 300));
    let mut flags = END_STREAM | if rest.is_empty() { END_HEADERS } else { 0 };
    let mut payload = Vec::new();
    if padding > 0 {
        flags |= PADDED;
        payload.push(padding);
    }
    if has_priority {
        flags |= PRIORITY;
        payload.extend([0, 0, 0, 0, 7]);
    }
    payload.extend_from_slice(beginning);
    payload.extend(vec![0; padding.into()]);
    let mut frames = frame(HEADERS, flags, stream, &payload);
    let mut pieces = rest.chunks(MAX_FRAME).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        frames.extend(frame(CONTINUATION, flags, stream, piece));
    }
    frames
}

/// The frames of a connection behind its preface, with the block of each head in one piece.
fn read_frames(bytes: &[u8]) -> Vec<(FrameHead, Vec<u8>)> {
    let mut rest = bytes.strip_prefix(PREFACE).unwrap();
    let mut frames: Vec<(FrameHead, Vec<u8>)> = Vec::new();
    while let Some(head) = FrameHead::read(rest) {
        let payload = &rest[HEAD..HEAD + head.length];
        match frames.last_mut() {
            Some((_, block)) if head.kind == CONTINUATION => block.extend_from_slice(payload),
            _ => frames.push((head, payload.to_vec())),
        }
        rest = &rest[HEAD + head.length..];
    }
    assert!(rest.is_empty());
    frames
}

fn pair(name: &str, value: &str) -> Pair {
    (name.as_bytes().to_vec(), value.as_bytes().to_vec())
}

/// A head of a GET with more fields.
fn get(more: impl IntoIterator<Item = Pair>) -> Vec<Pair> {
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/a?b"), (":authority", "h")];
    pseudo.map(|(name, value)| pair(name, value)).into_iter().chain(more).collect()
}

/// The fields that `h2` gets for a head.
fn rewritten(fields: &[Pair]) -> Vec<Pair> {
    let fields: Vec<_> = fields.iter().cloned().map(|pair| (pair, 0)).collect();
    let block = Encoder::new().block(&fields);
    let bytes = [PREFACE, &in_frames(&block, 1, block.len(), 0, false)].concat();
    let (output, broken) = through(Pieces::new(bytes, vec![1 << 16]), &[1 << 16]);
    assert_eq!(broken, None);
    let frames = read_frames(&output);
    decoded(&mut Decoder::new(), &frames[0].1).unwrap()
}

/// The mark of the fault that the filter finds in a head.
fn fault(fields: &[Pair]) -> Option<String> {
    let mark = rewritten(fields).into_iter().find(|(name, _)| name == FAULT.as_str().as_bytes())?;
    Some(String::from_utf8(mark.1).unwrap())
}

#[test]
fn x9_paths_are_escaped_as_on_http_1_1() {
    for (path, expected) in [
        ("/a\"b<c>?d=\"<`>", "/a\"b%3Cc%3E?d=%22%3C`%3E"),
        ("/a`#b", "/a%60%23b"),
        ("/\u{e9}?\u{e9}", "/%C3%A9?%C3%A9"),
        ("*", "*"),
    ] {
        let fields = [pair(":method", "GET"), pair(":scheme", "http"), pair(":path", path)];
        assert_eq!(rewritten(&fields)[2], pair(":path", expected));
    }
    let path = [b"/".repeat(5000), b"<".repeat(20_178)].concat();
    for (path, expected) in
        [(path.clone(), None), ([path, b"<".to_vec()].concat(), Some(FieldFault::LONG_PATH))]
    {
        let fields: Vec<Pair> = get([])
            .into_iter()
            .map(|(name, value)| if name == b":path" { (name, path.clone()) } else { (name, value) })
            .collect();
        assert_eq!(fault(&fields).as_deref(), expected.map(|fault: FieldFault| fault.0));
    }
}

#[test]
fn c4_an_authority_that_http_does_not_parse_moves_to_a_mark() {
    for authority in ["tmp%2Fx.sock", "a/b", "a:b:c", "[::1", "a b", "@"] {
        let fields = [
            pair(":method", "GET"),
            pair(":scheme", "http"),
            pair(":authority", authority),
            pair(":path", "/"),
            pair("x-a", "b"),
        ];
        // behind the pseudo-headers, where h2 takes headers
        let expected = [&fields[..2], &fields[3..], &[pair(AUTHORITY.as_str(), authority)]].concat();
        assert_eq!(rewritten(&fields), expected);
        assert_eq!(fault(&fields), None);
    }
    for authority in ["h", "h:80", "h:", ":80", "127.0.0.1:9080", "[::1]:80", "user@h", "a_b"] {
        let fields = [
            pair(":method", "GET"),
            pair(":scheme", "http"),
            pair(":authority", authority),
            pair(":path", "/"),
        ];
        assert_eq!(rewritten(&fields), fields);
    }
}

fn with(name: &str, value: &str) -> Vec<Pair> {
    get([pair(name, value)])
}

fn without(missing: &str) -> Vec<Pair> {
    get([]).into_iter().filter(|(name, _)| name != missing.as_bytes()).collect()
}

fn instead(name: &str, value: &str) -> Vec<Pair> {
    let changed = |field: Pair| if field.0 == name.as_bytes() { pair(name, value) } else { field };
    get([]).into_iter().map(changed).collect()
}

/// Compares the fault that replaces a head.
#[track_caller]
fn assert_fault(fields: &[Pair], expected: FieldFault) {
    let found = rewritten(fields);
    let lengths: Vec<_> = found.iter().map(|(name, value)| (name.len(), value.len())).collect();
    assert_eq!(fault(fields).as_deref(), Some(expected.0), "{lengths:?}");
    assert_eq!(found[..3], [pair(":method", "GET"), pair(":scheme", "http"), pair(":path", "/")]);
    assert_eq!(found.len(), 4);
}

#[test]
fn x10_the_first_fault_of_a_header_replaces_the_head() {
    for (fields, expected) in [
        (with("X-a", "b"), FieldFault::NAME),
        (with("", "b"), FieldFault::NAME),
        (with("x a", "b"), FieldFault::NAME),
        (with("x\"a", "b"), FieldFault::NAME),
        (with("\"fault", "a"), FieldFault::NAME),
        (with("\"authority", "h"), FieldFault::NAME),
        (with("x\u{e9}", "b"), FieldFault::NAME),
        (with(&"n".repeat(65_536), "b"), FieldFault::NAME),
        (with("x-a", "\0"), FieldFault::VALUE),
        (with("x-a", "a\u{1}"), FieldFault::VALUE),
        (with("x-a", "a\r\nb: c"), FieldFault::VALUE),
        (with("x-a", "\u{7f}"), FieldFault::VALUE),
        (with("accept", "\u{1f}"), FieldFault::VALUE),
        (with("connection", "close"), FieldFault::CONNECTION_SPECIFIC),
        (with("transfer-encoding", "chunked"), FieldFault::CONNECTION_SPECIFIC),
        (with("te", "gzip"), FieldFault::CONNECTION_SPECIFIC),
        (with("content-length", "x"), FieldFault::LENGTH),
        (with("content-length", ""), FieldFault::LENGTH),
        (with("content-length", "99999999999999999999"), FieldFault::LENGTH),
        (with("content-length", "1"), FieldFault::LENGTH),
        (get([pair("content-length", "0"), pair("content-length", "1")]), FieldFault::LENGTH),
        (with("x-a", &"v".repeat(LIMIT)), FieldFault::TOO_LARGE),
    ] {
        assert_fault(&fields, expected);
    }
    let mut head = instead(":method", "HEAD");
    head.insert(0, pair("X", ""));
    assert_eq!(rewritten(&head)[0], pair(":method", "HEAD"));
}

#[test]
fn x10_the_first_fault_of_a_pseudo_header_replaces_the_head() {
    for (fields, expected) in [
        (with(":status", "200"), FieldFault::UNKNOWN_PSEUDO),
        (with(":protocol", "websocket"), FieldFault::UNKNOWN_PSEUDO),
        (with(":", "x"), FieldFault::UNKNOWN_PSEUDO),
        (with(":path", "/"), FieldFault::MISPLACED_PSEUDO),
        ([vec![pair("x-a", "b")], get([])].concat(), FieldFault::MISPLACED_PSEUDO),
        (without(":method"), FieldFault::MISSING_PSEUDO),
        (without(":scheme"), FieldFault::MISSING_PSEUDO),
        (without(":path"), FieldFault::MISSING_PSEUDO),
        (instead(":method", "CONNECT"), FieldFault::MISSING_PSEUDO),
        (instead(":method", "G T"), FieldFault::METHOD),
        (instead(":method", ""), FieldFault::METHOD),
        (instead(":scheme", "ht tp"), FieldFault::SCHEME),
        (instead(":path", "/a b"), FieldFault::PATH),
        (instead(":path", "/\u{1}"), FieldFault::PATH),
        (instead(":path", "a"), FieldFault::PATH),
        (instead(":path", ""), FieldFault::PATH),
        (instead(":path", "?a"), FieldFault::PATH),
        (instead(":authority", ""), FieldFault::AUTHORITY),
        (instead(":authority", "\0"), FieldFault::AUTHORITY),
    ] {
        assert_fault(&fields, expected);
    }
}

#[test]
fn x10_malformed_frames_and_blocks_end_the_connection_with_the_reason_of_the_rfc() {
    use h2::Reason;
    let get = Encoder::new().block(&get([]).into_iter().map(|pair| (pair, 0)).collect::<Vec<_>>());
    let begun = frame(HEADERS, 0, 1, &get);
    let whole = END_HEADERS | END_STREAM;
    let flood = [&begun[..], &frame(CONTINUATION, 0, 1, b"").repeat(21)].concat();
    for (frames, reason) in [
        (frame(HEADERS, whole, 0, &get), Reason::PROTOCOL_ERROR),
        (frame(HEADERS, whole, 1, &[0xbe]), Reason::COMPRESSION_ERROR),
        (frame(HEADERS, whole, 1, &[0x00, 0x05, b'a']), Reason::COMPRESSION_ERROR),
        (frame(HEADERS, whole | PADDED, 1, &[9, 0]), Reason::PROTOCOL_ERROR),
        ([frame(HEADERS, PADDED, 1, &[9]), frame(CONTINUATION, 4, 1, b"")].concat(), Reason::PROTOCOL_ERROR),
        ([&begun[..], &frame(DATA, 0, 1, b"")].concat(), Reason::PROTOCOL_ERROR),
        ([&begun[..], &frame(CONTINUATION, END_HEADERS, 3, b"")].concat(), Reason::PROTOCOL_ERROR),
        (
            [&begun[..], &frame(CONTINUATION, 0, 1, &vec![0; MAX_FRAME + 1])].concat(),
            Reason::FRAME_SIZE_ERROR,
        ),
        (flood, Reason::ENHANCE_YOUR_CALM),
    ] {
        for sizes in [vec![1 << 16], vec![1], vec![0, 7]] {
            let settings = frame(SETTINGS, 0, 0, b"");
            let bytes = [PREFACE, &settings, &frames, &settings].concat();
            let (output, broken) = through(Pieces::new(bytes, sizes), &[1 << 14]);
            assert_eq!(broken.map(|violation| violation.reason), Some(reason));
            assert_eq!(output, [PREFACE, &settings].concat());
        }
    }
}

#[test]
fn x10_a_small_block_does_not_become_a_large_one() {
    // an entry of 4,000 bytes and 300,000 references to it, which would be 256 KiB of fields and more
    let mut block = vec![0x40, 0x01, b'x', 0x7f, 0xa1, 0x1e];
    block.extend(vec![b'v'; 4000]);
    block.extend(vec![0xbe; 300_000]);
    let bytes = [PREFACE, &in_frames(&block, 1, MAX_FRAME, 0, false)].concat();
    let mut fields = FieldFilter::new(Pieces::new(bytes, vec![1 << 14]), LIMIT);
    run(async {
        let mut buffer = [0; 1 << 14];
        while fields.read(&mut buffer).await.unwrap() > 0 {
            assert!(fields.filter.capacity() <= 2 * LIMIT + (64 << 10), "{}", fields.filter.capacity());
            assert!(fields.pending.capacity() <= 1 << 15);
        }
        assert!(fields.filter.capacity() <= 4 << 10);
    });
}

#[test]
fn x10_references_to_a_large_entry_or_name_are_bounded_in_each_block() {
    let (head, literal) = ([0x82, 0x86, 0x84, 0x41, 1, b'h'], [0x7f, 0xa1, 0x1e]);
    let large = vec![b'v'; 4000];
    let value = [&head[..], &[0x40, 1, b'x'], &literal, &large].concat();
    let name = [&head[..], &[0x40], &literal, &large, &[0]].concat();
    // references to the whole entry, and literals with its name
    for (first, reference) in [(value, &[0xbe][..]), (name, &[0x0f, 0x2f, 0])] {
        let mut bytes = [PREFACE, &in_frames(&first, 1, usize::MAX, 0, false)].concat();
        for stream in (3..201).step_by(2) {
            let block = [&head[..3], &reference.repeat(60)].concat();
            bytes.extend(in_frames(&block, stream, usize::MAX, 0, false));
        }
        // four references of 4 KB are within the limit of 16 KiB
        let last = [&head[..3], &reference.repeat(4)].concat();
        bytes.extend(in_frames(&last, 201, usize::MAX, 0, false));
        let (output, broken) = through(Pieces::new(bytes, vec![1 << 14]), &[1 << 14]);
        assert_eq!(broken, None);
        assert!(output.len() < 32 << 10, "{}", output.len());
        let frames = read_frames(&output);
        let too_large = pair(FAULT.as_str(), FieldFault::TOO_LARGE.0);
        assert_eq!(decoded(&mut Decoder::new(), &frames[1].1).unwrap()[3], too_large);
        assert_eq!(decoded(&mut Decoder::new(), &frames[100].1).unwrap().len(), 7);
    }
}

#[test]
fn trailers_with_a_fault_become_trailers_that_h2_resets_the_stream_for() {
    let head = in_frames(&[0x82, 0x86, 0x84], 1, 9, 0, false);
    for trailer in [pair("X-a", "b"), pair("x-a", "\0"), pair(":path", "/"), pair("te", "x")] {
        let block = Encoder::new().block(&[(trailer, 0)]);
        let bytes = [PREFACE, &head, &in_frames(&block, 1, 9, 0, false)].concat();
        let (output, _) = through(Pieces::new(bytes, vec![100]), &[100]);
        let fields = decoded(&mut Decoder::new(), &read_frames(&output)[1].1).unwrap();
        assert_eq!(fields, [pair("connection", "")]);
    }
    let block = Encoder::new().block(&[(pair("content-length", "x"), 0), (pair("x-a", "b"), 0)]);
    let bytes = [PREFACE, &head, &in_frames(&block, 1, 9, 0, false)].concat();
    let (output, _) = through(Pieces::new(bytes, vec![100]), &[100]);
    let fields = decoded(&mut Decoder::new(), &read_frames(&output)[1].1).unwrap();
    assert_eq!(fields, [pair("content-length", "x"), pair("x-a", "b")]);
}

/// Headers that have no fault.
fn headers() -> impl Strategy<Value = Vec<Pair>> {
    let value = prop_oneof![Just(b'\t'), 0x20_u8..0x7f, 0x80_u8..];
    let header = pairs(value).prop_filter("a header", |(name, value)| {
        let is_special =
            matches!(&name[..], b"content-length" | b"transfer-encoding" | b"connection" | b"te");
        http::HeaderName::from_lowercase(name).is_ok()
            && !name.contains(&b'"')
            && !is_special
            && http::HeaderValue::from_bytes(value).is_ok()
    });
    prop::collection::vec(header, 0..12)
}

/// A request: its headers, the forms of its fields, its block in frames, and a DATA frame behind it.
type Request = (Vec<Pair>, Vec<u8>, (usize, u8, bool), Vec<u8>);

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let forms = prop::collection::vec(any::<u8>(), 16);
    let frames = (0_usize..600, prop_oneof![Just(0), any::<u8>()], any::<bool>());
    prop::collection::vec((headers(), forms, frames, prop::collection::vec(any::<u8>(), 0..300)), 1..5)
}

/// Fields of heads that are often malformed.
fn odd_fields() -> impl Strategy<Value = Vec<Pair>> {
    const NAMES: [&str; 10] =
        [":method", ":scheme", ":path", ":authority", ":status", "te", "content-length", "host", "X", ""];
    const ODD: [&str; 22] = [
        "<", "tmp%2Fx", "/a#b", "*", "http", "h:80", "CONNECT", "GET", "a b", "1", "\0", "", "[::1]", "@",
        ":80", ":", "h:", "h:99999", "h:1:2", ".", "-", "/",
    ];
    let value = prop_oneof![
        prop::sample::select(&ODD[..]).prop_map(|value| value.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
        "/[ -~]{0,9}".prop_map(String::into_bytes),
    ];
    let name = prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let odd = prop::collection::vec((name, value), 0..3);
    (odd.clone(), odd, 0_usize..=4).prop_map(|(before, behind, usual)| {
        let usual = get([]).into_iter().take(usual);
        before.into_iter().chain(usual).chain(behind).collect()
    })
}

proptest! {
    #[test]
    fn x10_fields_and_other_frames_pass_unchanged_in_any_pieces(
        requests in requests(),
        sizes in prop::collection::vec(0_usize..200, 1..20),
        buffers in prop::collection::vec(1_usize..200, 1..20),
    ) {
        prop_assume!(sizes.iter().any(|size| *size > 0));
        let mut encoder = Encoder::new();
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])].concat();
        for (request, stream) in requests.iter().zip((1..).step_by(2)) {
            let (headers, forms, (first, padding, has_priority), data) = request;
            let fields = get(headers.iter().cloned());
            let fields: Vec<_> = fields.into_iter().zip(forms.iter().copied()).collect();
            let block = encoder.block(&fields);
            bytes.extend(in_frames(&block, stream, *first, *padding, *has_priority));
            bytes.extend(frame(DATA, 0, stream, data));
        }
        let (output, broken) = through(Pieces::new(bytes, sizes), &buffers);
        prop_assert_eq!(broken, None);
        let frames = read_frames(&output);
        prop_assert_eq!(frames.len(), 1 + 2 * requests.len());
        prop_assert_eq!(&frames[0].1, &[0, 3, 0, 0, 0, 1]);
        for ((headers, _, _, data), frames) in requests.iter().zip(frames[1..].chunks(2)) {
            let (head, block) = &frames[0];
            prop_assert_eq!((head.kind, head.flags), (HEADERS, END_HEADERS | END_STREAM));
            prop_assert_eq!(decoded(&mut Decoder::new(), block).unwrap(), get(headers.iter().cloned()));
            prop_assert_eq!((frames[1].0.kind, &frames[1].1), (DATA, data));
        }
    }

    #[test]
    fn x10_no_bytes_panic_or_grow_memory(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        heads in prop::collection::vec((0_u8..12, any::<u8>(), 0_u32..6, 0_usize..100), 0..30),
        sizes in prop::collection::vec(1_usize..300, 1..10),
        buffers in prop::collection::vec(1_usize..300, 1..10),
    ) {
        let mut sent = PREFACE.to_vec();
        let mut rest = &bytes[..];
        for (kind, flags, stream, length) in heads {
            let (payload, behind) = rest.split_at(length.min(rest.len()));
            let kind = if kind > 9 { HEADERS } else { kind };
            sent.extend(frame(kind, flags, stream, payload));
            rest = behind;
        }
        sent.extend_from_slice(rest);
        let length = sent.len();
        let (output, _) = through(Pieces::new(sent, sizes), &buffers);
        // a byte can refer to an entry of the table of 4,096 bytes; a frame of 9 bytes can become a head with
        // a mark
        prop_assert!(output.len() <= length * (4096 + 64));
    }

    #[test]
    fn x9_h2_accepts_every_head_of_the_filter(fields in odd_fields()) {
        let fields: Vec<_> = fields.into_iter().map(|pair| (pair, 0)).collect();
        let block = Encoder::new().block(&fields);
        let settings = frame(SETTINGS, 0, 0, b"");
        let bytes = [PREFACE, &settings, &in_frames(&block, 1, block.len(), 0, false)].concat();
        let accepted = run(async {
            let client = Pieces { stays: true, ..Pieces::new(bytes, vec![1 << 14]) };
            let handshake = h2::server::handshake(FieldFilter::new(client, LIMIT));
            let mut connection = handshake.await.unwrap();
            poll_fn(|context| Poll::Ready(connection.poll_accept(context))).await
        });
        prop_assert!(matches!(accepted, Poll::Ready(Some(Ok(_)))), "{accepted:?}");
    }
}

/// A connection that is read in pieces of at most `most` bytes. A pipe with a small buffer would deadlock:
/// two sides of `h2` that both wait to write do not read.
struct Trickle {
    connection: tokio::io::DuplexStream,
    most: usize,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = vec![0; self.most.min(buffer.remaining())];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.connection).poll_read(context, &mut piece))?;
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

/// Requests of the client of `h2`: a path, headers, and trailers with a body, or neither.
fn sent_by_h2() -> impl Strategy<Value = Vec<(String, Vec<Pair>, Vec<Pair>)>> {
    prop::collection::vec(("/[a-z?=&]{0,20}", headers(), headers()), 1..6)
}

fn map(headers: &[Pair]) -> http::HeaderMap {
    let parsed = headers.iter().map(|(name, value)| {
        (http::HeaderName::from_bytes(name).unwrap(), http::HeaderValue::from_bytes(value).unwrap())
    });
    let mut map = http::HeaderMap::new();
    for (name, value) in parsed {
        map.append(name, value);
    }
    map
}

/// Reads a request that a server of `h2` has accepted, and answers without a body.
async fn read_request(
    (request, mut respond): (http::Request<h2::RecvStream>, h2::server::SendResponse<bytes::Bytes>),
) -> (http::Uri, http::HeaderMap, http::HeaderMap) {
    let (head, mut body) = request.into_parts();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    respond.send_response(http::Response::new(()), true).unwrap();
    (head.uri, head.headers, trailers)
}

proptest! {
    #[test]
    fn x10_what_the_client_of_h2_sends_arrives_unchanged(requests in sent_by_h2(), most in 1_usize..500) {
        let (client, connection) = tokio::io::duplex(1 << 20);
        let server = Trickle { connection, most };
        let serving = async {
            let mut connection = h2::server::handshake(FieldFilter::new(server, LIMIT)).await.unwrap();
            let mut received = tokio::task::JoinSet::new();
            while let Some(accepted) = connection.accept().await {
                received.spawn_local(read_request(accepted.unwrap()));
            }
            received.join_all().await
        };
        let asking = async {
            let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
            let driver = tokio::task::spawn_local(connection);
            for (path, headers, trailers) in &requests {
                let mut request = http::Request::get(format!("http://h{path}")).body(()).unwrap();
                *request.headers_mut() = map(headers);
                sender = sender.ready().await.unwrap();
                let (response, mut body) = sender.send_request(request, trailers.is_empty()).unwrap();
                if !trailers.is_empty() {
                    body.send_data(bytes::Bytes::from_static(b"body"), false).unwrap();
                    body.send_trailers(map(trailers)).unwrap();
                }
                response.await.unwrap();
            }
            drop(sender);
            driver.await.unwrap().unwrap();
        };
        let local = tokio::task::LocalSet::new();
        let both = async { tokio::join!(serving, asking) };
        let both = async { tokio::time::timeout(Duration::from_mins(1), both).await };
        let (received, ()) = run(local.run_until(both)).expect("no read without a waker");
        prop_assert_eq!(received.len(), requests.len());
        for (path, headers, trailers) in &requests {
            let expected = (format!("http://h{path}").parse().unwrap(), map(headers), map(trailers));
            prop_assert!(received.contains(&expected), "{expected:?} is not in {received:?}");
        }
    }
}
