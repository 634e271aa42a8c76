//! The proxies of the environment: the connections that use them, by which setting, and that their
//! credentials are not shown.

use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use serde_json::Value;
use tempfile::TempDir;

use apigw_invoker::settings::{Document, Environment, Settings};

use super::{
    forward_proxy::proxy_to,
    support::{
        App, Upstream, call, eventually, get,
        process::{ANY_PORT, Ended, Process, binary, command, end_of, settings},
        tls::{Authority, SecuredUpstream, server},
    },
};

const HUSH: [&str; 3] = ["hush-user", "hush-word", HUSH_BASE64];
/// Base64 of `hush-user:hush-word`.
const HUSH_BASE64: &str = "aHVzaC11c2VyOmh1c2gtd29yZA==";

/// A proxy in front of an upstream that answers 200.
fn proxied() -> (Upstream, Upstream) {
    let upstream = Upstream::ok();
    let proxy = proxy_to(upstream.address);
    (upstream, proxy)
}

fn url(proxy: &Upstream) -> String {
    format!("http://{}", proxy.address)
}

/// The lines of the CONNECT requests that a proxy has received.
fn tunnels(proxy: &Upstream) -> Vec<String> {
    proxy.received().into_iter().map(|request| request.line).collect()
}

#[track_caller]
fn assert_no_secret(text: &str) {
    for secret in HUSH {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn https_proxy_leads_tls_through_a_tunnel_and_only_the_proxy_receives_its_credentials() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let upstream = SecuredUpstream::ok(server(authority.identity("api.invalid")));
    let proxy = proxy_to(upstream.plain.address);
    let route = format!(
        "uri: /*\napi_gateway:\n  function_uri: https://api.invalid/a\n  ca_certificate: {}\n",
        trusted.path().display()
    );
    let directory = settings(&format!("{ANY_PORT}log: {{ level: debug }}\n"), &[("orders", &route)]);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let mut run = command("run", directory.path());
        run.env(name, format!("http://hush-user:hush-word@{}", proxy.address));
        let (mut process, address) = Process::listening(&mut run);
        let response = call(address, "POST", "/b", &[], b"body");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        let request = proxy.received().pop().unwrap();
        assert_eq!(request.line, "CONNECT api.invalid:443 HTTP/1.1");
        assert_eq!(request.header("proxy-authorization"), Some(format!("Basic {HUSH_BASE64}").as_str()));
        let received = upstream.plain.received().pop().unwrap();
        assert_eq!(received.target(), "/a/b");
        let routes = get(process.admin(), "/routes").text();
        let metrics = get(process.admin(), "/metrics").text();
        let log = process.stop();
        let line = format!("route orders: through the proxy {} ({name})", proxy.address);
        assert!(log.contains(&line), "{log}");
        assert!(routes.contains(&format!("http://(redacted)@{}", proxy.address)), "{routes}");
        for shown in [routes, metrics, log, format!("{response:?} {received:?}")] {
            assert_no_secret(&shown);
        }
    }
}

#[test]
fn http_proxy_leads_plain_requests_through_a_tunnel() {
    let (upstream, proxy) = proxied();
    for name in ["HTTP_PROXY", "http_proxy"] {
        let app =
            App::with("").gateway("r", "/*", "http://api.invalid/", "").variable(name, &url(&proxy)).start();
        assert_eq!(get(app.address, "/").status, 200);
        assert_eq!(tunnels(&proxy).pop().unwrap(), "CONNECT api.invalid:80 HTTP/1.1");
    }
    assert_eq!(upstream.received().len(), 2);
    let cgi = App::with("").gateway("r", "/*", "http://api.invalid/", "").variable("REQUEST_METHOD", "GET");
    assert_eq!(get(cgi.variable("HTTP_PROXY", &url(&proxy)).start().address, "/").status, 502);
    assert_eq!(proxy.received().len(), 2);
}

#[test]
fn a_function_is_called_through_the_proxy_by_its_own_host() {
    let (_upstream, proxy) = proxied();
    let rest = "function_name: f\naws_region: us-east-1\naws_key: AKIDEXAMPLE\naws_secret: s\n\
                host: lambda.invalid\ndisable_https: true";
    let indented: String = rest.lines().map(|line| format!("  {line}\n")).collect();
    let app = App::with("").route("f", &format!("uri: /f\nlambda:\n{indented}"));
    assert_eq!(get(app.variable("http_proxy", &url(&proxy)).start().address, "/f").status, 200);
    assert_eq!(tunnels(&proxy), ["CONNECT lambda.invalid:80 HTTP/1.1"]);
}

#[test]
fn proxy_url_precedes_the_environment_and_none_turns_it_off() {
    let (_first, of_environment) = proxied();
    let (_second, of_route) = proxied();
    let uri = "http://api.invalid/";
    let start = |process: &str, rest: &str| {
        let app = App::with(process).gateway("r", "/*", uri, rest);
        app.variable("HTTP_PROXY", &url(&of_environment)).variable("NO_PROXY", "other.invalid").start()
    };
    let own = format!("proxy_url: {}", url(&of_route));
    let defaults = "defaults: { api_gateway: { proxy_url: none } }\n";
    for (process, rest, status, received) in [
        ("", "", 200, [1, 0]),
        ("", own.as_str(), 200, [1, 1]),
        (defaults, own.as_str(), 200, [1, 2]),
        // the name cannot be resolved here
        ("", "proxy_url: none", 502, [1, 2]),
        (defaults, "", 502, [1, 2]),
    ] {
        let app = start(process, rest);
        assert_eq!(get(app.address, "/").status, status, "{process} {rest}");
        assert_eq!(
            [of_environment.received().len(), of_route.received().len()],
            received,
            "{process} {rest}"
        );
    }
}

#[test]
fn hosts_of_no_proxy_are_connected_to_directly() {
    let (_upstream, proxy) = proxied();
    for (list, uri, through) in [
        ("api.invalid", "http://api.invalid/", false),
        (".invalid", "http://api.invalid/", false),
        ("*", "http://api.invalid/", false),
        ("other.invalid,api.invalid:8080", "http://api.invalid:8080/", false),
        ("api.invalid:8080", "http://api.invalid/", true),
        ("pi.invalid", "http://api.invalid/", true),
        // addresses for documentation (RFC 5737), which nobody answers
        ("192.0.2.0/24", "http://192.0.2.1/", false),
        ("192.0.2.0/24", "http://198.51.100.1/", true),
    ] {
        for name in ["NO_PROXY", "no_proxy"] {
            let before = proxy.received().len();
            let app = App::with("").gateway("r", "/*", uri, "connect_timeout: 300ms");
            let app = app.variable("HTTP_PROXY", &url(&proxy)).variable(name, list).start();
            assert_eq!(get(app.address, "/").status == 200, through, "{list} {uri}");
            assert_eq!(proxy.received().len() - before, usize::from(through), "{list} {uri}");
        }
    }
}

#[test]
fn no_proxy_is_matched_against_the_address_that_is_connected_to() {
    let (_upstream, proxy) = proxied();
    for (list, through) in [("vpce.invalid", false), ("vpce.invalid:80", true), ("api.invalid", true)] {
        let before = proxy.received().len();
        let app = App::with("").gateway(
            "r",
            "/*",
            "http://api.invalid/",
            "connect: { address: 'vpce.invalid:8080' }",
        );
        let app = app.variable("HTTP_PROXY", &url(&proxy)).variable("NO_PROXY", list).start();
        assert_eq!(get(app.address, "/").status == 200, through, "{list}");
        assert_eq!(proxy.received().len() - before, usize::from(through), "{list}");
    }
    assert_eq!(tunnels(&proxy)[0], "CONNECT vpce.invalid:8080 HTTP/1.1");
}

#[test]
fn loopback_is_connected_to_directly() {
    let (upstream, proxy) = proxied();
    let port = upstream.address.port();
    for host in ["127.0.0.1", "localhost", "api.invalid"] {
        let rest = if host == "api.invalid" {
            format!("connect: {{ address: '127.0.0.1:{port}' }}")
        } else {
            String::new()
        };
        let app = App::with("").gateway("r", "/*", &format!("http://{host}:{port}/"), &rest);
        let app = app.variable("HTTP_PROXY", &url(&proxy)).variable("HTTPS_PROXY", "socks5://p").start();
        assert_eq!(get(app.address, "/").status, 200, "{host}");
    }
    assert_eq!((proxy.received().len(), upstream.received().len()), (0, 3));
}

/// A signed route whose role is assumed at a host that only the proxy can resolve.
fn with_role(upstream: &Upstream, rest: &str) -> String {
    format!(
        "uri: /*\napi_gateway:\n  function_uri: {}\n{rest}  authorization:\n    iam:\n      \
         accesskey: AKIDEXAMPLE\n      secretkey: s\n      \
         assume_role_arn: arn:aws:iam::123456789012:role/x\n      \
         sts_endpoint_url: http://sts.invalid\n",
        upstream.uri("/")
    )
}

#[test]
fn sts_and_the_collector_follow_the_same_rule() {
    let upstream = Upstream::ok();
    let (_behind, proxy) = proxied();
    let process = format!("{ANY_PORT}tracing: {{ otlp: {{ endpoint: 'http://collector.invalid:4318' }} }}\n");
    let check = |route: &str, variables: &[(&str, &str)]| -> Vec<(String, Value, Value)> {
        let directory = settings(&process, &[("r", route)]);
        let mut check = command("check", directory.path());
        check.args(["--connect", "--output", "json"]).envs(variables.iter().copied());
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_PROFILE"] {
            check.env_remove(name);
        }
        let document: Value = serde_json::from_str(&end_of(&mut check).output).unwrap();
        let connections = document["connections"].as_array().unwrap().iter();
        let way = |one: &Value| {
            (one["purpose"].as_str().unwrap().to_owned(), one["proxy"].clone(), one["reached"].clone())
        };
        connections.map(way).collect()
    };
    let proxy_url = url(&proxy);
    let address = Value::from(proxy.address.to_string());
    let ways = |keys: bool, traces: bool| {
        let way = |purpose: &str, through: bool| {
            (purpose.to_owned(), if through { address.clone() } else { Value::Null }, through.into())
        };
        vec![("calls".to_owned(), Value::Null, true.into()), way("keys", keys), way("traces", traces)]
    };
    let route = with_role(&upstream, "");
    let proxy_variable = ("HTTP_PROXY", proxy_url.as_str());
    assert_eq!(check(&route, &[proxy_variable]), ways(true, true));
    assert_eq!(check(&route, &[proxy_variable, ("NO_PROXY", "sts.invalid")]), ways(false, true));
    assert_eq!(check(&route, &[proxy_variable, ("NO_PROXY", "collector.invalid:4318")]), ways(true, false));
    assert_eq!(check(&with_role(&upstream, "  proxy_url: none\n"), &[proxy_variable]), ways(false, true));
    assert_eq!(tunnels(&proxy).iter().filter(|line| line.contains("sts.invalid:80 ")).count(), 2);
}

#[test]
fn keys_are_fetched_and_spans_are_sent_through_the_proxy() {
    let upstream = Upstream::ok();
    let (_behind, proxy) = proxied();
    let process = "tracing: { otlp: { endpoint: 'http://collector.invalid:4318' } }\n";
    let app = App::with(process).route("r", &with_role(&upstream, "")).gateway(
        "open",
        "/open",
        &upstream.uri("/"),
        "",
    );
    let app = app.variable("HTTP_PROXY", &url(&proxy)).start();
    assert_eq!(get(app.address, "/open").status, 200);
    for place in ["sts.invalid:80", "collector.invalid:4318"] {
        eventually(place, || tunnels(&proxy).contains(&format!("CONNECT {place} HTTP/1.1")));
    }
}

fn mistakes(process: &str, route: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let documents = [Document::process(process), Document::route("r", route)];
    let read = Settings::from_documents(&documents, &variables.collect::<Environment>());
    match read {
        Ok(settings) => {
            assert_no_secret(&format!("{settings:?}"));
            Vec::new()
        }
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_unsupported_proxy_is_a_mistake_of_each_route_that_would_use_it() {
    let route = |rest: &str| format!("uri: /\napi_gateway:\n  function_uri: https://api.example/\n{rest}");
    for (value, problem) in [
        (
            "https://hush-user:hush-word@p",
            "the scheme must be http; TLS to a proxy and SOCKS are not supported",
        ),
        ("socks5://hush-word", "the scheme must be http; TLS to a proxy and SOCKS are not supported"),
        ("http://hush-user:hush-word@p/path", "a URL with more than a host and a port"),
    ] {
        let variables = [("HTTPS_PROXY", value)];
        let expected = format!(
            "routes/r.yaml:2: api_gateway.proxy_url: HTTPS_PROXY in the environment: {problem}; \
             expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT there, with escapes for what is \
             special in a URL, or `proxy_url: none` here"
        );
        assert_eq!(mistakes("", &route(""), &variables), [expected]);
        assert_eq!(mistakes("", &route("  proxy_url: none\n"), &variables), [""; 0]);
        assert_eq!(mistakes("", &route("  proxy_url: http://p\n"), &variables), [""; 0]);
        assert_eq!(
            mistakes("defaults: { api_gateway: { proxy_url: none } }", &route(""), &variables),
            [""; 0]
        );
        assert_eq!(
            mistakes("defaults: { lambda: { timeout: 1s } }", &route("  proxy_url: none\n"), &variables),
            [""; 0]
        );
        let exempt = [variables[0], ("NO_PROXY", "api.example")];
        assert_eq!(mistakes("", &route(""), &exempt), [""; 0]);
        assert_eq!(mistakes("", &route(""), &[("HTTP_PROXY", value)]), [""; 0]);
        let role =
            route("  authorization: { iam: { assume_role_arn: 'arn:aws:iam::123456789012:role/x' } }\n");
        let found = mistakes("", &role, &exempt);
        assert_eq!(found.len(), 1, "{found:?}");
        let start =
            "routes/r.yaml:4: api_gateway.authorization.iam: calls of STS: HTTPS_PROXY in the environment: ";
        assert!(found[0].starts_with(start), "{found:?}");
        assert_no_secret(&found[0]);
        assert_eq!(mistakes("", &role, &variables).len(), 1);
        let both = [variables[0], ("NO_PROXY", "api.example,.amazonaws.com")];
        assert_eq!(mistakes("", &role, &both), [""; 0]);
        let found = mistakes("tracing: { otlp: { endpoint: 'https://c.example' } }", &route(""), &exempt);
        let start = "default.yaml:1: tracing.otlp.endpoint: HTTPS_PROXY in the environment: ";
        assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
    }
}

#[test]
fn a_proxy_that_is_not_unicode_is_a_mistake() {
    let route = "uri: /\napi_gateway: { function_uri: 'https://api.example/' }\n";
    let directory = settings(ANY_PORT, &[("r", route)]);
    let check = |no_proxy: &[u8]| {
        let mut check = command("check", directory.path());
        check.env("HTTPS_PROXY", OsStr::from_bytes(b"http://hush-user:hush-word\xe9@p.invalid:1"));
        end_of(check.env("NO_PROXY", OsStr::from_bytes(no_proxy)))
    };
    let refused = check(b"x\xe9");
    assert_eq!(refused.code, Some(78), "{refused:?}");
    let problem = "api_gateway.proxy_url: HTTPS_PROXY in the environment: not a URL;";
    assert!(refused.errors.contains(problem), "{refused:?}");
    assert_no_secret(&format!("{refused:?}"));
    assert_eq!(check(b"x\xe9,api.example").code, Some(0));
}

/// Routes of each kind, by the variables of `ended`.
fn of_each_kind() -> TempDir {
    let route = |host: &str, rest: &str| {
        format!("uri: /{host}\napi_gateway:\n  function_uri: https://{host}/\n{rest}")
    };
    let routes = [
        ("through", route("api.invalid", "")),
        ("exempt", route("exempt.invalid", "")),
        ("local", route("127.0.0.1", "")),
        ("off", route("off.invalid", "  proxy_url: none\n")),
        ("own", route("own.invalid", "  proxy_url: http://hush-user:hush-word@own:1\n")),
    ];
    let routes: Vec<_> = routes.iter().map(|(name, text)| (*name, text.as_str())).collect();
    settings(ANY_PORT, &routes)
}

fn ended(name: &str, directory: &Path, arguments: &[&str]) -> Ended {
    let mut command = command(name, directory);
    command.args(arguments).env("COLUMNS", "400");
    command.env("HTTPS_PROXY", "http://hush-user:hush-word@p.invalid:3128").env("no_proxy", "exempt.invalid");
    let ended = end_of(&mut command);
    assert_no_secret(&format!("{ended:?}"));
    ended
}

#[test]
fn routes_show_the_proxy_of_each_route_and_the_reason() {
    let directory = of_each_kind();
    let table = ended("routes", directory.path(), &[]).output;
    let listed = ended("routes", directory.path(), &["--output", "json"]).output;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    for (id, proxy, reason, shown) in [
        ("through", "p.invalid:3128", "HTTPS_PROXY", Value::from("http://(redacted)@p.invalid:3128")),
        ("exempt", "none", "no_proxy", Value::Null),
        ("local", "none", "address of this machine", Value::Null),
        ("off", "none", "proxy_url", "none".into()),
        ("own", "own:1", "proxy_url", "http://(redacted)@own:1".into()),
    ] {
        let line = table.lines().find(|line| line.starts_with(&format!("{id} "))).unwrap();
        assert!(line.contains(&format!(" {proxy} ({reason}) ")), "{line}");
        let route = listed.iter().find(|route| route["id"] == id).unwrap();
        assert_eq!(
            (&route["api_gateway"]["proxy_url"], &route["proxy_reason"]),
            (&shown, &reason.into()),
            "{id}"
        );
    }
    let route = "uri: /\napi_gateway: { function_uri: https://a }\n";
    let without = end_of(&mut command("routes", settings(ANY_PORT, &[("r", route)]).path()));
    assert!(!without.output.contains("PROXY"), "{}", without.output);
    let directory = settings(ANY_PORT, &[("r", route)]);
    let without = end_of(command("routes", directory.path()).args(["--output", "json"]));
    let without: Value = serde_json::from_str(&without.output).unwrap();
    assert_eq!(without.pointer("/0/proxy_reason"), Some(&Value::Null));
}

#[test]
fn explain_shows_the_proxy_of_a_call_and_the_reason() {
    let directory = of_each_kind();
    for (host, text, proxy, reason) in [
        ("api.invalid", "through the proxy p.invalid:3128", Some("p.invalid:3128"), "HTTPS_PROXY"),
        ("exempt.invalid", "without a proxy", None, "no_proxy"),
        ("127.0.0.1", "without a proxy", None, "address of this machine"),
        ("off.invalid", "without a proxy", None, "proxy_url"),
        ("own.invalid", "through the proxy own:1", Some("own:1"), "proxy_url"),
    ] {
        let target = format!("/{host}");
        let explained = ended("explain", directory.path(), &["GET", &target]).output;
        let line = format!("to {host}:443, over TLS, {text} ({reason})\n");
        assert!(explained.contains(&line), "{line}\nis not in\n{explained}");
        let explained = ended("explain", directory.path(), &["GET", &target, "--output", "json"]).output;
        let explained: Value = serde_json::from_str(&explained).unwrap();
        let outbound = &explained["outbound"];
        let expected = (&Value::from(proxy), &Value::from(reason));
        assert_eq!((&outbound["proxy"], &outbound["proxy_reason"]), expected, "{host}");
    }
}

#[test]
fn the_start_names_the_proxy_of_each_route() {
    let directory = of_each_kind();
    let mut run = command("run", directory.path());
    run.env("HTTPS_PROXY", "http://hush-user:hush-word@p.invalid:3128").env("no_proxy", "exempt.invalid");
    let (mut process, _) = Process::listening(&mut run);
    process.says("admin port on");
    let log = process.stop();
    for line in [
        "route through: through the proxy p.invalid:3128 (HTTPS_PROXY)",
        "route exempt: without a proxy (no_proxy)",
        "route local: without a proxy (address of this machine)",
        "route off: without a proxy (proxy_url)",
        "route own: through the proxy own:1 (proxy_url)",
    ] {
        assert!(log.contains(line), "{line}\nis not in\n{log}");
    }
    assert_no_secret(&log);
    let directory =
        settings(ANY_PORT, &[("r", "uri: /\napi_gateway: { function_uri: https://a.invalid }\n")]);
    let (mut process, _) = Process::run(directory.path());
    let log = process.stop();
    assert!(!log.contains("proxy"), "{log}");
}

/// An address of this machine that is not loopback, if it has one.
fn outer_address() -> IpAddr {
    let found = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // sends nothing
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[test]
fn dev_uses_no_proxy_of_the_environment() {
    let (_upstream, proxy) = proxied();
    let stand_in = format!("{}:0", outer_address());
    for rest in [&[][..], &["--credentials", "environment"]] {
        let mut dev = binary(&["dev", "--listen", "127.0.0.1:0", "--stand-in", &stand_in]);
        dev.args(rest).env("HTTP_PROXY", url(&proxy)).env("https_proxy", "socks5://p");
        let (process, address) = Process::listening(&mut dev);
        assert_eq!(get(address, "/iam/echo").status, 200, "{}", process.errors());
        assert!(!process.errors().contains("proxy"), "{}", process.errors());
    }
    assert_eq!(proxy.received().len(), 0);
}
