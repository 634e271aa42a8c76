//! `apigw-invoker dev --credentials KIND`: the sidecar finds its keys by itself, as it does in EKS, ECS and
//! EC2.
//!
//! Where it looks for them is told by variables, and those of a process cannot be changed safely while it
//! runs. So the stand-in stays in this process and the sidecar is a child of it: the same binary, with
//! `run`, settings in a directory of its own, and an environment in which nothing of the developer's is left.

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    path::Path,
    process::{ExitCode, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};

use super::{DevSockets, banner::Banner, documents, failed};
use crate::{
    app::process::{Ended, signals, tell},
    settings::{Document, Environment, Settings},
    stand_in::{
        StandInKeys, StandInOptions,
        credentials::{self, CredentialKind},
    },
};

/// Runs the sidecar beside a stand-in until it ends, and ends as it did.
pub fn run(banner: Banner<'_>, directory: &TempDir, kind: CredentialKind) -> Ended {
    let accompanied = actix_rt::System::new().block_on(async {
        // before there is a child: a signal that comes early is passed on too
        let (first, second) = signals()?;
        let documents = documents::of_the_chain(banner.sockets, banner.stand_in, &banner.keys.region);
        // the child reads them again, with the process's environment over them
        let settings = Settings::from_documents(&documents, &Environment::new());
        let settings = settings.map_err(|mistakes| io::Error::other(mistakes.to_string()))?;
        let mut child = command(&documents, banner.stand_in, directory.path(), kind)?.spawn()?;
        // the child ends when this is closed, which it is even if this process is killed
        let _lifeline = child.stdin.take();
        let output = child.stdout.take();
        let accompanied = accompany(child, first, second);
        match output {
            Some(output) => tokio::join!(greet(output, banner, &settings), accompanied).1,
            None => accompanied.await,
        }
    });
    accompanied.map_err(|error| failed("the sidecar cannot be started", &error))
}

/// How a stand-in is started for this: with the tokens of a new directory, which is removed at the end.
///
/// # Errors
/// There can be no such directory.
pub fn prepare(keys: StandInKeys) -> io::Result<(TempDir, StandInOptions)> {
    let directory = tempfile::Builder::new().prefix("apigw-invoker-dev-").tempdir()?;
    let tokens = Some(directory.path().to_owned());
    Ok((directory, StandInOptions { tokens, ..StandInOptions::new(keys) }))
}

/// In the child: ends it once its parent is gone. Standard input is a pipe that nobody writes to, so it ends
/// when the parent does, however that came about.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}

fn command(
    documents: &[Document],
    stand_in: SocketAddr,
    directory: &Path,
    kind: CredentialKind,
) -> io::Result<Command> {
    let settings = directory.join("settings");
    write_settings(&settings, documents)?;
    let mut command = Command::new(std::env::current_exe()?);
    for name in credentials::foreign_variables() {
        command.env_remove(name);
    }
    command
        .args(["run", "--child", "--settings"])
        .arg(settings)
        .envs(credentials::environment(kind, stand_in, directory)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // a terminal's Ctrl-C goes to all of its group; the child shall hear of it once, by this process
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

fn write_settings(directory: &Path, documents: &[Document]) -> io::Result<()> {
    fs::create_dir_all(directory.join("routes"))?;
    documents.iter().try_for_each(|document| fs::write(directory.join(&document.source), &document.text))
}

/// Prints the banner once the child has said where it listens.
async fn greet(output: ChildStdout, banner: Banner<'_>, settings: &Settings) {
    let mut line = String::new();
    let heard = BufReader::new(output).read_line(&mut line).await;
    let addresses = line.trim().split_once(' ');
    let addresses = addresses.and_then(|(listen, admin)| Some((listen.parse().ok()?, admin.parse().ok()?)));
    if let (Ok(1..), Some((listen, admin))) = (heard, addresses) {
        let banner = Banner { sockets: DevSockets { listen, admin }, ..banner };
        tell(&mut io::stdout(), &banner.text(settings));
    }
}

/// Passes the first and the second signal on and waits for the end.
async fn accompany(
    mut child: Child,
    first: impl Future<Output = ()>,
    second: impl Future<Output = ()>,
) -> io::Result<ExitCode> {
    tokio::select! {
        status = child.wait() => return Ok(code(status?, false)),
        () = first => terminate(&child),
    }
    tokio::select! {
        status = child.wait() => return Ok(code(status?, true)),
        () = second => terminate(&child),
    }
    Ok(code(child.wait().await?, true))
}

/// `run` makes no difference between SIGTERM and SIGINT.
fn terminate(child: &Child) {
    // there is no id any more once it has been waited for
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(id) = id {
        let _ = kill_process(id, Signal::TERM);
    }
}

/// The child's code. A signal may have come before the child could heed it, and it ended as told.
fn code(status: ExitStatus, told: bool) -> ExitCode {
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => ExitCode::from(code),
        None if told => ExitCode::SUCCESS,
        Some(Err(_)) | None => ExitCode::FAILURE,
    }
}
