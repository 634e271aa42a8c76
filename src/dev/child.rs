//! `apigw-invoker dev --credentials KIND`: the sidecar fetches its credentials, as in EKS, ECS and EC2.
//!
//! Environment variables configure the source, and a process cannot change its own safely while it runs. So
//! the stand-in runs in this process and the sidecar in a child process: the same binary with `run`, settings
//! in a temporary directory, and an environment without the developer's AWS variables.

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

use super::{DevSockets, banner::Banner, documents, failed, leads_to_a_collector};
use crate::{
    app::process::{EndSignals, Ended, print_line, signals},
    settings::{Document, Environment, InspectSettings, PROXY_VARIABLES, Settings},
    stand_in::{
        StandInKeys, StandInOptions,
        credentials::{self, CredentialKind},
    },
};

/// The variable that turns the child's inspector on.
const KEEP: &str = "APIGW_INVOKER__ADMIN__INSPECT__KEEP";
/// The beginning of the temporary directory's name.
const DIRECTORY_PREFIX: &str = "apigw-invoker-dev-";

/// Runs the sidecar as a child process until it exits, and returns its exit code.
pub fn run(banner: Banner<'_>, directory: &TempDir, kind: CredentialKind) -> Ended {
    let accompanied = actix_rt::System::new().block_on(async {
        // before the child starts, so that an early signal is passed on
        let (first, second) = signals(EndSignals::Terminal, None)?;
        let documents = documents::of_the_chain(banner.sockets, banner.stand_in, &banner.keys.region);
        // for the banner; the child reads the settings itself
        let settings = Settings::from_documents(&documents, &Environment::new());
        let settings = settings.map_err(|mistakes| io::Error::other(mistakes.to_string()))?;
        let mut child = command(&documents, banner.stand_in, directory.path(), kind)?.spawn()?;
        // the child exits when this is closed, even if this process is killed
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

/// The options of the stand-in, with the tokens in a temporary directory.
///
/// # Errors
/// The directory cannot be created.
pub fn prepare(keys: StandInKeys) -> io::Result<(TempDir, StandInOptions)> {
    let directory = tempfile::Builder::new().prefix(DIRECTORY_PREFIX).tempdir()?;
    let tokens = Some(directory.path().to_owned());
    Ok((directory, StandInOptions { tokens, ..StandInOptions::new(keys) }))
}

/// In the child: exits when the parent does, and removes the parent's temporary directory, which that cannot
/// do after SIGKILL. Standard input is a pipe that the parent never writes to, and that is closed with the
/// parent, however it ends.
pub fn end_with_parent(settings: &Path) {
    let directory = settings.parent().filter(|directory| is_temporary(directory)).map(Path::to_owned);
    std::thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]);
        if let Some(directory) = directory {
            let _ = fs::remove_dir_all(directory);
        }
        std::process::exit(1);
    });
}

/// True for a directory that [`prepare`] has made; no other may be removed.
fn is_temporary(directory: &Path) -> bool {
    let has_name = |name: &str| name.starts_with(DIRECTORY_PREFIX);
    let is_below = directory.parent().is_some_and(|parent| parent == std::env::temp_dir());
    is_below && directory.file_name().and_then(|name| name.to_str()).is_some_and(has_name)
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
    for name in PROXY_VARIABLES {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(leads_to_a_collector) {
            command.env_remove(name);
        }
    }
    if std::env::var_os(KEEP).is_none() {
        command.env(KEEP, InspectSettings::default().keep.to_string());
    }
    command
        .args(["run", "--child", "--settings"])
        .arg(settings)
        .envs(credentials::environment(kind, stand_in, directory)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // a terminal sends Ctrl-C to the whole process group; the child must get it once, from this process
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

fn write_settings(directory: &Path, documents: &[Document]) -> io::Result<()> {
    fs::create_dir_all(directory.join("routes"))?;
    documents.iter().try_for_each(|document| fs::write(directory.join(&document.source), &document.text))
}

/// Prints the banner once the child has printed its addresses.
async fn greet(output: ChildStdout, banner: Banner<'_>, settings: &Settings) {
    let mut line = String::new();
    let heard = BufReader::new(output).read_line(&mut line).await;
    let addresses = line.trim().split_once(' ');
    let addresses = addresses.and_then(|(listen, admin)| Some((listen.parse().ok()?, admin.parse().ok()?)));
    if let (Ok(1..), Some((listen, admin))) = (heard, addresses) {
        let banner = Banner { sockets: DevSockets { listen, admin }, ..banner };
        print_line(&mut io::stdout(), &banner.text(settings));
    }
}

/// Passes the first and the second signal on and waits for the child.
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

/// Sends SIGTERM, which `run` treats as SIGINT.
fn terminate(child: &Child) {
    // there is no id after the child was waited for
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(id) = id {
        let _ = kill_process(id, Signal::TERM);
    }
}

/// The child's exit code. A child that a signal ended after this process was signalled is a success: it had
/// not yet installed its handlers.
fn code(status: ExitStatus, is_signalled: bool) -> ExitCode {
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => ExitCode::from(code),
        None if is_signalled => ExitCode::SUCCESS,
        Some(Err(_)) | None => ExitCode::FAILURE,
    }
}
