//! One process of a function, with its supervisor.

use std::{
    collections::BTreeMap, io, net::SocketAddr, path::Path, pin::pin, process::Stdio, rc::Rc, time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdin, Command},
    sync::oneshot,
    time::timeout,
};

use super::{
    output::{LogTail, follow},
    words::Ended,
};
use crate::settings::LocalFunction;

/// Wait for the end of killed processes.
const LONGEST_END: Duration = Duration::from_secs(5);
/// Wait for the last lines of a function whose supervisor has ended. A process that outlives a killed
/// supervisor may keep the output open.
const LONGEST_OUTPUT: Duration = Duration::from_millis(500);
/// Variables of the developer's shell that a function at AWS would not have, or that would lead it to
/// another account.
const FOREIGN_PREFIXES: [&str; 3] = ["AWS_", "APIGW_INVOKER", "LAMBDA_"];

/// A running process. Dropping it kills the process with all of its descendants.
#[derive(Debug)]
pub struct Sandbox {
    /// The supervisor kills everything below it when this is closed.
    lifeline: Option<ChildStdin>,
    ended: oneshot::Receiver<Ended>,
}

impl Sandbox {
    /// Starts the function's command as a function of `region`.
    pub fn start(
        function: &LocalFunction,
        region: &str,
        api: SocketAddr,
        tail: &LogTail,
    ) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("supervise")
            .arg("--")
            .args(&function.command)
            .current_dir(&function.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // a terminal sends Ctrl-C to its foreground process group; the end of `dev` ends this process
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            let is_foreign = |prefix: &&str| name.to_string_lossy().starts_with(*prefix);
            if FOREIGN_PREFIXES.iter().any(is_foreign) {
                command.env_remove(name);
            }
        }
        command.envs(environment(function, region, api)).envs(&function.environment);
        let mut child = command.spawn()?;
        let lifeline = child.stdin.take();
        let (sender, ended) = oneshot::channel();
        let (name, tail) = (Rc::from(&*function.name), tail.clone());
        actix_rt::spawn(async move {
            let _ = sender.send(run(child, name, tail).await);
        });
        Ok(Self { lifeline, ended })
    }

    /// Waits until the process has ended; to be called once.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ended::Signal(9))
    }

    /// Kills the process with all of its descendants, and waits until none is left.
    pub async fn kill(mut self) {
        self.lifeline = None;
        // a process in an uninterruptible sleep ends later
        let _ = timeout(LONGEST_END, self.ended()).await;
    }
}

/// Logs the output of the function until its supervisor has ended, and returns what that reports.
async fn run(mut supervisor: Child, name: Rc<str>, tail: LogTail) -> Ended {
    let (report, output) = (supervisor.stdout.take(), supervisor.stderr.take());
    let report = async {
        let mut text = String::new();
        if let Some(mut report) = report {
            let _ = report.read_to_string(&mut text).await;
        }
        text
    };
    let output = async {
        if let Some(output) = output {
            follow(name, output, tail).await;
        }
    };
    let (mut report, mut output) = (pin!(report), pin!(output));
    let text = tokio::select! {
        text = &mut report => {
            let _ = timeout(LONGEST_OUTPUT, output).await;
            text
        }
        () = &mut output => report.await,
    };
    let _ = supervisor.wait().await;
    Ended::parse(&text)
}

/// "Defined runtime environment variables" (Lambda developer guide), as far as they exist without AWS.
fn environment(function: &LocalFunction, region: &str, api: SocketAddr) -> BTreeMap<String, String> {
    let name = &*function.name;
    let directory = function.directory.display().to_string();
    let handler = function.command.last().map_or("", |last| last);
    let temporary = std::env::temp_dir();
    let temporary = Path::new(&temporary).display().to_string();
    [
        ("AWS_LAMBDA_RUNTIME_API", &*api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "dev"),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
        // of AWS's examples: a call to AWS itself is refused instead of using the developer's account
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("AWS_SESSION_TOKEN", "a-session-token-of-dev"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
        ("LAMBDA_TASK_ROOT", &directory),
        ("LAMBDA_RUNTIME_DIR", &directory),
        ("_HANDLER", handler),
        ("TMPDIR", &temporary),
        ("TZ", ":UTC"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
