//! Files of keys that change while the sidecar runs: the shared credentials file, and a route's own.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{
    super::support::{Upstream, eventually},
    Cloud, Sidecar,
};

/// Puts a file in place as Kubernetes does with a mounted secret: a link to a directory is replaced.
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
    sidecar.process.says("profile default: key id ending in COND, does not expire");
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
