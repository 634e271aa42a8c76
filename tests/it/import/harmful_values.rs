//! Values that are secrets in places where none belongs, or that are made to do harm.

use std::fs;

use super::{SECRET, Target, of_report, texts};

#[test]
fn values_of_unknown_flags_are_not_shown() {
    let text =
        "aws-sigv4-proxy --host sqs.us-east-1.amazonaws.com --aws-secret-key=hush-1 --aws-secret hush-2\n";
    for format in ["text", "json", "markdown"] {
        let target = Target::new();
        let file = target.file("run.sh", text);
        let ended = super::end_of(target.command(&[file]).args(["--report", format]));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(
            ended.output.contains("--aws-secret-key") && !ended.output.contains(SECRET),
            "{}",
            ended.output
        );
    }
}

#[test]
fn control_characters_of_keys_do_not_reach_a_terminal() {
    let target = Target::new();
    let text = r#"{"_format_version": "3.0", "routes": [{"name": "r", "paths": ["/x"], "plugins": [
        {"name": "aws-lambda", "config": {"function_name": "f", "aws_region": "us-east-1",
        "a\u001b[2Jb\nc": 1, "\u202ed": 2}}]}]}"#;
    let file = target.file("kong.json", text);
    let ended = super::end_of(&mut target.command(&[file]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("config.a [2Jb c: not a parameter"), "{}", ended.output);
    assert!(!ended.output.contains(['\u{1b}', '\u{202e}']), "{}", ended.output);
}

#[test]
fn a_reference_to_a_file_of_this_machine_is_not_taken_over() {
    let target = Target::new();
    let text = "routes:\n- uri: /a\n  plugins:\n    aws-lambda:\n      \
        function_uri: https://a.example/\n      \
        authorization: { apikey: '$file:///etc/hostname' }\n#END\n";
    let report = target.import_text(text, 0);
    assert!(!target.route("a").contains("/etc/hostname"), "{}", target.route("a"));
    assert!(texts(&of_report(&report, "a")["to_do"]).contains("a reference to a store"), "{report:#}");
}

#[test]
fn a_number_in_the_place_of_a_secret_is_not_written_with_other_digits() {
    let target = Target::new();
    let text = "routes:\n- uri: /a\n  plugins:\n    aws-lambda:\n      \
        function_uri: https://a.example/\n      \
        authorization: { apikey: 12345678901234567890123 }\n#END\n";
    let report = target.import_text(text, 0);
    assert!(texts(&of_report(&report, "a")["to_do"]).contains("not a text: set the secret"), "{report:#}");
    assert!(!target.secrets().join("a.apikey").exists());
}

#[test]
fn a_port_beyond_the_last_one_is_a_problem() {
    let target = Target::new();
    let text = "_format_version: '3.0'\nroutes: [{ name: r, paths: [/r] }]\nplugins:\n- name: aws-lambda\n  \
        config: { function_name: f, aws_region: us-east-1, host: a.example, port: 70000 }\n";
    let report = target.import_text(text, 3);
    let problems = of_report(&report, "r")["problems"].to_string();
    assert!(problems.contains("config.port is no port from 1 to 65535"), "{problems}");
}

#[test]
fn a_comma_in_a_path_of_a_list_is_part_of_the_path() {
    let target = Target::new();
    let text = "_format_version: '3.0'\nroutes: [{ name: r, paths: ['/a,b'] }]\nplugins:\n\
        - name: aws-lambda\n  \
        config: { function_name: f, aws_region: us-east-1 }\n";
    target.import_text(text, 0);
    assert!(target.route("r").contains("uri: \"/a,b*\"\n"), "{}", target.route("r"));
}

#[test]
fn an_imported_file_is_not_replaced_even_with_force() {
    let target = Target::new();
    fs::create_dir_all(target.settings().join("routes")).unwrap();
    let text = "_format_version: '3.0'\nroutes: [{ name: a, paths: [/a] }]\nplugins:\n- name: aws-lambda\n  \
        config: { function_name: f, aws_region: us-east-1 }\n";
    let file = target.settings().join("routes/a.yaml");
    fs::write(&file, text).unwrap();
    let ended = super::end_of(target.command(std::slice::from_ref(&file)).arg("--force"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("this file is imported, and would be replaced"), "{}", ended.errors);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn secrets_inside_the_settings_directory_are_written_with_a_remark() {
    let target = Target::new();
    let file = target.file(
        "run.sh",
        "AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=hush aws-sigv4-proxy \
        --host sqs.us-east-1.amazonaws.com\n",
    );
    let mut command = super::binary(&["import"]);
    command.arg(file).arg("--to").arg(target.settings());
    let ended = super::end_of(command.arg("--secrets").arg(target.settings().join("secrets")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.errors.contains("a bundle or ConfigMap of it would have the secrets too"), "{ended:?}");
}

#[test]
fn differences_that_a_file_rules_out_are_not_reported() {
    let topics = |config: &str| {
        let target = Target::new();
        let text = format!(
            "_format_version: '3.0'\nroutes: [{{ name: r, paths: [/r] }}]\nplugins:\n- name: aws-lambda\n  \
             config: {{ function_name: f, aws_region: us-east-1, {config} }}\n"
        );
        let report = target.import_text(&text, 0);
        let route = of_report(&report, "r");
        format!("{}{}", route["differences"], route["changed"])
    };
    let default = topics("timeout: 1000");
    assert!(default.contains("TLS to AWS") && default.contains("aws_imds_protocol_version"), "{default}");
    for config in ["ssl_verify: false", "ssl_verify: true", "disable_https: true, port: 9001"] {
        let topics = topics(config);
        assert!(!topics.contains("TLS to AWS") && !topics.contains("without `port`"), "{config}: {topics}");
    }
    assert!(topics("disable_https: true").contains("`disable_https` without `port`"));
    let with_keys = topics("aws_key: a, aws_secret: b, aws_imds_protocol_version: v1");
    assert!(!with_keys.contains("aws_imds_protocol_version"), "{with_keys}");
    let of_the_chain = topics("aws_imds_protocol_version: v1");
    assert!(of_the_chain.contains("not written: IMDSv2 is used"), "{of_the_chain}");
}
