//! Files that are wrong, or made to do harm: bounded in time and memory, with one sentence.

use std::time::{Duration, Instant};

use super::{super::support::process::end_of, Target};

/// The sentence about a file that cannot be imported.
#[track_caller]
fn refused(name: &str, text: &str) -> String {
    let target = Target::new();
    let start = Instant::now();
    let ended = end_of(&mut target.command(&[target.file(name, text)]));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!((ended.code, ended.output.as_str()), (Some(1), ""), "{ended:?}");
    assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
    assert!(!target.settings().exists());
    ended.errors
}

#[test]
fn a_file_of_no_known_program_is_one_sentence() {
    for (text, expected) in [
        ("uri: /a\napi_gateway: { function_uri: https://a.example }\n", "a settings file of apigw-invoker"),
        ("a: b\n", "not recognised"),
        ("", "not recognised"),
        ("- 1\n- 2\n", "not recognised"),
        ("just words\n", "not recognised"),
        ("kind: KongPlugin\napiVersion: v1\nplugin: aws-lambda\n", "deck gateway dump"),
        ("kind: Deployment\napiVersion: apps/v1\nspec: {}\n", "without aws-sigv4-proxy"),
        ("routes: [\n", "not valid YAML"),
        ("_format_version: '3.0'\nservices: {{ .Values.services }}\n", "template"),
    ] {
        let errors = refused("a.yaml", text);
        assert!(errors.contains(expected), "{text}: {errors}");
    }
}

#[test]
fn bombs_are_one_sentence() {
    let mut laughs = "_format_version: '3.0'\na: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, below) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        let items = vec![format!("*{below}"); 10].join(", ");
        laughs.extend([format!("{name}: &{name} [{items}]\n")]);
    }
    assert!(refused("a.yaml", &laughs).contains("keys and values"));
    assert!(refused("a.yaml", &format!("services: {}", "[".repeat(100_000))).contains("nested too deep"));
    assert!(refused("a.json", &"{\"a\":".repeat(100_000)).contains("nested too deep"));
    assert!(refused("a.yaml", "services: &a [*a]\n").contains("recursive alias"));
    assert!(refused("a.yaml", &"# ".repeat(5 << 20)).contains("larger than 8 MiB"));
    let keys: String = (0..6_000).map(|number| format!("k{number}: 1\n")).collect();
    assert!(refused("a.yaml", &keys).contains("keys in a table"));
    refused("a.sh", &format!("curl '{}", "x\n".repeat(300_000)));
}

#[test]
fn a_file_that_cannot_be_read_is_one_sentence() {
    let target = Target::new();
    let ended = end_of(&mut target.command(&[target.settings().join("missing.yaml")]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("missing.yaml: cannot be read"), "{}", ended.errors);
    let path = target.file("latin.yaml", "");
    std::fs::write(&path, b"name: \xff\n").unwrap();
    assert!(end_of(&mut target.command(&[path])).errors.contains("not UTF-8"));
}

#[test]
fn thousands_of_routes_are_imported_and_equal_names_stay_apart() {
    let routes: String =
        (0..2_000).map(|number| format!("- {{ name: same, paths: [/r{number}] }}\n")).collect();
    let text = format!(
        "_format_version: '3.0'\nroutes:\n{routes}plugins:\n\
         - {{ name: aws-lambda, config: {{ function_name: f, aws_region: us-east-1 }} }}\n"
    );
    let target = Target::new();
    let start = Instant::now();
    target.import_text(&text, 0);
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    assert_eq!(target.routes().len(), 2_000);
    assert_eq!(target.check().code, Some(0));
}

#[test]
fn values_of_a_wrong_type_are_problems_and_not_panics() {
    let odd = ["[]", "{}", "1", "true", "null", "-1.5", "'x'", "[[1]]", "{a: {b: c}}", "1e400", ".nan"];
    for key in
        ["paths", "hosts", "methods", "name", "service", "strip_path", "protocols", "plugins", "config"]
    {
        for value in odd {
            let target = Target::new();
            let text = format!(
                "_format_version: '3.0'\nroutes:\n- {{ name: r, paths: [/a], {key}: {value} }}\nplugins:\n\
                 - {{ name: aws-lambda, config: {{ function_name: f, aws_region: us-east-1 }} }}\n\
                 - {{ name: aws-lambda, {key}: {value}, \
                 config: {{ timeout: {value}, function_name: {value} }} }}\n"
            );
            let ended = end_of(&mut target.command(&[target.file("a.yaml", &text)]));
            assert!(matches!(ended.code, Some(0 | 1 | 3)), "{text}: {ended:?}");
            assert!(!ended.errors.contains("panicked"), "{text}: {ended:?}");
        }
    }
}
