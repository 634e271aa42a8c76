//! Imported routes as settings files, checked as `apigw-invoker check` does.

use std::collections::HashMap;

use secrecy::ExposeSecret;

use super::{
    route::{FindingKind, ImportedRoute, Table, Translation, Value},
    yaml,
};
use crate::settings::{
    self, Document, Environment, Mistake, Mistakes, Place, Settings, is_supported_reference,
};

/// The version in the heads of files.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A file of a route.
pub struct RouteFile {
    pub name: String,
    pub text: String,
}

pub struct Checked {
    pub files: Vec<RouteFile>,
    /// The warnings of `check`.
    pub warnings: Vec<String>,
}

/// Checks the routes with their real secrets. A route with a mistake gets it as its problem, and no file.
pub fn check(translation: &mut Translation, secrets: &str) -> Checked {
    let warnings = loop {
        match settings_of(translation) {
            None => break Vec::new(),
            Some(Ok(settings)) => {
                let hide = |warning: String| without_secrets(warning, &translation.routes);
                break settings::warnings(&settings).into_iter().map(hide).collect();
            }
            Some(Err(mistakes)) => blame(translation, &mistakes),
        }
    };
    let routes = translation.routes.iter().filter(|route| route.is_translated());
    let files =
        routes.map(|route| RouteFile { name: route.name.clone(), text: text(route, secrets) }).collect();
    Checked { files, warnings }
}

/// The settings of the routes without a problem; `None` without such a route.
fn settings_of(translation: &Translation) -> Option<Result<Settings, Mistakes>> {
    let routes = translation.routes.iter().filter(|route| route.is_translated());
    let mut documents: Vec<Document> =
        routes.map(|route| Document::route(&route.name, for_check(route))).collect();
    if documents.is_empty() {
        return None;
    }
    documents.push(Document::process(yaml::text(&[], &translation.process, &|_| String::new())));
    let environment: Environment = [("AWS_REGION".to_owned(), "us-east-1".to_owned())].into();
    Some(Settings::from_documents(&documents, &environment))
}

/// Adds each mistake to its route's problems.
fn blame(translation: &mut Translation, mistakes: &Mistakes) {
    let mut of_files: HashMap<&str, Vec<&Mistake>> = HashMap::new();
    for mistake in mistakes {
        of_files.entry(&*mistake.place.source).or_default().push(mistake);
    }
    let mut is_blamed = false;
    for route in translation.routes.iter_mut().filter(|route| route.is_translated()) {
        let Document { source, .. } = Document::route(&route.name, "");
        for mistake in of_files.get(source.as_str()).map_or(&[][..], Vec::as_slice) {
            is_blamed = true;
            // the line is that of a file that is not written
            let place = Place { line: None, ..mistake.place.clone() };
            let text = Mistake { place, ..(*mistake).clone() }.to_string();
            let text = text.strip_prefix(&format!("{source}: ")).unwrap_or(&text).to_owned();
            let text = without_secrets(text, std::slice::from_ref(route));
            route.problem(text);
        }
    }
    if !is_blamed {
        // mistakes of no route: nothing that is written would be valid
        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        for route in translation.routes.iter_mut().filter(|route| route.is_translated()) {
            route.problem(texts.join("; "));
        }
    }
}

/// Bytes of a secret that is replaced: shorter ones are parts of many words.
const SHORTEST: usize = 4;

/// A sentence of the check without the secrets, which it sees as ordinary texts.
fn without_secrets(mut text: String, routes: &[ImportedRoute]) -> String {
    for secret in routes.iter().flat_map(|route| route.keys.secrets()) {
        if let Some(value) = secret.value.as_ref().map(ExposeSecret::expose_secret)
            && value.len() >= SHORTEST
            && text.contains(value)
        {
            text = text.replace(value, "…");
        }
    }
    text
}

/// The text of a route's file.
fn text(route: &ImportedRoute, secrets: &str) -> String {
    yaml::text(&head(route), &route.keys, &|secret| {
        format!("$file://{secrets}/{}", secret.file.as_deref().unwrap_or_default())
    })
}

/// The comment at the beginning of the file.
fn head(route: &ImportedRoute) -> Vec<String> {
    let ImportedRoute { title, peer, place, .. } = route;
    let mut head =
        vec![format!("{} of {peer} ({place}), imported by apigw-invoker {VERSION}", capital(title))];
    let findings = route.findings.iter().filter(|finding| finding.kind == FindingKind::Attention);
    head.extend(findings.map(|finding| format!("To do: {}: {}", finding.subject, finding.text)));
    head
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// The same, line by line, with values in the place of references.
fn for_check(route: &ImportedRoute) -> String {
    let mut keys = route.keys.clone();
    resolve(&mut keys);
    yaml::text(&head(route), &keys, &|secret| {
        let value = secret.value.as_ref().map(|value| value.expose_secret().to_owned());
        value.unwrap_or_else(|| stand_in(&secret.kind).to_owned())
    })
}

fn resolve(keys: &mut Table) {
    for entry in &mut keys.0 {
        match &mut entry.value {
            Value::Text(text) if is_supported_reference(text) == Some(true) => {
                stand_in(&entry.key).clone_into(text);
            }
            Value::Table(below) => resolve(below),
            Value::List(items) => {
                for item in items {
                    if let Value::Text(text) = item
                        && is_supported_reference(text) == Some(true)
                    {
                        "/*".clone_into(text);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A valid value for a key whose own is not known.
fn stand_in(key: &str) -> &'static str {
    match key {
        key if key.ends_with("uri") || key.ends_with("url") => "https://stand-in.example",
        key if key.ends_with("arn") => "arn:aws:iam::000000000000:role/stand-in",
        "host" => "stand-in.example",
        "invocation_type" => "RequestResponse",
        "log_type" => "None",
        "body" | "client_context" => "{}",
        // a region, a name and a key
        _ => "us-east-1",
    }
}
