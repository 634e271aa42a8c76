//! The release binary as a child process, with one route of each kind to the same upstream, and its memory,
//! files and log.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Options, upstream::HELD};

/// Time for which a number must not change to count as stable.
const STABLE_FOR: Duration = Duration::from_secs(1);

/// Lines of the child's log.
type Lines = Mutex<Vec<String>>;

pub struct Sidecar {
    pub address: SocketAddr,
    /// `limits.max_in_flight` of the child.
    pub max_in_flight: usize,
    child: Child,
    failures: Arc<Lines>,
    problem_lines: Arc<Lines>,
    _settings: TempDir,
}

/// Resident memory, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Current value.
    pub now: u64,
    /// Peak value.
    pub peak: u64,
}

impl Sidecar {
    pub fn start(upstream: SocketAddr, options: &Options) -> Self {
        let max_in_flight = options.connections + 100;
        let settings = settings(upstream, max_in_flight, options);
        let mut child = Command::new(env!("CARGO_BIN_EXE_apigw-invoker"))
            .args(["run", "--settings"])
            .arg(settings.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let problem_lines = Arc::<Lines>::default();
        let (send, address) = channel();
        let errors = child.stderr.take().expect("its standard error");
        let failures = Arc::<Lines>::default();
        let heard = (Arc::clone(&failures), Arc::clone(&problem_lines));
        std::thread::spawn(move || listen(errors, &send, &heard.0, &heard.1));
        let address = address.recv_timeout(Duration::from_secs(20)).expect("it listens");
        Self { address, max_in_flight, child, failures, problem_lines, _settings: settings }
    }

    /// Number of open files, once it is stable.
    pub fn files_at_rest(&self) -> usize {
        let (mut last, mut since) = (self.files(), Instant::now());
        while since.elapsed() < STABLE_FOR {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.files();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        last
    }

    /// Waits until at most `wanted` files are open; returns the number.
    pub fn files_settled(&self, wanted: usize, limit: Duration) -> usize {
        let start = Instant::now();
        while self.files() > wanted && start.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.files()
    }

    fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Memory { now: number("VmRSS:").unwrap_or_default(), peak: number("VmHWM:").unwrap_or_default() }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    pub fn terminate(&self) {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let sent = kill_process(process.expect("a process id"), Signal::TERM);
        sent.expect("a signal reaches it");
    }

    /// Exit code, or `None` on timeout.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Log lines that report internal errors.
    pub fn problem_lines(&self) -> Vec<String> {
        lock(&self.problem_lines).clone()
    }

    /// Log line of a failed request.
    pub fn failure_line(&self, request_id: &str) -> Option<String> {
        let mark = format!(" request_id={request_id} ");
        lock(&self.failures).iter().find(|line| line.contains(&mark)).cloned()
    }
}

fn lock(lines: &Lines) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log: finds the listening address, and keeps lines that no fault of the upstream explains.
fn listen(errors: ChildStderr, address: &Sender<SocketAddr>, failures: &Lines, problem_lines: &Lines) {
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        let listening = line.split_once("listening on ").and_then(|(_, rest)| rest.split_once(','));
        if let Some(Ok(place)) = listening.map(|(place, _)| place.parse()) {
            let _ = address.send(place);
        }
        if line.contains(" request_id=") {
            lock(failures).push(line);
            continue;
        }
        let is_serious =
            line.contains("panicked") || line.contains("ERROR") || line.contains("drain timeout reached");
        if is_serious {
            lock(problem_lines).push(line);
        }
    }
}

fn settings(upstream: SocketAddr, max_in_flight: usize, options: &Options) -> TempDir {
    let workers = options.workers;
    let inspect = if options.inspect { ", inspect: {}" } else { "" };
    let limits = "  first_byte_timeout: 3s\n  idle_timeout: 2s\n  timeout: 10s\n";
    let gateway = format!("{limits}  keepalive_timeout: 2s\n");
    let keys = "authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: secret } }";
    let routes = [
        ("unsigned", format!("api_gateway:\n  function_uri: http://{upstream}/\n{gateway}")),
        ("signed", format!("api_gateway:\n  function_uri: http://{upstream}/\n  {keys}\n{gateway}")),
        (HELD, format!("api_gateway:\n  function_uri: http://{upstream}/{HELD}\n{gateway}")),
        (
            "lambda",
            format!(
                "lambda:\n  host: {}\n  port: {}\n  disable_https: true\n  aws_region: us-east-1\n  \
                 aws_key: AKIDEXAMPLE\n  aws_secret: secret\n  function_name: soak\n  keepalive: 2s\n\
                 {limits}",
                upstream.ip(),
                upstream.port()
            ),
        ),
    ];
    let directory = TempDir::new().expect("a directory for the settings");
    let write =
        |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file of settings");
    fs::create_dir(directory.path().join("routes")).expect("a directory for the routes");
    for (name, section) in routes {
        write(&format!("routes/{name}.yaml"), &format!("uri: /{name}\n{section}"));
    }
    write(
        "default.yaml",
        &format!(
            "listen: {{ http: '127.0.0.1:0' }}\nadmin: {{ address: '127.0.0.1:0'{inspect} }}\n\
             workers: {workers}\nlimits: {{ max_in_flight: {max_in_flight}, max_connections: 1000000 }}\n\
             log: {{ access: false }}\n"
        ),
    );
    directory
}
