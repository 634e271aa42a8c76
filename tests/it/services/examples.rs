//! `k8s/examples/services`: each route signs as its service requires, and its limits are those of its
//! traffic.

use std::{
    fs,
    io::{BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use super::super::support::{
    App, Response, Upstream, call, open,
    process::{Process, binary, command, end_of},
    read_response,
};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");
const ACCEPT_EVENTS: (&str, &str) = ("Accept", "application/json, text/event-stream");
const SESSION: (&str, &str) = ("Mcp-Session-Id", "1868a90c");
const RUNTIME: &str = "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aus-east-1%3A123456789012%3Aruntime%2F\
    tools-abcdefghij/invocations?qualifier=DEFAULT";
/// A snappy block, which is not UTF-8.
const SNAPPY: &[u8] = b"\x0c\x2chello world\xff\x00";

fn settings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/examples/services/settings")
}

/// The names of the routes.
fn routes() -> Vec<String> {
    let files = fs::read_dir(settings().join("routes")).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn text(route: &str) -> String {
    fs::read_to_string(settings().join(format!("routes/{route}.yaml"))).unwrap()
}

/// A request through a route, and what AWS must receive.
struct Trial {
    route: &'static str,
    request: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    /// Host and target.
    arrives: (&'static str, &'static str),
    /// Region and service.
    scope: &'static str,
}

const fn trial(
    route: &'static str,
    request: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    arrives: (&'static str, &'static str),
    scope: &'static str,
) -> Trial {
    Trial { route, request, headers, body, arrives, scope }
}

const DOMAIN: &str = "search-logs-abcdefghijklmnopqrstuvwxyz.eu-central-1.es.amazonaws.com";
const COLLECTION: &str = "abcdefghijklmnopqrst.eu-central-1.aoss.amazonaws.com";
const WORKSPACES: &str = "aps-workspaces.eu-central-1.amazonaws.com";
const GRAPHQL: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.eu-central-1.amazonaws.com";
const LATTICE: &str = "billing-0123456789abcdef0.7d67968.vpc-lattice-svcs.eu-central-1.on.aws";
const S3: &str = "s3.eu-central-1.amazonaws.com";
const BEDROCK: &str = "bedrock-runtime.us-east-1.amazonaws.com";
const GATEWAY: &str = "tools-abcdefghij.gateway.bedrock-agentcore.us-east-1.amazonaws.com";
const AGENTCORE: &str = "bedrock-agentcore.us-east-1.amazonaws.com";
const FUNCTION: &str = "abcdefghijklmnopqrstuvwxyzabcdef.lambda-url.us-east-1.on.aws";
const TOOLS: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const CHAT: &[u8] = br#"{"model":"openai.gpt-oss-20b-1:0","messages":[{"role":"user","content":"Hi"}]}"#;

#[rustfmt::skip]
const TRIALS: &[Trial] = &[
    trial("opensearch", ("GET", "/opensearch"), &[], b"", (DOMAIN, "/"), "eu-central-1/es"),
    trial("opensearch", ("POST", "/opensearch/_bulk?refresh=wait_for"), &[NDJSON], b"{\"index\":{}}\n{}\n",
        (DOMAIN, "/_bulk?refresh=wait_for"), "eu-central-1/es"),
    trial("opensearch", ("POST", "/opensearch/logs-*,x/_search?q=a%3Ab%2Fc"), &[JSON], b"{}",
        (DOMAIN, "/logs-*,x/_search?q=a%3Ab%2Fc"), "eu-central-1/es"),
    trial("opensearch-serverless", ("PUT", "/collection/products"), &[JSON], b"{}",
        (COLLECTION, "/products"), "eu-central-1/aoss"),
    trial("opensearch-serverless", ("DELETE", "/collection/products/_doc/a%2Fb"), &[], b"",
        (COLLECTION, "/products/_doc/a%2Fb"), "eu-central-1/aoss"),
    trial("prometheus", ("POST", "/prometheus/api/v1/remote_write"),
        &[("Content-Encoding", "snappy"), ("X-Prometheus-Remote-Write-Version", "0.1.0")], SNAPPY,
        (WORKSPACES, "/workspaces/ws-11111111-2222-3333-4444-555555555555/api/v1/remote_write"),
        "eu-central-1/aps"),
    trial("prometheus", ("GET", "/prometheus/api/v1/query?query=up%7Bjob%3D%22a%22%7D&time=1.5"), &[], b"",
        (WORKSPACES, "/workspaces/ws-11111111-2222-3333-4444-555555555555/api/v1/query?\
            query=up%7Bjob%3D%22a%22%7D&time=1.5"), "eu-central-1/aps"),
    trial("appsync", ("POST", "/graphql"), &[JSON], br#"{"query":"{ orders { id } }"}"#,
        (GRAPHQL, "/graphql"), "eu-central-1/appsync"),
    trial("vpc-lattice", ("POST", "/billing/invoices?month=5"), &[JSON], b"{}",
        (LATTICE, "/invoices?month=5"), "eu-central-1/vpc-lattice-svcs"),
    trial("s3", ("PUT", "/bucket/a/b%20c.txt"),
        &[("x-amz-meta-owner", "me"), ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==")], b"hello",
        (S3, "/bucket/a/b%20c.txt"), "eu-central-1/s3"),
    trial("s3", ("GET", "/bucket/a/b%20c.txt"), &[("Range", "bytes=0-9")], b"",
        (S3, "/bucket/a/b%20c.txt"), "eu-central-1/s3"),
    trial("s3", ("GET", "/bucket?list-type=2&prefix=a/b&encoding-type=url"), &[], b"",
        (S3, "/bucket?list-type=2&prefix=a%2Fb&encoding-type=url"), "eu-central-1/s3"),
    trial("s3", ("POST", "/bucket/large?uploads"), &[], b"",
        (S3, "/bucket/large?uploads="), "eu-central-1/s3"),
    trial("s3", ("PUT", "/bucket/large?partNumber=2&uploadId=VXBs.a-_~"), &[], b"part",
        (S3, "/bucket/large?partNumber=2&uploadId=VXBs.a-_~"), "eu-central-1/s3"),
    trial("s3", ("POST", "/bucket/large?uploadId=VXBs"), &[], b"<CompleteMultipartUpload/>",
        (S3, "/bucket/large?uploadId=VXBs"), "eu-central-1/s3"),
    trial("s3", ("DELETE", "/bucket/large"), &[], b"", (S3, "/bucket/large"), "eu-central-1/s3"),
    // the client's key of OpenAI is not sent
    trial("bedrock", ("POST", "/v1/chat/completions"), &[JSON, ("Authorization", "Bearer unused")], CHAT,
        (BEDROCK, "/openai/v1/chat/completions"), "us-east-1/bedrock"),
    trial("bedrock", ("GET", "/v1/models"), &[], b"", (BEDROCK, "/openai/v1/models"), "us-east-1/bedrock"),
    trial("mcp-gateway", ("POST", "/mcp"), &[JSON, ACCEPT_EVENTS, SESSION], TOOLS,
        (GATEWAY, "/mcp"), "us-east-1/bedrock-agentcore"),
    trial("mcp-gateway", ("GET", "/mcp"), &[ACCEPT_EVENTS, SESSION, ("Last-Event-ID", "7")], b"",
        (GATEWAY, "/mcp"), "us-east-1/bedrock-agentcore"),
    trial("mcp-gateway", ("DELETE", "/mcp"), &[SESSION], b"",
        (GATEWAY, "/mcp"), "us-east-1/bedrock-agentcore"),
    trial("mcp-runtime", ("POST", "/mcp/runtime"), &[JSON, ACCEPT_EVENTS, SESSION], TOOLS,
        (AGENTCORE, RUNTIME), "us-east-1/bedrock-agentcore"),
    trial("mcp-lambda", ("POST", "/mcp/function"), &[JSON, ACCEPT_EVENTS, SESSION], TOOLS,
        (FUNCTION, "/mcp"), "us-east-1/lambda"),
    trial("mcp-lambda", ("DELETE", "/mcp/function"), &[SESSION], b"", (FUNCTION, "/mcp"), "us-east-1/lambda"),
    trial("by-host", ("POST", "/model/anthropic.claude-v2%3A1/converse"), &[JSON, ("Host", BEDROCK)], b"{}",
        (BEDROCK, "/model/anthropic.claude-v2%3A1/converse"), "us-east-1/bedrock"),
    trial("by-host", ("POST", "http://sqs.eu-central-1.amazonaws.com/?Action=ListQueues"), &[], b"",
        ("sqs.eu-central-1.amazonaws.com", "/?Action=ListQueues"), "eu-central-1/sqs"),
    trial("by-host", ("GET", "/prod/orders"), &[("Host", "x1.execute-api.eu-central-1.amazonaws.com")], b"",
        ("x1.execute-api.eu-central-1.amazonaws.com", "/prod/orders"), "eu-central-1/execute-api"),
];

/// Sends a request whose `Host` may be among the headers.
fn send(address: SocketAddr, trial: &Trial) -> Response {
    let (method, target) = trial.request;
    let mut head = format!("{method} {target} HTTP/1.1\r\nContent-Length: {}\r\n", trial.body.len());
    if !trial.headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str("Host: 127.0.0.1:9080\r\n");
    }
    for (name, value) in trial.headers {
        head.extend([*name, ": ", *value, "\r\n"]);
    }
    let mut stream = open(address);
    stream.write_all(&[head.as_bytes(), b"\r\n", trial.body].concat()).unwrap();
    read_response(&mut BufReader::new(stream), false).unwrap()
}

#[test]
fn the_stand_in_accepts_the_requests_of_every_example() {
    let tried: Vec<&str> = TRIALS.iter().map(|trial| trial.route).collect();
    assert!(routes().iter().all(|route| tried.contains(&route.as_str())), "{:?}", routes());
    let any = "127.0.0.1:0";
    let mut dev = binary(&["dev", "--listen", any, "--stand-in", any, "--admin", any, "--settings"]);
    let (mut process, address) = Process::listening(dev.arg(settings()));
    for trial in TRIALS {
        let (method, target) = trial.request;
        let shown = format!("{method} {target}");
        let response = send(address, trial);
        assert_eq!(response.status, 200, "{shown}: {}", response.text());
        let arrived = response.json();
        let query = arrived["query"].as_str().unwrap();
        let path = arrived["path"].as_str().unwrap();
        let at = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let host = arrived["headers"]["host"][0].as_str().unwrap();
        assert_eq!((host, at.as_str()), trial.arrives, "{shown}");
        let authorization = arrived["headers"]["authorization"][0].as_str().unwrap();
        assert!(authorization.contains(&format!("/{}/aws4_request", trial.scope)), "{authorization}");
        assert_eq!(arrived["body"]["sha256"], apigw_invoker::signing::hash(trial.body), "{shown}");
        for (name, value) in trial.headers.iter().filter(|(name, _)| *name != "Authorization") {
            assert_eq!(arrived["headers"][name.to_ascii_lowercase()][0], *value, "{shown}");
        }
        let payload = arrived["headers"]["x-amz-content-sha256"][0].as_str();
        let is_unsigned = ["s3", "vpc-lattice"].contains(&trial.route);
        assert_eq!(payload == Some("UNSIGNED-PAYLOAD"), is_unsigned, "{shown}: {payload:?}");
    }
    process.stop();
}

#[test]
fn check_finds_nothing_in_the_examples() {
    let checked = end_of(&mut command("check", &settings()));
    assert_eq!((checked.code, checked.errors.as_str()), (Some(0), ""), "{checked:?}");
}

#[test]
fn each_example_has_what_to_change_and_its_permissions() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (kustomization, page) =
        (read("k8s/examples/services/kustomization.yaml"), read("settings/MIGRATING.md"));
    for route in routes() {
        let text = text(&route);
        assert!(text.contains("# change: ") && text.contains("\n# Permissions: "), "{route}");
        let file = format!("settings/routes/{route}.yaml");
        assert!(kustomization.contains(&format!("- {file}\n")), "kustomization.yaml lacks {route}");
        let link = format!("](../k8s/examples/services/{file})");
        assert!(page.contains(&link), "settings/MIGRATING.md has no link to {route}");
    }
}

/// An example whose host is replaced by an upstream, with keys.
fn started(route: &str, upstream: &Upstream) -> App {
    let text = text(route);
    let uri = text.split_once("function_uri: ").unwrap().1.lines().next().unwrap();
    let host = uri.split('/').nth(2).unwrap();
    let text = text.replace(&format!("https://{host}"), &format!("http://{}", upstream.address));
    let keys = "accesskey: AKIDEXAMPLE, secretkey: s, ";
    let text = text.replace("iam: { ", &format!("iam: {{ {keys}"));
    assert!(text.contains(keys) && !text.contains(uri), "{text}");
    App::with("").route(route, &text).start()
}

/// An upstream that sends an event, is silent for longer than the default of `timeout`, and sends another.
fn events(first: &'static str, second: &'static str) -> Upstream {
    Upstream::serving(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\
            mcp-session-id: 1868a90c\r\n\r\n";
        write!(stream, "{head}{:x}\r\n{first}\r\n", first.len())?;
        sleep(Duration::from_millis(3500));
        write!(stream, "{:x}\r\n{second}\r\n0\r\n\r\n", second.len())
    })
}

#[test]
fn event_streams_of_models_and_of_mcp_servers_may_be_silent() {
    let streamed: [&str; 2] = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"He\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"llo\"}}]}\n\ndata: [DONE]\n\n",
    ];
    let messages: [&str; 2] = [": ping\n\n", "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1}\n\n"];
    let trials = [
        ("bedrock", "/v1/chat/completions", streamed),
        ("mcp-gateway", "/mcp", messages),
        ("mcp-runtime", "/mcp/runtime", messages),
        ("mcp-lambda", "/mcp/function", messages),
    ];
    std::thread::scope(|scope| {
        for (route, target, [first, second]) in trials {
            scope.spawn(move || {
                let upstream = events(first, second);
                let app = started(route, &upstream);
                let response = call(app.address, "POST", target, &[JSON, SESSION], CHAT);
                assert_eq!(response.text(), format!("{first}{second}"), "{route}");
                assert_eq!(response.header("mcp-session-id"), Some("1868a90c"), "{route}");
                assert_eq!(upstream.only().header("mcp-session-id"), Some("1868a90c"), "{route}");
            });
        }
    });
}
