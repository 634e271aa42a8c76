//! Rows about TLS: untrusted servers, servers without TLS, incomplete handshakes, and responses without
//! `close_notify`.

use std::{io, io::Write as _, sync::Arc};

use rcgen::date_time_ymd;
use tempfile::NamedTempFile;

use super::{
    kinds::Kind,
    script::Step::{self, *},
    seen::{
        Call,
        Outcome::{self, *},
    },
    table::{Case, scripted},
};
use crate::support::{
    Upstream,
    tls::{Authority, Identity, Secured, SecuredUpstream, server},
};

/// Host name of the upstreams.
const NAME: &str = "127.0.0.1";
const TLS: &str = "upstream_tls";

/// All rows on all kinds of routes.
pub fn cases() -> Vec<Case> {
    Kind::ALL
        .into_iter()
        .flat_map(|kind| [certificates(kind), handshakes(kind), endings(kind)])
        .flatten()
        .collect()
}

fn case(
    name: &str,
    kind: Kind,
    upstream: Upstream,
    trusted: NamedTempFile,
    expected: Outcome,
    cause: &'static str,
) -> Case {
    let name = format!("{name}.{}", kind.name());
    let limit = if expected == Failed("upstream_timeout") { "connect_timeout: 300\n" } else { "" };
    let keys = format!("timeout: 15s\n{limit}ca_certificate: {}\n", trusted.path().display());
    Case {
        call: Call::Get,
        route: kind.route(&format!("/{name}"), upstream.address, true, &keys),
        name,
        upstream: Some(upstream),
        held: Some(Box::new(trusted)),
        gate: Arc::default(),
        expected: vec![expected],
        cause,
        is_kept: false,
    }
}

/// Untrusted certificates.
fn certificates(kind: Kind) -> Vec<Case> {
    let row = |name, identity: fn(&Authority) -> Identity, cause| {
        let authority = Authority::new("ours");
        let upstream = SecuredUpstream::ok(server(identity(&authority)));
        case(name, kind, upstream.plain, authority.file(), Failed(TLS), cause)
    };
    vec![
        row(
            "an-expired-certificate",
            |authority| authority.issue(NAME, |params| params.not_after = date_time_ymd(2020, 1, 1)),
            "its certificate expired on 2020-01-01, ",
        ),
        row(
            "a-certificate-for-another-name",
            |authority| authority.identity("other.example"),
            "its certificate is for other.example and not for 127.0.0.1",
        ),
        row(
            "an-unknown-authority",
            |_| Authority::new("theirs").identity(NAME),
            "was not issued by an authority that is trusted here (ca_certificate: ",
        ),
    ]
}

/// Failed handshakes.
fn handshakes(kind: Kind) -> Vec<Case> {
    let row = |name, script: Vec<Step>, expected, cause| {
        let (gate, upstream) = scripted(script);
        let trusted = Authority::new("ours").file();
        Case { gate, ..case(name, kind, upstream, trusted, expected, cause) }
    };
    // a ServerHello of TLS 1.0: version, random, no session, an old cipher suite, no compression
    let body = [&[3, 1][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    let old_hello = [&[0x16, 3, 1, 0, length + 4, 2, 0, 0, length][..], &body].concat();
    vec![
        row(
            "plain-text-instead-of-tls",
            vec![ReadSome(1), Say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".into()), Close],
            Failed(TLS),
            " did not answer with TLS; does it speak plain HTTP?",
        ),
        row(
            "a-close-in-the-handshake",
            vec![ReadSome(1), Close],
            Failed(TLS),
            "it closed the connection during the handshake",
        ),
        row("a-reset-in-the-handshake", vec![ReadSome(100), Reset], Failed(TLS), ""),
        row("a-stall-in-the-handshake", vec![ReadSome(1), Stall], Failed("upstream_timeout"), "300ms"),
        row("half-a-handshake", vec![ReadSome(1), Say(vec![0x16, 3, 3, 0, 0x7a, 2]), Close], Failed(TLS), ""),
        row(
            "a-server-that-refuses-our-versions",
            vec![ReadSome(1), Say(vec![0x15, 3, 1, 0, 2, 2, 70]), Close],
            Failed(TLS),
            "the server speaks neither TLS 1.2 nor TLS 1.3 (ProtocolVersion)",
        ),
        row("a-server-of-tls-1.0", vec![ReadSome(1), Say(old_hello), Close], Failed(TLS), ""),
    ]
}

/// Responses over TLS, with and without `close_notify`.
fn endings(kind: Kind) -> Vec<Case> {
    let row = |name, answer: Vec<u8>, last: fn(&mut Secured) -> io::Result<()>, expected| {
        let authority = Authority::new("ours");
        let upstream = SecuredUpstream::serving(server(authority.identity(NAME)), move |_, stream| {
            stream.write_all(&answer)?;
            stream.flush()?;
            last(stream)?;
            Err(io::ErrorKind::ConnectionAborted.into())
        });
        Case { expected, ..case(name, kind, upstream.plain, authority.file(), Outcome::OK, "") }
    };
    let nothing = |_: &mut Secured| Ok(());
    let farewell = |stream: &mut Secured| {
        stream.conn.send_close_notify();
        stream.flush()
    };
    let forged = |stream: &mut Secured| stream.sock.write_all(&[&[0x17, 3, 3, 0, 32][..], &[9; 32]].concat());
    let halfway = |code| if kind == Kind::Collected { Failed(code) } else { Broken(code) };
    // the last event marks the end
    let without_farewell = if kind == Kind::Events { Outcome::OK } else { halfway("upstream_truncated") };
    vec![
        row("whole-over-tls", kind.sized().whole(), farewell, vec![Outcome::OK]),
        row("cut-over-tls", kind.sized().half(), nothing, vec![halfway("upstream_truncated")]),
        row(
            "cut-over-tls-with-a-farewell",
            kind.sized().half(),
            farewell,
            vec![halfway("upstream_truncated")],
        ),
        row("ended-by-a-farewell", kind.until_close().whole(), farewell, vec![Outcome::OK]),
        row("ended-without-a-farewell", kind.until_close().whole(), nothing, vec![without_farewell]),
        row("a-forged-record-for-an-answer", Vec::new(), forged, vec![Failed(TLS)]),
        // both records may be read at once
        row("a-forged-record-in-the-middle", kind.sized().half(), forged, vec![halfway(TLS), Failed(TLS)]),
    ]
}
