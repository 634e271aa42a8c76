//! Messages to systemd (`sd_notify(3)`): READY, RELOADING and STOPPING, each when its state holds.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use super::support::{
    Upstream, eventually, get, open,
    process::{ANY_PORT, Process, command, end_of, settings, write_settings},
    wait::PATIENCE,
};

const ROUTE: &str = "uri: /a\napi_gateway: { function_uri: 'http://127.0.0.1:9/' }\n";

/// The socket of a service manager, and its value of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    name: String,
    _directory: Option<TempDir>,
}

impl Manager {
    fn at_a_path() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::of(socket, path.to_str().unwrap().to_owned(), Some(directory))
    }

    fn abstract_name() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("apigw-invoker-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self::of(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"), None)
    }

    fn of(socket: UnixDatagram, name: String, directory: Option<TempDir>) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, name, _directory: directory }
    }

    /// The command `run` under this manager.
    fn run(&self, directory: &Path) -> Command {
        let mut command = command("run", directory);
        command.env("NOTIFY_SOCKET", &self.name);
        command
    }

    #[track_caller]
    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message arrives");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Asserts that no message waits.
    #[track_caller]
    fn has_no_message(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let received = self.socket.recv(&mut [0; 64]);
        assert!(received.is_err(), "{received:?}");
        self.socket.set_nonblocking(false).unwrap();
    }
}

#[test]
fn ready_is_sent_once_both_ports_serve_to_a_path_or_an_abstract_name() {
    for manager in [Manager::at_a_path(), Manager::abstract_name()] {
        let directory = settings(ANY_PORT, &[("a", ROUTE)]);
        let mut process = Process::start(&mut manager.run(directory.path()));
        assert_eq!(manager.next(), "READY=1\n");
        // a separate thread writes the log
        let admin = process.admin();
        let errors = process.errors();
        let (_, rest) = errors.split_once("listening on ").unwrap();
        let address = rest.split_once(',').unwrap().0.parse().unwrap();
        // at the first try
        assert_eq!(get(address, "/nothing").status, 404);
        assert_eq!(get(admin, "/live").status, 200);
        manager.has_no_message();
        process.stop();
        assert_eq!(manager.next(), "STOPPING=1\n");
        manager.has_no_message();
    }
}

#[test]
fn ready_is_not_sent_by_a_process_that_cannot_start() {
    let manager = Manager::at_a_path();
    let directory = settings(ANY_PORT, &[("a", "uri: /a\n")]);
    assert_eq!(end_of(&mut manager.run(directory.path())).code, Some(78));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen: {{ http: '{}' }}\n", taken.local_addr().unwrap());
    write_settings(directory.path(), &listen, &[("a", ROUTE)]);
    assert_eq!(end_of(&mut manager.run(directory.path())).code, Some(1));
    manager.has_no_message();
}

fn monotonic_usec() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u128::try_from(now.tv_sec).unwrap() * 1_000_000 + u128::try_from(now.tv_nsec).unwrap() / 1000
}

/// The time of a message `RELOADING=1`.
#[track_caller]
fn reloading_at(message: &str) -> u128 {
    let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{message}"));
    time.trim_end().parse().unwrap()
}

#[test]
fn a_reload_by_sighup_is_reported_with_its_time_and_ready_once_the_settings_are_in_use() {
    let manager = Manager::at_a_path();
    let process_settings = "listen: { http: '127.0.0.1:0' }\nreload: { interval: 1h }\n";
    let directory = settings(process_settings, &[("a", ROUTE)]);
    let (process, address) = Process::listening(&mut manager.run(directory.path()));
    assert_eq!(manager.next(), "READY=1\n");
    assert_eq!(get(address, "/b").status, 404);

    let upstream = Upstream::ok();
    let route = format!("uri: /b\napi_gateway: {{ function_uri: '{}' }}\n", upstream.uri("/"));
    fs::write(directory.path().join("routes/b.yaml"), route).unwrap();
    let before = monotonic_usec();
    process.signal("HUP");
    let at = reloading_at(&manager.next());
    assert!(before <= at && at <= monotonic_usec(), "{at}");
    assert_eq!(manager.next(), "READY=1\nSTATUS=settings reloaded\n");
    assert_eq!(get(address, "/b").status, 200);

    // refused settings end the reload too, because the old ones stay in use
    fs::write(directory.path().join("routes/b.yaml"), "url: /b\n").unwrap();
    process.signal("HUP");
    reloading_at(&manager.next());
    assert_eq!(manager.next(), "READY=1\nSTATUS=the new settings are not in use, see the log\n");
    process.says("unknown key");
    assert_eq!(get(address, "/b").status, 200);
}

#[test]
fn stopping_is_sent_when_the_drain_begins() {
    let go = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&go);
    let upstream = Upstream::serving(move |_, stream| {
        eventually("told to answer", || told.load(Ordering::SeqCst));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    let route =
        format!("uri: /a\napi_gateway: {{ function_uri: '{}', timeout: 20000 }}\n", upstream.uri("/"));
    let manager = Manager::at_a_path();
    let directory = settings(ANY_PORT, &[("a", &route)]);
    let (mut process, address) = Process::listening(&mut manager.run(directory.path()));
    assert_eq!(manager.next(), "READY=1\n");
    let mut stream: TcpStream = open(address);
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    eventually("it is in flight", || upstream.received().len() == 1);
    process.signal("TERM");
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert!(!process.has_ended());
    go.store(true, Ordering::SeqCst);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_manager_that_does_not_receive_is_a_warning_and_no_obstacle() {
    let full = Manager::at_a_path();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"x", &full.name).is_ok() {}
    for name in [full.name.as_str(), "/nowhere/notify", "@nobody-listens-here", "vsock:2:1", "relative"] {
        let directory = settings(ANY_PORT, &[("a", ROUTE)]);
        let (mut process, address) =
            Process::listening(command("run", directory.path()).env("NOTIFY_SOCKET", name));
        assert_eq!(get(address, "/nothing").status, 404, "{name}");
        let log = process.stop();
        let warning = format!("cannot notify the service manager at NOTIFY_SOCKET, {name}: ");
        assert_eq!(log.matches(&warning).count(), 2, "{log}");
    }
}

#[test]
fn nothing_is_sent_without_the_variable() {
    let directory = settings(ANY_PORT, &[("a", ROUTE)]);
    for value in [None, Some("")] {
        let mut run = command("run", directory.path());
        value.map(|value| run.env("NOTIFY_SOCKET", value));
        let (mut process, _) = Process::listening(&mut run);
        process.signal("HUP");
        process.says("settings unchanged");
        let log = process.stop();
        assert!(!log.contains("service manager"), "{log}");
    }
}
