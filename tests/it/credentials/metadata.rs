//! The metadata service of EC2: without a response, and in version 1.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use apigw_invoker::stand_in::{Service, Switch, credentials::CredentialKind};

use super::{
    super::support::{Upstream, eventually, exposition::Exposition, get, upstream::Received},
    Cloud, Sidecar, gateway, unavailable,
};

#[test]
fn a_metadata_service_out_of_reach_is_503_within_seconds_and_serves_once_it_answers() {
    let cloud = Cloud::new();
    cloud.set(Switch::MetadataTokenHangs, true);
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), "", &cloud.environment(CredentialKind::Imds));
    let timed = || {
        let start = Instant::now();
        assert!(unavailable(&sidecar.get("/r")));
        start.elapsed()
    };
    let first = timed();
    assert!(first < Duration::from_secs(6), "{first:?}");
    let second = timed();
    assert!(second < Duration::from_secs(1), "only the first fetch is waited for: {second:?}");
    cloud.set(Switch::MetadataTokenHangs, false);
    sidecar.recovers("/r");
    assert_eq!(cloud.calls(Service::MetadataKeys), 1);
    let log = sidecar.end(&cloud);
    assert!(log.contains("EC2 metadata v2: ") && log.contains("hop limit"), "{log}");
}

#[test]
fn imds_v1_is_used_only_if_the_settings_say_so() {
    let cloud = Cloud::new();
    cloud.set(Switch::MetadataTokenHangs, true);
    cloud.set(Switch::MetadataV1, true);
    let route = |uri, iam| gateway(uri, &cloud.url("/iam/hello"), iam);
    let routes = [("one", route("/one", ", imds_protocol_version: v1")), ("two", route("/two", ""))];
    let sidecar = Sidecar::start(&routes, &cloud.environment(CredentialKind::Imds));
    assert_eq!(sidecar.get("/one").status, 200);
    assert!(unavailable(&sidecar.get("/two")));
    assert_eq!(cloud.calls(Service::MetadataKeys), 1, "by the first version, for the one route");
    assert!(cloud.calls(Service::MetadataToken) > 0);
    sidecar.process.says("keys from EC2 metadata v1, account 123456789012, ");
    sidecar.end(&cloud);
}

/// True if the first keys of this process have expired.
fn after_expiry(life: Duration) -> impl Fn() -> bool {
    let end = SystemTime::now() + life + Duration::from_millis(500);
    move || SystemTime::now() > end
}

#[test]
fn s4_keys_are_used_past_their_expiry_while_the_metadata_service_fails() {
    const LIFE: Duration = Duration::from_secs(2);
    let refuses = Arc::new(Mutex::new(Option::<String>::None));
    let upstream = {
        let refuses = Arc::clone(&refuses);
        Upstream::serving(move |request: &Received, stream| {
            let token = request.header("x-amz-security-token").map(str::to_owned);
            let is_refused = token.is_some() && *refuses.lock().unwrap() == token;
            stream.write_all(if is_refused {
                b"HTTP/1.1 403 No\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: 2\r\n\r\n{}"
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            })
        })
    };
    let cloud = Cloud::with_keys_for(LIFE);
    let sidecar = Sidecar::with_route(&upstream.uri("/"), "", &cloud.environment(CredentialKind::Imds));
    let admin = sidecar.process.admin();
    assert_eq!(sidecar.get("/r").status, 200);
    cloud.set(Switch::MetadataDown, true);
    let past = || {
        let metrics = Exposition::of(admin);
        let of = |name: &str| metrics.count(&format!("apigw_invoker_credentials_{name}"), &[("route", "r")]);
        (of("past_expiry"), of("ready"))
    };
    assert_eq!(past(), (0, 1));
    sidecar.serves(1, "/r", after_expiry(LIFE));
    assert_eq!(past(), (1, 1));
    let ready = get(admin, "/ready");
    assert_eq!(ready.status, 200);
    let told = ready.text();
    assert!(told.contains(", used until AWS refuses it") && told.contains("status 500"), "{told}");
    sidecar.process.says("the metadata service returns no newer keys");

    // AWS decides
    let last = upstream.received().pop().unwrap().header("x-amz-security-token").map(str::to_owned);
    *refuses.lock().unwrap() = last;
    assert_eq!(sidecar.get("/r").status, 403);
    assert!(unavailable(&sidecar.get("/r")));
    assert_eq!((get(admin, "/ready").status, past()), (503, (0, 0)));
    cloud.set(Switch::MetadataDown, false);
    sidecar.recovers("/r");
    eventually("it is ready", || get(admin, "/ready").status == 200);
    let log = sidecar.end(&cloud);
    assert_eq!(log.matches("the metadata service returns no newer keys").count(), 1, "{log}");
}

/// A scripted metadata service, and a sidecar with a route that uses its keys.
fn scripted(answer: impl Fn(&Received) -> String + Send + Sync + 'static, iam: &str) -> (Upstream, Sidecar) {
    let service = Upstream::serving(move |request, stream| stream.write_all(answer(request).as_bytes()));
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), service.uri("/"))];
    let sidecar = Sidecar::with_route("http://127.0.0.1:1/", iam, &environment);
    (service, sidecar)
}

fn answered(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn s8_an_imds_v1_only_service_is_logged_with_the_key_that_helps() {
    for status in ["404 Not Found", "405 Method Not Allowed", "403 Forbidden"] {
        let (_service, sidecar) = scripted(
            move |request| answered(if request.line.starts_with("PUT") { status } else { "200 OK" }, "role"),
            "",
        );
        assert!(unavailable(&sidecar.get("/r")));
        sidecar.process.says("set `imds_protocol_version: v1`");
    }
}

#[test]
fn s8_a_failing_metadata_service_is_logged_with_its_status_and_not_taken_for_imds_v1() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "400 Bad Request"] {
        let (service, sidecar) = scripted(move |_| answered(status, ""), "");
        assert!(unavailable(&sidecar.get("/r")));
        let code = status.split_once(' ').unwrap().0;
        let told = format!("{}: status {code} and no session token", service.uri("/latest/api/token"));
        sidecar.process.says(&told);
        let log = sidecar.process.errors();
        assert!(!log.contains("imds_protocol_version"), "{log}");
    }
}

#[test]
fn s4_a_role_is_assumed_with_the_last_keys_of_the_instance_while_the_metadata_service_fails() {
    let cloud = Cloud::new();
    let refused = Arc::new(Mutex::new(Option::<String>::None));
    let upstream = {
        let refused = Arc::clone(&refused);
        Upstream::serving(move |request: &Received, stream| {
            let token = request.header("x-amz-security-token").map(str::to_owned);
            let is_refused = refused.lock().unwrap().get_or_insert(token.clone().unwrap()) == &token.unwrap();
            stream.write_all(if is_refused {
                b"HTTP/1.1 403 No\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: 2\r\n\r\n{}"
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            })
        })
    };
    let iam = format!(
        ", sts_endpoint_url: '{}', assume_role_arn: 'arn:aws:iam::123456789012:role/orders'",
        cloud.url("")
    );
    let sidecar = Sidecar::with_route(&upstream.uri("/"), &iam, &cloud.environment(CredentialKind::Imds));
    eventually("the first keys", || cloud.calls(Service::AssumeRole) == 1);
    cloud.set(Switch::MetadataDown, true);
    eventually("AWS has other keys of the role", || sidecar.get("/r").status == 200);
    assert_eq!(cloud.calls(Service::AssumeRole), 2);
    let ready = get(sidecar.process.admin(), "/ready");
    let told = ready.text();
    assert_eq!(ready.status, 200, "{told}");
    assert!(
        told.contains("assuming the role with the last known keys of the instance, which expire at 20"),
        "{told}"
    );
    assert!(told.contains("status 500"), "{told}");
    sidecar.process.says("assuming the role with the last known keys of the instance, which expire at 20");
    sidecar.end(&cloud);
}

#[test]
fn x15_an_html_list_of_roles_does_not_panic() {
    for iam in ["", ", imds_protocol_version: v1"] {
        let (_service, sidecar) = scripted(
            |request| {
                if request.line.starts_with("PUT") {
                    return "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\n\
                        content-length: 1\r\n\r\nt"
                        .to_owned();
                }
                answered("200 OK", "<html>\n<body>sign in</body></html>")
            },
            iam,
        );
        assert!(unavailable(&sidecar.get("/r")));
        sidecar.process.says("its list of roles is malformed");
        let log = sidecar.process.errors();
        assert!(!log.contains("panic") && !log.contains("html"), "{log}");
    }
}
