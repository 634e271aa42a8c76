//! `credential_process` of a profile: a program that prints keys
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>).
//!
//! `chain/profile.rs` comes here for a profile that names one itself. The SDK's own way has no leash: a program that
//! hangs outlives its time limit, and one that prints without end fills the memory.

use std::{process::Stdio, time::Duration};

use aws_credential_types::Credentials;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};

use crate::system::wall_clock;

/// Until the program has ended.
const LIMIT: Duration = Duration::from_secs(10);
/// Of its output; keys are a few hundred bytes.
const LONGEST: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// The program and all that it has started, ended when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // it may be gone already
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Runs the program by the shell, as every SDK does, and reads what it prints. What it says on its standard error is
/// nobody's to publish.
///
/// # Errors
/// It cannot be started, fails, takes too long, or prints no keys.
pub async fn fetch(command: &str) -> Result<Credentials, String> {
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("credential_process: {error}"))?;
    let mut group = Group(child);
    let output = timeout(LIMIT, output(&mut group.0)).await;
    read(&output.unwrap_or_else(|_| Err(format!("credential_process: it did not end within {LIMIT:?}")))?)
}

async fn output(child: &mut Child) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("credential_process: {error}");
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST + 1).read_to_end(&mut output).await.map_err(failed)?;
    }
    if output.len() as u64 > LONGEST {
        return Err(format!("credential_process: its output exceeds {LONGEST} bytes"));
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(output) } else { Err(format!("credential_process: it ended with {status}")) }
}

/// Reads the keys. No error quotes what was read.
fn read(output: &[u8]) -> Result<Credentials, String> {
    let answer: Answer = serde_json::from_slice(output).map_err(|error| {
        format!("credential_process: its output is not valid JSON with keys (line {})", error.line())
    })?;
    if answer.version != 1 {
        return Err("credential_process: its output has a Version other than 1".to_owned());
    }
    let expiry = match answer.expiration {
        Some(text) => {
            Some(wall_clock::parse(&text).ok_or("credential_process: its Expiration is not a valid time")?)
        }
        None => None,
    };
    let Answer { access_key_id, secret_access_key, session_token, .. } = answer;
    Ok(Credentials::new(access_key_id, secret_access_key, session_token, expiry, "credential_process"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[actix_rt::test]
    async fn keys_are_read_from_what_the_program_prints() {
        let keys = r#"echo '{"Version":1,"AccessKeyId":"AKIDP","SecretAccessKey":"s","SessionToken":"t","Expiration":"2050-01-01T00:00:00Z"}'"#;
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
    async fn a_program_that_fails_or_prints_no_keys_is_told_without_its_words() {
        for (command, told) in [
            ("echo hush >&2; exit 3", "it ended with exit status: 3"),
            ("echo hush", "its output is not valid JSON with keys (line 1)"),
            (
                "echo '{\"Version\":2,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"hush\"}'",
                "a Version other than 1",
            ),
            ("yes hush", "its output exceeds 65536 bytes"),
        ] {
            let reason = fetch(command).await.unwrap_err();
            assert!(reason.contains(told) && !reason.contains("hush"), "{reason}");
        }
    }

    #[actix_rt::test]
    async fn a_program_that_hangs_is_ended_with_all_that_it_started() {
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
        panic!("it outlives its program");
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic_or_is_quoted(
            version in prop::sample::select(vec!["1", "2", "\"1\"", "null", "-1", "18446744073709551616"]),
            members in prop::collection::vec((
                prop::sample::select(vec!["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "Other"]),
                prop::sample::select(vec!["\"hush\"", "1", "null", "[\"hush\"]", "\"2030-01-01T06:00:00+02:00\"", "\"9999999-99-99T\""]),
            ), 0..7),
        ) {
            let members: String = members.iter().map(|(name, value)| format!(",{name:?}:{value}")).collect();
            if let Err(reason) = read(format!("{{\"Version\":{version}{members}}}").as_bytes()) {
                prop_assert!(!reason.contains("hush"), "{reason}");
            }
        }

        #[test]
        fn bytes_at_random_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
