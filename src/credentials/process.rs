//! `credential_process` of a profile: a program that prints keys
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>).
//!
//! The SDK's own implementation has no limits: a program that hangs outlives its timeout, and endless output
//! fills the memory.

use std::{io, process::Stdio, time::Duration};

use aws_credential_types::Credentials;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};

use super::fetch::FetchError;
use crate::system::wall_clock;

/// From the start of the program to its exit; shorter than the refresher's `ATTEMPT_TIMEOUT`, which includes
/// the calls that assume roles.
const RUN_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of output; keys are a few hundred bytes.
const MAX_OUTPUT: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProgramOutput {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// The program's process group, which is killed on drop.
struct ProcessGroup(Child);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // the group may have exited already
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Runs the program with the shell, as every SDK does, and parses its output. stderr is discarded; it may
/// contain secrets.
///
/// # Errors
/// The program cannot be started, fails, exceeds its timeout, or prints no keys.
pub async fn fetch(command: &str) -> Result<Credentials, FetchError> {
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut group = ProcessGroup(child);
    let late = |_| Err(FetchError::Program(format!("it did not end within {RUN_TIMEOUT:?}")));
    read(&timeout(RUN_TIMEOUT, output(&mut group.0)).await.unwrap_or_else(late)?)
}

fn failed(error: &io::Error) -> FetchError {
    FetchError::Program(error.to_string())
}

async fn output(child: &mut Child) -> Result<Vec<u8>, FetchError> {
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output).await.map_err(|error| failed(&error))?;
    }
    if output.len() as u64 > MAX_OUTPUT {
        return Err(FetchError::Program(format!("its output exceeds {MAX_OUTPUT} bytes")));
    }
    let status = child.wait().await.map_err(|error| failed(&error))?;
    if status.success() { Ok(output) } else { Err(FetchError::Program(format!("it ended with {status}"))) }
}

/// Parses the keys. No error quotes the output.
fn read(output: &[u8]) -> Result<Credentials, FetchError> {
    let output: ProgramOutput = serde_json::from_slice(output).map_err(|error| {
        FetchError::Program(format!("its output is not valid JSON with keys (line {})", error.line()))
    })?;
    if output.version != 1 {
        return Err(FetchError::Program("its output has a Version other than 1".to_owned()));
    }
    let invalid = || FetchError::Program("its Expiration is not a valid time".to_owned());
    let expiry = output.expiration.map(|text| wall_clock::parse(&text).ok_or_else(invalid)).transpose()?;
    let ProgramOutput { access_key_id, secret_access_key, session_token, .. } = output;
    Ok(Credentials::new(access_key_id, secret_access_key, session_token, expiry, "credential_process"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[actix_rt::test]
    async fn keys_are_parsed_from_the_programs_output() {
        let keys = r#"echo '{"Version":1,"AccessKeyId":"AKIDP","SecretAccessKey":"s","SessionToken":"t",
            "Expiration":"2050-01-01T00:00:00Z"}'"#;
        let keys = fetch(keys).await.unwrap();
        assert_eq!((keys.access_key_id(), keys.session_token()), ("AKIDP", Some("t")));
        assert_eq!(keys.expiry(), humantime::parse_rfc3339("2050-01-01T00:00:00Z").ok());
        for offset in ["2050-01-01T02:00:00+02:00", "2050-01-01T00:00:00.000Z"] {
            let keys = format!(
                r#"echo '{{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"{offset}"}}'"#
            );
            assert_eq!(
                fetch(&keys).await.unwrap().expiry(),
                humantime::parse_rfc3339("2050-01-01T00:00:00Z").ok()
            );
        }
        let lasting = fetch(r#"echo '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s"}'"#).await.unwrap();
        assert_eq!(lasting.expiry(), None);
    }

    #[actix_rt::test]
    async fn no_error_of_a_program_quotes_its_output() {
        for (command, told) in [
            ("echo hush >&2; exit 3", "it ended with exit status: 3"),
            ("echo hush", "its output is not valid JSON with keys (line 1)"),
            (
                "echo '{\"Version\":2,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"hush\"}'",
                "a Version other than 1",
            ),
            ("yes hush", "its output exceeds 65536 bytes"),
        ] {
            let reason = fetch(command).await.unwrap_err().to_string();
            assert!(reason.contains(told) && !reason.contains("hush"), "{reason}");
        }
    }

    #[actix_rt::test]
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let command = format!("sleep 600 & echo $! > {}; wait", file.display());
        let started = timeout(Duration::from_secs(1), fetch(&command)).await;
        assert!(started.is_err(), "it hangs");
        let id: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        for _ in 0..200 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child outlives its program");
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic_or_is_quoted(
            version in prop::sample::select(vec!["1", "2", "\"1\"", "null", "-1", "18446744073709551616"]),
            members in prop::collection::vec((
                prop::sample::select(vec![
                    "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "Other",
                ]),
                prop::sample::select(vec![
                    "\"hush\"", "1", "null", "[\"hush\"]",
                    "\"2030-01-01T06:00:00+02:00\"", "\"9999999-99-99T\"",
                ]),
            ), 0..7),
        ) {
            let members: String = members.iter().map(|(name, value)| format!(",{name:?}:{value}")).collect();
            if let Err(reason) = read(format!("{{\"Version\":{version}{members}}}").as_bytes()) {
                prop_assert!(!reason.to_string().contains("hush"), "{reason}");
            }
        }

        #[test]
        fn bytes_at_random_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
