//! The JSON Schema against the shipped settings and the keys that the reader accepts.

use std::{collections::BTreeMap, collections::BTreeSet, fs, path::Path};

use apigw_invoker::settings::{
    Document, Settings,
    schema::{File, of},
};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use super::support::process::{binary, end_of};

mod agreement;

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).unwrap()
}

/// YAML as an editor's language server parses it.
fn parsed(text: &str) -> Value {
    fn value(yaml: &Yaml) -> Value {
        match yaml {
            Yaml::Real(text) => text.parse::<f64>().map_or(Value::Null, Value::from),
            Yaml::Integer(number) => (*number).into(),
            Yaml::String(text) => text.as_str().into(),
            Yaml::Boolean(boolean) => (*boolean).into(),
            Yaml::Array(items) => items.iter().map(value).collect(),
            Yaml::Hash(table) => Value::Object(
                table.iter().map(|(key, own)| (key.as_str().unwrap().to_owned(), value(own))).collect(),
            ),
            _ => Value::Null,
        }
    }
    value(YamlLoader::load_from_str(text).unwrap().first().unwrap_or(&Yaml::Null))
}

#[track_caller]
fn assert_right(validator: &Validator, name: &str, text: &str) {
    let instance = parsed(text);
    let wrong: Vec<String> =
        validator.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}");
}

#[test]
fn the_shipped_settings_are_right_by_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("settings");
    let default = fs::read_to_string(root.join("default.yaml")).unwrap();
    assert_right(&validator(&of(File::Default)), "default.yaml", &default);
    let route = validator(&of(File::Route));
    for entry in fs::read_dir(root.join("routes")).unwrap() {
        let path = entry.unwrap().path();
        assert_right(&route, &path.display().to_string(), &fs::read_to_string(&path).unwrap());
    }
}

#[test]
fn what_the_documents_show_of_settings_is_right_by_the_schema() {
    let pages = ["README.md", "settings/README.md", "k8s/README.md"];
    let read = |page| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let text = pages.map(read).join("\n");
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let of_file = |file, mark: &str| {
        let shown: Vec<&&str> = blocks.iter().filter(|block| block.contains(mark)).collect();
        for block in &shown {
            assert_right(&validator(&of(file)), block, block);
        }
        shown.len()
    };
    let (routes, defaults) = (of_file(File::Route, "uri: /"), of_file(File::Default, "defaults:\n"));
    assert!(routes >= 4 && defaults >= 1, "{routes} routes, {defaults} of the process");
}

/// All sections of a schema by path, including the root.
fn tables(schema: &Value, path: &[String], found: &mut Vec<(Vec<String>, Map<String, Value>)>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    found.push((path.to_vec(), properties.clone()));
    for (key, below) in properties {
        tables(below, &[path, std::slice::from_ref(key)].concat(), found);
    }
}

fn all_tables(file: File) -> Vec<(Vec<String>, Map<String, Value>)> {
    let mut found = Vec::new();
    tables(&of(file), &[], &mut found);
    found
}

/// Keys that the reader accepts at a path, taken from its error message.
fn known(file: File, path: &[String]) -> BTreeSet<String> {
    let mut text = String::new();
    for (depth, key) in path.iter().map(String::as_str).chain(["qqqqqqqqqqqq"]).enumerate() {
        text.extend([&*"  ".repeat(depth), key, ":\n"]);
    }
    let right = "uri: /\napi_gateway: { function_uri: https://a.example/ }\n";
    let documents = match file {
        File::Default => [Document::process(text), Document::route("r", right)],
        File::Route => [Document::process(String::new()), Document::route("r", text)],
    };
    let mistakes = Settings::from_documents(&documents, &BTreeMap::new()).unwrap_err().to_string();
    let line =
        mistakes.lines().find(|line| line.contains("qqqq")).unwrap_or_else(|| panic!("{path:?}: {mistakes}"));
    line.split("one of ").nth(1).unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_the_reader_knows_and_no_others() {
    for file in [File::Default, File::Route] {
        let tables = all_tables(file);
        assert!(tables.len() > 8);
        for (path, properties) in tables {
            let mut known = known(file, &path);
            // routes have their own files
            known.remove("routes");
            assert_eq!(properties.keys().cloned().collect::<BTreeSet<_>>(), known, "{path:?}");
        }
    }
}

#[test]
fn every_key_is_described_and_its_default_is_right() {
    for (path, properties) in [File::Default, File::Route].into_iter().flat_map(all_tables) {
        for (key, schema) in properties {
            let description = schema["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.') && description.len() > 10, "{path:?} {key}: {description}");
            if let Some(default) = schema.get("default") {
                assert!(validator(&schema).is_valid(default), "{path:?} {key}: {default}");
            }
        }
    }
}

#[test]
fn the_defaults_of_the_process_are_those_of_its_file() {
    let shipped = parsed(
        &fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("settings/default.yaml")).unwrap(),
    );
    for (path, properties) in all_tables(File::Default) {
        if path.first().is_some_and(|first| first == "defaults") {
            continue;
        }
        let section = path.iter().fold(&shipped, |section, key| &section[key]);
        if section.is_null() {
            // optional as a whole
            continue;
        }
        for (key, schema) in properties {
            if let Some(default) = schema.get("default") {
                assert_eq!(&section[&key], default, "{path:?} {key}");
            }
        }
    }
}

#[test]
fn each_wrong_key_and_each_wrong_type_is_refused() {
    for file in [File::Default, File::Route] {
        let schema = of(file);
        let base = match file {
            File::Default => json!({}),
            File::Route => json!({ "uri": "/a", "api_gateway": { "function_uri": "https://a.example/" } }),
        };
        let whole = validator(&schema);
        assert!(whole.is_valid(&base));
        let mut wrong = base.clone();
        wrong["qqqqqqqqqqqq"] = 1.into();
        assert!(!whole.is_valid(&wrong));
        for (path, properties) in all_tables(file) {
            for (key, schema) in properties {
                let validator = validator(&schema);
                // a table is not a number, and no key takes a list of lists
                for wrong in [json!([[]]), json!(-0.5)] {
                    assert!(!validator.is_valid(&wrong), "{path:?} {key} takes {wrong}");
                }
                if schema["properties"].is_object() {
                    assert!(!validator.is_valid(&json!({ "qqqqqqqqqqqq": 1 })), "{path:?} {key}");
                }
            }
        }
    }
}

#[test]
fn wrong_values_are_refused_and_references_are_taken_everywhere() {
    let route = validator(&of(File::Route));
    let with = |section: Value| json!({ "uri": "/a", "api_gateway": section });
    let uri = "https://a.example/";
    for right in [
        json!({ "function_uri": "$env://URI" }),
        json!({ "function_uri": uri, "timeout": "$env://TIMEOUT", "keepalive": "{vault://env/kept}" }),
        json!({ "function_uri": uri, "timeout": "1m 30s", "max_req_body_size": "64KB" }),
        json!({ "function_uri": uri, "retry": { "unsafe": ["timeout"] } }),
        json!({ "function_uri": uri, "authorization": { "iam": {} } }),
        json!({ "function_uri": uri, "authorization": { "iam": null } }),
    ] {
        assert!(route.is_valid(&with(right.clone())), "{right}");
    }
    for wrong in [
        json!({ "function_uri": "ftp://a.example/" }),
        json!({ "function_uri": uri, "timeout": "soon" }),
        json!({ "function_uri": uri, "timeout": 1 }),
        json!({ "function_uri": uri, "max_req_body_size": "10 bananas" }),
        json!({ "function_uri": uri, "authorization": {} }),
        json!({ "function_uri": uri, "authorization": null }),
        json!({ "function_uri": uri, "authorization": { "apikey": "" } }),
        json!({ "function_uri": uri, "authorization": { "iam": { "aws_region": "US" } } }),
        json!({ "function_uri": uri, "client_authorization": "replaced" }),
        json!({ "function_uri": uri, "retry": { "attempts": 11 } }),
        json!({ "function_uri": uri, "retry": { "unsafe": ["all"] } }),
    ] {
        assert!(!route.is_valid(&with(wrong.clone())), "{wrong}");
    }
    // null means the same as a missing key
    let lambda = json!({ "function_name": "f" });
    for right in [
        json!({ "uri": "/a", "uris": null, "api_gateway": null, "lambda": lambda }),
        json!({ "uri": null, "uris": ["/a"], "api_gateway": { "function_uri": uri }, "lambda": null }),
    ] {
        assert!(route.is_valid(&right), "{right}");
    }
    for wrong in [
        json!({ "uri": null, "lambda": lambda }),
        json!({ "uri": "/a", "lambda": null }),
        json!({ "uri": "/a" }),
        json!({ "api_gateway": { "function_uri": uri } }),
        json!({ "uri": "/a", "uris": ["/b"], "lambda": {} }),
        json!({ "uri": "/a", "lambda": {}, "api_gateway": {} }),
        json!({ "uri": "a", "lambda": {} }),
        json!({ "uri": "/a", "lambda": {}, "methods": ["get"] }),
    ] {
        assert!(!route.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn k1_k7_k8_k11_the_schema_takes_and_refuses_what_the_reader_does() {
    let (route, process) = (validator(&of(File::Route)), validator(&of(File::Default)));
    let lambda = "uri: /f\nlambda: { function_name: f, aws_region: us-east-1, ";
    let gateway = "api_gateway: { function_uri: 'https://a.example/' }\n";
    for (is_taken, text) in [
        (true, format!("{lambda} client_context: {{ a: 1 }} }}")),
        (true, format!("{lambda} client_context: '{{}}', timeout: 60000.0 }}")),
        (true, format!("{lambda} timeout: 1.5s, keepalive: 1m 1.5s }}")),
        (true, format!("{lambda} keepalive: 60, port: 443.0 }}")),
        (true, format!("uri: /u/:slug\n{gateway}")),
        (false, format!("{lambda} client_context: [1] }}")),
        (false, format!("{lambda} timeout: 0.5 }}")),
        (false, format!("{lambda} timeout: -5 }}")),
        (false, format!("{lambda} timeout: '1.5' }}")),
        (true, format!("uri: /site/{{slug}}\n{gateway}")),
        (false, format!("uri: /site-{{slug}}\n{gateway}")),
        (false, format!("uri: /{{a}}/{{a}}\n{gateway}")),
        (false, format!("uris: ['/a{{']\n{gateway}")),
        (false, format!("uri: /a\nplugins: {{}}\n{gateway}")),
        (false, "- uri: /a\n".to_owned()),
    ] {
        let read = Settings::from_documents(&[Document::route("r", text.clone())], &BTreeMap::new());
        assert_eq!(read.is_ok(), is_taken, "{text}: {read:?}");
        assert_eq!(route.is_valid(&parsed(&text)), is_taken, "{text}");
    }
    for text in ["routes: {}\n", "workers: auto\n", "workers: -5\n", "listen: { http: 9000 }\n"] {
        let right = Document::route("r", format!("uri: /a\n{gateway}"));
        let read = Settings::from_documents(&[Document::process(text), right], &BTreeMap::new());
        assert!(read.is_err() && !process.is_valid(&parsed(text)), "{text}");
    }
}

#[test]
fn k3_the_schema_takes_and_refuses_the_services_that_the_reader_does() {
    let route = validator(&of(File::Route));
    for (is_taken, service) in [
        (true, "execute-api"),
        (true, "lambda"),
        (true, "es"),
        (true, "s3"),
        (true, "aoss"),
        (true, "vpc-lattice-svcs"),
        (false, "s3express"),
        (false, "sdb"),
        (false, "S3"),
    ] {
        let text = format!(
            "uri: /a\napi_gateway:\n  function_uri: https://a.example/\n  authorization: {{ iam: {{ service: \
             {service} }} }}\n"
        );
        let read = Settings::from_documents(&[Document::route("r", text.clone())], &BTreeMap::new());
        assert_eq!(read.is_ok(), is_taken, "{text}: {read:?}");
        assert_eq!(route.is_valid(&parsed(&text)), is_taken, "{text}");
    }
}

#[test]
fn the_command_prints_the_schema_of_either_file() {
    for (name, file) in [("default", File::Default), ("route", File::Route)] {
        let ended = end_of(&mut binary(&["schema", name]));
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
        let printed: Value = serde_json::from_str(&ended.output).unwrap();
        assert_eq!(printed, of(file));
        assert_eq!(printed["$schema"], "https://json-schema.org/draft/2020-12/schema");
        jsonschema::meta::validate(&printed).unwrap();
    }
    assert_eq!(end_of(&mut binary(&["schema"])).code, Some(2));
}

/// Needs `/dev/full`.
#[cfg(target_os = "linux")]
#[test]
fn a_schema_that_finds_no_room_is_a_failure() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = binary(&["schema", "route"]).stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(errors.starts_with("apigw-invoker: standard output: No space left on device"), "{errors}");
}
