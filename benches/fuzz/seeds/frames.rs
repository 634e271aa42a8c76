//! Connections of HTTP/2 clients, frame by frame, after the preface and SETTINGS.

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block,
};

/// A named connection.
#[derive(Debug, Clone)]
pub struct Connection {
    pub name: &'static str,
    pub frames: Vec<Frame>,
}

type Field<'a> = (&'a str, &'a [u8]);

fn head(method: &str, path: &str, more: &[Field<'_>]) -> Vec<u8> {
    let mut fields: Vec<Field<'_>> = vec![
        (":method", method.as_bytes()),
        (":scheme", b"http"),
        (":authority", b"h"),
        (":path", path.as_bytes()),
    ];
    fields.extend_from_slice(more);
    block(&fields)
}

fn get(stream: u32, path: &str, more: &[Field<'_>]) -> Frame {
    Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, head("GET", path, more))
}

fn post(stream: u32, path: &str, more: &[Field<'_>]) -> Frame {
    Frame::new(HEADERS, END_HEADERS, stream, head("POST", path, more))
}

fn data(stream: u32, flags: u8, bytes: impl AsRef<[u8]>) -> Frame {
    Frame::new(DATA, flags, stream, bytes)
}

pub fn all() -> Vec<Connection> {
    let mut seeds = ordinary();
    seeds.extend(rows());
    seeds.extend(floods());
    seeds
}

fn ordinary() -> Vec<Connection> {
    let new = |name, frames| Connection { name, frames };
    let (first, rest) = (head("GET", "/a", &[]), block(&[("x-fuzz", b"1")]));
    vec![
        new("get", vec![get(1, "/a", &[])]),
        new("three_streams", vec![get(1, "/a", &[]), get(3, "/signed/b", &[]), get(5, "/hosts/c", &[])]),
        new("post", vec![post(1, "/a", &[]), data(1, 0, "hel"), data(1, END_STREAM, "lo")]),
        new(
            "post_with_length",
            vec![post(1, "/a", &[("content-length", b"5")]), data(1, END_STREAM, "hello")],
        ),
        new(
            "post_with_trailers",
            vec![
                post(1, "/a", &[]),
                data(1, 0, "hello"),
                Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("x-t", b"v")])),
            ],
        ),
        new(
            "continuation",
            vec![Frame::new(HEADERS, END_STREAM, 1, first), Frame::new(CONTINUATION, END_HEADERS, 1, rest)],
        ),
        new(
            "padded",
            vec![Frame::new(
                HEADERS,
                END_HEADERS | END_STREAM | 8,
                1,
                [&[2][..], &head("GET", "/a", &[]), &[0, 0]].concat(),
            )],
        ),
        new(
            "prioritized",
            vec![
                Frame::new(
                    HEADERS,
                    END_HEADERS | END_STREAM | 0x20,
                    1,
                    [&[0, 0, 0, 0, 15][..], &head("GET", "/a", &[])].concat(),
                ),
                Frame::new(PRIORITY, 0, 3, [0, 0, 0, 1, 10]),
            ],
        ),
        new("ping", vec![Frame::new(PING, 0, 0, [7; 8]), get(1, "/a", &[])]),
        new(
            "settings",
            vec![
                Frame::new(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 1]),
                get(1, "/a", &[]),
                Frame::new(SETTINGS, 1, 0, []),
            ],
        ),
        new(
            "window",
            vec![
                Frame::new(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]),
                get(1, "/a", &[]),
                Frame::new(WINDOW_UPDATE, 0, 1, [0, 0, 1, 0]),
                Frame::new(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff]),
            ],
        ),
        new(
            "taken_back",
            vec![post(1, "/a", &[]), Frame::new(RST_STREAM, 0, 1, [0, 0, 0, 8]), get(3, "/a", &[])],
        ),
        new("goes_away", vec![get(1, "/a", &[]), Frame::new(GOAWAY, 0, 0, [0; 8])]),
        new("unknown_kind", vec![Frame::new(0x77, 0xff, 1, "x"), get(1, "/a", &[])]),
        new(
            "head_and_options",
            vec![
                Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, head("HEAD", "/a", &[])),
                Frame::new(HEADERS, END_HEADERS | END_STREAM, 3, head("OPTIONS", "*", &[])),
            ],
        ),
        new(
            "extended_connect",
            vec![Frame::new(HEADERS, END_HEADERS, 1, head("CONNECT", "/a", &[(":protocol", b"websocket")]))],
        ),
    ]
}

fn rows() -> Vec<Connection> {
    let new = |name, frames| Connection { name, frames };
    let connect = block(&[(":method", b"CONNECT"), (":authority", b"h:443")]);
    let unix = block(&[
        (":method", b"GET"),
        (":scheme", b"http"),
        (":authority", b"tmp%2Fx.sock"),
        (":path", b"/a"),
    ]);
    vec![
        new("c2_expect", vec![post(1, "/a", &[("expect", b"100-continue")]), data(1, END_STREAM, "hello")]),
        new("c2_expect_waiting", vec![post(1, "/a", &[("expect", b"100-continue")])]),
        new(
            "c4_authority_of_unix_socket",
            vec![Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, unix), get(3, "/a", &[])],
        ),
        new(
            "c7_early_404",
            vec![post(1, "/hosts/a", &[]), data(1, 0, vec![b'x'; 16_000]), data(1, END_STREAM, "x")],
        ),
        new(
            "c7_early_405",
            vec![
                Frame::new(HEADERS, END_HEADERS, 1, head("PUT", "/post/a", &[])),
                data(1, 0, "x"),
                get(3, "/a", &[]),
            ],
        ),
        new("c10_small_windows", vec![Frame::new(SETTINGS, 0, 0, [0, 5, 0, 0, 0x40, 0]), get(1, "/a", &[])]),
        new(
            "x1_upgrade",
            vec![
                post(1, "/a", &[("upgrade", b"websocket"), ("connection", b"Upgrade")]),
                data(1, END_STREAM, "hello"),
            ],
        ),
        new("x2_connect", vec![Frame::new(HEADERS, END_HEADERS, 1, connect), get(3, "/a", &[])]),
        new("x9_quotes", vec![get(1, "/a\"<>`?q=\"<>`", &[]), get(3, "/a", &[])]),
        new("x9_fragment", vec![get(1, "/a#b", &[]), get(3, "/a", &[])]),
        new("x10_nul", vec![get(1, "/a", &[("x-a", b"a\0b")]), get(3, "/a", &[])]),
        new("x10_control", vec![get(1, "/a", &[]), get(3, "/a", &[("x-a", b"\x01")]), get(5, "/a", &[])]),
        new("x10_capital", vec![get(1, "/a", &[("X-Capital", b"a")]), get(3, "/a", &[])]),
        new(
            "x11_unsigned_payload",
            vec![get(1, "/pass/a", &[("x-amz-content-sha256", b"UNSIGNED-PAYLOAD")])],
        ),
        new("x15_quote_in_name", vec![get(1, "/a", &[("x\"a", b"b")]), get(3, "/a", &[])]),
        new(
            "x15_trailers",
            vec![
                post(1, "/a", &[]),
                data(1, 0, "hello"),
                Frame::new(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    1,
                    block(&[("x-t", b"a\nb"), ("no colon", b"\0")]),
                ),
            ],
        ),
        new(
            "e4_cookies",
            vec![get(1, "/a", &[("cookie", b"a=1"), ("cookie", b"b=2"), ("x-fuzz", b"1"), ("x-fuzz", b"2")])],
        ),
        new("s1_dots", vec![get(1, "/signed/a/..", &[])]),
        new("s11_backslashes", vec![get(1, "/signed/a%5C..%5Cb", &[])]),
    ]
}

fn floods() -> Vec<Connection> {
    let new = |name, frames| Connection { name, frames };
    let mut endless = vec![Frame::new(HEADERS, END_STREAM, 1, head("GET", "/a", &[]))];
    endless.extend((0..40).map(|_| Frame::new(CONTINUATION, 0, 1, block(&[("x-a", &[b'b'; 9000])]))));
    let resets = (0..150).flat_map(|index| {
        let stream = 2 * index + 1;
        [get(stream, "/a", &[]), Frame::new(RST_STREAM, 0, stream, [0, 0, 0, 8])]
    });
    vec![
        new("x15_endless_block", endless),
        new("rapid_reset", resets.collect()),
        new("many_settings", (0..100).map(|_| Frame::new(SETTINGS, 0, 0, [0, 4, 0, 1, 0, 0])).collect()),
        new("many_pings", (0..100).map(|_| Frame::new(PING, 0, 0, [0; 8])).collect()),
        new("empty_data", {
            let mut frames = vec![post(1, "/a", &[])];
            frames.extend((0..150).map(|_| data(1, 0, "")));
            frames
        }),
        new("many_streams", (0..140).map(|index| post(2 * index + 1, "/a", &[])).collect()),
    ]
}
