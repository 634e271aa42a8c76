//! Keys of two callers through a whole run, searched for by value.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    super::support::{
        Http2, Upstream, call, get, open,
        process::{Process, binary, command, end_of, settings},
    },
    ONE, TEMPORARY, basic, curl,
};

/// Every form of the keys of both callers.
fn secrets() -> Vec<String> {
    let mut secrets: Vec<String> =
        [ONE, TEMPORARY].iter().flat_map(|user| user.split(':').skip(1)).map(str::to_owned).collect();
    secrets.extend([ONE, TEMPORARY].map(|user| STANDARD.encode(user)));
    secrets.push("hush".to_owned());
    secrets
}

/// Answers; refuses with what was sent, as AWS does, if the path says so.
fn upstream() -> Upstream {
    Upstream::serving(|request, stream| {
        let lines =
            request.headers.iter().map(|(name, value)| format!("{name}:{}\\n", value.replace('"', "")));
        let explained = format!(
            r#"{{"message":"No. The Canonical String for this request should have been '{}'"}}"#,
            lines.collect::<String>()
        );
        let is_refused = request.line.contains("refused");
        let (status, text) = if is_refused { ("403 Forbidden", &*explained) } else { ("200 OK", "{}") };
        let kind = if is_refused { "x-amzn-errortype: InvalidSignatureException\r\n" } else { "" };
        write!(stream, "HTTP/1.1 {status}\r\n{kind}content-length: {}\r\n\r\n{text}", text.len())
    })
}

#[test]
fn the_keys_of_callers_are_in_no_log_answer_metric_span_page_or_command() {
    let upstream = upstream();
    let api = format!(
        "uri: /api/*\napi_gateway:\n  function_uri: {}\n  authorization: \
         {{ iam: {{ client_credentials: basic }} }}\n",
        upstream.uri("/")
    );
    let function = |uri: &str, function: &str| {
        format!(
            "uri: {uri}\nlambda:\n  function_name: {function}\n  aws_region: us-east-1\n  \
             host: 127.0.0.1\n  port: {}\n  disable_https: true\n  \
         client_credentials: basic\n  awsgateway_compatible: true\n",
            upstream.address.port()
        )
    };
    let collector = Upstream::ok();
    let process = format!(
        "listen: {{ http: '127.0.0.1:0', h2c: true }}\nlog: {{ level: debug, format: json }}\n\
         tracing: {{ otlp: {{ endpoint: '{}' }} }}\n",
        collector.uri("/")
    );
    let directory = settings(
        &process,
        &[
            ("api", &api),
            ("function", &function("/function", "f")),
            ("denied", &function("/denied", "refused")),
        ],
    );
    let (mut sidecar, address) = Process::listening(&mut command("run", directory.path()));
    let admin = sidecar.admin();
    let mut heard = Vec::new();
    for user in [ONE, TEMPORARY] {
        for path in ["/api/a", "/api/refused", "/function", "/denied", "/none"] {
            heard.push((path, format!("{:?}", curl(address, path, user))));
            let keys = basic(user);
            let mut http2 = Http2::open(address);
            let answer = http2.call("GET", &format!("http://h{path}"), &[("authorization", &keys)], b"");
            heard.push((path, format!("{answer:?}")));
        }
        // one that is not quite right
        for value in [basic(&user.replace(':', ";")), format!("{}!", basic(user)), format!("Bearer {user}")] {
            let response = call(address, "GET", "/api/a", &[("authorization", &value)], b"");
            assert_eq!(response.status, 401);
            heard.push(("malformed keys", format!("{response:?}")));
        }
        let broken =
            format!("GET /api/a HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\nbroken \r\n\r\n", basic(user));
        open(address).write_all(broken.as_bytes()).unwrap();
    }
    let sent = format!("{:?}", upstream.received());
    assert!(sent.contains("Credential=AKIDEXAMPLE/") && sent.contains("Credential=ASIAEXAMPLE/"));
    assert!(
        sent.contains("hush-session/token=="),
        "a token has to reach AWS, or its absence elsewhere says nothing"
    );
    assert!(!sent.contains("hush-one") && !sent.contains("hush-temporary"), "{sent}");
    for path in ["/metrics", "/ready", "/routes"] {
        heard.push((path, get(admin, path).text()));
    }
    let at = directory.path().display().to_string();
    for (user, path) in [(ONE, "/api/a"), (TEMPORARY, "/api/a"), (TEMPORARY, "/function")] {
        for form in ["text", "json"] {
            let header = format!("Authorization: {}", basic(user));
            let explain = ["explain", "GET", path, "-H", &header, "--output", form, "--settings", &at];
            let ended = end_of(&mut binary(&explain));
            assert!(ended.output.contains("the caller's Authorization"), "{}{}", ended.output, ended.errors);
            heard.push(("explain", ended.output + &ended.errors));
        }
    }
    heard.push(("the log", sidecar.stop()));
    for delivery in collector.received() {
        heard.push(("a span", String::from_utf8_lossy(&delivery.body).into_owned()));
    }
    assert!(heard.iter().any(|(who, _)| *who == "a span"));
    for (who, said) in heard {
        for secret in secrets() {
            assert!(!said.contains(&secret), "{who} has said {secret}: {said}");
        }
    }
}

#[test]
fn explain_without_keys_of_the_caller_says_the_refusal_that_a_client_would_get() {
    let route = "uri: /*\napi_gateway:\n  function_uri: https://a.example/\n  \
                 authorization: { iam: { client_credentials: basic } }\n";
    let directory = settings("", &[("r", route)]);
    let at = directory.path().display().to_string();
    let ended = end_of(&mut binary(&["explain", "GET", "/a", "--settings", &at]));
    assert!(
        ended.output.contains("401") && ended.output.contains("client_credentials_missing"),
        "{}",
        ended.output
    );
    let ended = end_of(&mut binary(&["routes", "--settings", &at]));
    assert!(ended.output.contains("iam (keys of the caller)"), "{}", ended.output);
}
