//! `import`: routes and a report from the configuration of APISIX, Kong, aws-sigv4-proxy and Envoy.
//!
//! ```text
//! input → settings::foreign → apisix | kong | sigv4_proxy | envoy → names → checked → output
//!                                                        └──────── report ◄───────┘
//! ```
//!
//! Each peer has a room that reads its files leniently and reports the parts without a translation. One
//! writer (`yaml.rs`) and one check (`checked.rs`) follow, so that written files pass `apigw-invoker check`.

mod apisix;
mod checked;
mod commands;
pub mod differences;
mod entity;
mod envoy;
pub mod feature;
mod input;
mod kong;
mod matching;
mod names;
mod output;
mod parameters;
mod report;
mod route;
mod sigv4_proxy;
mod values;
mod yaml;

use std::path::PathBuf;

use self::{
    checked::Checked,
    names::Names,
    route::{ImportedRoute, Secret, Translation},
};

pub use output::WriteError;
pub use report::{Report, ReportFormat};

/// The path at which the manifests under `k8s` mount the Secret of the keys.
const MOUNTED_SECRETS: &str = "/var/run/secrets/apigw-invoker";

/// The files to read and the directories to write.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    pub files: Vec<PathBuf>,
    /// The settings directory.
    pub to: PathBuf,
    /// The directory for the secrets' files; none are written without it.
    pub secrets: Option<PathBuf>,
    /// Replace files that are there.
    pub force: bool,
}

/// The reason why nothing was imported, as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{0}")]
    Input(#[from] input::InputError),
    #[error("{0}")]
    Output(#[from] WriteError),
    #[error("{0}")]
    Secrets(String),
}

/// Reads the files, writes the routes that could be translated, and returns the report.
///
/// # Errors
/// A file cannot be read, has no known form, or cannot be written. Then nothing was written.
pub fn import(options: &ImportOptions) -> Result<Report, ImportError> {
    let mut translation = input::read(&options.files)?;
    name_routes(&mut translation);
    let directory = secrets_directory(options)?;
    let Checked { files, warnings } = checked::check(&mut translation, &directory);
    let written = output::write(options, &files, &translation)?;
    Ok(Report::new(options, translation, warnings, written))
}

/// The directory that references to secrets name.
fn secrets_directory(options: &ImportOptions) -> Result<String, ImportError> {
    let Some(directory) = &options.secrets else { return Ok(MOUNTED_SECRETS.to_owned()) };
    let absolute = std::path::absolute(directory)
        .map_err(|error| ImportError::Secrets(format!("{}: {error}", directory.display())))?;
    let text = absolute.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.map(|text| text.trim_end_matches('/').to_owned());
    text.ok_or_else(|| ImportError::Secrets("--secrets: the path is not printable text".to_owned()))
}

/// Gives each route and each secret its file's name. Equal secrets share a file.
fn name_routes(translation: &mut Translation) {
    let (mut names, mut secrets) = (Names::default(), SecretFiles::default());
    for route in &mut translation.routes {
        route.name = names.allocate(&route.name);
        if !route.is_translated() {
            continue;
        }
        let ImportedRoute { name, keys, .. } = route;
        keys.each_secret(&mut |secret| secret.file = Some(secrets.name(name, secret)));
    }
}

/// The names of the secrets' files.
#[derive(Default)]
struct SecretFiles {
    names: Names,
    /// Kind and value with the name.
    known: std::collections::HashMap<(String, String), String>,
}

impl SecretFiles {
    fn name(&mut self, route: &str, secret: &Secret) -> String {
        use secrecy::ExposeSecret as _;
        // a file name of at most 255 bytes: 64 for the route, and kinds are short
        let wish = |names: &mut Names| names.allocate_file(route, &secret.kind);
        let Some(value) = &secret.value else { return wish(&mut self.names) };
        let key = (secret.kind.clone(), value.expose_secret().to_owned());
        if let Some(name) = self.known.get(&key) {
            return name.clone();
        }
        let name = wish(&mut self.names);
        self.known.insert(key, name.clone());
        name
    }
}
