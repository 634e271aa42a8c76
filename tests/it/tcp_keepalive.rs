//! TCP keep-alive on live sockets, read from `/proc`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::support::{App, Upstream, eventually, open};

/// Ticks per second in `/proc/net/tcp` (`USER_HZ`), which is the same on all current architectures of Linux.
const TICKS: u64 = 100;
/// State of an established connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";
/// Code of the keep-alive timer (man 5 `proc_pid_net`, `tr`).
const PROBES: &str = "02";

/// Time until the next probe on the connection with these ends; `None` without a keep-alive timer.
fn next_probe(local: impl Fn(SocketAddr) -> bool, remote: impl Fn(SocketAddr) -> bool) -> Option<Duration> {
    let connections = fs::read_to_string("/proc/net/tcp").unwrap();
    connections.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // the port may have belonged to a connection in TIME_WAIT
        let is_this = fields[3] == ESTABLISHED && local(address(fields[1])) && remote(address(fields[2]));
        let (timer, ticks) = fields[5].split_once(':')?;
        let ticks = u64::from_str_radix(ticks, 16).unwrap();
        (is_this && timer == PROBES).then(|| Duration::from_millis(ticks * 1000 / TICKS))
    })
}

/// Parses an address: four bytes in native byte order, and the port.
fn address(text: &str) -> SocketAddr {
    let (host, port) = text.split_once(':').unwrap();
    let host = u32::from_str_radix(host, 16).unwrap().to_ne_bytes();
    SocketAddr::from((host, u16::from_str_radix(port, 16).unwrap()))
}

#[track_caller]
fn assert_probes(
    what: &str,
    local: impl Fn(SocketAddr) -> bool + Copy,
    remote: impl Fn(SocketAddr) -> bool + Copy,
) {
    // other timers come first, such as that of a missing acknowledgement
    let mut due = None;
    eventually(what, || {
        due = next_probe(local, remote);
        due.is_some()
    });
    let due = due.unwrap();
    assert!(due <= Duration::from_mins(1), "{what}: {due:?}");
}

/// An upstream or proxy that reads and never responds.
fn silent() -> Upstream {
    Upstream::accepting(|_, mut stream, _| {
        loop {
            if stream.read(&mut [0; 1024])? == 0 {
                return Ok(());
            }
        }
    })
}

/// Sends a request that waits for its response.
fn waiting(app: &App) -> TcpStream {
    let mut client = open(app.address);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    client
}

#[test]
fn c5_a_call_that_waits_in_silence_is_kept_alive_towards_the_upstream_and_the_client() {
    let upstream = silent();
    let app = App::to(&upstream.uri("/"));
    let client = waiting(&app);
    let own = client.local_addr().unwrap();
    assert_probes(
        "the upstream's connection",
        |local| local != upstream.address,
        |remote| remote == upstream.address,
    );
    assert_probes("the client's connection", |local| local == app.address, |remote| remote == own);
}

#[test]
fn c5_a_connection_to_a_proxy_is_kept_alive_too() {
    let (proxy, upstream) = (silent(), Upstream::ok());
    let rest = format!("proxy_url: http://{}\nconnect_timeout: 1h", proxy.address);
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), &rest).start();
    let _client = waiting(&app);
    assert_probes("the proxy's connection", |local| local != proxy.address, |remote| remote == proxy.address);
}
