//! `connect`: private APIs behind VPC endpoints. The address to connect to and the TLS server name may differ
//! from the `Host` that is sent and signed.

use std::{io::BufReader, net::SocketAddr};

use apigw_invoker::{
    settings::{self, Document, Settings},
    stand_in::{StandIn, StandInKeys, StandInOptions},
};

use super::support::{
    App, Upstream, call, get,
    tls::{Authority, SecuredUpstream, server},
    upstream::read_request,
};

/// A sidecar with one route from `/*` to `function_uri`.
fn app(function_uri: &str, rest: &str) -> App {
    App::with("").gateway("r", "/*", function_uri, &format!("timeout: 10s\n{rest}")).start()
}

#[test]
fn the_address_is_where_connections_lead_and_the_host_is_the_apis() {
    let upstream = Upstream::ok();
    let own = format!("connect: {{ address: '{}' }}", upstream.address);
    for (uri, host) in [("http://api.invalid/", "api.invalid"), ("http://api.invalid:81/", "api.invalid:81")]
    {
        assert_eq!(get(app(uri, &own).address, "/").status, 200);
        assert_eq!(upstream.received().pop().unwrap().header("host"), Some(host));
    }
    // without a port, the port of `function_uri` is used
    let uri = format!("http://api.invalid:{}/", upstream.address.port());
    assert_eq!(get(app(&uri, "connect: { address: 127.0.0.1 }").address, "/").status, 200);
}

#[test]
fn what_is_signed_is_the_apis_host_and_aws_finds_the_signature_right() {
    let stand_in =
        StandIn::start(SocketAddr::from(([127, 0, 0, 1], 0)), StandInOptions::new(StandInKeys::example()))
            .unwrap();
    let keys = StandInKeys::example();
    let rest = format!(
        "connect: {{ address: '{}' }}\nauthorization:\n  \
         iam: {{ accesskey: {}, secretkey: '{}', aws_region: {} }}",
        stand_in.address(),
        keys.access_key_id,
        keys.secret_access_key,
        keys.region
    );
    let app = app("http://abc123.execute-api.us-east-1.amazonaws.com/iam", &rest);
    let response = call(app.address, "POST", "/echo/a%2Fb?c=d", &[], b"body");
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.text().contains("abc123.execute-api.us-east-1.amazonaws.com"), "{}", response.text());
}

#[test]
fn the_name_in_tls_is_the_apis_or_the_one_of_sni_and_the_certificate_is_for_it() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for (sni, certified, status) in [
        ("", "api.invalid", 200),
        (", sni: vpce.invalid", "vpce.invalid", 200),
        ("", "vpce.invalid", 502),
        (", sni: vpce.invalid", "api.invalid", 502),
    ] {
        let upstream = SecuredUpstream::ok(server(authority.identity(certified)));
        let rest = format!(
            "ca_certificate: {}\nconnect: {{ address: '{}'{sni} }}",
            trusted.path().display(),
            upstream.plain.address
        );
        let response = get(app("https://api.invalid/", &rest).address, "/");
        assert_eq!(response.status, status, "{sni}, {certified}: {}", response.text());
        if status == 200 {
            assert_eq!(upstream.handshakes()[0].name.as_deref(), Some(certified));
            assert_eq!(upstream.plain.only().header("host"), Some("api.invalid"));
        } else {
            assert_eq!(response.code(), "upstream_tls");
        }
    }
}

#[test]
fn sni_alone_changes_the_name_and_not_the_address() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let upstream = SecuredUpstream::ok(server(authority.identity("other.invalid")));
    let rest = format!("ca_certificate: {}\nconnect: {{ sni: other.invalid }}", trusted.path().display());
    assert_eq!(get(app(&upstream.uri("127.0.0.1"), &rest).address, "/").status, 200);
    assert_eq!(upstream.handshakes()[0].name.as_deref(), Some("other.invalid"));
}

#[test]
fn a_connection_serves_only_routes_that_expect_the_same_name_at_its_end() {
    let upstream = SecuredUpstream::ok(server(Authority::new("unknown").identity("one.invalid")));
    let rest = |sni: &str| {
        format!(
            "ssl_verify: false\ntimeout: 10s\nconnect: {{ address: '{}', sni: {sni} }}",
            upstream.plain.address
        )
    };
    let app = App::with("")
        .gateway("one", "/one/*", "https://api.invalid/", &rest("one.invalid"))
        .gateway("same", "/same/*", "https://other-api.invalid/", &rest("one.invalid"))
        .gateway("two", "/two/*", "https://api.invalid/", &rest("two.invalid"))
        .start();
    for path in ["/one/", "/same/", "/two/", "/one/", "/two/"] {
        assert_eq!(get(app.address, path).status, 200);
    }
    let names: Vec<_> = upstream.handshakes().into_iter().filter_map(|handshake| handshake.name).collect();
    assert_eq!(names, ["one.invalid", "two.invalid"]);
    let hosts: Vec<_> =
        upstream.plain.received().iter().map(|call| call.header("host").unwrap().to_owned()).collect();
    assert_eq!(hosts[..2], ["api.invalid", "other-api.invalid"]);
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_to_the_address() {
    // a proxy that accepts CONNECT and then responds as the target
    let proxy = Upstream::accepting(|connection, mut stream, received| {
        use std::io::Write as _;
        for answer in ["HTTP/1.1 200 Fine\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"] {
            let request = read_request(&mut BufReader::new(&stream), connection)?;
            received.lock().unwrap().extend(request);
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    });
    let rest = format!("proxy_url: http://{}\nconnect: {{ address: 'vpce.invalid:8080' }}", proxy.address);
    assert_eq!(get(app("http://api.invalid/", &rest).address, "/").status, 200);
    let received = proxy.received();
    assert_eq!(received[0].line, "CONNECT vpce.invalid:8080 HTTP/1.1");
    assert_eq!(received[1].header("host"), Some("api.invalid"));
}

#[test]
fn the_lambda_api_is_reached_at_another_address_too() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let route = format!(
        "uri: /*\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  aws_key: a\n  aws_secret: s\n  \
         disable_https: true\n  connect: {{ address: '{}' }}\n",
        upstream.address
    );
    let app = App::with("").route("f", &route).start();
    assert_eq!(get(app.address, "/").status, 200);
    assert_eq!(upstream.only().header("host"), Some("lambda.us-east-1.amazonaws.com"));
}

/// The settings with one route `r`, or their mistakes.
fn settings(function_uri: &str, connect: &str) -> Result<Settings, String> {
    let route = format!(
        "uri: /*\napi_gateway:\n  function_uri: {function_uri}\n  connect: {connect}\n  \
         authorization: {{ apikey: k }}\n"
    );
    Settings::from_documents(
        &[Document::process(""), Document::route("r", &route)],
        &std::collections::BTreeMap::new(),
    )
    .map_err(|mistakes| mistakes.to_string())
}

#[test]
fn mistakes_in_it_are_told_with_what_was_expected() {
    for (uri, connect, mistake) in [
        ("https://a/", "{}", ": missing `address` or `sni`; expected one of them, or no `connect`"),
        ("https://a/", "", ": missing `address` or `sni`"),
        ("https://a/", "vpce", ": found a text; expected a table with `address` or `sni`"),
        ("https://a/", "{ adress: b, sni: c }", ".adress: unknown key; did you mean `address`?"),
        (
            "https://a/",
            "{ address: 'https://b' }",
            ".address: invalid value `https://b`; expected HOST or HOST:PORT",
        ),
        ("https://a/", "{ address: 'b:0' }", ".address: invalid value `b:0`"),
        (
            "https://a/",
            "{ sni: 'b:443' }",
            ".sni: invalid value `b:443`; expected the name of a host, or an address",
        ),
        ("http://a/", "{ sni: b }", ".sni: has no effect without TLS"),
    ] {
        let mistakes = settings(uri, connect).unwrap_err();
        let start = format!("routes/r.yaml:4: api_gateway.connect{mistake}");
        assert!(mistakes.starts_with(&start), "{mistakes}\ndoes not start with\n{start}");
        assert!(mistakes.ends_with("\n1 mistake in the settings"), "{mistakes}");
    }
}

#[test]
fn keys_that_go_to_another_machine_without_tls_are_warned_of_by_where_they_really_go() {
    let warnings = |uri: &str, address: &str| {
        settings::warnings(&settings(uri, &format!("{{ address: {address} }}")).unwrap())
    };
    assert_eq!(
        warnings("http://localhost/", "vpce.example"),
        ["route r: keys and signatures are sent to vpce.example without TLS"]
    );
    assert_eq!(warnings("http://api.example/", "127.0.0.1"), [""; 0]);
}

#[test]
fn a_region_that_is_not_the_one_in_the_hosts_name_is_warned_of() {
    let warnings = |host: &str, region: &str| {
        let route = format!(
            "uri: /\napi_gateway:\n  function_uri: https://{host}/\n  authorization:\n    \
             iam: {{ accesskey: a, secretkey: s, aws_region: {region} }}\n"
        );
        let documents = [Document::process(String::new()), Document::route("r", route)];
        settings::warnings(&Settings::from_documents(&documents, &std::collections::BTreeMap::new()).unwrap())
    };
    let host = "x9.execute-api.eu-west-1.amazonaws.com";
    assert_eq!(
        warnings(host, "us-east-1"),
        [format!("route r: signs for the region us-east-1, but {host} is in eu-west-1: set aws_region")]
    );
    assert_eq!(warnings(host, "eu-west-1"), [""; 0]);
    assert_eq!(warnings("api.example", "us-east-1"), [""; 0]);
}
