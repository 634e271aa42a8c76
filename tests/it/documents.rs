//! What the README and the shipped settings say against what the code does.

use std::{collections::BTreeMap, fs, path::Path};

use apigw_invoker::{
    message::error::Code,
    settings::{BackendSettings, Document, Scheme, Settings},
};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rows of the README's table under a heading, cells without back quotes.
pub fn table(readme: &str, heading: &str) -> Vec<Vec<String>> {
    let section = readme.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    section
        .lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[test]
fn the_readmes_table_of_answers_is_the_codes() {
    let mut told = table(&read("README.md"), "### Answers of its own");
    let mut real: Vec<Vec<String>> = Code::ALL
        .iter()
        .map(|Code { name, status, grpc, sentence, .. }| {
            let (status, grpc) = (status.as_u16(), *grpc as u16);
            vec![(*name).to_owned(), status.to_string(), grpc.to_string(), (*sentence).to_owned()]
        })
        .collect();
    told.sort();
    real.sort();
    assert_eq!(told, real);
}

fn settings_of(documents: &[Document]) -> Settings {
    Settings::from_documents(documents, &BTreeMap::new()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

const ROUTE: &str = "uri: /\napi_gateway: { function_uri: https://a.example/ }\n";

#[test]
fn the_shipped_default_settings_are_the_codes_defaults() {
    let shipped =
        settings_of(&[Document::process(read("settings/default.yaml")), Document::route("a", ROUTE)]);
    let default = settings_of(&[Document::process(String::new()), Document::route("a", ROUTE)]);
    assert_eq!(shipped, default);
    assert_eq!(Settings { routes: Vec::new(), ..shipped }, Settings::default());
}

/// The keys of a YAML text in block style, as paths, with whether a comment stands above each.
fn keys(text: &str) -> Vec<(String, bool)> {
    let mut path: Vec<&str> = Vec::new();
    let mut commented = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let code = line.trim_start();
        if code.starts_with('#') {
            commented = true;
        } else if let Some((key, value)) = code.split_once(':') {
            path.truncate((line.len() - code.len()) / 2);
            path.push(key);
            let is_section = value.trim().is_empty();
            if !is_section {
                found.push((path.join("."), commented));
            }
            commented = false;
        }
    }
    found
}

#[test]
fn every_key_of_the_process_is_shipped_with_a_comment() {
    let shipped = keys(&read("settings/default.yaml"));
    for (key, commented) in &shipped {
        assert!(commented, "{key} has no comment");
    }
    // what the settings know, by their own word: the mistake about a wrong key lists the right ones
    let mut missing = Vec::new();
    for section in ["", "listen", "admin", "limits", "log", "tracing", "shutdown", "reload", "defaults"] {
        for key in known_keys(section) {
            let path = if section.is_empty() { key } else { format!("{section}.{key}") };
            let below = format!("{path}.");
            if path != "routes" && !shipped.iter().any(|(own, _)| *own == path || own.starts_with(&below)) {
                missing.push(path);
            }
        }
    }
    assert!(missing.is_empty(), "not in default.yaml: {missing:?}");
}

/// The keys that a section takes, as its mistakes name them.
fn known_keys(section: &str) -> Vec<String> {
    let text = match section {
        "" => "qqqqqqqqqqqq: 1\n".to_owned(),
        section => format!("{section}:\n  qqqqqqqqqqqq: 1\n"),
    };
    let documents = [Document::process(text), Document::route("a", ROUTE)];
    keys_in_mistake(&Settings::from_documents(&documents, &BTreeMap::new()).unwrap_err().to_string())
}

fn keys_in_mistake(mistake: &str) -> Vec<String> {
    let list = mistake.split("one of ").nth(1).unwrap_or_else(|| panic!("no list of keys: {mistake}"));
    let keys: Vec<String> = list.lines().next().unwrap_or_default().split(", ").map(str::to_owned).collect();
    assert!(!keys.is_empty(), "{mistake}");
    keys
}

#[test]
fn every_key_of_a_route_is_in_the_readme() {
    let readme = read("README.md");
    let told: Vec<String> = ["### A route", "### `api_gateway`", "### `lambda`"]
        .into_iter()
        .flat_map(|heading| table(&readme, heading))
        .flat_map(|row| row[0].split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let sections = [
        ("", "qqqqqqqqqqqq: 1\n"),
        ("", "api_gateway:\n  qqqqqqqqqqqq: 1\n"),
        ("", "lambda:\n  qqqqqqqqqqqq: 1\n"),
        ("connect.", "api_gateway:\n  connect:\n    qqqqqqqqqqqq: 1\n"),
        ("authorization.", "api_gateway:\n  authorization:\n    qqqqqqqqqqqq: 1\n"),
        ("authorization.iam.", "api_gateway:\n  authorization:\n    iam:\n      qqqqqqqqqqqq: 1\n"),
        ("retry.", "api_gateway:\n  retry:\n    qqqqqqqqqqqq: 1\n"),
        ("retry.", "lambda:\n  retry:\n    qqqqqqqqqqqq: 1\n"),
        ("circuit_breaker.", "api_gateway:\n  circuit_breaker:\n    qqqqqqqqqqqq: 1\n"),
        ("circuit_breaker.", "lambda:\n  circuit_breaker:\n    qqqqqqqqqqqq: 1\n"),
    ];
    for (prefix, text) in sections {
        let documents = [Document::process(String::new()), Document::route("a", text)];
        let mistakes = Settings::from_documents(&documents, &BTreeMap::new()).unwrap_err().to_string();
        for key in keys_in_mistake(mistakes.lines().find(|line| line.contains("qqqq")).unwrap_or(&mistakes)) {
            let path = format!("{prefix}{key}");
            let is_section = matches!(
                key.as_str(),
                "api_gateway" | "lambda" | "authorization" | "iam" | "connect" | "retry" | "circuit_breaker"
            );
            // an alias of `secretkey`
            let is_alias = key == "secret_key";
            assert!(is_section || is_alias || told.contains(&path), "{path} is not in the README: {told:?}");
        }
    }
}

#[test]
fn the_shipped_settings_pass_without_any_environment() {
    let mut documents = vec![Document::process(read("settings/default.yaml"))];
    let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("settings/routes");
    for entry in fs::read_dir(routes).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        documents.push(Document::route(&stem, fs::read_to_string(&path).unwrap()));
    }
    let settings = settings_of(&documents);
    assert!(settings.routes.len() >= 2);
    for route in &settings.routes {
        let scheme = match &route.backend {
            BackendSettings::ApiGateway(gateway) => gateway.function_uri.scheme,
            BackendSettings::Lambda(lambda) => lambda.endpoint.scheme,
        };
        assert_eq!(scheme, Scheme::Https, "{}", route.id);
    }
}
