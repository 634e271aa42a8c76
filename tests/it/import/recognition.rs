//! Files of other programs in the place of settings: one sentence with the command.

use std::fs;

use super::{
    super::support::process::{command, end_of, settings},
    fixture,
};

const ROUTE: &str = "uri: /*\napi_gateway: { function_uri: https://a.example/ }\n";

/// The errors of `check` and of the start.
#[track_caller]
fn errors(directory: &std::path::Path) -> Vec<String> {
    ["check", "run"]
        .map(|name| {
            let ended = end_of(&mut command(name, directory));
            assert_eq!(ended.code, Some(78), "{ended:?}");
            ended.errors
        })
        .to_vec()
}

fn is_one(errors: &str) -> bool {
    errors.contains("1 mistake in the settings")
}

#[test]
fn a_foreign_file_in_the_place_of_a_route_is_one_sentence_with_the_command() {
    for (name, what) in [
        ("kong/placeholders.yaml", "a Kong declarative file"),
        ("kong/ten-routes.yaml", "a Kong declarative file"),
        ("apisix/standalone.yaml", "an APISIX configuration"),
        ("apisix/trailing-comma.json", "an APISIX configuration"),
        ("envoy/passthrough.yaml", "an Envoy configuration"),
        ("sigv4-proxy/deployment.yaml", "a deployment of aws-sigv4-proxy"),
    ] {
        let text = fs::read_to_string(fixture(name)).unwrap();
        let directory = settings("", &[("a", &text), ("b", ROUTE)]);
        let file = directory.path().join("routes/a.yaml");
        let file = file.display();
        let expected = format!(
            "{file}: this looks like {what}; expected a settings file: try `apigw-invoker import {file} \
             --to DIR`\n"
        );
        for errors in errors(directory.path()) {
            assert!(errors.starts_with(&expected) && is_one(&errors), "{name}: {errors}");
        }
    }
}

#[test]
fn a_foreign_file_as_default_yaml_beside_it_or_as_the_directory_is_one_sentence() {
    let kong = fs::read_to_string(fixture("kong/ten-routes.yaml")).unwrap();
    let directory = settings(&kong, &[("b", ROUTE)]);
    for errors in errors(directory.path()) {
        assert!(errors.contains("default.yaml: this looks like a Kong declarative file"), "{errors}");
        assert!(is_one(&errors), "{errors}");
    }
    let directory = settings("", &[("b", ROUTE)]);
    fs::write(directory.path().join("kong.yaml"), &kong).unwrap();
    for errors in errors(directory.path()) {
        assert!(errors.contains("kong.yaml: this looks like a Kong declarative file"), "{errors}");
        assert!(is_one(&errors), "{errors}");
    }
    for errors in errors(&fixture("kong/ten-routes.yaml")) {
        assert!(errors.contains("this looks like a Kong declarative file"), "{errors}");
    }
}

#[test]
fn a_settings_file_with_mistakes_keeps_them() {
    let directory = settings("", &[("a", "uri: /a\nlambda: { function_nam: f, aws_region: us-east-1 }\n")]);
    for errors in errors(directory.path()) {
        assert!(errors.contains("function_nam") && !errors.contains("looks like"), "{errors}");
    }
}

#[test]
fn a_json_file_as_the_settings_or_in_their_directory_is_one_sentence() {
    let file = fixture("apisix/list.json");
    for errors in errors(&file) {
        assert!(errors.contains("this looks like an APISIX configuration") && is_one(&errors), "{errors}");
    }
    for name in ["apisix.json", "routes/apisix.json"] {
        let directory = settings("", &[]);
        fs::create_dir_all(directory.path().join("routes")).unwrap();
        fs::copy(&file, directory.path().join(name)).unwrap();
        for errors in errors(directory.path()) {
            let expected = format!("{name}: this looks like an APISIX configuration");
            assert!(errors.contains(&expected) && is_one(&errors), "{errors}");
        }
    }
}

#[test]
fn a_foreign_file_that_is_larger_than_settings_may_be_is_recognised() {
    let routes: String =
        (0..9_000).map(|number| format!("- {{ name: r{number}, paths: [/r{number}] }}\n")).collect();
    let kong = format!("_format_version: '3.0'\nroutes:\n{routes}");
    assert!(kong.len() > 256 << 10);
    let directory = settings("", &[("a", &kong), ("b", ROUTE)]);
    for errors in errors(directory.path()) {
        assert!(errors.contains("a.yaml: this looks like a Kong declarative file"), "{errors}");
    }
}
