//! The limit of open files: raised as far as the system lets it, and what happens at its end.

use std::{
    io::{BufReader, Write},
    net::SocketAddr,
    process::Command,
    time::Instant,
};

use tempfile::TempDir;

use super::support::{
    Upstream, eventually, get, open,
    process::{self, Process},
    read_response,
};

/// The sidecar as a process that a shell has limited like this.
fn limited(limit: &str, upstream: &Upstream) -> (Process, SocketAddr, TempDir) {
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let directory = process::settings(process::ANY_PORT, &[("r", &route)]);
    let run = process::command("run", directory.path());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]).arg(run.get_program());
    shell.args(run.get_args()).env("APIGW_INVOKER__ADMIN__ADDRESS", "127.0.0.1:0");
    let (process, address) = Process::listening(&mut shell);
    (process, address, directory)
}

#[test]
fn more_clients_than_files_that_a_process_begins_with_are_served() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = limited("-S -n 80", &upstream);
    let mut clients: Vec<_> = (0..200).map(|_| BufReader::new(open(address))).collect();
    for client in &mut clients {
        client.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert_eq!(read_response(client, false).unwrap().status, 200);
    }
    let log = process.stop();
    assert!(!log.contains("no more connections"), "{log}");
}

#[test]
fn where_the_system_gives_no_more_files_that_is_logged_now_and_then_and_room_comes_back() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = limited("-n 80", &upstream);
    let start = Instant::now();
    let clients: Vec<_> = (0..120).map(|_| open(address)).collect();
    eventually("it is logged", || process.errors().contains("no more connections can be accepted for now"));
    drop(clients);
    eventually("there is room again", || get(address, "/").status == 200);
    let log = process.stop();
    assert!(log.contains("80 files may be open (ulimit -n), "), "{log}");
    let told = u64::try_from(log.matches("no more connections").count()).unwrap();
    assert!(told <= 1 + start.elapsed().as_secs() / 10, "{log}");
}
