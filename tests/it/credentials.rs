//! Credentials that rotate, fail and recover: the binary with its own environment, and the stand-in. Every
//! test searches the log and the responses for secrets at its end.

mod expired;
mod expiries;
mod files;
mod metadata;
mod roles;
mod roles_anywhere;
mod tokens;

use std::{
    fs,
    io::{BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apigw_invoker::stand_in::{
    Service, StandIn, StandInKeys, StandInOptions, Switch,
    credentials::{self, CredentialKind, foreign_variables},
};
use tempfile::TempDir;

use super::support::{
    Response, eventually, get, open,
    process::{self, ANY_PORT, Process, command},
    read_response,
};

type Variables = Vec<(String, String)>;

/// The stand-in for AWS, and the files by which the sidecar finds a credential source.
struct Cloud {
    stand_in: StandIn,
    files: TempDir,
    /// Tokens of the files, old and new.
    tokens: Mutex<Vec<String>>,
}

impl Cloud {
    /// A stand-in whose keys live for an hour.
    fn new() -> Self {
        Self::with_keys_for(Duration::from_hours(1))
    }

    /// A stand-in whose keys have this lifetime. The sidecar refreshes them after three quarters of it.
    fn with_keys_for(life: Duration) -> Self {
        let files = tempfile::tempdir().unwrap();
        let tokens = Some(files.path().to_owned());
        let options = StandInOptions { life, tokens, ..StandInOptions::new(StandInKeys::example()) };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let stand_in = StandIn::start(any, options).expect("the stand-in starts");
        Self { stand_in, files, tokens: Mutex::default() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.stand_in.address())
    }

    fn set(&self, switch: Switch, on: bool) {
        self.stand_in.controls().set(switch, on);
    }

    fn calls(&self, service: Service) -> usize {
        self.stand_in.controls().calls(service)
    }

    /// Environment variables of a source; the only STS is the stand-in's.
    fn environment(&self, kind: CredentialKind) -> Variables {
        let mut variables =
            credentials::environment(kind, self.stand_in.address(), self.files.path()).unwrap();
        variables.retain(|(name, _)| name != "AWS_ENDPOINT_URL_STS");
        variables.push(("AWS_ENDPOINT_URL_STS".to_owned(), self.url("")));
        self.remember_token(kind);
        variables
    }

    /// Writes a new token for a source and revokes the old one.
    fn rotate_token(&self, kind: CredentialKind) {
        credentials::rotate_token(kind, self.files.path()).unwrap();
        self.remember_token(kind);
    }

    fn remember_token(&self, kind: CredentialKind) {
        if let Some(file) = self.token_file(kind) {
            self.tokens.lock().unwrap().push(fs::read_to_string(file).unwrap());
        }
    }

    fn token_file(&self, kind: CredentialKind) -> Option<PathBuf> {
        let name = match kind {
            CredentialKind::Irsa => "web-identity-token",
            CredentialKind::PodIdentity => "pod-identity-token",
            _ => return None,
        };
        Some(self.files.path().join(name))
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.stand_in.secrets();
        secrets.extend(self.tokens.lock().unwrap().iter().cloned());
        secrets
    }
}

/// A route to a signed API; `iam` selects the keys.
fn gateway(uri: &str, function_uri: &str, iam: &str) -> String {
    format!(
        "uri: {uri}\napi_gateway:\n  function_uri: {function_uri}\n  authorization:\n    \
         iam: {{ aws_region: us-east-1{iam} }}\n"
    )
}

/// For [`gateway`]: a role, assumed with the initial keys of the stand-in.
fn role(cloud: &Cloud, name: &str) -> String {
    let StandInKeys { access_key_id, secret_access_key, .. } = StandInKeys::example();
    format!(
        ", accesskey: {access_key_id}, secretkey: '{secret_access_key}', sts_endpoint_url: '{}', \
         assume_role_arn: 'arn:aws:iam::123456789012:role/{name}'",
        cloud.url("")
    )
}

/// The sidecar, killed when dropped.
struct Sidecar {
    process: Process,
    address: SocketAddr,
    answers: Mutex<String>,
    _settings: TempDir,
}

impl Sidecar {
    /// Starts it with these routes, without the developer's environment.
    #[track_caller]
    fn start(routes: &[(&str, String)], environment: &[(String, String)]) -> Self {
        let routes: Vec<_> = routes.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let settings = process::settings(&format!("{ANY_PORT}log: {{ level: debug }}\n"), &routes);
        let (process, address) = Process::listening(&mut bare(settings.path(), environment));
        Self { process, address, answers: Mutex::default(), _settings: settings }
    }

    /// Starts it with a single route `/r`.
    #[track_caller]
    fn with_route(function_uri: &str, iam: &str, environment: &[(String, String)]) -> Self {
        Self::start(&[("r", gateway("/r", function_uri, iam))], environment)
    }

    #[track_caller]
    fn get(&self, target: &str) -> Response {
        self.remembered(get(self.address, target))
    }

    /// Sends requests until one gets 200; until then each must get `credentials_unavailable`.
    #[track_caller]
    fn recovers(&self, target: &str) {
        eventually("it recovers", || {
            let response = self.get(target);
            response.status == 200 || !unavailable(&response)
        });
        assert_eq!(self.get(target).status, 200);
    }

    /// Sends requests on several connections until `done`; each must get 200.
    #[track_caller]
    fn serves(&self, clients: usize, target: &str, mut done: impl FnMut() -> bool) {
        let (stop, failed) = (AtomicBool::new(false), Mutex::<Option<Response>>::default());
        std::thread::scope(|scope| {
            let _stop = OnDrop(&stop);
            for _ in 0..clients {
                scope.spawn(|| {
                    if let Err(response) = self.calls_until(&stop, target) {
                        *failed.lock().unwrap() = Some(response);
                    }
                });
            }
            eventually("enough was served", || done() || failed.lock().unwrap().is_some());
        });
        let failed = failed.into_inner().unwrap();
        assert!(failed.is_none(), "{failed:?}\n{}", self.process.errors());
    }

    fn calls_until(&self, stop: &AtomicBool, target: &str) -> Result<(), Response> {
        let mut stream = BufReader::new(open(self.address));
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        while !stop.load(Ordering::Relaxed) {
            stream.get_mut().write_all(request.as_bytes()).unwrap();
            let response = self.remembered(read_response(&mut stream, false).unwrap());
            if response.status != 200 {
                return Err(response);
            }
            // leaves CPU time for other tests
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn remembered(&self, response: Response) -> Response {
        let mut answers = self.answers.lock().unwrap();
        for (name, value) in &response.headers {
            answers.extend([name, ": ", value, "\n"]);
        }
        answers.push_str(&response.text());
        drop(answers);
        response
    }

    /// Number of log lines about new keys.
    fn sets_of_keys(&self) -> usize {
        self.process.errors().lines().filter(|line| introduces_keys(line)).count()
    }

    /// Stops the sidecar and returns its log. Fails if the log or a response has a secret.
    #[track_caller]
    fn end(mut self, cloud: &Cloud) -> String {
        let log = self.process.stop();
        let answers = self.answers.into_inner().unwrap();
        assert!(log.contains("credentials: ") || log.contains("access"), "nothing was searched: {log}");
        for secret in cloud.secrets() {
            assert!(!secret.is_empty());
            assert!(!log.contains(&secret), "{secret} is in the log: {log}");
            assert!(!answers.contains(&secret), "{secret} is in an answer");
        }
        log
    }
}

/// Sets a flag when dropped.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `run` on a settings directory with these variables and no others that AWS's SDK reads.
fn bare(settings: &Path, environment: &[(String, String)]) -> std::process::Command {
    let mut command = command("run", settings);
    for name in foreign_variables() {
        command.env_remove(name);
    }
    // hides the developer's `.aws`
    command.env("HOME", settings).envs(environment.iter().cloned());
    command
}

fn introduces_keys(line: &str) -> bool {
    line.contains("credentials: ") && line.contains(", expires ")
}

/// True if a response is `credentials_unavailable` without a cause.
#[track_caller]
fn unavailable(response: &Response) -> bool {
    if response.status != 503 {
        return false;
    }
    assert_eq!(response.code(), "credentials_unavailable", "{}", response.text());
    assert!(!response.text().contains("arn:"), "{}", response.text());
    true
}
