//! The binary as a child process, and its output.

use std::{
    fs,
    io::Read,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use apigw_invoker::settings::PROXY_VARIABLES;
use tempfile::TempDir;

use super::wait::eventually;

/// Makes the sidecar listen on a free port.
pub const ANY_PORT: &str = "listen: { http: '127.0.0.1:0' }\n";

/// A settings directory, removed when dropped.
pub fn settings(process: &str, routes: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    write_settings(directory.path(), process, routes);
    directory
}

/// Writes `default.yaml` and `routes/*.yaml` into a directory.
pub fn write_settings(directory: &Path, process: &str, routes: &[(&str, &str)]) {
    fs::create_dir_all(directory.join("routes")).unwrap();
    fs::write(directory.join("default.yaml"), process).unwrap();
    for (name, text) in routes {
        fs::write(directory.join(format!("routes/{name}.yaml")), text).unwrap();
    }
}

/// The binary with arguments; environment variables of the sidecar and of proxies are removed.
pub fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apigw-invoker"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("APIGW_INVOKER") {
            command.env_remove(name);
        }
    }
    for name in PROXY_VARIABLES {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET");
    command.env("APIGW_INVOKER__ADMIN__ADDRESS", "127.0.0.1:0");
    command
}

/// A command with `--settings`.
pub fn command(name: &str, directory: &Path) -> Command {
    let mut command = binary(&[name, "--settings"]);
    command.arg(directory);
    command
}

/// Output and exit code of a finished command.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

/// Runs a command to its end.
#[track_caller]
pub fn end_of(command: &mut Command) -> Ended {
    let mut process = Process::start(command);
    let status = process.wait();
    Ended { code: status.code(), output: process.output(), errors: process.errors() }
}

/// A running child, killed when dropped.
pub struct Process {
    child: Child,
    output: Said,
    errors: Said,
}

/// Output of one stream so far.
struct Said {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// The command as an argument of another program that replaces itself by it.
pub fn through(wrapper: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Sends a signal, such as `TERM`, to the process with this id.
pub fn signal_to(id: u32, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &id.to_string()])
        .status()
        .expect("there is a shell");
    assert!(sent.success());
}

impl Process {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = Said::by(child.stdout.take().unwrap());
        let errors = Said::by(child.stderr.take().unwrap());
        Self { child, output, errors }
    }

    /// Starts a command that receives a signal right after its first log line. A shell reads its standard
    /// error, because polling in this process would be too slow.
    pub fn signalled_at_its_first_line(command: &mut Command, name: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = Said::by(child.stdout.take().unwrap());
        let mut shell = Command::new("sh")
            .args(["-c", "read -r line && kill -s \"$0\" \"$1\"; echo \"$line\"; cat", name])
            .arg(child.id().to_string())
            .stdin(child.stderr.take().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let errors = Said::by(shell.stdout.take().unwrap());
        // the shell ends with the child
        std::thread::spawn(move || shell.wait());
        Self { child, output, errors }
    }

    /// Starts `run` on a settings directory and waits until it listens.
    #[track_caller]
    pub fn run(directory: &Path) -> (Self, SocketAddr) {
        Self::listening(&mut command("run", directory))
    }

    /// Starts a command that serves and waits until it listens.
    #[track_caller]
    pub fn listening(command: &mut Command) -> (Self, SocketAddr) {
        let mut process = Self::start(command);
        eventually("it listens", || process.address().is_some() || process.has_ended());
        match process.address() {
            Some(address) => (process, address),
            None => panic!("it ended: {}", process.errors()),
        }
    }

    /// The listening address in the log.
    fn address(&self) -> Option<SocketAddr> {
        let errors = self.errors();
        let (_, rest) = errors.split_once("listening on ")?;
        rest.split_once(',')?.0.parse().ok()
    }

    /// The admin address in the log.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        self.says("admin port on ");
        eventually("the line is whole", || {
            self.errors().split_once("admin port on ").is_some_and(|(_, rest)| rest.contains('\n'))
        });
        let errors = self.errors();
        let (_, rest) = errors.split_once("admin port on ").unwrap();
        // in JSON the line continues
        rest.split(['\n', '"']).next().unwrap().parse().unwrap()
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal_to(self.child.id(), name);
    }

    /// Waits until a log line contains this text.
    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually(text, || self.errors().contains(text));
    }

    /// True if the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the process has ended and its output was read.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        eventually("it ends", || self.has_ended());
        self.output.finish();
        self.errors.finish();
        self.child.wait().unwrap()
    }

    /// Sends SIGTERM and returns the log; the exit code must be 0.
    #[track_caller]
    pub fn stop(&mut self) -> String {
        self.signal("TERM");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}: {}", self.errors());
        self.errors()
    }

    /// Standard output so far.
    pub fn output(&self) -> String {
        self.output.so_far()
    }

    /// Standard error so far.
    pub fn errors(&self) -> String {
        self.errors.so_far()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    fn by(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let heard = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                heard.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}
