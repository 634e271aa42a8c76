//! The documents and the shipped settings must agree with the code.

use std::{collections::BTreeMap, fs, path::Path};

use apigw_invoker::{
    message::error::ErrorCode,
    settings::{Document, Scheme, Settings},
};

mod differences;
mod links;
mod settings;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Cells of a table under a heading, without back quotes.
pub fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    section
        .lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[test]
fn the_table_of_error_responses_is_the_codes() {
    let mut told = table(&read("settings/README.md"), "## Error responses");
    let mut real: Vec<Vec<String>> = ErrorCode::ALL
        .iter()
        .map(|ErrorCode { name, status, grpc, sentence, .. }| {
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
        assert_eq!(route.backend.section().server().scheme, Scheme::Https, "{}", route.id);
    }
}
