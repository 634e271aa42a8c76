//! Short responses cut at every byte, over every kind of route, for HTTP/1.1 and HTTP/2 clients.

use std::{
    io::{self, Write as _},
    net::{Shutdown, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    kinds::{Answer, BODY, Kind},
    seen::{Call, call},
};
use crate::support::{App, Response, Upstream, eventually};

const CONCURRENCY: usize = 8;

/// Framing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Sized,
    Chunked,
    UntilClose,
}

impl Framing {
    const ALL: [Self; 3] = [Self::Sized, Self::Chunked, Self::UntilClose];

    fn answer(self, kind: Kind) -> Answer {
        match self {
            Self::Sized => kind.sized(),
            Self::Chunked => kind.chunked(),
            Self::UntilClose => kind.until_close(),
        }
    }
}

/// Why a client's view of a cut response is wrong.
fn mismatch(kind: Kind, framing: Framing, at: usize, seen: Option<&Response>) -> Result<(), String> {
    let answer = framing.answer(kind);
    let failed = |code: &str| {
        let response = seen.ok_or("a broken connection")?;
        let same = (response.status, response.code().as_str()) == (502, code);
        same.then_some(()).ok_or_else(|| format!("{} {}", response.status, response.text()))
    };
    let clean = |body: &[u8]| match seen {
        Some(response) if response.status == 200 && response.body == body => Ok(()),
        Some(response) => Err(format!("{} {}", response.status, response.text())),
        None => Err("a broken connection".to_owned()),
    };
    let in_head = at < answer.head_length();
    if in_head {
        return failed("upstream_truncated");
    }
    if answer.is_enough(at) {
        return clean(BODY.as_bytes());
    }
    match (kind, framing) {
        // the cut cannot be detected
        (Kind::Signed | Kind::Streamed | Kind::Invoke, Framing::UntilClose) => {
            clean(&BODY.as_bytes()[..at - answer.head_length()])
        }
        (Kind::Collected, Framing::UntilClose) => failed("function_response_invalid"),
        (Kind::Collected, _) => failed("upstream_truncated"),
        // before the first byte of the body, an error is permitted
        (Kind::Events, _) => match seen {
            None => Ok(()),
            Some(_) => failed("upstream_truncated"),
        },
        (Kind::Signed | Kind::Streamed | Kind::Invoke, _) => match seen {
            None => Ok(()),
            Some(_) if !answer.has_body_byte(at) => failed("upstream_truncated"),
            Some(response) => Err(format!("{} {}", response.status, response.text())),
        },
    }
}

/// An upstream that cuts its response at the offset in the query, or in the query inside the event.
fn cutting(kind: Kind, framing: Framing) -> Upstream {
    Upstream::serving(move |request, stream| {
        let body = String::from_utf8_lossy(&request.body);
        let number = request.target().split_once("at=").or_else(|| body.split_once(r#""at":""#));
        let digits = number.expect("a number").1.chars().take_while(char::is_ascii_digit);
        let at = digits.collect::<String>().parse().unwrap();
        stream.write_all(&framing.answer(kind).up_to(at))?;
        stream.shutdown(Shutdown::Write)?;
        io::copy(stream, &mut io::sink())?;
        Err(io::ErrorKind::ConnectionAborted.into())
    })
}

/// All offsets of a response, as paths, with the HTTP version of the client.
fn cuts(kind: Kind, framing: Framing) -> Vec<(usize, &'static str)> {
    (0..=framing.answer(kind).len()).flat_map(|at| ["1.1", "1.0"].map(|version| (at, version))).collect()
}

/// Calls every cut, several concurrently; returns the violations.
fn wrong(address: SocketAddr, kind: Kind, framing: Framing) -> Vec<String> {
    let cuts = cuts(kind, framing);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONCURRENCY)
            .map(|_| {
                scope.spawn(|| {
                    let mut wrong = Vec::new();
                    while let Some((at, version)) = cuts.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let path = format!("/{kind:?}-{framing:?}?at={at}");
                        let seen = call(address, Call::Get, &path, "id", version);
                        if let Err(reason) = mismatch(kind, framing, *at, seen.as_ref()) {
                            wrong.push(format!(
                                "{kind:?} {framing:?} cut at {at} for HTTP/{version}: {reason}"
                            ));
                        }
                    }
                    wrong
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn a_response_cut_at_any_byte_on_any_kind_of_route_is_an_error_or_broken_and_leaks_nothing() {
    let ways: Vec<(Kind, Framing, Upstream)> = Kind::ALL
        .into_iter()
        .flat_map(|kind| Framing::ALL.map(|framing| (kind, framing, cutting(kind, framing))))
        .collect();
    let mut app = App::with("log: { access: false }");
    for (kind, framing, upstream) in &ways {
        let name = format!("{kind:?}-{framing:?}");
        app = app.route(&name, &kind.route(&format!("/{name}"), upstream.address, false, "timeout: 20s"));
    }
    let app = app.start();
    let wrong: Vec<String> =
        ways.iter().flat_map(|(kind, framing, _)| wrong(app.address, *kind, *framing)).collect();
    assert!(wrong.is_empty(), "{} cuts:\n{}", wrong.len(), wrong.join("\n"));
    eventually("nothing is in flight", || app.snapshot.admission.in_flight() == 0);
    for (kind, framing, upstream) in &ways {
        eventually(&format!("no connection of {kind:?} {framing:?} is open"), || upstream.open() == 0);
    }
}
