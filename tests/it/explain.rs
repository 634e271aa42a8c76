//! `explain`, `routes` and `check --output json`: the output equals what is sent afterwards, and contains no
//! secrets.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::support::{
    Upstream, call,
    process::{ANY_PORT, Ended, Process, binary, command, end_of, settings},
    upstream::Received,
};

const SECRETS: [&str; 4] = ["hush-api-key", "hush-secret", "hush-token", "hush-lambda"];
const KEYS: &str = "accesskey: AKIDEXAMPLE, secretkey: hush-secret, session_token: hush-token";

/// One route of each kind, all to one upstream.
fn routes(upstream: &Upstream) -> Vec<(&'static str, String)> {
    let gateway = |uri: &str, authorization: &str| {
        format!(
            "uri: {uri}\napi_gateway:\n  function_uri: {}\n{authorization}",
            upstream.uri("/prod/?base=1")
        )
    };
    let lambda = |uri: &str, rest: &str| {
        format!(
            "uri: {uri}\nlambda:\n  function_name: MyLambda\n  aws_region: us-east-1\n  host: {}\n  \
             port: {}\n  disable_https: true\n  aws_key: AKIDEXAMPLE\n  aws_secret: hush-lambda\n{rest}",
            upstream.address.ip(),
            upstream.address.port()
        )
    };
    let both = format!("  authorization: {{ apikey: hush-api-key, iam: {{ {KEYS} }} }}\n");
    vec![
        ("open", gateway("/open/*", "")),
        ("key", gateway("/key/*", "  authorization: { apikey: hush-api-key }\n")),
        ("signed", gateway("/signed/*", &both)),
        ("merge", lambda("/merge", "")),
        ("event", lambda("/event*", "  awsgateway_compatible: true\n")),
    ]
}

fn directory(process: &str, routes: &[(&'static str, String)]) -> tempfile::TempDir {
    let routes: Vec<(&str, &str)> = routes.iter().map(|(name, text)| (*name, text.as_str())).collect();
    settings(process, &routes)
}

fn explained(directory: &Path, arguments: &[&str]) -> Ended {
    let mut explain = binary(&["explain"]);
    explain.args(arguments).arg("--settings").arg(directory);
    let ended = end_of(&mut explain);
    for secret in SECRETS {
        let said = format!("{}{}", ended.output, ended.errors);
        assert!(!said.contains(secret), "{secret} is in {said}");
    }
    ended
}

#[track_caller]
fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// A sent header without the parts that `explain` cannot know or must not show.
fn comparable(name: &str, value: &str) -> (String, String) {
    let value = match name {
        "via" => value[..value.len() - 16].to_owned(),
        // each request has its own span id
        "traceparent" => value[..35].to_owned(),
        // chosen by the kernel
        "x-forwarded-port" => "0".to_owned(),
        "x-api-key" | "x-amz-security-token" | "cookie" => "(left out)".to_owned(),
        "authorization" if value.starts_with("AWS4") => {
            let (before, signature) = value.split_once("Signature=").unwrap();
            format!("{before}Signature={}…", &signature[..8])
        }
        _ => value.to_owned(),
    };
    (name.to_owned(), value)
}

fn sent(received: &Received) -> Vec<(String, String)> {
    let mut lines: Vec<_> = received.headers.iter().map(|(name, value)| comparable(name, value)).collect();
    lines.sort();
    lines
}

fn told(outbound: &Value) -> Vec<(String, String)> {
    let headers = outbound["headers"].as_array().unwrap();
    let mut lines: Vec<_> = headers
        .iter()
        .map(|line| {
            let (name, value) = (line[0].as_str().unwrap(), line[1].as_str().unwrap());
            let value = match name {
                "via" => &value[..value.len() - 16],
                "traceparent" => &value[..35],
                _ => value,
            };
            (name.to_owned(), value.to_owned())
        })
        .collect();
    lines.sort();
    lines
}

/// Method, target, headers and body of a request.
type Sent = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [u8]);

const REQUESTS: [Sent; 8] = [
    ("GET", "/open/a%2Fb?c=x%2Fy&d=b+c", &[], b""),
    ("POST", "/open/", &[("content-type", "text/plain")], b"streamed"),
    ("GET", "/key/x?q=\u{fc}&r=\"x\"", &[("x-api-key", "theirs"), ("cookie", "a=1")], b""),
    ("GET", "/signed/a%2Fb/../c?c=x%2Fy&d=b+c&flag", &[("x-amz-meta", "  a   b ")], b""),
    ("PUT", "/signed/x", &[("content-type", "application/json"), ("authorization", "theirs")], b"{\"a\": 1}"),
    ("DELETE", "/signed/?x-amz-date=1&b", &[("connection", "x-gone"), ("x-gone", "1")], b""),
    ("POST", "/merge?a=1", &[("content-type", "application/json")], b"{\"b\": 2}"),
    ("GET", "/merge?flag&a=1&a=2", &[], b""),
];

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn what_is_explained_equals_what_is_then_sent() {
    let upstream = Upstream::ok();
    let directory = directory(ANY_PORT, &routes(&upstream));
    let (mut process, address) = Process::run(directory.path());
    for (count, (method, target, headers, body)) in REQUESTS.into_iter().enumerate() {
        let mut headers = headers.to_vec();
        headers.extend([("x-request-id", "an-id"), ("traceparent", TRACE), ("x-amzn-trace-id", "Root=1")]);
        assert_eq!(call(address, method, target, &headers, body).status, 200, "{target}");
        let received = upstream.received();
        assert_eq!(received.len(), count + 1);
        let received = &received[count];

        let mut arguments = vec![method, target, "--host", "localhost", "--output", "json"];
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        for line in &lines {
            arguments.extend(["-H", line]);
        }
        let text = str::from_utf8(body).unwrap();
        if !text.is_empty() {
            arguments.extend(["--data", text]);
        }
        let date = received.header("x-amz-date").map(str::to_owned);
        if let Some(date) = &date {
            arguments.extend(["--at", date]);
        }
        let ended = explained(directory.path(), &arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let outbound = &json(&ended)["outbound"];
        // the query of `function_uri` may be secret
        let line = received.line.replace("?base=1", "?base=(left out)");
        assert_eq!(outbound["request_line"], line, "{target}");
        assert_eq!(told(outbound), sent(received), "{target}");
        assert_eq!(outbound["body"]["text"], String::from_utf8_lossy(&received.body).as_ref(), "{target}");
        assert_eq!(outbound["body"]["bytes"], received.body.len());
        assert_eq!(outbound["signature"].is_null(), date.is_none(), "{target}");
        if date.is_some() && !target.starts_with("/signed") {
            // no token was left out, so the hash can be compared
            let canonical = outbound["signature"]["canonical_request"].as_str().unwrap();
            let hash: String = Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(outbound["signature"]["string_to_sign"].as_str().unwrap().ends_with(&hash));
        }
    }
    assert_eq!(upstream.received().len(), REQUESTS.len(), "an explanation sends nothing");
    process.stop();
}

#[test]
fn explain_marks_the_parts_of_an_event_that_differ_each_time() {
    let upstream = Upstream::ok();
    let directory = directory("", &routes(&upstream));
    let outbound =
        &json(&explained(directory.path(), &["GET", "/event/x?a=1", "--output", "json"]))["outbound"];
    let event: Value = serde_json::from_str(outbound["body"]["text"].as_str().unwrap()).unwrap();
    assert_eq!(event["path"], "/event/x");
    let varies = outbound["varies"].to_string();
    assert!(varies.contains("requestContext") && varies.contains("payload hash"), "{varies}");
    for told in ["traceparent", "x-amzn-trace-id", "traceparent in the event", "via in the event"] {
        assert!(outbound["varies"].as_array().unwrap().contains(&told.into()), "{told}: {varies}");
    }
    assert!(!outbound["varies"].as_array().unwrap().contains(&"via".into()), "{varies}");
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn explain_says_why_each_other_route_does_not_match() {
    let route = |rule: &str| format!("{rule}\napi_gateway:\n  function_uri: https://a.example/\n");
    let routes = [
        ("other-host", route("uri: /a/b\nhosts: [x.example]")),
        ("other-path", route("uri: /c")),
        ("other-method", route("uri: /a/b\nmethods: [POST, PUT]")),
        ("off", route("uri: /a/b\nenabled: false")),
        ("winner", route("uri: /a/b\nmethods: [GET]")),
        ("lower", route("uri: /a/b\nmethods: [GET]\npriority: -1")),
        ("shorter", route("uri: /a/*")),
        ("any-method", route("uri: /a/b")),
    ];
    let directory = directory("", &routes);
    let ended = explained(directory.path(), &["GET", "/a/b", "--output", "json"]);
    let explanation = json(&ended);
    assert_eq!(explanation["route"], "winner");
    let why: Vec<(&str, &str)> = explanation["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| (candidate["id"].as_str().unwrap(), candidate["why"].as_str().unwrap()))
        .collect();
    assert_eq!(
        why,
        [
            ("winner", "any host, this path, this method"),
            ("any-method", "method: the other route names it"),
            ("lower", "priority: the other route's priority is higher"),
            ("shorter", "path: the other route's path is exact"),
            ("off", "the route is disabled (`enabled: false`)"),
            ("other-host", "host: only x.example"),
            ("other-method", "method: only POST, PUT"),
            ("other-path", "path: only /c"),
        ]
    );
    let text = explained(directory.path(), &["GET", "/a/b"]).output;
    assert!(text.contains("  → winner        any host, this path, this method  "), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where nobody sees them");
}

#[test]
fn explain_says_why_a_template_or_a_prefix_gave_way() {
    let route = |uri: &str| format!("uri: '{uri}'\napi_gateway:\n  function_uri: https://a.example/\n");
    let routes = [
        ("greedy", route("/a/{id}/b/{rest+}")),
        ("parameter", route("/a/{id}/b/{c}")),
        ("literal", route("/a/x/b/{c}")),
        ("rest", route("/a/*")),
        ("longer", route("/a/x/*")),
    ];
    let directory = directory("", &routes);
    let why = |path: &str| {
        let explanation = json(&explained(directory.path(), &["GET", path, "--output", "json"]));
        let told = |candidate: &Value| ["id", "why"].map(|key| candidate[key].as_str().unwrap().to_owned());
        explanation["candidates"].as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    };
    let before = "path: the other route has a segment where this one has `*`";
    let literal = "path: the other route has a literal segment where this one has a parameter";
    for (path, expected) in [
        ("/a/x/b/c", ["literal", "any host, a template of this path, any method"]),
        ("/a/x/b/c", ["longer", before]),
        ("/a/x/b/c", ["rest", before]),
        ("/a/x/b/c", ["parameter", literal]),
        ("/a/y/b/c/d", ["greedy", "any host, a template of this path, any method"]),
        ("/a/y/b/c/d", ["rest", before]),
        ("/a/x/d", ["longer", "any host, a prefix of this path, any method"]),
        ("/a/x/d", ["rest", "path: the other route's prefix is longer"]),
    ] {
        assert!(why(path).contains(&expected.map(str::to_owned)), "{path} {expected:?} {:?}", why(path));
    }
}

#[test]
fn explain_prints_the_sidecars_own_response_and_exits_1() {
    let upstream = Upstream::ok();
    let mut routes = routes(&upstream);
    routes.push((
        "post",
        "uri: /post\nmethods: [POST]\napi_gateway:\n  function_uri: https://a.example/\n  \
        max_req_body_size: 3\n"
            .into(),
    ));
    let directory = directory("", &routes);
    for (arguments, code) in [
        (&["GET", "/nowhere"][..], "404 route_not_found"),
        (&["GET", "/post"], "405 method_not_allowed"),
        (&["GET", "/open/%zz"], "400 invalid_path"),
        (&["GET", "/open/../x"], "400 invalid_path"),
        (&["POST", "/post", "-d", "long"], "413 payload_too_large"),
        (&["POST", "/merge", "-d", "{", "-H", "content-type: application/json"], "400 invalid_body"),
    ] {
        let ended = explained(directory.path(), arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.output.contains("No request is sent.") && ended.output.contains(code),
            "{}",
            ended.output
        );
    }
    for (arguments, problem) in [
        (&["GET", "nowhere"][..], "`nowhere` is not a target"),
        (&["GET", "/", "-H", "wrong"], "`wrong` is not a header"),
        (&["GET", "/", "-d", "@/nowhere"], "/nowhere: No such file"),
    ] {
        let ended = explained(directory.path(), arguments);
        assert_eq!((ended.code, ended.output.as_str()), (Some(2), ""), "the command line is wrong");
        assert!(ended.errors.contains(problem), "{}", ended.errors);
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_body_may_come_from_a_file_and_a_target_may_be_a_url() {
    let upstream = Upstream::ok();
    let directory = directory("", &routes(&upstream));
    let file = directory.path().join("body");
    std::fs::write(&file, "from a file").unwrap();
    let data = format!("@{}", file.display());
    let explanation = json(&explained(
        directory.path(),
        &["POST", "http://h.example:1/open/a", "-d", &data, "--output", "json"],
    ));
    assert_eq!((&explanation["host"], &explanation["target"]), (&"h.example:1".into(), &"/open/a".into()));
    assert_eq!(explanation["outbound"]["body"]["text"], "from a file");
}

#[test]
fn k12_a_body_is_read_of_a_regular_file_alone_and_no_more_of_it_than_a_route_takes() {
    let upstream = Upstream::ok();
    let directory = directory("limits: { max_request_body: 1000 }\n", &routes(&upstream));
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        let data = format!("@{}", path.display());
        let ended = explained(directory.path(), &["POST", "/open/a", "-d", &data]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.errors.contains("not a regular file"), "{ended:?}");
    }
    let long = directory.path().join("long");
    std::fs::File::create(&long).unwrap().set_len(1 << 40).unwrap();
    let data = format!("@{}", long.display());
    let ended = explained(directory.path(), &["POST", "/open/a", "-d", &data]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.output.contains("413 payload_too_large"), "{ended:?}");
}

#[test]
fn explain_fetches_no_keys_and_says_so() {
    let sts = Upstream::ok();
    let role = format!(
        "uri: /role\napi_gateway:\n  function_uri: https://a.example/\n  authorization: {{ iam: {{ {KEYS}, \
         assume_role_arn: 'arn:aws:iam::123456789012:role/r', sts_endpoint_url: '{}' }} }}\n",
        sts.uri("")
    );
    let chain =
        "uri: /chain\napi_gateway:\n  function_uri: https://a.example/\n  authorization: { iam: {} }\n";
    let directory = directory("", &[("role", role), ("chain", chain.to_owned())]);
    let text = explained(directory.path(), &["GET", "/role"]).output;
    assert!(text.contains("settings as role arn:aws:iam::123456789012:role/r"), "{text}");
    assert!(text.contains("not known here") && text.contains("are placeholders"), "{text}");
    let mut explain = binary(&["explain", "GET", "/chain", "--settings"]);
    explain
        .arg(directory.path())
        .env("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
        .env("AWS_SECRET_ACCESS_KEY", "hush-secret");
    let text = end_of(&mut explain).output;
    assert!(text.contains("environment") && text.contains("Credential=AKIDENVIRONMENT/"), "{text}");
    assert!(!text.contains("hush") && !text.contains("placeholders"), "{text}");
    assert_eq!(sts.accepted(), 0);
}

#[test]
fn routes_are_a_table_and_json_without_secrets() {
    let upstream = Upstream::ok();
    let mut all = routes(&upstream);
    let off = "uri: /off*\nhosts: ['*.x.example']\nenabled: false\nmax_in_flight: 3\napi_gateway:\n  \
        function_uri: https://a.example/p?code=hush-token\n";
    all.push(("off", off.to_owned()));
    let directory = directory("", &all);
    let table = end_of(command("routes", directory.path()).env("COLUMNS", "400"));
    assert_eq!((table.code, table.errors.as_str()), (Some(0), ""));
    let mut as_json = command("routes", directory.path());
    as_json.args(["--output", "json"]);
    let as_json = end_of(&mut as_json);
    for secret in SECRETS {
        assert!(!table.output.contains(secret) && !as_json.output.contains(secret), "{secret}");
    }
    let lines: Vec<&str> = table.output.lines().collect();
    assert_eq!(lines.len(), 1 + all.len());
    assert!(lines[0].starts_with("ID      HOSTS        PATHS      BACKEND"), "{}", lines[0]);
    let column = lines[0].find("BACKEND").unwrap();
    assert!(
        lines[1..]
            .iter()
            .all(|line| line[column..].starts_with("api_gateway") || line[column..].starts_with("lambda "))
    );
    let signed = lines.iter().find(|line| line.starts_with("signed ")).unwrap();
    assert!(signed.contains("apikey+iam (settings)") && signed.contains("us-east-1/execute-api"), "{signed}");
    let off = lines.iter().find(|line| line.starts_with("off ")).unwrap();
    assert!(
        off.contains("*.x.example") && off.contains("https://a.example/p?…") && off.ends_with("  no"),
        "{off}"
    );

    let listed = json(&as_json);
    // the same document as `/routes` on the admin port
    let routes = listed.as_array().unwrap();
    assert_eq!(routes.len(), all.len());
    let off = routes.iter().find(|route| route["id"] == "off").unwrap();
    assert_eq!(off["enabled"], false);
    assert_eq!(off["max_in_flight"], 3);
    let event = routes.iter().find(|route| route["id"] == "event").unwrap();
    assert!(event["lambda"].is_object() && event.get("api_gateway").is_none(), "{event}");
    assert_eq!(event["uris"], serde_json::json!(["/event*"]));
}

#[test]
fn k12_explain_lists_each_removed_header_with_its_reason() {
    let upstream = Upstream::ok();
    let directory = directory("", &routes(&upstream));
    let headers = [
        ("te", "it concerns one connection"),
        ("x-mine", "the client's Connection header names it"),
        ("host", "the sidecar sets it anew"),
        ("x-http-method-override", "API Gateway and Lambda would act on it"),
        ("authorization", "the route has its own authorization (client_authorization: replace)"),
        ("x-api-key", "the route has its own authorization"),
        ("x-forwarded-proto", "the sidecar sets it itself"),
    ];
    let mut arguments = vec!["GET".to_owned(), "/signed/x".into(), "-H".into(), "Connection: x-mine".into()];
    for (name, _) in headers {
        let value = if name == "host" { "h.example" } else { "hush-mine" };
        arguments.extend(["-H".into(), format!("{name}: {value}")]);
    }
    for passes in ["cookie: a=1", "x-amz-meta: y", "x-forwarded-for: 10.0.0.1", "accept: a", "accept: b"] {
        arguments.extend(["-H".into(), passes.into()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let text = explained(directory.path(), &arguments).output;
    let json = json(&explained(directory.path(), &[&arguments[..], &["--output", "json"]].concat()));
    let left_out = json["outbound"]["left_out"].as_array().unwrap();
    let names: Vec<&str> = left_out.iter().map(|header| header["name"].as_str().unwrap()).collect();
    let mut expected: Vec<&str> = headers.iter().map(|(name, _)| *name).chain(["connection"]).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, why) in headers {
        let header = left_out.iter().find(|header| header["name"] == name).unwrap();
        assert!(header["why"].as_str().unwrap().starts_with(why), "{header}");
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}: {text}");
    }
    assert!(!text.contains("hush-mine"), "{text}");
    for (path, why) in
        [("/merge", "awsgateway_compatible or forward_request_headers"), ("/event", "the event has it")]
    {
        let ended = explained(directory.path(), &["GET", path, "-H", "x-mine: 1"]);
        let line = ended.output.lines().find(|line| line.trim_start().starts_with("x-mine ")).unwrap();
        assert!(
            line.contains("no header of a client goes to the Lambda API") && line.contains(why),
            "{line}"
        );
    }
}

#[test]
fn explain_lists_each_removed_argument_of_a_query_string_signature_with_its_reason() {
    let upstream = Upstream::ok();
    let directory = directory("", &routes(&upstream));
    let query = "?a=1&X-Amz-Signature=abc&x-amz-date=1&X%2DAmz-Credential=k&b=2";
    let signed = format!("/signed/x{query}");
    let text = explained(directory.path(), &["GET", &signed]).output;
    let arguments = ["X-Amz-Signature", "x-amz-date", "X-Amz-Credential"];
    for name in arguments {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.contains("a signature in the query")), "{name}: {text}");
    }
    let json_of = |target: &str| json(&explained(directory.path(), &["GET", target, "--output", "json"]));
    let left_out = json_of(&signed)["outbound"]["left_out"].clone();
    let of_query = left_out.as_array().unwrap().iter().filter(|one| one["in"] == "query");
    assert_eq!(of_query.map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), arguments);
    // unsigned routes keep them
    let open = json_of("/open/x?X-Amz-Date=1");
    assert!(!open["outbound"]["left_out"].as_array().unwrap().iter().any(|one| one["in"] == "query"));
    assert!(open["outbound"]["request_line"].as_str().unwrap().contains("X-Amz-Date=1"), "{open}");
}

#[test]
fn k12_explain_suggests_a_pattern_for_a_path_without_a_route() {
    let route = |rule: &str| format!("{rule}\napi_gateway:\n  function_uri: https://a.example/\n");
    let directory = directory(
        "",
        &[
            ("orders", route("uri: /orders")),
            ("users", route("uri: /users/*")),
            ("host", route("uri: /h\nhosts: [x.example]")),
        ],
    );
    for (path, suggestion) in [
        ("/orders/1", "Route orders has `/orders`; `/orders*` would match this path too."),
        ("/orders/", "Route orders has `/orders`; `/orders*` would match this path too."),
        ("/users", "Route users has `/users/*`; `/users*` would match this path too."),
        ("/Users/1", "Route users has `/users/*`; paths are case-sensitive."),
        (
            "/ordersome",
            "`uri: /ordersome` would match only this path, `uri: /ordersome*` also paths below it.",
        ),
        ("/a/b/", "`uri: /a/b/` would match only this path, `uri: /a/b/*` also paths below it."),
    ] {
        let ended = explained(directory.path(), &["GET", path]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.output.contains(suggestion), "{suggestion}\nis not in\n{}", ended.output);
        let json = json(&explained(directory.path(), &["GET", path, "--output", "json"]));
        assert_eq!(json["refusal"]["suggestion"], suggestion);
    }
    let other_host = json(&explained(directory.path(), &["GET", "/h", "--output", "json"]));
    assert!(other_host["refusal"]["suggestion"].is_null(), "the path is taken for another host");
}

#[test]
fn k13_the_table_of_routes_fits_the_terminal_or_120_columns_and_loses_nothing() {
    let upstream = Upstream::ok();
    let directory = directory("", &routes(&upstream));
    for (columns, most) in [(None, 120), (Some("100"), 100), (Some("nonsense"), 120)] {
        let mut routes = command("routes", directory.path());
        routes.env_remove("COLUMNS");
        if let Some(columns) = columns {
            routes.env("COLUMNS", columns);
        }
        let table = end_of(&mut routes).output;
        assert!(table.starts_with("ID      PATHS"), "no route differs in host, method or priority: {table}");
        let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= most, "{widest} columns:\n{table}");
        for word in ["signed", "/signed/*", "apikey+", "iam", "us-east-1", "api_gateway"] {
            assert!(table.contains(word), "{word} is not in\n{table}");
        }
    }
}

#[test]
fn check_as_json_is_one_document_with_every_mistake_or_none() {
    let upstream = Upstream::ok();
    let right = directory("", &routes(&upstream));
    let as_json = |directory: &Path| {
        let mut check = command("check", directory);
        check.args(["--output", "json"]);
        let ended = end_of(&mut check);
        (ended.code, json(&ended))
    };
    let (code, document) = as_json(right.path());
    assert_eq!((code, &document["right"]), (Some(0), &true.into()));
    assert_eq!(document["routes"].as_array().unwrap().len(), 5);
    let wrong = settings("workers: 0\n", &[("r", "uri: /\nlambda: { functon_name: f }\n")]);
    let (code, document) = as_json(wrong.path());
    assert_eq!((code, &document["right"]), (Some(78), &false.into()));
    let mistakes = document["mistakes"].as_array().unwrap();
    let typo = mistakes.iter().find(|mistake| mistake["key"] == "lambda.functon_name").unwrap();
    assert_eq!((&typo["line"], &typo["nearest"]), (&2.into(), &"function_name".into()));
    assert!(mistakes.iter().any(|mistake| mistake["key"] == "workers" && mistake["expected"] == "1 to 64"));
    for name in ["routes", "explain"] {
        let mut other = binary(&[name]);
        if name == "explain" {
            other.args(["GET", "/"]);
        }
        let ended = end_of(other.arg("--settings").arg(wrong.path()));
        assert_eq!((ended.code, ended.output.as_str()), (Some(78), ""), "{name}");
        assert!(ended.errors.contains("did you mean `function_name`?"), "{}", ended.errors);
    }
}

#[test]
fn explain_leaves_out_values_of_references() {
    let upstream = Upstream::ok();
    let lambda = |uri: &str, rest: &str| {
        format!(
            "uri: {uri}\nlambda: {{ function_name: f, aws_region: us-east-1, aws_key: a, aws_secret: s, \
             {rest} }}\n"
        )
    };
    let directory = directory(
        ANY_PORT,
        &[
            (
                "event",
                lambda("/event", "awsgateway_compatible: true, stage_variables: { k: $env://REFERRED }"),
            ),
            ("tenant", lambda("/tenant", "tenant_id: $env://TENANT, body: { k: $env://REFERRED }")),
            ("uri", "uri: /uri/*\napi_gateway: { function_uri: $env://URI }\n".to_owned()),
        ],
    );
    for path in ["/event", "/tenant", "/uri/a"] {
        for format in ["text", "json"] {
            let mut explain = binary(&["explain", "GET", path, "--output", format, "--settings"]);
            explain
                .arg(directory.path())
                .env("REFERRED", "from\"hush")
                .env("TENANT", "hush-tenant")
                .env("URI", upstream.uri("/x?code=hush"));
            let ended = end_of(&mut explain);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert!(!ended.output.contains("hush"), "{path} as {format}: {}", ended.output);
            assert!(ended.output.contains("(left out)"), "{path} as {format}: {}", ended.output);
        }
    }
}
