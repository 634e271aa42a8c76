//! Expiries out of range: Go's zero time, and a year above 9999.

use std::{
    fs,
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    super::support::{Upstream, eventually, exposition::Exposition, get},
    Cloud, Sidecar, Variables,
};

/// Keys in the JSON of container endpoints, the metadata service and `credential_process`.
fn keys(id: &str, expiration: &str) -> String {
    format!(
        r#"{{"Version":1,"Code":"Success","AccessKeyId":"{id}","SecretAccessKey":"the-secret","Token":"t",
            "SessionToken":"t","Expiration":"{expiration}"}}"#
    )
}

/// A service that returns keys with Go's zero time once, then valid ones.
fn service() -> Upstream {
    let is_first = AtomicBool::new(true);
    Upstream::serving(move |request, stream| {
        let body = if request.target().ends_with("/security-credentials/") {
            "role".to_owned()
        } else if is_first.swap(false, Ordering::SeqCst) {
            keys("AKIDZERO", "0001-01-01T00:00:00Z")
        } else {
            keys("AKIDGOOD", "2090-01-01T00:00:00Z")
        };
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    })
}

/// A profile with a `credential_process`.
fn program(cloud: &Cloud, text: &str) -> Variables {
    let config = cloud.files.path().join("config");
    fs::write(&config, format!("[default]\ncredential_process = {text}\n")).unwrap();
    vec![("AWS_CONFIG_FILE".to_owned(), config.to_string_lossy().into_owned())]
}

#[track_caller]
fn recovers(cloud: &Cloud, mut environment: Variables, iam: &str) {
    let upstream = Upstream::ok();
    environment.push(("AWS_ENDPOINT_URL_STS".to_owned(), cloud.url("")));
    let sidecar = Sidecar::with_route(&upstream.uri("/"), iam, &environment);
    let admin = sidecar.process.admin();
    eventually("the good keys sign", || {
        sidecar.get("/r");
        let last = upstream.received().pop();
        last.is_some_and(|call| call.header("authorization").unwrap().contains("=AKIDGOOD/"))
    });
    assert_eq!(get(admin, "/ready").status, 200);
    let metrics = Exposition::of(admin);
    assert_eq!(metrics.count("apigw_invoker_credentials_refresh_failures_total", &[("route", "r")]), 1);
    assert_eq!(metrics.count("apigw_invoker_task_failures_total", &[("task", "credentials")]), 0);
    sidecar.process.says("keys with an invalid expiry, in 1970 or earlier");
    sidecar.end(cloud);
}

#[test]
fn x3_an_expiry_of_gos_zero_time_does_not_stop_the_refresh() {
    let cloud = Cloud::new();
    let container = service();
    recovers(&cloud, vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), container.uri("/keys"))], "");
    let metadata = service();
    let at = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), metadata.uri("/"))];
    recovers(&cloud, at, ", imds_protocol_version: v1");
    let at = |name: &str| cloud.files.path().join(name);
    fs::write(at("zero"), keys("AKIDZERO", "0001-01-01T00:00:00Z")).unwrap();
    fs::write(at("good"), keys("AKIDGOOD", "2090-01-01T00:00:00Z")).unwrap();
    let text =
        format!("cd {} && cat zero && if test -f good; then mv good zero; fi", cloud.files.path().display());
    recovers(&cloud, program(&cloud, &text), "");
}

#[test]
fn x13_an_expiry_in_the_year_10000_is_logged() {
    let (cloud, upstream) = (Cloud::new(), Upstream::ok());
    fs::write(cloud.files.path().join("late"), keys("AKIDLATE", "9999-12-31T23:59:59-10:00")).unwrap();
    let mut environment = program(&cloud, &format!("cat {}/late", cloud.files.path().display()));
    environment.push(("AWS_ENDPOINT_URL_STS".to_owned(), cloud.url("")));
    let sidecar = Sidecar::with_route(&upstream.uri("/"), "", &environment);
    assert_eq!(sidecar.get("/r").status, 200);
    let admin = sidecar.process.admin();
    for _ in 0..2 {
        let ready = get(admin, "/ready");
        assert!(
            ready.status == 200 && ready.text().contains("expires 9999-12-31T23:59:59Z"),
            "{}",
            ready.text()
        );
    }
    // the log line about new keys may be written later
    sidecar.process.says("credentials: ");
    Exposition::of(admin);
    sidecar.end(&cloud);
}
