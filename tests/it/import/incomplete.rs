//! Files that refer to what is not in them, and files whose parts have free names.

use super::{Target, fixture, of_report, texts};

#[test]
fn variables_of_a_deployment_have_the_values_of_its_environment_and_others_are_references() {
    let target = Target::new();
    let report = target.import(&[fixture("sigv4-proxy/variables.yaml")], 0);
    let route = target.route("prometheus-proxy");
    for line in [
        "function_uri: https://aps-workspaces.eu-west-1.amazonaws.com\n",
        "aws_region: eu-west-1\n",
        "service: $env://SERVICE\n",
        "X-Tenant: $env://TENANT\n",
        // keys of a route are used without the token of the environment
        "session_token: $env://AWS_SESSION_TOKEN\n",
        "role_session_name: $env://AWS_ROLE_SESSION_NAME\n",
    ] {
        assert!(route.contains(line), "no {line} in {route}");
    }
    let to_do = texts(&of_report(&report, "prometheus-proxy")["to_do"]);
    for name in ["SERVICE", "TENANT", "TOKEN", "AWS_SESSION_TOKEN", "AWS_ROLE_SESSION_NAME", "AWS_REGION"] {
        assert!(to_do.contains(name), "no {name} in {to_do}");
    }
    assert!(to_do.contains("the variables of Secret `more-keys`"), "{to_do}");
    assert!(to_do.contains("the value of the variable `$(TOKEN)` is not in the file: set the secret"));
    assert!(!to_do.contains("AWS_ACCESS_KEY_ID"), "{to_do}");
    // the value in the middle of a text is not known
    let secrets = report["secrets"].as_array().unwrap();
    let open = secrets.iter().filter(|secret| secret["written"] == false);
    let files: Vec<_> = open.map(|secret| secret["file"].as_str().unwrap()).collect();
    assert!(matches!(files[..], [file] if file.ends_with("prometheus-proxy.header-X-Auth")), "{files:?}");
}

#[test]
fn a_variable_without_a_value_is_named_in_the_place_of_a_host() {
    for (text, expected) in [
        ("aws-sigv4-proxy --name s3 --region $REGION --host s3.$REGION.amazonaws.com\n", "$REGION"),
        ("aws-sigv4-proxy --name s3 --region x --host s3.{{.Values.region}}.amazonaws.com\n", "{{.Values"),
        ("aws-sigv4-proxy --name s3 --region ${R:-x} --host s3.x.amazonaws.com\n", "${R:-x}"),
    ] {
        let target = Target::new();
        let report = target.import(&[target.file("run.sh", text)], 3);
        let problems = of_report(&report, "aws-sigv4-proxy")["problems"].to_string();
        let sentence = format!("the value of the variable `{expected}");
        assert!(problems.contains(&sentence), "{text}: {problems}");
        assert_eq!(target.routes(), [""; 0]);
    }
}

#[test]
fn variables_in_the_text_of_a_shell_have_the_values_of_the_environment() {
    let target = Target::new();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec:\n  \
        containers:\n  - image: aws-sigv4-proxy\n    \
        command: [/bin/sh, -c]\n    \
        args: ['exec aws-sigv4-proxy --name sqs --region $REGION --host sqs.${REGION}.amazonaws.com']\n    \
        env: [{ name: REGION, value: eu-west-1 }]\n";
    target.import_text(text, 0);
    assert!(target.route("p").contains("function_uri: https://sqs.eu-west-1.amazonaws.com\n"));
}

#[test]
fn a_route_whose_service_is_in_another_file_is_not_taken_for_one_without_the_plugin() {
    let target = Target::new();
    let text = r#"{"list": [{"value": {"id": "3", "uri": "/a", "service_id": "s1"}},
        {"value": {"id": "4", "uri": "/b", "plugin_config_id": "p1"}}], "total": 2}"#;
    let report = target.import_text(text, 3);
    for (name, problem) in [("a", "service_id: `s1` is not"), ("b", "plugin_config_id: `p1` is not")] {
        let problems = of_report(&report, name)["problems"].to_string();
        assert!(problems.contains(problem), "{problems}");
    }
    assert!(report["left_out"].as_array().unwrap().is_empty(), "{report:#}");
}

#[test]
fn a_plugin_of_a_service_that_is_not_in_the_files_applies_to_its_routes() {
    let target = Target::new();
    let routes = r#"{"data": [{"id": "r1", "name": "one", "paths": ["/one"], "service": {"id": "s1"}}]}"#;
    let plugins = r#"{"data": [{"name": "aws-lambda", "service": {"id": "s1"},
        "config": {"function_name": "f", "aws_region": "us-east-1"}}]}"#;
    let files = [target.file("routes.json", routes), target.file("plugins.json", plugins)];
    let report = target.import(&files, 0);
    assert!(target.route("one").contains("function_name: f\n"));
    let to_do = texts(&of_report(&report, "one")["to_do"]);
    assert!(to_do.contains("`s1` is not in the files: its path and plugins are not known"), "{to_do}");
}

#[test]
fn filters_of_envoy_are_known_by_their_types_and_a_cluster_without_tls_is_called_without() {
    let target = Target::new();
    let report = target.import(&[fixture("envoy/free-names.yaml")], 0);
    let own = target.route("own");
    for line in ["function:own\n", "host: 127.0.0.1\n", "disable_https: true\n", "port: 3001\n"] {
        assert!(own.contains(line), "no {line} in {own}");
    }
    assert!(target.route("default").contains("function:default\n"));
    let left_out = texts(&of_report(&report, "own")["left_out"]);
    assert!(left_out.contains("require_tls") && left_out.contains("route.idle_timeout"), "{left_out}");
}

#[test]
fn the_dump_of_envoys_admin_interface_is_read_and_resources_from_elsewhere_are_named() {
    let target = Target::new();
    let report = target.import(&[fixture("envoy/config-dump.json")], 0);
    let uri = "function_uri: https://abc.execute-api.eu-west-1.amazonaws.com\n";
    assert!(target.route("orders").contains(uri), "{}", target.route("orders"));
    assert!(texts(&report["left_out"]).contains("dynamic_listeners"), "{report:#}");
}

#[test]
fn files_without_a_route_are_said_to_have_none() {
    let target = Target::new();
    let file = target.file("a.yaml", "_format_version: '3.0'\nservices: []\n");
    let ended = super::end_of(&mut target.command(&[file]));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.output.starts_with("no route in the files"), "{}", ended.output);
}
