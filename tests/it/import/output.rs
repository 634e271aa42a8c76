//! Files that are written: all or none, none over another, and no link followed.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::{Command, Stdio},
};

use super::{
    super::support::process::{binary, end_of},
    SECRET, Target, fixture, of_report, texts,
};

const ROUTE: &str = "_format_version: '3.0'\nroutes:\n- { name: a, paths: [/a] }\n\
    - { name: b, paths: [/b] }\nplugins:\n- name: aws-lambda\n  \
    config: { function_name: f, aws_region: us-east-1, aws_key: hush-id, aws_secret: hush-key }\n";

#[test]
fn a_file_that_is_there_stays_without_force_and_nothing_is_written() {
    let target = Target::new();
    let file = target.file("kong.yaml", ROUTE);
    fs::create_dir_all(target.settings().join("routes")).unwrap();
    fs::write(target.settings().join("routes/b.yaml"), "mine").unwrap();
    let ended = end_of(&mut target.command(std::slice::from_ref(&file)));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("b.yaml") && ended.errors.contains("--force"), "{}", ended.errors);
    assert_eq!((target.routes(), target.route("b").as_str()), (vec!["b.yaml".to_owned()], "mine"));
    assert!(!target.secrets().exists());
    let ended = end_of(target.command(&[file]).arg("--force"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(target.routes(), ["a.yaml", "b.yaml"]);
    assert!(target.route("b").contains("uri: /b*"));
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed() {
    let target = Target::new();
    let file = target.file("kong.yaml", ROUTE);
    let victim = target.file("victim", "untouched");
    fs::create_dir_all(target.secrets()).unwrap();
    symlink(&victim, target.secrets().join("a.aws_key")).unwrap();
    let ended = end_of(&mut target.command(std::slice::from_ref(&file)));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(target.routes().is_empty());
    let ended = end_of(target.command(&[file]).arg("--force"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    let secret = target.secrets().join("a.aws_key");
    let metadata = fs::symlink_metadata(&secret).unwrap();
    assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o600);
    assert_eq!(fs::read_to_string(secret).unwrap(), "hush-id");
}

#[test]
fn a_directory_that_cannot_be_written_is_one_sentence_and_no_file_is_left() {
    let target = Target::new();
    let file = target.file("kong.yaml", ROUTE);
    // a file in the place of the directory
    fs::write(target.secrets(), "").unwrap();
    let ended = end_of(&mut target.command(&[file]));
    assert_eq!((ended.code, ended.errors.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(target.routes().is_empty(), "{:?}", target.routes());
}

#[test]
fn without_a_directory_for_secrets_the_commands_name_files_and_no_values() {
    let target = Target::new();
    let file = target.file("kong.yaml", ROUTE);
    let mut command = binary(&["import"]);
    let ended = end_of(command.arg(&file).arg("--to").arg(target.settings()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.output.contains(SECRET), "{}", ended.output);
    for part in [
        "kubectl create secret generic apigw-invoker-keys",
        "--from-file=a.aws_key=secrets/a.aws_key",
        "--from-file=a.aws_secret=secrets/a.aws_secret",
        "apigw-invoker check --settings ",
    ] {
        assert!(ended.output.contains(part), "{part} is not in {}", ended.output);
    }
    assert!(target.route("a").contains("aws_key: $file:///var/run/secrets/apigw-invoker/a.aws_key\n"));
}

#[test]
fn default_yaml_is_written_for_a_port_and_an_existing_one_stays_even_with_force() {
    let target = Target::new();
    let file = target.file("run.sh", "aws-sigv4-proxy --port :8005 --host sqs.us-east-1.amazonaws.com\n");
    target.import(std::slice::from_ref(&file), 0);
    let process = target.settings().join("default.yaml");
    assert!(fs::read_to_string(&process).unwrap().contains("http: 127.0.0.1:8005\n"));
    assert_eq!(target.check().code, Some(0));
    fs::write(&process, "workers: 2\n").unwrap();
    let ended = end_of(target.command(&[file]).args(["--force", "--report", "text"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(fs::read_to_string(&process).unwrap(), "workers: 2\n");
    assert!(
        ended.output.contains("it needs:") && ended.output.contains("127.0.0.1:8005"),
        "{}",
        ended.output
    );
}

#[test]
fn two_proxies_get_one_route_and_the_other_is_reported() {
    let target = Target::new();
    let text = "aws-sigv4-proxy --host sqs.us-east-1.amazonaws.com\n\
        aws-sigv4-proxy --host sns.us-east-1.amazonaws.com --port :8081\n";
    let report = target.import(&[target.file("run.sh", text)], 3);
    let problems = of_report(&report, "aws-sigv4-proxy-2")["problems"].to_string();
    assert!(problems.contains("matches the same requests"), "{problems}");
    assert_eq!(target.routes(), ["aws-sigv4-proxy.yaml"]);
}

#[test]
fn standard_input_is_a_file_too() {
    let target = Target::new();
    let mut child: Command = binary(&["import", "-", "--to"]);
    let mut child =
        child.arg(target.settings()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(ROUTE.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(target.routes(), ["a.yaml", "b.yaml"]);
}

#[test]
fn several_programs_in_one_command_get_their_routes() {
    let target = Target::new();
    let files =
        ["kong/precedence.yaml", "apisix/trailing-comma.json", "sigv4-proxy/compose.yaml"].map(fixture);
    let report = target.import(&files, 0);
    assert_eq!(target.routes().len(), 7);
    assert!(texts(&report["left_out"]).contains("Kong"));
    target.fill_secrets(&report);
    assert_eq!(target.check().code, Some(0));
}

#[test]
fn secrets_beside_the_routes_are_wrong_usage_and_so_is_a_missing_target() {
    let target = Target::new();
    let file = target.file("kong.yaml", ROUTE);
    let mut command = binary(&["import"]);
    command.arg(&file).arg("--to").arg(target.settings());
    let ended = end_of(command.arg("--secrets").arg(target.settings().join("routes")));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(end_of(&mut binary(&["import", "x.yaml"])).code, Some(2));
    assert_eq!(end_of(&mut binary(&["import", "--to", "x"])).code, Some(2));
}
