//! Runs the table of faults: every row on every kind of route, through one sidecar process, many calls
//! concurrently. Then checks for leaks.

use std::{
    any::Any,
    io::{self, Write as _},
    net::SocketAddr,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::{
    kinds::Kind,
    rows::{Row, rows},
    script::{Gate, Step, play},
    seen::{Call, Outcome, call, check},
    tls,
};
use crate::support::{
    Upstream, eventually, get,
    process::{ANY_PORT, Process, settings},
};

/// Concurrent calls.
const CONCURRENCY: usize = 16;
/// `limits.max_in_flight`: a leaked request would lower the number that is admitted at the end.
const MAX_IN_FLIGHT: usize = 64;
/// Time in which connections must be closed; shorter than the limits of the upstreams.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// One row on one kind of route.
pub struct Case {
    /// Name of the route, and request id.
    pub name: String,
    pub call: Call,
    /// Settings of the route.
    pub route: String,
    /// `None` if the port is closed.
    pub upstream: Option<Upstream>,
    #[expect(dead_code, reason = "lasts as long as the case: a socket, a file of authorities")]
    pub held: Option<Box<dyn Any + Send + Sync>>,
    pub gate: Arc<Gate>,
    pub expected: Vec<Outcome>,
    pub cause: &'static str,
    pub is_kept: bool,
}

impl Case {
    fn new(row: &Row, kind: Kind) -> Self {
        let name = format!("{}.{}", row.name, kind.name());
        let limit = row.limit.map(|limit| format!("{limit}: 300\n")).unwrap_or_default();
        let (gate, upstream) = scripted((row.script)(kind));
        Self {
            // an event is parsed and written again, which takes longer
            call: if row.call == Call::PostLarge && !Kind::GATEWAYS.contains(&kind) {
                Call::PostLong
            } else {
                row.call
            },
            route: kind.route(
                &format!("/{name}"),
                upstream.address,
                false,
                &format!("timeout: 15s\n{limit}"),
            ),
            name,
            upstream: Some(upstream),
            held: None,
            gate,
            expected: (row.expected)(kind),
            cause: row.cause,
            is_kept: row.is_kept,
        }
    }

    /// A case whose upstream refuses connections.
    fn refused(kind: Kind) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let name = format!("a-refused-connection.{}", kind.name());
        Self {
            call: Call::Get,
            route: kind.route(&format!("/{name}"), address, false, "timeout: 15s"),
            name,
            upstream: None,
            held: Some(Box::new(socket)),
            gate: Arc::default(),
            expected: vec![Outcome::Failed("upstream_connect")],
            cause: "refused",
            is_kept: false,
        }
    }

    /// Number of open connections of the upstream.
    fn open(&self) -> usize {
        self.upstream.as_ref().map_or(0, Upstream::open)
    }
}

/// An upstream that runs a script on each connection.
pub fn scripted(script: Vec<Step>) -> (Arc<Gate>, Upstream) {
    let gate = Arc::<Gate>::default();
    let passed = Arc::clone(&gate);
    let upstream = Upstream::accepting(move |_, stream, _| play(&script, &passed, stream));
    (gate, upstream)
}

/// Number of open files and of threads of a process.
fn files_and_threads(process: &Process) -> (usize, usize) {
    let count = |what| std::fs::read_dir(format!("/proc/{}/{what}", process.id())).unwrap().count();
    (count("fd"), count("task"))
}

/// The same, once it is stable: threads may be starting, connections closing.
fn at_rest(process: &Process) -> (usize, usize) {
    let (mut last, mut since) = (files_and_threads(process), Instant::now());
    eventually("the sidecar comes to rest", || {
        let now = files_and_threads(process);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    });
    last
}

/// Calls each case once, several concurrently; returns the clients' views.
fn call_all<R: Send>(cases: &[Case], one: impl Fn(&Case) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CONCURRENCY {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(case) = cases.get(index) else { break };
                    let result = one(case);
                    seen.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|(index, _)| *index);
    seen.into_iter().map(|(_, result)| result).collect()
}

/// A sidecar with these routes, and a route that fills `max_in_flight`.
struct Sidecar {
    process: Process,
    address: SocketAddr,
    probe: Upstream,
    all_in: Arc<Barrier>,
    before: (usize, usize),
    _settings: TempDir,
}

impl Sidecar {
    fn start(routes: impl Iterator<Item = (String, String)>) -> Self {
        let all_in = Arc::new(Barrier::new(MAX_IN_FLIGHT + 1));
        let probe = Upstream::serving({
            let all_in = Arc::clone(&all_in);
            move |request, stream| {
                if request.target() == "/held" {
                    all_in.wait();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        });
        let probe_route = format!("uri: /probe/*\napi_gateway: {{ function_uri: '{}' }}\n", probe.uri("/"));
        let routes: Vec<(String, String)> = routes.chain([("probe".to_owned(), probe_route)]).collect();
        let routes: Vec<(&str, &str)> =
            routes.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        // the first read of the settings starts a thread, which would count as a leak
        let process = format!(
            "{ANY_PORT}workers: 2\nlimits: {{ max_in_flight: {MAX_IN_FLIGHT} }}\nreload: {{ interval: 1h }}\n"
        );
        let settings = settings(&process, &routes);
        let (process, address) = Process::run(settings.path());
        assert_eq!(get(address, "/probe/").status, 200);
        eventually("the first call is over", || probe.open() == 0);
        let before = at_rest(&process);
        Self { process, address, probe, all_in, before, _settings: settings }
    }

    /// Checks that only idle connections to upstreams remain.
    fn assert_nothing_leaked(&self, kept: usize) {
        let (files, threads) = self.before;
        let is_left = || files_and_threads(&self.process) != (files + kept, threads);
        if !becomes_true(|| !is_left()) {
            let now = files_and_threads(&self.process);
            panic!("files and threads: {:?} before, {now:?} now, with {kept} connections kept", self.before);
        }
        // a leaked request would leave no room for one of these
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..MAX_IN_FLIGHT).map(|_| scope.spawn(|| get(self.address, "/probe/held").status)).collect();
            eventually("as many requests get in as ever", || {
                self.probe.received().len() == MAX_IN_FLIGHT + 1
            });
            assert_eq!(get(self.address, "/probe/").code(), "overloaded");
            self.all_in.wait();
            for client in clients {
                assert_eq!(client.join().unwrap(), 200);
            }
        });
        eventually("the sidecar has let go of these too", || !is_left());
    }
}

/// The log lines with this request id.
fn lines_of<'a>(log: &'a str, id: &str) -> Vec<&'a str> {
    let id = format!(" request_id={id} ");
    let inside = |line: &&str| format!("{line} ").contains(&id);
    log.lines().filter(inside).collect()
}

/// True if the condition becomes true before the timeout.
fn becomes_true(is_true: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !is_true() {
        if start.elapsed() > CLOSE_TIMEOUT {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Runs these cases through one sidecar.
#[track_caller]
fn run(cases: &[Case]) {
    let mut sidecar = Sidecar::start(cases.iter().map(|case| (case.name.clone(), case.route.clone())));
    let seen = call_all(cases, |case| {
        let seen = call(sidecar.address, case.call, &format!("/{}", case.name), &case.name, "1.1");
        case.gate.open();
        seen
    });
    let is_settled = |case: &Case| case.open() == usize::from(case.is_kept);
    becomes_true(|| cases.iter().all(is_settled));
    let mut wrong: Vec<String> = cases
        .iter()
        .filter(|case| !is_settled(case))
        .map(|case| format!("{}: {} connections stay open", case.name, case.open()))
        .collect();
    if wrong.is_empty() {
        sidecar.assert_nothing_leaked(cases.iter().map(Case::open).sum());
    }
    let log = sidecar.process.stop();
    for (case, seen) in cases.iter().zip(&seen) {
        let lines = lines_of(&log, &case.name);
        if let Err(reason) = check(&case.expected, seen.as_ref(), &case.name, &lines, case.cause) {
            wrong.push(format!("{}: {reason}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn cases(rows: impl Iterator<Item = Row>) -> Vec<Case> {
    let of = |row: Row| row.kinds.iter().map(move |kind| Case::new(&row, *kind)).collect::<Vec<_>>();
    rows.flat_map(of).collect()
}

#[test]
fn every_fault_has_its_outcome_is_logged_once_and_leaks_nothing() {
    let mut all = cases(rows().into_iter());
    all.extend(Kind::ALL.map(Case::refused));
    all.extend(tls::cases());
    run(&all);
}
