//! `apigw-invoker supervise`: the parent of one function's process.
//!
//! The supervisor is a child subreaper (`prctl(2)`, `PR_SET_CHILD_SUBREAPER`): each orphan below it becomes
//! its child. Its standard input is a pipe that `dev` never writes to and that is closed with `dev`, even
//! after SIGKILL. It then kills all processes below it, so that nothing is left.
//!
//! If the supervisor itself gets SIGKILL, the kernel kills the function (`PR_SET_PDEATHSIG`, which
//! [`execute`] sets before it becomes the function). Processes that the function has started go on then: they
//! do not inherit the signal.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};

/// Pause between two searches for processes that are left.
const PAUSE: Duration = Duration::from_millis(5);

/// The process's name (`comm`). `pkill -9 apigw-invoker` matches that of the program, and must end `dev`
/// alone, so that the supervisor can kill the processes below it.
const NAME: &str = "supervisor";

/// The processes below are being killed.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Runs the command, and reports on standard output how it ended: `exit CODE`, `signal NUMBER` or
/// `cannot start REASON`. The command writes both of its outputs to the supervisor's standard error.
pub fn run(command: &[OsString]) -> ExitCode {
    // without this name the supervisor works all the same
    let _ = fs::write("/proc/self/comm", NAME);
    let report = match start(command) {
        Ok(main) => reap(main),
        Err(error) => format!("cannot start {error}"),
    };
    let _ = writeln!(io::stdout(), "{report}");
    ExitCode::SUCCESS
}

fn start(command: &[OsString]) -> io::Result<Pid> {
    set_child_subreaper(Some(getpid()))?;
    // this program, even if its file has been replaced
    let child = Command::new("/proc/self/exe")
        .args(["supervise", "--below", &getpid().as_raw_nonzero().to_string(), "--"])
        .args(command)
        .stdin(io::stdout().as_fd().try_clone_to_owned()?)
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        // a terminal sends Ctrl-C to its foreground process group
        .process_group(0)
        .spawn()?;
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        IS_ENDING.store(true, Ordering::SeqCst);
        loop {
            kill_all_below();
            thread::sleep(PAUSE);
        }
    });
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("there is no process id"))
}

/// Runs the command in place of this program, and lets the kernel kill it when the supervisor `parent` ends.
/// Standard input is the supervisor's standard output, for the reason why the command cannot be started.
pub fn execute(parent: i32, command: &[OsString]) -> ExitCode {
    let report = io::stdin().as_fd().try_clone_to_owned().map(fs::File::from);
    let error = replace_by(parent, command);
    if let Ok(mut report) = report {
        let _ = writeln!(report, "cannot start {error}");
    }
    ExitCode::FAILURE
}

/// Returns only if it fails.
fn replace_by(parent: i32, command: &[OsString]) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::other("there is no command");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // the signal is sent only for an end from now on
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|pid| pid.get() != parent) {
        return io::Error::other("its supervisor has ended");
    }
    Command::new(program).args(arguments).stdin(Stdio::null()).exec()
}

/// Waits until no process is left, and kills those that outlive the main process.
fn reap(main: Pid) -> String {
    let mut report = String::new();
    loop {
        let is_ending = IS_ENDING.load(Ordering::SeqCst);
        let options = if report.is_empty() { WaitOptions::empty() } else { WaitOptions::NOHANG };
        match wait(options) {
            Ok(Some((pid, status))) if pid == main => report = how_it_ended(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => {
                if !is_ending {
                    kill_all_below();
                }
                thread::sleep(PAUSE);
            }
            // no child is left
            Err(_) => return report,
        }
    }
}

fn how_it_ended(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "signal 0".to_owned(),
    }
}

/// Sends SIGKILL to every descendant.
fn kill_all_below() {
    let parents = parents();
    let own = getpid();
    for pid in parents.keys().filter(|pid| is_below(own, **pid, &parents)) {
        let _ = kill_process(*pid, Signal::KILL);
    }
}

/// The parent of each process, from `/proc/PID/stat` (`proc_pid_stat(5)`).
fn parents() -> HashMap<Pid, Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let parent = |entry: io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name();
        let pid = Pid::from_raw(name.to_str()?.parse().ok()?)?;
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Some((pid, parent_in(&String::from_utf8_lossy(&stat))?))
    };
    entries.filter_map(parent).collect()
}

/// The fourth field, the parent. The second, the program's name, may contain blanks and parentheses.
fn parent_in(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(')')?;
    Pid::from_raw(rest.split_whitespace().nth(1)?.parse().ok()?)
}

fn is_below(ancestor: Pid, pid: Pid, parents: &HashMap<Pid, Pid>) -> bool {
    let mut current = pid;
    // a chain of parents ends, even if processes end while it is read
    for _ in 0..parents.len() {
        match parents.get(&current) {
            Some(parent) if *parent == ancestor => return true,
            Some(parent) => current = *parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    #[test]
    fn the_parent_follows_the_name_even_if_that_has_parentheses() {
        assert_eq!(parent_in("7 (sh) S 5 7 7 0"), Some(pid(5)));
        assert_eq!(parent_in("7 (a) S 1 (b)) R 6 7"), Some(pid(6)));
        assert_eq!(parent_in("7 (sh) S 0 7"), None);
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn a_descendant_of_any_depth_is_below() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (8, 9), (9, 8)];
        let parents = parents.map(|(child, parent)| (pid(child), pid(parent))).into();
        let below: Vec<i32> =
            [2, 3, 4, 5, 8, 9].into_iter().filter(|child| is_below(pid(2), pid(*child), &parents)).collect();
        assert_eq!(below, [3, 4]);
    }
}
