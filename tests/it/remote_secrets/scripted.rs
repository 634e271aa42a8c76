//! A scripted Secrets Manager and Parameter Store, and a sidecar that fetches from them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use apigw_invoker::stand_in::{StandInKeys, credentials::foreign_variables};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Response, Signatory, Upstream, get,
    process::{Process, command, settings},
    upstream::Received,
};

/// The answer to calls for a secret.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A whole response, after which the connection is closed.
    Raw(String),
    /// Nothing, for longer than a test lasts.
    Silence,
}

impl Answer {
    pub fn raw(response: &str) -> Self {
        Self::Raw(response.to_owned())
    }

    pub fn json(body: &str) -> Self {
        Self::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    pub fn secret(text: &str) -> Self {
        Self::json(&json!({ "Name": "n", "VersionId": "v", "SecretString": text }).to_string())
    }

    pub fn parameter(text: &str) -> Self {
        Self::json(&json!({ "Parameter": { "Type": "SecureString", "Value": text } }).to_string())
    }

    pub fn refusal(code: &str, message: &str) -> Self {
        let body = json!({ "__type": code, "Message": message }).to_string();
        Self::Raw(format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }
}

/// Both services at one address.
pub struct Aws {
    upstream: Upstream,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    refused: Arc<AtomicUsize>,
    home: TempDir,
}

impl Aws {
    pub fn start() -> Self {
        let answers: Arc<Mutex<BTreeMap<String, Answer>>> = Arc::default();
        let refused: Arc<AtomicUsize> = Arc::default();
        let (scripted, wrong) = (Arc::clone(&answers), Arc::clone(&refused));
        let upstream = Upstream::serving(move |request, stream| {
            if !is_signed(request) {
                wrong.fetch_add(1, Ordering::SeqCst);
                return answer(stream, &Answer::refusal("InvalidSignatureException", "it does not match"));
            }
            let unknown = || Answer::refusal("ResourceNotFoundException", "not scripted");
            let found = scripted.lock().unwrap().get(&call(request).1).cloned();
            answer(stream, &found.unwrap_or_else(unknown))
        });
        Self { upstream, answers, refused, home: tempfile::tempdir().unwrap() }
    }

    /// Sets the answer to calls for a secret or parameter.
    pub fn set(&self, name: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// Operation and name of each call.
    pub fn calls(&self) -> Vec<(String, String)> {
        self.upstream.received().iter().map(call).collect()
    }

    pub fn refused_signatures(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    pub fn environment(&self) -> Vec<(String, String)> {
        let StandInKeys { access_key_id, secret_access_key, .. } = StandInKeys::example();
        let mut environment = self.environment_without_keys();
        environment.push(("AWS_ACCESS_KEY_ID".to_owned(), access_key_id));
        environment.push(("AWS_SECRET_ACCESS_KEY".to_owned(), secret_access_key));
        environment
    }

    pub fn environment_without_keys(&self) -> Vec<(String, String)> {
        let url = self.upstream.uri("");
        let home = self.home.path().display().to_string();
        [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url),
            ("AWS_ENDPOINT_URL_SSM", &url),
            ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("HOME", &home),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// A command of the binary on these settings.
    pub fn command(&self, name: &str, directory: &Path) -> Command {
        with(command(name, directory), self.environment())
    }
}

/// The command without the developer's environment.
fn with(mut command: Command, environment: Vec<(String, String)>) -> Command {
    for name in foreign_variables() {
        command.env_remove(name);
    }
    command.envs(environment);
    command
}

fn call(request: &Received) -> (String, String) {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let name = body["SecretId"].as_str().or_else(|| body["Name"].as_str()).unwrap_or_default();
    if body["Name"].is_string() {
        assert_eq!(body["WithDecryption"], true);
    }
    (request.header("x-amz-target").unwrap_or_default().to_owned(), name.to_owned())
}

fn answer(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    match answer {
        Answer::Silence => std::thread::sleep(Duration::from_mins(1)),
        Answer::Raw(response) => stream.write_all(response.as_bytes())?,
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// True if AWS's own signer makes the same signature of the request.
fn is_signed(request: &Received) -> bool {
    let service = if call(request).0.starts_with("AmazonSSM.") { "ssm" } else { "secretsmanager" };
    let signed =
        ["content-type", "x-amz-target"].map(|name| (name, request.header(name).unwrap_or_default()));
    let Some(at) = request.header("x-amz-date").and_then(time) else { return false };
    let signatory = Signatory { at, ..Signatory::known(service) };
    let host = request.header("host").unwrap_or_default();
    let expected = signatory.sign_for(host, "POST", request.target(), &signed, &request.body);
    let authorization = expected.iter().find(|(name, _)| name == "authorization").unwrap();
    request.line == "POST / HTTP/1.1" && request.header("authorization") == Some(&*authorization.1)
}

/// A time in the format of `X-Amz-Date`.
fn time(text: &str) -> Option<SystemTime> {
    let part = |range: std::ops::Range<usize>| text.get(range);
    let date = [part(0..4)?, part(4..6)?, part(6..8)?].join("-");
    let clock = [part(9..11)?, part(11..13)?, part(13..15)?].join(":");
    humantime::parse_rfc3339(&format!("{date}T{clock}Z")).ok()
}

/// The running sidecar.
pub struct Sidecar {
    pub process: Process,
    address: SocketAddr,
    pub directory: TempDir,
}

impl Sidecar {
    #[track_caller]
    pub fn start(aws: &Aws, process: &str, routes: &[(&str, String)]) -> Self {
        let routes: Vec<(&str, &str)> = routes.iter().map(|(id, text)| (*id, &**text)).collect();
        Self::run(settings(process, &routes), aws.environment())
    }

    #[track_caller]
    pub fn run(directory: TempDir, environment: Vec<(String, String)>) -> Self {
        let (process, address) = Process::listening(&mut with(command("run", directory.path()), environment));
        Self { process, address, directory }
    }

    pub fn get(&self, path: &str) -> Response {
        get(self.address, path)
    }

    pub fn admin(&self) -> SocketAddr {
        self.process.admin()
    }

    /// Status and body of `/ready`.
    pub fn ready(&self) -> (u16, Value) {
        let ready = get(self.admin(), "/ready");
        (ready.status, ready.json())
    }

    pub fn write_route(&self, id: &str, text: &str) {
        fs::write(self.directory.path().join(format!("routes/{id}.yaml")), text).unwrap();
    }

    /// Stops it and returns the log.
    #[track_caller]
    pub fn stop(&mut self) -> String {
        self.process.stop()
    }
}
