//! `import`: files of other gateways and proxies, imported by the binary, checked, and called.

mod calls;
mod fixtures;
mod harmful_values;
mod hostile;
mod incomplete;
mod output;
mod recognition;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use super::support::process::{Ended, binary, command, end_of};

/// A part of every secret in the fixtures.
const SECRET: &str = "hush";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/import/fixtures").join(name)
}

/// Directories for the settings and secrets of one import.
struct Target(TempDir);

impl Target {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn settings(&self) -> PathBuf {
        self.0.path().join("settings")
    }

    fn secrets(&self) -> PathBuf {
        self.0.path().join("secrets")
    }

    /// Writes a file to import.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// `import` of these files, with the secrets.
    fn command(&self, files: &[PathBuf]) -> Command {
        let mut command = binary(&["import"]);
        command.args(files).arg("--to").arg(self.settings()).arg("--secrets").arg(self.secrets());
        command
    }

    /// Imports the files and returns the report as JSON.
    #[track_caller]
    fn import(&self, files: &[PathBuf], code: i32) -> Value {
        let ended = end_of(self.command(files).args(["--report", "json"]));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    /// Imports a text of Kong, APISIX or Envoy.
    #[track_caller]
    fn import_text(&self, text: &str, code: i32) -> Value {
        self.import(&[self.file("source.yaml", text)], code)
    }

    fn route(&self, name: &str) -> String {
        let path = self.settings().join("routes").join(format!("{name}.yaml"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The names of the routes' files, sorted.
    fn routes(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.settings().join("routes")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Writes a value for each secret that a document leaves open.
    fn fill_secrets(&self, report: &Value) {
        for secret in report["secrets"].as_array().unwrap() {
            if secret["written"] == false {
                fs::create_dir_all(self.secrets()).unwrap();
                fs::write(secret["file"].as_str().unwrap(), "filled").unwrap();
            }
        }
    }

    /// `check` of what was written.
    fn check(&self) -> Ended {
        let mut check = command("check", &self.settings());
        check.envs([("AWS_REGION", "us-east-1")]);
        for name in [
            "DECK_AWS_KEY",
            "DECK_AWS_SECRET",
            "LAMBDA_KEY",
            "LAMBDA_SECRET",
            "ORDERS_KEY",
            "API_KEY",
            "SERVICE",
            "TENANT",
            "AWS_SESSION_TOKEN",
            "AWS_ROLE_SESSION_NAME",
        ] {
            check.env(name, "filled");
        }
        end_of(&mut check)
    }
}

/// The route of a report by its name.
#[track_caller]
fn of_report<'r>(report: &'r Value, name: &str) -> &'r Value {
    let routes = report["routes"].as_array().unwrap();
    routes.iter().find(|route| route["name"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

/// The texts of a list of findings.
fn texts(findings: &Value) -> String {
    findings.as_array().unwrap().iter().map(|finding| format!("{finding}\n")).collect()
}
