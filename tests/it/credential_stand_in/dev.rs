//! `apigw-invoker dev --credentials KIND`: the binary, with a sidecar as its child process.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
};

use tempfile::TempDir;

use super::super::{
    commands::curl_lines,
    support::{
        call, eventually, get,
        process::{Process, binary, end_of, through},
    },
};

fn command(kind: &str) -> Command {
    let mut command =
        binary(&["dev", "--listen", "127.0.0.1:0", "--stand-in", "127.0.0.1:0", "--credentials", kind]);
    // settings of the developer, which must not be used
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDDEVELOPER")
        .env("AWS_SECRET_ACCESS_KEY", "the-developers-secret")
        .env("AWS_PROFILE", "a-profile-that-is-not-there");
    command
}

/// `dev` and its child, with their own directory for temporary files.
struct Running {
    process: Process,
    address: SocketAddr,
    temporary: TempDir,
}

impl Running {
    /// Starts both and waits for their whole output.
    #[track_caller]
    fn start(kind: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        // the tests may run below `nohup`
        let mut command = through(&["env", "--default-signal=HUP"], &command(kind));
        let (process, address) = Process::listening(command.env("TMPDIR", temporary.path()));
        eventually("a word of welcome", || process.output().contains("Ctrl-C"));
        assert!(process.output().contains(&format!("http://{address} ")), "{}", process.output());
        Self { process, address, temporary }
    }

    /// Checks that both end on a signal and leave no files.
    #[track_caller]
    fn stop(mut self) {
        let log = self.process.stop();
        assert!(log.contains("stopped"), "the child ends by itself: {log}");
        assert!(TcpStream::connect(self.address).is_err(), "the child is still there");
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Starts `dev`, calls the signed routes, and stops it.
#[track_caller]
fn works(kind: &str, temporary: bool) {
    let running = Running::start(kind);
    let signed = get(running.address, "/iam/echo");
    assert_eq!(signed.status, 200, "{} {}", signed.text(), running.process.errors());
    let signature = signed.json()["headers"]["authorization"][0].to_string();
    assert_eq!(signature.contains("Credential=ASIA"), temporary, "{signature}");
    assert_eq!(signature.contains("Credential=AKIDEXAMPLE"), !temporary, "{signature}");
    let lines = curl_lines(&running.process.output());
    assert_eq!(lines.len(), 3);
    for (address, target) in lines {
        let answer = get(address, &target);
        assert_eq!((address, answer.status), (running.address, 200), "{target} {}", answer.text());
    }
    running.stop();
}

#[test]
fn both_end_together_and_leave_nothing() {
    Running::start("assume-role").stop();
}

#[test]
fn keys_of_the_metadata_service() {
    works("imds", true);
}

#[test]
fn keys_of_ecs() {
    works("ecs", true);
}

#[test]
fn keys_of_pod_identity() {
    works("pod-identity", true);
}

#[test]
fn keys_for_a_service_account() {
    works("irsa", true);
}

#[test]
fn keys_of_a_role_of_a_profile() {
    works("assume-role", true);
}

#[test]
fn keys_of_the_environment() {
    works("environment", false);
}

#[test]
fn the_child_does_not_outlive_its_parent() {
    let Running { process, address, temporary } = Running::start("environment");
    // SIGKILL, so that it cannot forward a signal or clean up
    drop(process);
    eventually("the child ends", || TcpStream::connect(address).is_err());
    eventually("the child leaves no files", || std::fs::read_dir(temporary.path()).unwrap().next().is_none());
}

#[test]
fn the_end_of_the_terminal_ends_both() {
    let mut running = Running::start("environment");
    running.process.signal("HUP");
    running.process.wait();
    assert!(TcpStream::connect(running.address).is_err());
}

#[test]
fn the_inspector_shows_the_requests_of_the_child() {
    let running = Running::start("environment");
    assert_eq!(get(running.address, "/iam/echo").status, 200);
    let admin = running.process.admin();
    // a request is recorded after its response
    eventually("the inspector lists the request", || {
        let listed = call(admin, "GET", "/inspect", &[("Accept", "application/json")], b"").json();
        listed["requests"][0]["target"] == "/iam/echo"
    });
    let one = call(admin, "GET", "/inspect/1", &[("Accept", "application/json")], b"").json();
    assert_eq!(one["sends_again"], true);
    running.stop();
}

#[test]
fn a_child_that_cannot_start_decides_the_exit() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = command("environment");
    command.env("APIGW_INVOKER__WORKERS", "0");
    let ended = end_of(&mut command);
    assert_eq!((ended.code, ended.output.as_str()), (Some(78), ""), "{ended:?}");
    assert!(ended.errors.contains("environment variable APIGW_INVOKER__WORKERS"), "{ended:?}");
    let stand_in = taken.local_addr().unwrap().to_string();
    let ended = end_of(&mut binary(&["dev", "--stand-in", &stand_in, "--credentials", "imds"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = format!("the stand-in cannot listen on {stand_in} (--stand-in)");
    assert!(ended.errors.contains(&told), "{ended:?}");
}

#[test]
fn an_unknown_source_is_2_and_all_are_named() {
    let ended = end_of(&mut command("imd"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for kind in ["imds", "ecs", "pod-identity", "irsa", "assume-role", "environment"] {
        assert!(ended.errors.contains(kind), "{kind}: {ended:?}");
    }
}
