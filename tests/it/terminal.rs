//! Colours are used on a terminal only: the binary on a pseudoterminal.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    process::{Command, Stdio},
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::support::process::{ANY_PORT, command, settings};

const WARNED: &str =
    "uri: /a\napi_gateway:\n  function_uri: http://api.example/\n  authorization: { apikey: k }\n";

/// Output of a command whose standard output and error are a terminal, until it ends.
fn on_a_terminal(command: &mut Command) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    command.stdin(Stdio::null()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
    command.env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    // drops the command's copies of the terminal
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut master = File::from(master);
    let reader = thread::spawn(move || {
        let (mut said, mut piece) = (Vec::new(), [0; 4096]);
        // reading fails once no process has the terminal open
        while let Ok(length @ 1..) = master.read(&mut piece) {
            said.extend_from_slice(&piece[..length]);
        }
        said
    });
    child.wait().unwrap();
    String::from_utf8_lossy(&reader.join().unwrap()).into_owned()
}

#[test]
fn k13_check_and_the_log_have_colours_on_a_terminal_and_with_no_color_none() {
    let directory = settings(ANY_PORT, &[("a", WARNED)]);
    let wrong = settings("workers: 0\n", &[("a", WARNED)]);
    // a port in use ends the run after its first warning
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cannot_start =
        settings(&format!("listen: {{ http: '{}' }}\n", taken.local_addr().unwrap()), &[("a", WARNED)]);
    for (name, directory, coloured) in [
        ("check", directory.path(), "\u{1b}[33mwarning:\u{1b}[0m route a: "),
        ("check", directory.path(), "\u{1b}[32m"),
        ("check", wrong.path(), "\u{1b}[31m"),
        ("run", cannot_start.path(), "Z \u{1b}[33mWARN \u{1b}[0m] route a: "),
    ] {
        let said = on_a_terminal(command(name, directory).env_remove("NO_COLOR"));
        assert!(said.contains(coloured), "{coloured:?}\nis not in\n{said:?}");
        let said = on_a_terminal(command(name, directory).env("NO_COLOR", "1"));
        assert!(!said.is_empty() && !said.contains('\u{1b}'), "{said:?}");
    }
}
