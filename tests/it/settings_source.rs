//! Settings from a source: a bundle on a scripted server, in S3 or in a file.

mod bundle;
mod crashes;
mod faults;
mod signatures;
mod start;

use std::{fs, io::Write as _, path::Path, process::Command, time::Duration};

use self::bundle::{PROCESS, Source, bundle, process_with, route, run};
use super::support::{
    Upstream, eventually, get,
    process::{Process, binary, end_of},
    times::{amz_date, http_date},
    tls::{self, Authority, SecuredUpstream},
};

/// An upstream that responds with its name.
fn named(name: &str) -> Upstream {
    Upstream::answering(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len()))
}

fn to(upstream: &Upstream) -> Vec<u8> {
    bundle(&[("default.yaml", PROCESS), ("routes/a.yaml", &route("/a", upstream))])
}

#[test]
fn a_bundle_is_followed_by_its_etag_and_shown_on_the_admin_port() {
    let (one, two) = (named("one"), named("two"));
    let source = Source::with(to(&one));
    let (mut process, address) = Process::listening(&mut run(&source.address("u:hush@", "/b.tgz?x=hush")));
    assert_eq!(get(address, "/a").text(), "one");
    let admin = process.admin();
    let shown = || get(admin, "/ready").json()["settings"]["source"].clone();
    let first = shown();
    let expected = format!("http://(left out)@{}/b.tgz?(left out)", source.server.address);
    assert_eq!(first["address"], expected);
    assert_eq!((&first["serial"], &first["error"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    eventually("it is asked again", || source.server.received().len() > 3);
    let requests = source.server.received();
    assert_eq!(requests[0].line, "GET /b.tgz?x=hush HTTP/1.1");
    assert_eq!(requests[0].header("authorization"), Some("Basic dTpodXNo"));
    assert_eq!(requests[0].header("if-none-match"), None);
    assert_eq!(requests[0].header("host"), Some(source.server.address.to_string().as_str()));
    assert_eq!(requests.last().unwrap().header("if-none-match"), Some("\"1\""));
    source.put(to(&two));
    eventually("the new bundle is used", || get(address, "/a").text() == "two");
    eventually("it is shown", || shown()["bundle"] != first["bundle"]);
    let metrics = get(admin, "/metrics").text();
    assert!(
        metrics.contains("apigw_invoker_settings_source_fetches_total{outcome=\"changed\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("apigw_invoker_settings_source_last_fetch_successful 1\n"), "{metrics}");
    let status = get(admin, "/");
    assert!(status.text().contains(&format!("source          {expected}, bundle ")), "{}", status.text());
    let log = process.stop();
    for shown in [log, metrics, status.text(), first.to_string()] {
        assert!(!shown.contains("hush") && !shown.contains("dTpod"), "{shown}");
    }
}

#[test]
fn settings_from_a_directory_have_no_source() {
    let upstream = Upstream::ok();
    let directory = super::support::process::settings(PROCESS, &[("a", &route("/a", &upstream))]);
    let (process, _) = Process::run(directory.path());
    let ready = get(process.admin(), "/ready").json();
    assert_eq!(ready["settings"], serde_json::json!({ "generation": 1 }));
    assert!(!get(process.admin(), "/metrics").text().contains("settings_source"));
}

#[test]
fn a_hangup_fetches_at_once() {
    let (one, two) = (named("one"), named("two"));
    let slow = process_with("reload: { interval: 1h }");
    let with = |upstream| bundle(&[("default.yaml", &slow), ("routes/a.yaml", &route("/a", upstream))]);
    let source = Source::with(with(&one));
    let (mut process, address) = Process::listening(&mut run(&source.address("", "/b")));
    source.put(with(&two));
    process.signal("HUP");
    eventually("the new bundle is used", || get(address, "/a").text() == "two");
    process.stop();
}

#[test]
fn relative_paths_lead_into_the_bundle_and_follow_it() {
    let upstream = Upstream::ok();
    let secret = |value: &str| {
        let uri = upstream.uri("/");
        let route = format!(
            "uri: /a\napi_gateway:\n  function_uri: {uri}\n  authorization: {{ apikey: $file://secrets/key \
             }}\n"
        );
        bundle(&[("default.yaml", PROCESS), ("routes/a.yaml", &route), ("secrets/key", value)])
    };
    let source = Source::with(secret("first\n"));
    let (mut process, address) = Process::listening(&mut run(&source.address("", "/b")));
    let sent = || {
        get(address, "/a");
        upstream.received().last().unwrap().header("x-api-key").unwrap().to_owned()
    };
    assert_eq!(sent(), "first");
    source.put(secret("second\n"));
    eventually("the new key is sent", || sent() == "second");
    assert!(!process.stop().contains("second"));
    let outside = bundle(&[
        ("default.yaml", PROCESS),
        ("routes/a.yaml", "uri: /a\napi_gateway: { function_uri: https://a/, ca_certificate: ../ca.pem }\n"),
    ]);
    source.put(outside);
    let ended = end_of(&mut run(&source.address("", "/b")));
    let told =
        "routes/a.yaml:2: api_gateway.ca_certificate: the path leads out of the bundle; expected a path";
    assert!(ended.code == Some(78) && ended.errors.contains(told), "{ended:?}");
}

#[test]
fn a_certificate_of_the_listener_in_a_bundle_is_renewed_by_the_next_one() {
    let (upstream, authority) = (Upstream::ok(), Authority::new("bundle"));
    let process = PROCESS.replace(
        "'127.0.0.1:0' }",
        "'127.0.0.1:0', https: { address: '127.0.0.1:0', certificate: tls/c.pem, key: tls/k.pem } }",
    );
    let with = || {
        let identity = authority.identity("127.0.0.1");
        bundle(&[
            ("default.yaml", &process),
            ("routes/a.yaml", &route("/a", &upstream)),
            ("tls/c.pem", identity.certificate()),
            ("tls/k.pem", &identity.key()),
        ])
    };
    let source = Source::with(with());
    let (mut process, _) = Process::listening(&mut run(&source.address("", "/b")));
    source.put(with());
    process.says("certificates of listen.https reloaded");
    assert!(!process.stop().contains("`listen` has changed"));
}

#[test]
fn mistakes_at_the_start_are_78_and_all_named_as_in_the_bundle() {
    let source = Source::with(bundle(&[
        ("default.yaml", "workrs: 2\n"),
        ("other.yaml", ""),
        ("routes/a.yaml", "uri: /a\napi_gatewy: {}\n"),
    ]));
    for command in ["run", "check", "routes"] {
        let address = source.address("", "/b");
        let ended = end_of(&mut binary(&[command, "--settings", &address]));
        assert_eq!(ended.code, Some(78), "{ended:?}");
        for told in
            ["default.yaml:1: workrs: unknown key", "\nother.yaml: not read", "routes/a.yaml:2: api_gatewy"]
        {
            assert!(format!("\n{}", ended.errors).contains(told), "{told}: {}", ended.errors);
        }
    }
    let empty = Source::with(bundle(&[("default.yaml", PROCESS)]));
    let ended = end_of(&mut run(&empty.address("", "/b")));
    assert!(ended.code == Some(78) && ended.errors.contains("there is no route"), "{ended:?}");
}

#[test]
fn without_source_and_cache_a_start_waits_and_ends_with_1() {
    let source = Source::with(Vec::new());
    source.answer(|_, stream| stream.write_all(b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n"));
    let mut command = run(&source.address("", "/b"));
    let ended = end_of(command.args(["--settings-wait", "1s"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let reason = format!("settings of {}: 503 Service Unavailable", source.address("", "/b"));
    assert!(
        ended.errors.contains(&format!("apigw-invoker: {reason}; retrying for 1s at most\n")),
        "{ended:?}"
    );
    assert!(ended.errors.ends_with(&format!("apigw-invoker: {reason}\n")), "{ended:?}");
    assert!(source.server.received().len() > 2);
    // the source comes up while the start waits
    let upstream = named("late");
    let (mut process, address) = {
        let mut command = run(&source.address("", "/b"));
        let waiting = Process::start(&mut command);
        waiting.says("retrying for 30s at most");
        source.put(to(&upstream));
        waiting.says("listening on ");
        waiting.says("admin port on ");
        let log = waiting.errors();
        let address = log.split_once("listening on ").unwrap().1.split_once(',').unwrap().0.parse().unwrap();
        (waiting, address)
    };
    assert_eq!(get(address, "/a").text(), "late");
    process.stop();
}

#[test]
fn check_routes_and_explain_read_a_bundle_from_a_server_and_from_a_file() {
    let upstream = named("one");
    let source = Source::with(to(&upstream));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.tar.gz");
    fs::write(&file, to(&upstream)).unwrap();
    let address = source.address("u:hush@", "/b?hush");
    for place in [address.as_str(), file.to_str().unwrap()] {
        let checked = end_of(&mut binary(&["check", "--settings", place]));
        assert!(
            checked.code == Some(0) && checked.output.contains(": the settings are valid: 1 route"),
            "{checked:?}"
        );
        assert!(!checked.output.contains("hush"), "{checked:?}");
        let routes = end_of(&mut binary(&["routes", "--settings", place, "--output", "json"]));
        assert!(routes.code == Some(0) && routes.output.contains("\"/a\""), "{routes:?}");
        let explained = end_of(&mut binary(&["explain", "GET", "/a", "--settings", place]));
        assert!(explained.code == Some(0) && explained.output.contains("routes/a.yaml"), "{explained:?}");
    }
    drop(source);
    let checked = end_of(&mut binary(&["check", "--settings", &address]));
    assert!(checked.code == Some(1) && checked.errors.contains("cannot connect to"), "{checked:?}");
    assert!(!checked.errors.contains("hush"), "{checked:?}");
}

#[test]
fn a_file_is_followed() {
    let (one, two) = (named("one"), named("two"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.tar");
    let put = |content: &[u8]| {
        let new = directory.path().join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, &file).unwrap();
    };
    put(&to(&one));
    let (mut process, address) = Process::listening(&mut run(file.to_str().unwrap()));
    assert_eq!(get(address, "/a").text(), "one");
    fs::write(&file, &to(&two)[..200]).unwrap();
    process.says("the bundle is refused: ");
    put(&to(&two));
    eventually("the new bundle is used", || get(address, "/a").text() == "two");
    process.stop();
}

#[test]
fn the_cache_serves_a_start_without_the_source_and_is_a_settings_directory() {
    let (one, two) = (named("one"), named("two"));
    let source = Source::with(to(&one));
    let cache = tempfile::tempdir().unwrap();
    let cached = |address: &str| {
        let mut command = run(address);
        command.arg("--settings-cache").arg(cache.path());
        command
    };
    let address = source.address("", "/b");
    let (mut process, _) = Process::listening(&mut cached(&address));
    let second = end_of(&mut cached(&address));
    assert!(
        second.code == Some(1) && second.errors.contains("another process uses this directory"),
        "{second:?}"
    );
    process.stop();
    let current = cache.path().join("current");
    assert!(current.join("routes/a.yaml").is_file());
    let checked = end_of(binary(&["check", "--settings"]).arg(&current));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // down, and up again with another bundle
    source.answer(|_, _| Err(std::io::ErrorKind::ConnectionReset.into()));
    let (mut process, sidecar) = Process::listening(&mut cached(&address));
    assert_eq!(get(sidecar, "/a").text(), "one");
    process.says("the last good bundle stays in use");
    source.put(to(&two));
    eventually("the new bundle is used", || get(sidecar, "/a").text() == "two");
    process.says("available again");
    process.stop();
    // settings with mistakes are no reason to end
    source.put(bundle(&[("default.yaml", PROCESS), ("routes/a.yaml", "uri: /a\n")]));
    let (mut process, sidecar) = Process::listening(&mut cached(&address));
    assert_eq!(get(sidecar, "/a").text(), "two");
    process.says("the new bundle has mistakes and is ignored");
    process.stop();
}

#[test]
fn an_object_in_s3_is_fetched_with_the_keys_of_the_process() {
    let upstream = named("one");
    let source = Source::with(to(&upstream));
    let mut command = run("s3://my-bucket/a b/settings.tgz");
    command
        .env("AWS_ENDPOINT_URL_S3", format!("http://{}", source.server.address))
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "hush");
    let (mut process, address) = Process::listening(&mut command);
    assert_eq!(get(address, "/a").text(), "one");
    let request = source.server.received()[0].clone();
    assert_eq!(request.line, "GET /my-bucket/a%20b/settings.tgz HTTP/1.1");
    let authorization = request.header("authorization").unwrap();
    assert!(authorization.contains("Credential=AKIDEXAMPLE/"), "{authorization}");
    assert!(authorization.contains("/eu-west-1/s3/aws4_request"), "{authorization}");
    assert!(request.header("x-amz-content-sha256").is_some());
    source.answer(|_, stream| {
        let body = "<Error><Code>NoSuchKey</Code><Message>x</Message></Error>";
        write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    process.says("404 Not Found, NoSuchKey");
    process.stop();
}

#[test]
fn a_source_with_a_private_authority_is_verified_by_ssl_cert_file() {
    let (upstream, authority) = (named("one"), Authority::new("private"));
    let content = to(&upstream);
    let server = SecuredUpstream::serving(tls::server(authority.identity("localhost")), move |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len())?;
        stream.write_all(&content)
    });
    let address = server.uri("localhost");
    let checked = end_of(&mut binary(&["check", "--settings", &address]));
    let told = "or one with all authorities in SSL_CERT_FILE";
    assert!(checked.code == Some(1) && checked.errors.contains(told), "{checked:?}");
    let ca = authority.file();
    let (mut process, sidecar) = Process::listening(run(&address).env("SSL_CERT_FILE", ca.path()));
    assert_eq!(get(sidecar, "/a").text(), "one");
    process.stop();
}

#[test]
fn a_wrong_clock_is_corrected_by_the_date_of_s3() {
    let (upstream, authority) = (named("one"), Authority::new("s3"));
    let content = to(&upstream);
    let s3 =
        SecuredUpstream::serving(tls::server(authority.identity("localhost")), move |request, stream| {
            let late = std::time::SystemTime::now() + Duration::from_hours(1);
            let date = http_date(late);
            // a signature of this hour, or of the next
            if request.header("x-amz-date").unwrap() < &*amz_date(late - Duration::from_mins(10)) {
                let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
                let head =
                    format!("HTTP/1.1 403 Forbidden\r\ndate: {date}\r\ncontent-length: {}", body.len());
                return write!(stream, "{head}\r\n\r\n{body}");
            }
            write!(stream, "HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n", content.len())?;
            stream.write_all(&content)
        });
    let ca = authority.file();
    let mut command = run("s3://my-bucket/settings.tgz");
    command
        .env("SSL_CERT_FILE", ca.path())
        .env("AWS_ENDPOINT_URL_S3", s3.uri("localhost"))
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "hush");
    let ended = end_of(
        binary(&["check", "--settings", "s3://my-bucket/settings.tgz"])
            .envs(command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (mut process, address) = Process::listening(&mut command);
    assert_eq!(get(address, "/a").text(), "one");
    process.stop();
}

#[test]
fn addresses_that_cannot_be_used_and_keys_of_directories_are_exit_2_without_the_address() {
    for (address, told) in [
        ("http://hush:hush@config.example/b", "must be on loopback"),
        ("ftp://hush/b", "the scheme of the address must be"),
        ("https://hush:@/b", "the address is not a URL"),
        ("s3://hush", "no valid key of an object"),
    ] {
        for arguments in [&["run", "--settings", address][..], &["check", "--settings", address]] {
            let ended = end_of(&mut binary(arguments));
            assert!(ended.code == Some(2) && ended.errors.contains(told), "{address}: {ended:?}");
            assert!(!ended.errors.contains("hush"), "{ended:?}");
        }
    }
    let mut help = binary(&["--help"]);
    let help = end_of(help.env("APIGW_INVOKER_SETTINGS", "https://u:hush@config.example/b"));
    assert!(help.code == Some(0) && !help.output.contains("hush"), "{help:?}");
    let ended = end_of(&mut binary(&["run", "--settings", "/etc", "--settings-key", "/nowhere"]));
    assert!(ended.code == Some(2) && ended.errors.contains("a directory has no signature"), "{ended:?}");
}

/// Runs the commands of a document in a directory.
fn shell(script: &str, directory: &Path) {
    let status = Command::new("sh").args(["-euc", script]).current_dir(directory).status().unwrap();
    assert!(status.success(), "{script}");
}
