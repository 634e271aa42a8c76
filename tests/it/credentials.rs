//! A sidecar whose credentials rotate, fail and come back: the binary with an environment of its own, beside the
//! stand-in. No run of these ends without its log and its answers having been searched for every secret.

/// Keys that AWS calls expired before their time.
mod expired;
/// Expiries out of range.
mod expiries;
/// The shared credentials file.
mod files;
/// EC2's metadata service.
mod metadata;
/// Roles: how often STS is asked, and what happens while it does not answer.
mod roles;
/// Sources that are entitled by a token in a file.
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

/// What AWS is here: the stand-in, and the files by which a source of keys is found.
struct Cloud {
    stand_in: StandIn,
    files: TempDir,
    /// The tokens of the files, old and new.
    tokens: Mutex<Vec<String>>,
}

impl Cloud {
    /// One whose keys live for an hour.
    fn new() -> Self {
        Self::with_keys_for(Duration::from_hours(1))
    }

    /// One whose keys live so long. The sidecar refreshes them after three quarters of that.
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

    /// The variables that lead to a source, and to no STS but the stand-in's.
    fn environment(&self, kind: CredentialKind) -> Variables {
        let mut variables =
            credentials::environment(kind, self.stand_in.address(), self.files.path()).unwrap();
        variables.retain(|(name, _)| name != "AWS_ENDPOINT_URL_STS");
        variables.push(("AWS_ENDPOINT_URL_STS".to_owned(), self.url("")));
        self.remember_token(kind);
        variables
    }

    /// Gives a source a new token and makes the old one wrong.
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

/// A route to an API behind a signature; `iam` says with which keys.
fn gateway(uri: &str, function_uri: &str, iam: &str) -> String {
    format!(
        "uri: {uri}\napi_gateway:\n  function_uri: {function_uri}\n  authorization:\n    iam: {{ aws_region: us-east-1{iam} }}\n"
    )
}

/// For [`gateway`]: a role for the keys that the stand-in knows from the start.
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
    /// Starts it with these routes and nothing of the developer's environment.
    #[track_caller]
    fn start(routes: &[(&str, String)], environment: &[(String, String)]) -> Self {
        let routes: Vec<_> = routes.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let settings = process::settings(&format!("{ANY_PORT}log: {{ level: debug }}\n"), &routes);
        let (process, address) = Process::listening(&mut bare(settings.path(), environment));
        Self { process, address, answers: Mutex::default(), _settings: settings }
    }

    /// One with a single route, `/r`.
    #[track_caller]
    fn with_route(function_uri: &str, iam: &str, environment: &[(String, String)]) -> Self {
        Self::start(&[("r", gateway("/r", function_uri, iam))], environment)
    }

    #[track_caller]
    fn get(&self, target: &str) -> Response {
        self.remembered(get(self.address, target))
    }

    /// Asks until it answers 200 again, and until then nothing but that it has no credentials.
    #[track_caller]
    fn recovers(&self, target: &str) {
        eventually("it recovers", || {
            let response = self.get(target);
            response.status == 200 || !unavailable(&response)
        });
        assert_eq!(self.get(target).status, 200);
    }

    /// Asks on several connections at once until `done`; whatever is not 200 is a failure.
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
            // the machine is shared
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

    /// How many sets of keys its log has introduced.
    fn sets_of_keys(&self) -> usize {
        self.process.errors().lines().filter(|line| introduces_keys(line)).count()
    }

    /// Stops it and returns its log, in which no secret is, as in none of its answers.
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

/// Sets a flag however its scope is left.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `run` on a settings directory with these variables, and none else that AWS's SDK heeds.
fn bare(settings: &Path, environment: &[(String, String)]) -> std::process::Command {
    let mut command = command("run", settings);
    for name in foreign_variables() {
        command.env_remove(name);
    }
    // no `.aws` of the developer's
    command.env("HOME", settings).envs(environment.iter().cloned());
    command
}

fn introduces_keys(line: &str) -> bool {
    line.contains("credentials: ") && line.contains(", expires ")
}

/// Whether an answer says that there are no credentials, and not why.
#[track_caller]
fn unavailable(response: &Response) -> bool {
    if response.status != 503 {
        return false;
    }
    assert_eq!(response.code(), "credentials_unavailable", "{}", response.text());
    assert!(!response.text().contains("arn:"), "{}", response.text());
    true
}
