//! The report of an import: per route what changes, what is left out and what to do.

mod json;
mod markdown;
mod text;

use super::{
    ImportOptions, MOUNTED_SECRETS,
    differences::{self, Difference, plain},
    output::Written,
    route::{ImportedRoute, LeftOut, Translation},
};
use crate::{settings::foreign::Peer, system::terminal::Paint};

/// The name of the Secret in the manifests under `k8s`.
const SECRET_OBJECT: &str = "apigw-invoker-keys";

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// Lines, for people.
    Text,
    /// One JSON document: `{routes: […], left_out: […]}`.
    Json,
    /// Markdown, for a pull request.
    Markdown,
}

/// The result of an import.
#[derive(Debug)]
pub struct Report {
    options: ImportOptions,
    routes: Vec<ImportedRoute>,
    left_out: Vec<LeftOut>,
    warnings: Vec<String>,
    written: Written,
    /// There are keys for `default.yaml`, and a file that stays.
    process_is_kept: Option<String>,
}

/// A secret as the report names it.
struct SecretLine {
    file: String,
    /// File and line of the value.
    place: String,
    is_written: bool,
}

/// A behaviour that changes, without Markdown, and the routes that it concerns.
struct Change<'r> {
    difference: &'static Difference,
    routes: Vec<&'r str>,
    /// True if every route that was written is concerned.
    is_of_all: bool,
}

impl Report {
    pub(super) fn new(
        options: &ImportOptions,
        translation: Translation,
        warnings: Vec<String>,
        written: Written,
    ) -> Self {
        let is_kept = !translation.process.0.is_empty() && !written.process && !written.routes.is_empty();
        let process_is_kept = is_kept
            .then(|| super::yaml::text(&[], &translation.process, &|_| String::new()).trim().to_owned());
        Self {
            options: options.clone(),
            routes: translation.routes,
            left_out: translation.left_out,
            warnings,
            written,
            process_is_kept,
        }
    }

    /// True if every route could be translated, and there is one.
    pub fn is_whole(&self) -> bool {
        !self.routes.is_empty() && self.routes.iter().all(ImportedRoute::is_translated)
    }

    /// The report in a form.
    pub fn render(&self, format: ReportFormat, paint: Paint) -> String {
        match format {
            ReportFormat::Text => text::render(self, paint),
            ReportFormat::Json => format!("{:#}", json::render(self)),
            ReportFormat::Markdown => markdown::render(self),
        }
    }

    fn translated(&self) -> impl Iterator<Item = &ImportedRoute> {
        self.routes.iter().filter(|route| route.is_translated())
    }

    /// The sentence at the beginning.
    fn summary(&self) -> String {
        let (all, good) = (self.routes.len(), self.translated().count());
        let routes = |count: usize| format!("{count} route{}", if count == 1 { "" } else { "s" });
        let to = self.options.to.join("routes");
        if all == 0 {
            return "no route in the files that could be translated".to_owned();
        }
        if all == good {
            return format!("{} written to {}", routes(all), to.display());
        }
        format!(
            "{good} of {} written to {}; {} could not be translated",
            routes(all),
            to.display(),
            all - good
        )
    }

    /// The path of a route's file.
    fn file_of(&self, route: &ImportedRoute) -> String {
        self.options.to.join("routes").join(format!("{}.yaml", route.name)).display().to_string()
    }

    /// Every behaviour that changes for a route that was written.
    fn changes(&self) -> Vec<Change<'_>> {
        let count = self.translated().count();
        let of_row = |peer: Peer, difference: &'static Difference| {
            let concerned = |route: &&ImportedRoute| route.peer == peer && concerns(difference, route);
            let routes: Vec<&str> =
                self.translated().filter(concerned).map(|route| route.name.as_str()).collect();
            let is_of_all = routes.len() == count;
            (!routes.is_empty()).then_some(Change { difference, routes, is_of_all })
        };
        let rows =
            Peer::ALL.into_iter().flat_map(|peer| differences::of(peer).iter().map(move |row| (peer, row)));
        rows.filter_map(|(peer, row)| of_row(peer, row)).collect()
    }

    /// The secrets, each file once.
    fn secrets(&self) -> Vec<SecretLine> {
        let mut lines: Vec<SecretLine> = Vec::new();
        for secret in self.translated().flat_map(|route| route.keys.secrets()) {
            let Some(file) = &secret.file else { continue };
            if lines.iter().all(|line| line.file != *file) {
                let is_written = self.written.secrets.contains(file);
                lines.push(SecretLine { file: file.clone(), place: secret.place.to_string(), is_written });
            }
        }
        lines
    }

    /// The command that makes a Secret of Kubernetes from the files.
    fn secret_command(&self, secrets: &[SecretLine]) -> Option<String> {
        let from = self
            .options
            .secrets
            .as_ref()
            .map_or_else(|| "secrets".to_owned(), |path| path.display().to_string());
        let files = secrets.iter().map(|SecretLine { file, .. }| {
            let path = shell_word(&format!("{}/{file}", from.trim_end_matches('/')));
            format!(" \\\n  --from-file={file}={path}")
        });
        let files: String = files.collect();
        (!files.is_empty()).then(|| format!("kubectl create secret generic {SECRET_OBJECT}{files}"))
    }

    /// The directory that the references name.
    fn secrets_directory(&self) -> String {
        self.options
            .secrets
            .as_ref()
            .map_or_else(|| MOUNTED_SECRETS.to_owned(), |path| path.display().to_string())
    }

    /// The command that checks what was written.
    fn check_command(&self) -> String {
        format!("apigw-invoker check --settings {}", shell_word(&self.options.to.display().to_string()))
    }
}

/// The differences that concern a route.
fn differences_of(route: &ImportedRoute) -> Vec<&'static Difference> {
    let rows = differences::of(route.peer).iter();
    rows.filter(|row| concerns(row, route)).collect()
}

fn concerns(row: &Difference, route: &ImportedRoute) -> bool {
    row.concerns(|feature| route.features.contains(&feature))
}

/// The flags of aws-sigv4-proxy that were set, and their replacements.
fn flags_of(route: &ImportedRoute) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for row in route.flags.iter().filter_map(|flag| differences::of_flag(flag)) {
        let row = (plain(row.before), plain(row.here));
        // `--name` and `--region` share one
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

/// A word of a shell command.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-+@=:".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
