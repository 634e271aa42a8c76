//! The table of faults: the upstream's behaviour and the expected outcomes of a call. `table.rs` runs it.
//!
//! A call that fails before its response has begun gets an error of the sidecar; later, its connection
//! breaks. An incomplete response never looks complete (RFC 9112).

use super::{
    kinds::{Kind, chunk},
    script::Step::{self, *},
    seen::{
        Call::{self, *},
        Outcome::{self, *},
    },
};

/// One fault.
pub struct Row {
    pub name: &'static str,
    pub call: Call,
    /// The time limit that the fault exceeds, set to 300 ms; all other limits are high.
    pub limit: Option<&'static str>,
    pub kinds: &'static [Kind],
    pub script: fn(Kind) -> Vec<Step>,
    /// The permitted outcomes.
    pub expected: fn(Kind) -> Vec<Outcome>,
    /// Words of the cause in the log.
    pub cause: &'static str,
    /// True if the connection to the upstream is reused.
    pub is_kept: bool,
}

impl Row {
    fn new(
        name: &'static str,
        call: Call,
        script: fn(Kind) -> Vec<Step>,
        expected: fn(Kind) -> Vec<Outcome>,
    ) -> Self {
        Self { name, call, limit: None, kinds: &Kind::ALL, script, expected, cause: "", is_kept: false }
    }

    /// Sets a limit of 300 ms.
    fn within(self, limit: &'static str) -> Self {
        Self { limit: Some(limit), cause: "300ms", ..self }
    }

    fn because(self, cause: &'static str) -> Self {
        Self { cause, ..self }
    }

    fn of(self, kinds: &'static [Kind]) -> Self {
        Self { kinds, ..self }
    }

    fn kept(self) -> Self {
        Self { is_kept: true, ..self }
    }
}

const TRUNCATED: &str = "upstream_truncated";
const TIMEOUT: &str = "upstream_timeout";
const PROTOCOL: &str = "upstream_protocol";

/// Cut before the response's head.
fn truncated(_: Kind) -> Vec<Outcome> {
    vec![Failed(TRUNCATED)]
}

fn timeout(_: Kind) -> Vec<Outcome> {
    vec![Failed(TIMEOUT)]
}

fn protocol(_: Kind) -> Vec<Outcome> {
    vec![Failed(PROTOCOL)]
}

fn ok(_: Kind) -> Vec<Outcome> {
    vec![Outcome::OK]
}

/// Cut after the head, before the body: an error, unless the head was already forwarded.
fn after_head(kind: Kind, code: &'static str) -> Vec<Outcome> {
    let failed = vec![Failed(code)];
    if kind.passes_heads_on() { [vec![Broken(code)], failed].concat() } else { failed }
}

/// Cut after half of the body.
fn halfway(kind: Kind, code: &'static str) -> Vec<Outcome> {
    vec![if kind == Kind::Collected { Failed(code) } else { Broken(code) }]
}

/// Endless invalid data inside the body: too much or too slow.
fn endless(kind: Kind) -> Vec<Outcome> {
    [halfway(kind, PROTOCOL), halfway(kind, TIMEOUT)].concat()
}

/// A reset may overtake data written before it.
fn reset(later: Vec<Outcome>) -> Vec<Outcome> {
    [later, vec![Failed(TRUNCATED)]].concat()
}

pub fn rows() -> Vec<Row> {
    [
        resets(),
        closes(),
        stalls(),
        stalls_of_bodies(),
        drips(),
        early_answers(),
        garbage(),
        interim_answers(),
        lengths(),
        chunks(),
        ends(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn resets() -> Vec<Row> {
    vec![
        // the kernel may report it before the connection is used
        Row::new(
            "reset-before-reading",
            Get,
            |_| vec![Reset],
            |_| vec![Failed(TRUNCATED), Failed("upstream_connect")],
        ),
        Row::new("reset-after-the-requests-head", PostLarge, |_| vec![ReadHead, Reset], truncated),
        Row::new(
            "reset-in-the-middle-of-the-requests-body",
            PostLarge,
            |_| vec![ReadHead, ReadSome(1 << 19), Reset],
            truncated,
        ),
        Row::new("reset-after-the-request", Post, |_| vec![ReadAll, Reset], truncated),
        Row::new(
            "reset-after-half-of-the-head",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().half_head()), Reset],
            truncated,
        ),
        Row::new(
            "reset-after-the-head",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().only_head()), Reset],
            |kind| reset(after_head(kind, TRUNCATED)),
        ),
        Row::new(
            "reset-in-the-middle-of-the-body",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().half()), Reset],
            |kind| reset(halfway(kind, TRUNCATED)),
        ),
        Row::new(
            "reset-at-the-last-byte",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().but_the_last_byte()), Reset],
            |kind| reset(halfway(kind, TRUNCATED)),
        ),
        Row::new(
            "reset-of-an-answer-that-ends-with-its-connection",
            Get,
            |kind| vec![ReadAll, Say(kind.until_close().half()), Reset],
            |kind| reset(halfway(kind, TRUNCATED)),
        ),
    ]
}

fn closes() -> Vec<Row> {
    vec![
        Row::new("close-before-reading", Get, |_| vec![Close], truncated),
        Row::new("close-after-the-requests-head", PostLarge, |_| vec![ReadHead, Close], truncated),
        Row::new(
            "close-in-the-middle-of-the-requests-body",
            PostLarge,
            |_| vec![ReadHead, ReadSome(1 << 19), Close],
            truncated,
        ),
        Row::new("close-after-the-request", Post, |_| vec![ReadAll, Close], truncated),
        Row::new(
            "close-after-half-of-the-head",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().half_head()), Close],
            truncated,
        ),
        Row::new(
            "close-after-the-head",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().only_head()), Close],
            |kind| after_head(kind, TRUNCATED),
        ),
        Row::new(
            "close-in-the-middle-of-the-body",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().half()), Close],
            |kind| halfway(kind, TRUNCATED),
        ),
        Row::new(
            "close-at-the-last-byte",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().but_the_last_byte()), Close],
            |kind| halfway(kind, TRUNCATED),
        ),
    ]
}

fn stalls() -> Vec<Row> {
    const FIRST: &str = "first_byte_timeout";
    vec![
        Row::new("stall-before-reading", Get, |_| vec![Stall], timeout).within(FIRST),
        Row::new("stall-before-reading-much", PostLarge, |_| vec![Stall], timeout).within(FIRST),
        Row::new("stall-after-the-requests-head", PostLarge, |_| vec![ReadHead, Stall], timeout)
            .within(FIRST),
        Row::new(
            "stall-in-the-middle-of-the-requests-body",
            PostLarge,
            |_| vec![ReadHead, ReadSome(1 << 19), Stall],
            timeout,
        )
        .within(FIRST),
        Row::new("stall-after-the-request", Post, |_| vec![ReadAll, Stall], timeout).within(FIRST),
        Row::new(
            "stall-after-half-of-the-head",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().half_head()), Stall],
            timeout,
        )
        .within(FIRST),
    ]
}

fn stalls_of_bodies() -> Vec<Row> {
    const IDLE: &str = "idle_timeout";
    vec![
        Row::new(
            "stall-after-the-head",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().only_head()), Stall],
            |kind| after_head(kind, TIMEOUT),
        )
        .within(IDLE),
        Row::new(
            "stall-in-the-middle-of-the-body",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().half()), Stall],
            |kind| halfway(kind, TIMEOUT),
        )
        .within(IDLE),
        Row::new(
            "stall-at-the-last-byte",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().but_the_last_byte()), Stall],
            |kind| halfway(kind, TIMEOUT),
        )
        .within(IDLE),
        Row::new(
            "stall-before-the-last-chunk",
            Get,
            |kind| vec![ReadAll, Say(kind.chunked().without_the_last(5)), Stall],
            // events contain their own end
            |kind| if kind == Kind::Events { ok(kind) } else { halfway(kind, TIMEOUT) },
        )
        .within(IDLE),
        Row::new(
            "stall-before-the-end-of-the-connection",
            Get,
            |kind| vec![ReadAll, Say(kind.until_close().whole()), Stall],
            |kind| if kind == Kind::Events { ok(kind) } else { halfway(kind, TIMEOUT) },
        )
        .within(IDLE),
    ]
}

fn drips() -> Vec<Row> {
    vec![
        Row::new(
            "a-head-that-drips-in-time",
            Get,
            |kind| vec![ReadAll, Drip(kind.sized().whole(), 3, 5), Hold],
            ok,
        )
        .kept(),
        Row::new(
            "a-head-that-drips-too-long",
            Get,
            |kind| vec![ReadAll, Drip(kind.sized().only_head(), 1, 60), Hold],
            timeout,
        )
        .within("first_byte_timeout"),
        Row::new(
            "a-body-that-drips-in-time",
            Get,
            |kind| {
                let answer = kind.chunked();
                let (head, whole) = (answer.head_length(), answer.whole());
                // the last bytes follow at once: the end of the events must not wait for a timeout
                let (slow, last) = whole[head..].split_at(whole.len() - head - 8);
                let head = whole[..head].to_vec();
                vec![
                    ReadAll,
                    Say(head),
                    Drip(slow.to_vec(), slow.len().div_ceil(6), 150),
                    Say(last.to_vec()),
                    Hold,
                ]
            },
            ok,
        )
        .kept(),
        Row::new(
            "a-request-that-is-read-by-drips",
            PostLarge,
            |kind| {
                let mut steps = vec![ReadHead];
                steps.extend(vec![ReadSome(1 << 17); 4]);
                steps.extend([ReadAll, Say(kind.sized().whole()), Hold]);
                steps
            },
            ok,
        )
        .kept(),
    ]
}

/// Responses before the request was sent completely.
fn early_answers() -> Vec<Row> {
    const REFUSAL: &[u8] = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
    fn refusal(kind: Kind) -> Vec<Outcome> {
        vec![if Kind::GATEWAYS.contains(&kind) { Whole(413, "big") } else { Failed("lambda_rejected") }]
    }
    vec![
        Row::new(
            "an-early-answer-then-close",
            PostLarge,
            |_| vec![ReadHead, Say(REFUSAL.into()), Close],
            refusal,
        ),
        Row::new(
            "an-early-answer-without-reading-or-closing",
            PostLarge,
            |_| vec![ReadHead, Say(REFUSAL.into()), Stall],
            refusal,
        ),
        Row::new(
            "an-early-answer-that-keeps-the-connection",
            PostLarge,
            |kind| vec![ReadHead, Say(kind.sized().whole()), Stall],
            ok,
        )
        // the kernel's buffers hold the whole request
        .of(&Kind::GATEWAYS),
        Row::new(
            "an-answer-before-the-request-was-read",
            Get,
            |kind| vec![Say(kind.sized().whole()), Close],
            ok,
        ),
    ]
}

fn garbage() -> Vec<Row> {
    macro_rules! garbage {
        ($($name:literal: $bytes:expr),* $(,)?) => {
            vec![$(Row::new($name, Get, |_| vec![ReadAll, Say($bytes.into()), Close], protocol)),*]
        };
    }
    let mut rows = garbage! {
        "another-protocol": "SSH-2.0-OpenSSH_9.2\r\n",
        "a-tls-alert": [0x15_u8, 3, 3, 0, 2, 2, 40],
        "zeros": [0_u8; 4096],
        "http-2": "HTTP/2.0 200 OK\r\n\r\n",
        "http-0.9": "<html>hello</html>\r\n\r\n",
        "a-request": "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "a-status-of-six-digits": "HTTP/1.1 200200 OK\r\n\r\n",
        "status-099": "HTTP/1.1 099 Nope\r\n\r\n",
        "status-600": "HTTP/1.1 600 Nope\r\nContent-Length: 0\r\n\r\n",
        "no-status": "HTTP/1.1\r\n\r\n",
        "a-header-without-colon": "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "a-nul-in-a-header": "HTTP/1.1 200 OK\r\nx: a\0b\r\nContent-Length: 0\r\n\r\n",
        "a-space-before-the-colon": "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "a-folded-header": "HTTP/1.1 200 OK\r\nx: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "switching-protocols": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    };
    rows.extend([
        Row::new(
            "endless-headers",
            Get,
            |_| vec![ReadAll, Say("HTTP/1.1 200 OK\r\n".into()), Endlessly(b"x-endless: yes\r\n", 0)],
            protocol,
        ),
        Row::new(
            "an-endless-header-line",
            Get,
            |_| vec![ReadAll, Say("HTTP/1.1 200 OK\r\nx: ".into()), Endlessly(&[b'x'; 1000], 0)],
            protocol,
        ),
        Row::new(
            "an-endless-status-line",
            Get,
            |_| vec![ReadAll, Say("HTTP/1.1 200 ".into()), Endlessly(&[b'x'; 1000], 0)],
            protocol,
        ),
    ]);
    rows
}

fn interim_answers() -> Vec<Row> {
    macro_rules! before_the_answer {
        ($($name:literal: $bytes:expr),* $(,)?) => {
            vec![$(Row::new(
                $name,
                Post,
                |kind| vec![ReadAll, Say([$bytes, kind.sized().whole()].concat()), Hold],
                ok,
            ).kept()),*]
        };
    }
    let mut rows = before_the_answer! {
        "status-100-before-the-answer": b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        "status-103-before-the-answer": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec(),
        "many-interim-answers": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(20),
    };
    rows.extend([
        Row::new(
            "endless-interim-answers",
            Get,
            |_| vec![ReadAll, Endlessly(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0)],
            |_| vec![Failed(PROTOCOL), Failed(TIMEOUT)],
        )
        .within("first_byte_timeout")
        .because(""),
        Row::new(
            "interim-answers-that-drip",
            Get,
            |_| vec![ReadAll, Endlessly(b"HTTP/1.1 103 Early Hints\r\n\r\n", 50)],
            |_| vec![Failed(PROTOCOL), Failed(TIMEOUT)],
        )
        .within("first_byte_timeout")
        .because(""),
        Row::new(
            "an-interim-answer-and-no-more",
            Get,
            |_| vec![ReadAll, Say("HTTP/1.1 100 Continue\r\n\r\n".into()), Close],
            truncated,
        ),
    ]);
    rows
}

fn lengths() -> Vec<Row> {
    macro_rules! unclear {
        ($($name:literal: $headers:literal),* $(,)?) => {
            vec![$(Row::new(
                $name,
                Get,
                |kind| {
                    let answer = kind.sized().with("Content-Length", concat!($headers, "\r\nX-Length"));
                    vec![ReadAll, Say(answer), Close]
                },
                protocol,
            )),*]
        };
    }
    let mut rows = unclear! {
        "two-lengths": "Content-Length: 5\r\nContent-Length: 6",
        "a-list-of-lengths": "Content-Length: 5, 6",
        "a-negative-length": "Content-Length: -5",
        "a-length-with-a-sign": "Content-Length: +5",
        "a-length-in-hexadecimal": "Content-Length: 0xa",
        "an-empty-length": "Content-Length: ",
        "a-length-beyond-64-bits": "Content-Length: 18446744073709551616",
        "chunks-and-a-length": "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "another-coding": "Transfer-Encoding: gzip",
        "another-coding-then-chunks": "Transfer-Encoding: gzip, chunked",
        "chunks-twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    };
    rows.extend(wrong_lengths());
    rows.extend(bodies_of_none());
    rows
}

fn wrong_lengths() -> Vec<Row> {
    vec![
        Row::new(
            "a-longer-length-than-body",
            Get,
            |kind| vec![ReadAll, Say(kind.sized().with("Content-Length: ", "Content-Length: 1")), Close],
            // more events could follow
            |kind| if kind == Kind::Events { ok(kind) } else { halfway(kind, TRUNCATED) },
        ),
        Row::new(
            "the-longest-length",
            Get,
            |kind| {
                let length = format!("Content-Length: {}\r\nX-Was: ", i64::MAX);
                vec![ReadAll, Say(kind.sized().with("Content-Length: ", &length)), Close]
            },
            |kind| match kind {
                Kind::Events => ok(kind),
                // too long to be collected
                Kind::Collected => protocol(kind),
                _ => halfway(kind, TRUNCATED),
            },
        ),
        Row::new(
            "a-length-that-no-client-holds",
            Get,
            |kind| {
                let length = format!("Content-Length: {}\r\nX-Was: ", u64::MAX);
                vec![ReadAll, Say(kind.sized().with("Content-Length: ", &length)), Close]
            },
            protocol,
        ),
        Row::new(
            "bytes-after-a-sized-answer",
            Get,
            |kind| {
                vec![ReadAll, Say([kind.sized().whole(), b"HTTP/1.1 200 OK\r\n\r\n".into()].concat()), Hold]
            },
            ok,
        ),
        Row::new(
            "bytes-after-the-last-chunk",
            Get,
            |kind| vec![ReadAll, Say([kind.chunked().whole(), b"x".into()].concat()), Hold],
            ok,
        ),
    ]
}

/// Responses without a body, because of their status or the request's method.
fn bodies_of_none() -> Vec<Row> {
    vec![
        Row::new(
            "a-body-after-204",
            Get,
            |_| vec![ReadAll, Say("HTTP/1.1 204 No Content\r\n\r\nbody".into()), Hold],
            |_| vec![Whole(204, "")],
        )
        .of(&Kind::GATEWAYS),
        Row::new(
            "a-length-with-304",
            Get,
            |_| vec![ReadAll, Say("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n".into()), Hold],
            |_| vec![Whole(304, "")],
        )
        .of(&Kind::GATEWAYS)
        .kept(),
        Row::new(
            "a-body-in-answer-to-head",
            Head,
            |kind| vec![ReadAll, Say(kind.sized().whole()), Hold],
            |_| vec![Whole(200, "")],
        )
        .of(&Kind::GATEWAYS),
    ]
}

fn chunks() -> Vec<Row> {
    macro_rules! broken {
        ($($name:literal: $bytes:literal),* $(,)?) => {
            vec![$(Row::new(
                $name,
                Get,
                |kind| {
                    let half = kind.chunked().half();
                    vec![ReadAll, Say([half, $bytes.as_bytes().to_vec()].concat()), Close]
                },
                |kind| halfway(kind, PROTOCOL),
            )),*]
        };
    }
    let mut rows = broken! {
        "a-chunk-size-that-is-none": "zz\r\n56789\r\n0\r\n\r\n",
        "an-empty-chunk-size": "\r\n56789\r\n0\r\n\r\n",
        "a-chunk-size-with-a-sign": "+5\r\n56789\r\n0\r\n\r\n",
        "a-negative-chunk-size": "-5\r\n56789\r\n0\r\n\r\n",
        "a-chunk-size-with-0x": "0x5\r\n56789\r\n0\r\n\r\n",
        "a-chunk-size-beyond-64-bits": "10000000000000005\r\n56789\r\n0\r\n\r\n",
        "a-chunk-size-ended-by-lf": "5\n56789\r\n0\r\n\r\n",
    };
    rows.extend(odd_chunks());
    rows.extend(endless_chunks());
    rows
}

fn odd_chunks() -> Vec<Row> {
    vec![
        Row::new(
            "a-chunk-longer-than-its-size",
            Get,
            |kind| {
                let half = kind.chunked().half();
                vec![ReadAll, Say([&half[..half.len() - 2], b"XX\r\n0\r\n\r\n"].concat()), Close]
            },
            |kind| halfway(kind, PROTOCOL),
        ),
        Row::new(
            "a-chunk-with-an-extension",
            Get,
            |kind| {
                let [first, second] = kind.pieces();
                let size = format!("{:x};name=\"value\"\r\n", second.len());
                let rest = [size.as_bytes(), &second, b"\r\n0\r\n\r\n"].concat();
                let head = kind.chunked().only_head();
                vec![ReadAll, Say([head, chunk(&first), rest].concat()), Hold]
            },
            ok,
        )
        .kept(),
        Row::new(
            "trailers",
            Get,
            |kind| {
                let mut answer = kind.chunked().without_the_last(2);
                answer.extend_from_slice(b"X-Checksum: 1\r\n\r\n");
                vec![ReadAll, Say(answer), Hold]
            },
            ok,
        )
        .kept(),
    ]
}

fn endless_chunks() -> Vec<Row> {
    vec![
        Row::new(
            "endless-trailers",
            Get,
            |kind| {
                vec![ReadAll, Say(kind.chunked().without_the_last(2)), Endlessly(b"X-Endless: yes\r\n", 0)]
            },
            |kind| if kind == Kind::Events { ok(kind) } else { endless(kind) },
        )
        .within("idle_timeout")
        .because(""),
        Row::new(
            "an-endless-chunk-extension",
            Get,
            |kind| {
                let half = kind.chunked().half();
                vec![ReadAll, Say([half, b"5;x=".to_vec()].concat()), Endlessly(&[b'x'; 1000], 0)]
            },
            endless,
        )
        .within("idle_timeout")
        .because(""),
    ]
}

/// Responses delimited by the end of the connection.
fn ends() -> Vec<Row> {
    vec![
        Row::new(
            "an-answer-that-ends-with-its-connection",
            Get,
            |kind| vec![ReadAll, Say(kind.until_close().whole()), Close],
            ok,
        ),
        Row::new(
            "an-answer-of-http-1.0",
            Get,
            |kind| vec![ReadAll, Say(kind.until_close().with("HTTP/1.1", "HTTP/1.0")), Close],
            ok,
        ),
        Row::new(
            "chunks-in-http-1.0",
            Get,
            |kind| vec![ReadAll, Say(kind.chunked().with("HTTP/1.1", "HTTP/1.0")), Close],
            protocol,
        ),
        Row::new(
            "an-answer-that-says-close-and-stays",
            Get,
            |kind| {
                let answer = kind.sized().with("Content-Length", "Connection: close\r\nContent-Length");
                vec![ReadAll, Say(answer), Stall]
            },
            ok,
        ),
        Row::new("nothing-wrong", Post, |kind| vec![ReadAll, Say(kind.sized().whole()), Hold], ok).kept(),
        Row::new(
            "nothing-wrong-with-chunks",
            PostLarge,
            |kind| vec![ReadAll, Say(kind.chunked().whole()), Hold],
            ok,
        )
        .kept(),
    ]
}
