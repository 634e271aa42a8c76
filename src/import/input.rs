//! The files to import: read, recognised, and handed to the room of their program.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    apisix::ApisixConfiguration,
    commands,
    envoy::EnvoyConfiguration,
    kong::KongConfiguration,
    route::{LeftOut, Translation},
    sigv4_proxy::ProxyDeployments,
    values::{place, shown},
};
use crate::settings::{
    Place,
    foreign::{self, ForeignNode, Peer},
};

/// Of a file. The parser keeps a list in brackets as tokens until it ends, of a hundred times its bytes.
const MAX_BYTES: u64 = 8 << 20;

/// The reason why a file cannot be imported.
#[derive(Debug, PartialEq, Eq)]
pub struct InputError {
    pub place: Place,
    pub problem: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for InputError {}

/// The configurations of all files, by program: files of one program complete each other.
#[derive(Default)]
struct Configurations {
    apisix: ApisixConfiguration,
    kong: KongConfiguration,
    sigv4_proxy: ProxyDeployments,
    envoy: EnvoyConfiguration,
    left_out: Vec<LeftOut>,
}

/// Reads and translates the files.
pub fn read(files: &[PathBuf]) -> Result<Translation, InputError> {
    let mut configurations = Configurations::default();
    for path in files {
        let file: Arc<str> = shown_path(path).into();
        let text = text_of(path).map_err(|error| InputError {
            place: Place::file(Arc::clone(&file)),
            problem: format!("cannot be read: {error}"),
        })?;
        configurations.add(&text, &file)?;
    }
    let mut translation = Translation { left_out: configurations.left_out, ..Translation::default() };
    configurations.apisix.translate(&mut translation);
    configurations.kong.translate(&mut translation);
    configurations.sigv4_proxy.translate(&mut translation);
    configurations.envoy.translate(&mut translation);
    Ok(translation)
}

/// A path for messages, on one line.
fn shown_path(path: &Path) -> String {
    path.to_string_lossy().chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

/// The text of a file, or of standard input for `-`. A pipe such as `<(kubectl get …)` is read too.
fn text_of(path: &Path) -> io::Result<String> {
    let mut content = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(MAX_BYTES + 1).read_to_end(&mut content)?;
    } else {
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    }
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_BYTES >> 20)));
    }
    String::from_utf8(content).map_err(|_| io::Error::other("not UTF-8 text"))
}

impl Configurations {
    fn add(&mut self, text: &str, file: &Arc<str>) -> Result<(), InputError> {
        let parsed = foreign::parse(text);
        if let Ok(documents) = &parsed {
            let known = documents.iter().any(|document| foreign::recognise(document).is_some());
            if known {
                for document in documents {
                    self.add_document(document, file);
                }
                return Ok(());
            }
        }
        if self.add_commands(text, file) {
            return Ok(());
        }
        let at = |line: usize| Place { source: Arc::clone(file), line: (line > 0).then_some(line) };
        Err(match parsed {
            Err(error) => InputError { place: at(error.line), problem: error.problem },
            Ok(documents) => InputError { place: at(0), problem: unknown(&documents) },
        })
    }

    fn add_document(&mut self, document: &ForeignNode, file: &Arc<str>) {
        match foreign::recognise(document) {
            Some(Peer::Apisix) => self.apisix.add(document, file),
            Some(Peer::Kong) => self.kong.add(document, file),
            Some(Peer::Sigv4Proxy) => self.sigv4_proxy.add(document, file),
            Some(Peer::Envoy) => self.envoy.add(document, file),
            None if document.is_null() => {}
            None => {
                let kind = document.get("kind").and_then(ForeignNode::scalar);
                let name = kind.map_or_else(|| "a document".to_owned(), |kind| format!("a {}", shown(&kind)));
                let text = "not a file of a known program".to_owned();
                let place = Some(place(file, document));
                self.left_out.push(LeftOut { peer: Peer::Sigv4Proxy, name, text, place });
            }
        }
    }

    /// Adds the commands of a shell script; false without one that is known.
    fn add_commands(&mut self, text: &str, file: &Arc<str>) -> bool {
        let mut is_known = false;
        for command in commands::in_text(text) {
            if let Some((peer, document)) = commands::request(&command) {
                is_known = true;
                match peer {
                    Peer::Apisix => self.apisix.add(&document, file),
                    _ => self.kong.add(&document, file),
                }
            } else if self.sigv4_proxy.add_command(&command, file) {
                is_known = true;
            }
        }
        is_known
    }
}

/// The sentence about a file of another program.
fn unknown(documents: &[ForeignNode]) -> String {
    let kind = documents.iter().find_map(|document| document.get("kind")?.text().map(shown));
    let is_of_ours = documents
        .iter()
        .any(|document| ["api_gateway", "lambda", "listen"].iter().any(|key| document.get(key).is_some()));
    let known = "a file of APISIX, Kong, aws-sigv4-proxy or Envoy";
    match kind.as_deref() {
        Some("KongPlugin" | "KongClusterPlugin" | "HTTPRoute" | "Ingress") => {
            let kind = kind.unwrap_or_default();
            format!(
                "a resource `{kind}` of Kubernetes; expected {known}: dump the gateway's configuration \
                 (`adc dump`, `deck gateway dump`)"
            )
        }
        Some(kind) => format!("a resource `{kind}` of Kubernetes without aws-sigv4-proxy; expected {known}"),
        None if is_of_ours => format!("this is a settings file of apigw-invoker; expected {known}"),
        None => format!("not recognised; expected {known}"),
    }
}
