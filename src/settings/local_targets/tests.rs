use std::fs;

use tempfile::TempDir;

use super::*;
use crate::settings::{
    BackendSettings, CallerKeys, CredentialProvider, Mistakes, ProxyChoice, Settings, SettingsLoader,
    route::key_source::WrittenCredentials, source::section::Section as _,
};

const API: &str = "x1.execute-api.eu-west-1.amazonaws.com";

fn targets() -> LocalTargets {
    LocalTargets {
        stand_in: ([127, 0, 0, 1], 9081).into(),
        api_key: "the-stand-ins-key".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "the-stand-ins-secret".to_owned(),
        listen: None,
        admin: None,
    }
}

fn load_with(targets: LocalTargets, process: &str, routes: &[(&str, String)]) -> Result<Settings, Mistakes> {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("routes")).unwrap();
    fs::write(directory.path().join("default.yaml"), process).unwrap();
    for (name, text) in routes {
        fs::write(directory.path().join(format!("routes/{name}.yaml")), text).unwrap();
    }
    SettingsLoader::local(directory.path(), targets).load()
}

fn load(process: &str, routes: &[(&str, String)]) -> Settings {
    load_with(targets(), process, routes).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn gateway(section: &str) -> [(&'static str, String); 1] {
    [("a", format!("uri: /a/*\napi_gateway:\n  function_uri: https://{API}:443/prod\n{section}"))]
}

#[test]
fn every_key_of_a_source_of_credentials_is_replaced() {
    let declared: Vec<&str> = WrittenCredentials::keys().iter().map(|key| key.name).collect();
    assert_eq!(declared, SOURCE_KEYS);
}

#[test]
fn a_target_keeps_its_host_and_leads_to_the_stand_in() {
    let settings = load("", &gateway(""));
    let BackendSettings::ApiGateway(gateway) = &settings.routes[0].backend else { panic!() };
    assert_eq!(gateway.function_uri.to_string(), format!("http://{API}/prod"));
    assert_eq!(gateway.upstream.connect.place(API, 80).to_string(), "127.0.0.1:9081");
    let lambda = "uri: /f\nlambda: { function_name: f, aws_region: eu-west-1, port: 443 }".to_owned();
    let settings = load("", &[("f", lambda)]);
    let BackendSettings::Lambda(lambda) = &settings.routes[0].backend else { panic!() };
    assert_eq!(lambda.endpoint.authority(), "lambda.eu-west-1.amazonaws.com");
    assert_eq!(lambda.upstream.connect.place("lambda", 80).to_string(), "127.0.0.1:9081");
}

#[test]
fn what_exists_in_production_alone_is_replaced_with_one_line_each() {
    let section = "  proxy_url: $file:///nowhere/proxy\n  \
        connect: { address: vpce.example, sni: vpce.example }\n  client_certificate: /nowhere/tls.crt\n  \
        client_key: /nowhere/tls.key\n  authorization:\n    \
        apikey: $file:///var/run/secrets/nowhere\n    iam:\n      \
        assume_role_arn: arn:aws:iam::123456789012:role/r\n      aws_region: eu-west-1\n";
    let settings = load("tracing: { otlp: { endpoint: 'https://collector.example' } }\n", &gateway(section));
    let BackendSettings::ApiGateway(gateway) = &settings.routes[0].backend else { panic!() };
    let iam = gateway.authorization.iam.as_ref().unwrap();
    assert!(matches!(iam.source.origin, CredentialProvider::Keys(_)) && iam.source.role.is_none());
    assert!(matches!(gateway.upstream.proxy, ProxyChoice::Direct(_)));
    assert!(gateway.upstream.client_identity.is_none() && settings.tracing.otlp.is_none());
    for key in [
        "yaml:1: tracing.otlp",
        "yaml:4: api_gateway.proxy_url",
        "yaml:5: api_gateway.connect",
        "yaml:6: api_gateway.client_certificate",
        "yaml:7: api_gateway.client_key",
        "yaml:9: api_gateway.authorization.apikey",
        "yaml:11: api_gateway.authorization.iam.assume_role_arn",
    ] {
        let lines = settings.warnings.iter().filter(|line| line.contains(key)).count();
        assert_eq!(lines, 1, "{key} in {:#?}", settings.warnings);
    }
    assert_eq!(settings.warnings.len(), 7, "{:#?}", settings.warnings);
}

#[test]
fn defaults_are_replaced_as_well() {
    let process = "defaults:\n  lambda:\n    aws_assume_role_arn: arn:aws:iam::123456789012:role/r\n    \
        proxy_url: http://proxy.example\n    aws_region: $env://NOT_SET_ANYWHERE\n";
    let lambda = "uri: /f\nlambda: { function_name: f }".to_owned();
    let settings = load(process, &[("f", lambda)]);
    let BackendSettings::Lambda(lambda) = &settings.routes[0].backend else { panic!() };
    assert!(matches!(lambda.source.origin, CredentialProvider::Keys(_)) && lambda.source.role.is_none());
    assert_eq!(lambda.region, "us-east-1");
    assert_eq!(settings.warnings.len(), 3, "{:#?}", settings.warnings);
}

#[test]
fn keys_of_callers_stay() {
    let section = "  authorization: { iam: { client_credentials: basic } }\n";
    let settings = load("", &gateway(section));
    let BackendSettings::ApiGateway(gateway) = &settings.routes[0].backend else { panic!() };
    assert_eq!(gateway.authorization.iam.as_ref().unwrap().client.keys, CallerKeys::Required);
}

#[test]
fn addresses_of_the_command_line_take_precedence() {
    let address = |port| Some(([127, 0, 0, 1], port).into());
    let targets = LocalTargets { listen: address(1234), admin: address(1235), ..targets() };
    let process = "listen: { http: '0.0.0.0:80', https: { address: '0.0.0.0:443', certificate: /nowhere/a, \
        key: /nowhere/b }, unix: /nowhere/at/all.sock }\n";
    let settings = load_with(targets, process, &gateway("")).unwrap();
    assert_eq!(settings.listen.http.to_string(), "127.0.0.1:1234");
    assert_eq!(settings.admin.address.to_string(), "127.0.0.1:1235");
    assert!(settings.listen.https.is_none() && settings.listen.unix.is_none());
}

#[test]
fn edits_are_looked_for_every_second_unless_the_settings_have_an_interval() {
    for (process, seconds) in [("", 1), ("reload: {}\n", 1), ("reload: { interval: 7s }\n", 7)] {
        let settings = load(process, &gateway(""));
        assert_eq!(settings.reload.interval, std::time::Duration::from_secs(seconds), "{process}");
    }
}

#[test]
fn other_mistakes_stay_mistakes() {
    let mistakes = load_with(targets(), "", &gateway("  timout: 3s\n")).unwrap_err().to_string();
    assert!(mistakes.contains("timout"), "{mistakes}");
    let mistakes = load_with(targets(), "", &gateway("  timeout: $secret://x\n")).unwrap_err().to_string();
    assert!(mistakes.contains("unsupported secret store"), "{mistakes}");
}

#[test]
fn a_loopback_collector_stays() {
    for (uri, expected) in [
        ("http://localhost:4318", true),
        ("http://127.0.0.1:4318/v1", true),
        ("http://[::1]:4318", true),
        ("https://collector.example:4318", false),
        ("http://localhost.example", false),
        ("$env://X", false),
    ] {
        assert_eq!(leads_to_loopback(uri), expected, "{uri}");
    }
}
