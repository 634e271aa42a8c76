//! Key files that change while the sidecar runs: the shared credentials file, and files of a route's own
//! keys.

use std::{fs, os::unix::fs::symlink, path::Path};

use sha2::{Digest as _, Sha256};

use super::{
    super::support::{Upstream, eventually, get},
    Cloud, Sidecar, Variables, unavailable,
};

/// Replaces a file as Kubernetes updates a mounted secret: by a new target of a directory symlink.
fn mount(directory: &Path, id: &str, secret: &str) {
    let version = directory.join(format!("..{id}"));
    fs::create_dir(&version).unwrap();
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    fs::write(version.join("credentials"), text).unwrap();
    symlink(&version, directory.join("..new")).unwrap();
    fs::rename(directory.join("..new"), directory.join("..data")).unwrap();
}

#[test]
fn keys_of_a_mounted_file_that_is_replaced_are_used_without_a_restart() {
    let (cloud, upstream) = (Cloud::new(), Upstream::ok());
    let directory = cloud.files.path();
    mount(directory, "AKIDFIRST", "the-first-secret");
    symlink("..data/credentials", directory.join("credentials")).unwrap();
    let file = directory.join("credentials").to_string_lossy().into_owned();
    let environment = [
        ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), file),
        ("AWS_ENDPOINT_URL_STS".to_owned(), cloud.url("")),
    ];
    let sidecar = Sidecar::with_route(&upstream.uri("/"), "", &environment);
    let signed_with = |id: &str| {
        assert_eq!(sidecar.get("/r").status, 200);
        let last = upstream.received().pop().unwrap();
        last.header("authorization").unwrap().contains(&format!("Credential={id}/"))
    };
    assert!(signed_with("AKIDFIRST"));
    mount(directory, "AKIDSECOND", "the-second-secret");
    eventually("the new keys sign", || signed_with("AKIDSECOND"));
    cloud.tokens.lock().unwrap().extend(["the-first-secret", "the-second-secret"].map(str::to_owned));
    sidecar.process.says("route r: keys from profile default, access key ending in COND, without expiry");
    sidecar.end(&cloud);
}

#[test]
fn k51_keys_of_a_route_in_mounted_files_are_used_without_a_restart() {
    let (cloud, upstream) = (Cloud::new(), Upstream::ok());
    let directory = cloud.files.path();
    let write = |id: &str| {
        fs::write(directory.join("id"), format!("{id}\n")).unwrap();
        fs::write(directory.join("secret"), format!("the-secret-of-{id}\n")).unwrap();
    };
    write("AKIDFIRST");
    let iam = format!(", accesskey: $file://{0}/id, secretkey: $file://{0}/secret", directory.display());
    let environment = [("AWS_ENDPOINT_URL_STS".to_owned(), cloud.url(""))];
    let sidecar = Sidecar::with_route(&upstream.uri("/"), &iam, &environment);
    let signed_with = |id: &str| {
        assert_eq!(sidecar.get("/r").status, 200);
        let last = upstream.received().pop().unwrap();
        last.header("authorization").unwrap().contains(&format!("Credential={id}/"))
    };
    assert!(signed_with("AKIDFIRST"));
    write("AKIDSECONDONE");
    eventually("the new keys sign", || signed_with("AKIDSECONDONE"));
    cloud
        .tokens
        .lock()
        .unwrap()
        .extend(["AKIDFIRST", "AKIDSECONDONE"].map(|id| format!("the-secret-of-{id}")));
    sidecar.end(&cloud);
}

/// Environment variables of a config file only.
fn config(cloud: &Cloud, profile: &str, text: &str) -> Variables {
    let directory = cloud.files.path();
    fs::write(directory.join("config"), text).unwrap();
    let cache = directory.to_string_lossy();
    [
        ("AWS_CONFIG_FILE", directory.join("config").to_string_lossy().as_ref()),
        ("AWS_PROFILE", profile),
        ("AWS_LOGIN_CACHE_DIRECTORY", &*cache),
        ("AWS_ENDPOINT_URL_STS", &cloud.url("")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[test]
fn s6_the_session_of_aws_login_gives_keys() {
    const SESSION: &str = "arn:aws:iam::123456789012:user/admin";
    let (cloud, upstream) = (Cloud::new(), Upstream::ok());
    let environment = config(&cloud, "console", &format!("[profile console]\nlogin_session = {SESSION}\n"));
    let sidecar = Sidecar::with_route(&upstream.uri("/"), "", &environment);
    assert!(unavailable(&sidecar.get("/r")));
    sidecar.process.says("has ended or never began: run `aws login --profile console`");
    let session: String = Sha256::digest(SESSION).iter().map(|byte| format!("{byte:02x}")).collect();
    let token = r#"{"accessToken":{"accessKeyId":"AKIDLOGIN","secretAccessKey":"the-secret",
        "sessionToken":"t","accountId":"123456789012","expiresAt":"2090-01-01T00:00:00Z"},
        "tokenType":"aws_sigv4","refreshToken":"t","clientId":"arn:aws:signin:::devtools/same-device",
        "dpopKey":"the-key"}"#;
    fs::write(cloud.files.path().join(format!("{session}.json")), token).unwrap();
    sidecar.recovers("/r");
    let call = upstream.received().pop().unwrap();
    assert!(call.header("authorization").unwrap().contains("Credential=AKIDLOGIN/"));
    sidecar.end(&cloud);
}

#[test]
fn s6_a_missing_sso_login_is_logged_with_the_cure() {
    let cloud = Cloud::new();
    let text = "[profile team]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n\
                [sso-session s]\nsso_region = us-east-1\nsso_start_url = https://a.example\n";
    let sidecar = Sidecar::with_route("http://127.0.0.1:1/", "", &config(&cloud, "team", text));
    assert!(unavailable(&sidecar.get("/r")));
    sidecar
        .process
        .says("SSO login of profile team has expired or never happened: run `aws sso login --profile team`");
    sidecar.end(&cloud);
}

#[test]
fn s7_an_indented_section_is_named_with_its_line_and_nothing_is_signed() {
    let (cloud, upstream) = (Cloud::new(), Upstream::ok());
    let text = "[default]\naws_access_key_id = AKIDFIRST\naws_secret_access_key = the-secret\n  [profile1]\n\
                aws_access_key_id = AKIDSECOND\naws_secret_access_key = the-secret\n";
    let sidecar = Sidecar::with_route(&upstream.uri("/"), "", &config(&cloud, "default", text));
    assert!(unavailable(&sidecar.get("/r")));
    let ready = get(sidecar.process.admin(), "/ready").text();
    assert!(ready.contains("line 4: `[profile1]` is indented"), "{ready}");
    assert_eq!(upstream.accepted(), 0);
    sidecar.end(&cloud);
}

#[test]
fn x7_dev_null_as_profile_file_counts_as_an_empty_file() {
    let (cloud, upstream) = (Cloud::new(), Upstream::ok());
    let mut environment = cloud.environment(apigw_invoker::stand_in::credentials::CredentialKind::Imds);
    environment.push(("AWS_CONFIG_FILE".to_owned(), "/dev/null".to_owned()));
    environment.push(("AWS_SHARED_CREDENTIALS_FILE".to_owned(), "/dev/null".to_owned()));
    let sidecar = Sidecar::with_route(&upstream.uri("/"), "", &environment);
    assert_eq!(sidecar.get("/r").status, 200);
    eventually("the log introduces the keys", || sidecar.sets_of_keys() == 1);
    sidecar.end(&cloud);
}
