//! Compares the tables of keys in `settings/README.md` and the comments of `settings/default.yaml` with the
//! declarations of the keys. With `REWRITE=1` in the environment, the tests write both.

use std::{fs, path::Path};

use apigw_invoker::settings::schema::{File, of};
use serde_json::{Map, Value};

use super::{links::link_to, read};

/// The page with the tables.
const REFERENCE: &str = "settings/README.md";

const WIDTH: usize = 118;

/// Compares a document with the expected text, or rewrites it.
pub fn expect(path: &str, expected: &str) {
    if std::env::var_os("REWRITE").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), expected).unwrap();
    }
    assert!(
        read(path) == expected,
        "{path} is not what the declarations say: REWRITE=1 cargo test --test it documents"
    );
}

/// Schema of the section at a path.
fn section(file: File, path: &[&str]) -> Map<String, Value> {
    let schema = of(file);
    let section = path.iter().fold(&schema, |section, key| &section["properties"][key]);
    section["properties"].as_object().unwrap().clone()
}

/// A default in YAML.
fn written(schema: &Value) -> Option<String> {
    Some(match schema.get("default")? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// Range of a key in words.
fn range(schema: &Value) -> Option<String> {
    let number = schema["anyOf"].as_array()?.iter().find(|form| form["type"] == "integer")?;
    let (least, most) = (number["minimum"].as_i64()?, number["maximum"].as_i64()?);
    let in_words = number["description"].as_str().and_then(|unit| unit.split_once(", "));
    let is_bounded = most != i64::from(i32::MAX);
    is_bounded.then(|| in_words.map_or_else(|| format!("{least} to {most}"), |(_, range)| range.to_owned()))
}

/// Description of a key with its range.
fn meaning(schema: &Value) -> String {
    let range = range(schema).map(|range| format!(" From {range}.")).unwrap_or_default();
    format!("{}{range}", schema["description"].as_str().unwrap())
}

/// Converts references to headings into links.
fn linked(meaning: &str) -> String {
    let mut parts = meaning.split("see \"");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (heading, rest) = part.split_once('"').unwrap();
        text.extend(["see [", heading, "](", &link_to(heading, REFERENCE), ")", rest]);
    }
    text
}

/// Adds a row for each key of a section and its subsections.
fn rows(section: &Map<String, Value>, prefix: &str, rows: &mut Vec<(String, String)>) {
    for (name, schema) in section {
        let key = format!("{prefix}{name}");
        let default = written(schema).map(|default| format!("`{default}`")).unwrap_or_default();
        let meaning = linked(&meaning(schema)).replace('|', "\\|");
        rows.push((key.clone(), format!("{default} | {meaning}")));
        if let Some(below) = schema["properties"].as_object() {
            self::rows(below, &format!("{key}."), rows);
        }
    }
}

fn all_rows(section: &Map<String, Value>, prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    rows(section, prefix, &mut found);
    found
}

fn table(rows: &[(String, String)]) -> String {
    let lines: String =
        rows.iter().map(|(keys, rest)| format!("| `{keys}` | {rest} |\n").replace("|  |", "| |")).collect();
    format!("| key | default | meaning |\n| --- | --- | --- |\n{lines}")
}

/// The route keys that are not backends, and the names of the backends.
fn of_route() -> (Map<String, Value>, Vec<String>) {
    let forms = of(File::Route)["allOf"][1]["oneOf"].as_array().unwrap().clone();
    let names: Vec<&str> = forms.iter().map(|form| form["required"][0].as_str().unwrap()).collect();
    let (backends, own): (Map<_, _>, Map<_, _>) =
        section(File::Route, &[]).into_iter().partition(|(name, _)| names.contains(&&**name));
    (own, backends.into_iter().map(|(name, _)| name).collect())
}

/// The table of a backend. Keys with the same meaning under `api_gateway` share one row.
fn backend_table(name: &str) -> String {
    const FIRST: &str = "api_gateway";
    let firsts = all_rows(&section(File::Route, &[FIRST]), "");
    if name == FIRST {
        return table(&firsts);
    }
    let (shared, own): (Vec<_>, Vec<_>) =
        all_rows(&section(File::Route, &[name]), "").into_iter().partition(|row| firsts.contains(row));
    let shared: Vec<String> = shared.into_iter().map(|(key, _)| key).collect();
    let shared = (shared.join("`, `"), format!(" | as under `{FIRST}`"));
    table(&[own, vec![shared]].concat())
}

/// The table of process keys. `defaults` is left out, because it takes route keys.
fn process_table() -> String {
    let mut section = section(File::Default, &[]);
    section.retain(|key, _| key != "defaults");
    table(&all_rows(&section, ""))
}

/// Replaces the table between the markers of `name`.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- settings: {name} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn the_references_tables_of_settings_are_the_declarations() {
    let (own, backends) = of_route();
    let mut tables =
        vec![("route".to_owned(), table(&all_rows(&own, ""))), ("process".to_owned(), process_table())];
    tables.extend(backends.into_iter().map(|name| (name.clone(), backend_table(&name))));
    let page = read(REFERENCE);
    let expected = tables.iter().fold(page, |page, (name, table)| with_table(&page, name, table));
    expect(REFERENCE, &expected);
}

/// Words of a text; code in back quotes stays one word.
fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match found.last_mut() {
            Some(last) if last.matches('`').count() % 2 == 1 && last.len() < WIDTH - 20 => {
                last.push(' ');
                last.push_str(word);
            }
            _ => found.push(word.to_owned()),
        }
    }
    found
}

/// Writes a text as comment lines.
fn comment(text: &str, indent: &str, yaml: &mut String) {
    let mut line = String::new();
    for word in words(text) {
        if indent.len() + line.chars().count() + word.chars().count() + 3 > WIDTH {
            yaml.extend([indent, "#", &line, "\n"]);
            line.clear();
        }
        line.push(' ');
        line.push_str(&word);
    }
    yaml.extend([indent, "#", &line, "\n"]);
}

/// Writes the keys of a section with comments and defaults.
fn yaml(section: &Map<String, Value>, depth: usize, is_of_routes: bool, yaml: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, schema) in section {
        let below = schema["properties"].as_object();
        let is_optional = meaning(schema).contains("none by default");
        if depth == 0 {
            yaml.push('\n');
        }
        if let Some(below) = below.filter(|_| !is_optional && !is_of_routes) {
            yaml.extend([&indent, name.as_str(), ":\n"]);
            self::yaml(below, depth + 1, name == "defaults", yaml);
            continue;
        }
        comment(&meaning(schema), &indent, yaml);
        let value = if is_of_routes { "{}".to_owned() } else { written(schema).unwrap_or("~".to_owned()) };
        yaml.extend([&indent, name.as_str(), ": ", &value, "\n"]);
    }
}

#[test]
fn the_shipped_default_yaml_is_the_declarations() {
    let shipped = read("settings/default.yaml");
    let (head, _) = shipped.split_once("\n\n").unwrap();
    let mut expected = format!("{head}\n");
    yaml(&section(File::Default, &[]), 0, false, &mut expected);
    expect("settings/default.yaml", &expected);
}
