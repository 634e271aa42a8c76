//! `/metrics`: counters equal what was sent, the operators' page documents every metric, and the dashboard
//! uses only existing ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufReader, Read as _, Write as _},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use apigw_invoker::{metrics::SourceState, stand_in::StandInKeys};

use super::{
    documents::table,
    support::{
        App, Http2, Upstream, call, eventually,
        exposition::Exposition,
        get, open, read_response, send,
        tls::{Authority, file},
    },
};

const REQUESTS: &str = "apigw_invoker_requests_total";
const ERRORS: &str = "apigw_invoker_errors_total";

fn requests(metrics: &Exposition, route: &str, method: &str, status: &str) -> u64 {
    metrics.count(REQUESTS, &[("route", route), ("method", method), ("status", status)])
}

fn errors(metrics: &Exposition, route: &str, code: &str) -> u64 {
    metrics.count(ERRORS, &[("route", route), ("code", code)])
}

/// The metrics, once this many requests are complete.
#[track_caller]
fn after(app: &App, expected: usize) -> Exposition {
    let mut last = Exposition::of(app.admin);
    eventually("the requests are over", || {
        last = Exposition::of(app.admin);
        let family = last.families.get(REQUESTS);
        let all: f64 = family.map_or(0.0, |family| family.samples.iter().map(|(.., value)| value).sum());
        format!("{all}") == expected.to_string() && last.count("apigw_invoker_requests_in_flight", &[]) == 0
    });
    last
}

#[test]
fn requests_are_counted_by_route_method_and_class_with_their_bytes_durations_and_connections() {
    let upstream = Upstream::ok();
    let function = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\"ok\"");
    let app = App::listening("h2c: true", "")
        .gateway("api", "/api/*", &upstream.uri("/"), "")
        .lambda("function", "/function", function.address, "")
        .start();
    for _ in 0..3 {
        assert_eq!(get(app.address, "/api/x").status, 200);
    }
    assert_eq!(call(app.address, "POST", "/api/x", &[], b"12345").status, 200);
    assert_eq!(call(app.address, "BREW", "/api/x", &[], b"").status, 200);
    assert_eq!(get(app.address, "/function?a=b").text(), "\"ok\"");
    let mut http2 = Http2::open(app.address);
    assert_eq!(http2.get("/api/2").status, 200);
    for path in ["/nowhere", "/api/%zz"] {
        assert!(get(app.address, path).status >= 400);
    }
    let metrics = after(&app, 9);
    let seen = |method| requests(&metrics, "api", method, "2xx");
    assert_eq!((seen("GET"), seen("POST"), seen("OTHER")), (4, 1, 1));
    assert_eq!(requests(&metrics, "function", "GET", "2xx"), 1);
    assert_eq!((requests(&metrics, "api", "GET", "4xx"), requests(&metrics, "-", "GET", "4xx")), (0, 2));
    assert_eq!((errors(&metrics, "-", "route_not_found"), errors(&metrics, "-", "invalid_path")), (1, 1));
    for (route, whole, part) in [("api", 6, 6), ("function", 1, 1), ("-", 2, 0)] {
        let of = |name: &str| metrics.count(name, &[("route", route)]);
        assert_eq!(of("apigw_invoker_request_duration_seconds_count"), whole, "{route}");
        assert_eq!(of("apigw_invoker_upstream_duration_seconds_count"), part, "{route}");
    }
    let of = |name: &str, route: &str| metrics.count(name, &[("route", route)]);
    assert_eq!(of("apigw_invoker_request_body_bytes_total", "api"), 5);
    assert_eq!(of("apigw_invoker_response_body_bytes_total", "api"), 12);
    let event = function.only().body.len();
    assert_eq!(of("apigw_invoker_request_body_bytes_total", "function"), event as u64);
    assert_eq!(of("apigw_invoker_response_body_bytes_total", "function"), 4);
    let endpoint = upstream.address.to_string();
    let of = |name: &str| {
        metrics.count(&format!("apigw_invoker_upstream_connections_{name}"), &[("endpoint", &endpoint)])
    };
    assert_eq!(of("opened_total"), upstream.accepted() as u64);
    assert_eq!(of("opened_total") + of("reused_total"), 6);
    assert_eq!((of("stale_total"), of("idle")), (0, of("opened_total")));
    assert_eq!(metrics.count("apigw_invoker_client_connections_total", &[]), 9);
    assert!(metrics.count("apigw_invoker_client_connections", &[]) >= 1, "that of HTTP/2 is open");
    drop(http2);
    eventually("no client is left", || {
        Exposition::of(app.admin).count("apigw_invoker_client_connections", &[]) == 0
    });
}

#[test]
fn a_client_that_left_before_its_answer_is_499_and_one_that_waits_is_in_flight() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::serving(move |_, stream| {
        let _ = wait.lock().unwrap().recv();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    });
    let app = App::with("").gateway("slow", "/*", &upstream.uri("/"), "timeout: 1h").start();
    let mut client = open(app.address);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let in_flight = || {
        let metrics = Exposition::of(app.admin);
        let of_route = metrics.count("apigw_invoker_route_requests_in_flight", &[("route", "slow")]);
        (metrics.count("apigw_invoker_requests_in_flight", &[]), of_route)
    };
    eventually("it is in flight", || in_flight() == (1, 1));
    drop(client);
    let metrics = after(&app, 1);
    assert_eq!(requests(&metrics, "slow", "GET", "499"), 1);
    assert_eq!(in_flight(), (0, 0));
    drop(go_on);
}

#[test]
fn rejected_requests_are_counted_by_limit() {
    for (process, of_route, limit) in
        [("limits: { max_in_flight: 1 }", "", "process"), ("", "max_in_flight: 1\n", "route")]
    {
        let (go_on, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let upstream = Upstream::serving(move |_, stream| {
            let _ = wait.lock().unwrap().recv();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        });
        let route = format!("{of_route}uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
        let app = App::with(process).route("narrow", &route).start();
        let mut first = open(app.address);
        first.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        eventually("the first is at the upstream", || upstream.received().len() == 1);
        assert_eq!(get(app.address, "/").code(), "overloaded");
        go_on.send(()).unwrap();
        assert_eq!(read_response(&mut BufReader::new(first), false).unwrap().status, 200);
        let metrics = after(&app, 2);
        for each in ["process", "route"] {
            let labels = [("route", "narrow"), ("limit", each)];
            let expected = u64::from(each == limit);
            assert_eq!(metrics.count("apigw_invoker_requests_shed_total", &labels), expected, "{each}");
        }
        assert_eq!(errors(&metrics, "narrow", "overloaded"), 1);
    }
}

/// An upstream that responds with 429 once for each request in `throttled`, then with 200.
fn throttled(throttled: usize) -> Upstream {
    let served = AtomicUsize::new(0);
    Upstream::serving(move |_, stream| {
        let is_first = served.fetch_add(1, Ordering::SeqCst) < throttled;
        stream.write_all(if is_first {
            b"HTTP/1.1 429 No\r\nx-amzn-ErrorType: TooManyRequestsException\r\ncontent-length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        })
    })
}

#[test]
fn retries_are_counted_by_reason_and_those_that_the_budget_forbids_too() {
    let upstream = throttled(1);
    let rest = "retry: { attempts: 2, backoff: 1, budget: 900 }";
    let app = App::with("").lambda("function", "/*", upstream.address, rest).start();
    assert_eq!(get(app.address, "/").status, 200);
    let metrics = after(&app, 1);
    let retries = [("route", "function"), ("reason", "throttled")];
    assert_eq!(metrics.count("apigw_invoker_retries_total", &retries), 1);
    let exhausted = "apigw_invoker_retry_budget_exhausted_total";
    assert_eq!(metrics.count(exhausted, &[("route", "function")]), 0);
    assert_eq!(metrics.count("apigw_invoker_upstream_duration_seconds_count", &[("route", "function")]), 2);

    let upstream = throttled(usize::MAX);
    let rest = "retry: { attempts: 2, backoff: 1, budget: 0 }";
    let app = App::with("").lambda("function", "/*", upstream.address, rest).start();
    for _ in 0..20 {
        get(app.address, "/");
    }
    let metrics = after(&app, 20);
    let repeated = metrics.count("apigw_invoker_retries_total", &retries);
    assert_eq!(repeated + metrics.count(exhausted, &[("route", "function")]), 20);
    assert_eq!(upstream.received().len() as u64, 20 + repeated);
    assert!(metrics.count(exhausted, &[("route", "function")]) > 0);
}

#[test]
fn failures_open_breakers_and_missing_keys_are_seen_where_they_are() {
    let role = "authorization:\n  iam:\n    accesskey: AKIDEXAMPLE\n    secretkey: hush-secret\n    \
                assume_role_arn: arn:aws:iam::123456789012:role/x\n    sts_endpoint_url: http://127.0.0.1:1";
    let fixed = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: hush-secret }\n\
                 circuit_breaker: { failures: 1, open_for: 1h }\nretry: { attempts: 1 }";
    let app = App::with("")
        .gateway("role", "/role", "http://127.0.0.1:1/", role)
        .gateway("refused", "/refused", "http://127.0.0.1:1/", fixed)
        .start();
    let breaker = |metrics: &Exposition| {
        metrics.value("apigw_invoker_circuit_breaker_state", &[("route", "refused")]).map(|state| state > 0.5)
    };
    assert_eq!(breaker(&Exposition::of(app.admin)), None, "nobody has called it");
    assert_eq!(get(app.address, "/role").code(), "credentials_unavailable");
    assert_eq!(get(app.address, "/refused").code(), "upstream_connect");
    assert_eq!(get(app.address, "/refused").code(), "upstream_unavailable");
    let metrics = after(&app, 3);
    assert_eq!(breaker(&metrics), Some(true));
    let of = |name: &str, route: &str| metrics.count(&format!("apigw_invoker_{name}"), &[("route", route)]);
    assert_eq!((of("signing_failures_total", "role"), of("signing_failures_total", "refused")), (1, 0));
    assert_eq!((of("credentials_ready", "role"), of("credentials_ready", "refused")), (0, 1));
    assert!(of("credentials_refresh_failures_total", "role") >= 1);
    assert_eq!(of("credentials_refresh_failures_total", "refused"), 0);
    assert_eq!(errors(&metrics, "refused", "upstream_connect"), 1);
    assert_eq!(errors(&metrics, "refused", "upstream_unavailable"), 1);
    assert_eq!(requests(&metrics, "refused", "GET", "5xx"), 2);
    let failures = "apigw_invoker_upstream_connection_failures_total";
    assert_eq!(metrics.count(failures, &[("endpoint", "127.0.0.1:1")]), 1);
    assert!(!get(app.admin, "/metrics").text().contains("hush"));
}

#[test]
fn malformed_requests_are_counted_as_failures() {
    let app =
        App::with("limits: { max_connections: 1 }").gateway("a", "/*", "http://127.0.0.1:1/", "").start();
    assert_eq!(send(app.address, "GET / HTTP/1.1\r\nbad header\r\n\r\n").status, 400);
    eventually("there is room again", || {
        Exposition::of(app.admin).count("apigw_invoker_client_connections", &[]) == 0
    });
    let kept = open(app.address);
    eventually("it has the only place", || {
        Exposition::of(app.admin).count("apigw_invoker_client_connections", &[]) == 1
    });
    let mut refused = open(app.address);
    let _ = refused.read(&mut [0; 16]);
    let metrics = Exposition::of(app.admin);
    assert_eq!((errors(&metrics, "-", "invalid_request"), errors(&metrics, "-", "overloaded")), (1, 1));
    assert_eq!(metrics.count("apigw_invoker_client_connections_refused_total", &[]), 1);
    assert!(!metrics.families.contains_key(REQUESTS), "none of them was a request");
    drop(kept);
}

/// Metrics of a sidecar in which every family has a sample.
fn everything() -> Exposition {
    let dev = App::dev();
    let keys = StandInKeys::example();
    let upstream = throttled(1);
    let rest = format!(
        "aws_assume_role_arn: arn:aws:iam::123456789012:role/caller\naws_sts_endpoint_url: http://{}\n\
         circuit_breaker: {{}}\nretry: {{ backoff: 1 }}",
        dev.stand_in()
    );
    let route = format!(
        "uri: /function\nlambda:\n  host: {}\n  port: {}\n  disable_https: true\n  aws_region: {}\n  \
         function_name: f\n  aws_key: {}\n  aws_secret: {}\n  {}\n",
        upstream.address.ip(),
        upstream.address.port(),
        keys.region,
        keys.access_key_id,
        keys.secret_access_key,
        rest.replace('\n', "\n  ")
    );
    let forbidden = Upstream::answering(
        "HTTP/1.1 403 No\r\nx-amzn-ErrorType: ForbiddenException\r\ncontent-length: 0\r\n\r\n",
    );
    let identity = Authority::new("ours").identity("localhost");
    let (certificate, key) = (file(identity.certificate()), file(&identity.key()));
    let https = format!(
        "https: {{ address: '127.0.0.1:0', certificate: {}, key: {} }}",
        certificate.path().display(),
        key.path().display()
    );
    let app = App::listening(&https, "")
        .route("function", &route)
        .gateway("forbidden", "/forbidden", &forbidden.uri("/"), "")
        .start();
    // as a sidecar whose settings come from a source
    app.snapshot.metrics.source.set(SourceState {
        address: String::new(),
        bundle: String::new(),
        serial: None,
        confirmed: std::time::SystemTime::now(),
        failure: None,
    });
    assert_eq!(get(app.address, "/function").status, 200);
    assert_eq!(get(app.address, "/forbidden").status, 403);
    assert_eq!(get(app.address, "/nowhere").status, 404);
    after(&app, 3)
}

#[test]
fn the_operators_table_of_metrics_is_what_is_exported() {
    let metrics = everything();
    let expiry =
        metrics.value("apigw_invoker_credentials_expiry_timestamp_seconds", &[("route", "function")]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(expiry.is_some_and(|expiry| expiry > now), "{expiry:?}");
    assert_eq!(
        metrics.value("apigw_invoker_build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
        Some(1.0)
    );
    let start = metrics.value("process_start_time_seconds", &[]).unwrap();
    assert!((now - 86_400.0..=now + 1.0).contains(&start), "{start}");
    assert!(metrics.count("process_open_fds", &[]) > 5);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/monitoring/README.md");
    let mut told = table(&fs::read_to_string(page).unwrap(), "## Metrics");
    told.sort();
    let real: Vec<Vec<String>> = metrics
        .families
        .iter()
        .map(|(name, family)| {
            let labels: Vec<&str> = family.labels().into_iter().collect();
            vec![name.clone(), family.kind.clone(), labels.join(", "), family.help.replace('`', "")]
        })
        .collect();
    assert_eq!(told, real);
}

/// All strings under this name in a JSON document.
fn members<'a>(value: &'a serde_json::Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(object) => {
            found.extend(object.get(name).and_then(serde_json::Value::as_str));
            object.values().for_each(|value| members(value, name, found));
        }
        serde_json::Value::Array(array) => array.iter().for_each(|value| members(value, name, found)),
        _ => {}
    }
}

/// True if the text after a word makes the word a function's name.
fn is_aggregation(after: &str) -> bool {
    ["(", "by ", "without "].iter().any(|start| after.starts_with(start))
}

/// Names of metrics in a `PromQL` expression: words that are not functions, labels or keywords.
fn named(expression: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let mut depth = 0;
    for char in expression.chars() {
        match char {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            char if depth == 0 => plain.push(char),
            _ => {}
        }
    }
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let mut names = BTreeSet::new();
    let mut rest = plain.as_str();
    while let Some(start) = rest.find(|char: char| char.is_ascii_alphabetic() || char == '_') {
        rest = &rest[start..];
        let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after.trim_start();
        if ["by", "without", "on", "ignoring"].contains(&word) {
            rest = rest.split_once(')').expect("a list of labels").1;
        } else if !is_aggregation(rest) && !["and", "or", "unless", "bool"].contains(&word) {
            names.insert(word.to_owned());
        }
    }
    names
}

#[test]
fn the_dashboard_uses_only_exported_metrics() {
    let expression = "sum by (route, le) (rate(a_bucket{route=~\"$route\"}[5m])) / on(x) (b - c) > bool 2";
    assert_eq!(named(expression).into_iter().collect::<Vec<_>>(), ["a_bucket", "b", "c"]);
    let exported: BTreeMap<String, String> =
        everything().families.into_iter().map(|(name, family)| (name, family.kind)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/monitoring/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut expressions = Vec::new();
    members(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 10, "{expressions:?}");
    let mut shown = BTreeSet::new();
    for expression in expressions {
        let names = named(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let is_exported = match of_histogram {
                Some(histogram) => exported.get(histogram).is_some_and(|kind| kind == "histogram"),
                None => exported.get(&name).is_some_and(|kind| kind != "histogram"),
            };
            assert!(is_exported, "{name} in {expression}");
            shown.insert(of_histogram.map_or(name.clone(), str::to_owned));
        }
    }
    let ours = exported.keys().filter(|name| name.starts_with("apigw_invoker_"));
    let missing: Vec<_> = ours.filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "exported and not on the dashboard: {missing:?}");
}

#[test]
fn x15_a_route_without_calls_has_no_samples_except_of_missing_keys() {
    let upstream = Upstream::ok();
    let keys = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: hush }";
    let role = "authorization:\n  iam:\n    accesskey: AKIDEXAMPLE\n    secretkey: hush\n    \
                assume_role_arn: arn:aws:iam::123456789012:role/x\n    sts_endpoint_url: http://127.0.0.1:1";
    let app = App::with("")
        .gateway("called", "/called", &upstream.uri("/"), keys)
        .gateway("quiet", "/quiet", &upstream.uri("/"), keys)
        .gateway("keyless", "/keyless", &upstream.uri("/"), role)
        .start();
    let of = |metrics: &Exposition, id: &str| -> BTreeSet<String> {
        let all = metrics.families.values().flat_map(|family| &family.samples);
        let own = all.filter(|(_, labels, _)| labels.get("route").is_some_and(|route| route == id));
        own.map(|(name, ..)| name.clone()).collect()
    };
    assert!(get(app.address, "/called").status == 200);
    let metrics = after(&app, 1);
    assert!(of(&metrics, "called").contains("apigw_invoker_request_duration_seconds_count"));
    assert_eq!(of(&metrics, "quiet"), BTreeSet::new());
    assert_eq!(of(&metrics, "-"), BTreeSet::new());
    eventually("its failures are counted", || {
        let metrics = Exposition::of(app.admin);
        metrics.count("apigw_invoker_credentials_refresh_failures_total", &[("route", "keyless")]) > 0
    });
    let metrics = Exposition::of(app.admin);
    assert_eq!(metrics.value("apigw_invoker_credentials_ready", &[("route", "keyless")]), Some(0.0));
    assert!(!of(&metrics, "keyless").contains("apigw_invoker_request_duration_seconds_count"));
}

#[test]
fn x15_the_metrics_of_twenty_thousand_routes_without_calls_are_small() {
    let mut app = App::with("");
    for number in 0..20_000 {
        let text = format!(
            "uri: /{number}\napi_gateway:\n  function_uri: http://127.0.0.1:1/\n  authorization:\n    \
             iam: {{ accesskey: AKIDEXAMPLE, secretkey: hush, aws_region: us-east-1 }}\n"
        );
        app = app.route(&format!("route-{number}"), &text);
    }
    let app = app.start();
    let page = get(app.admin, "/metrics").body.len();
    assert!(page < 64 << 10, "{page} bytes");
    // large pages must not delay other requests
    let pages = std::thread::scope(|scope| {
        let pages: Vec<_> = (0..2)
            .flat_map(|_| ["/ready", "/routes"])
            .map(|path| scope.spawn(move || get(app.admin, path)))
            .collect();
        let mut took: Vec<_> = (0..9)
            .map(|_| {
                let begun = std::time::Instant::now();
                assert_eq!(get(app.admin, "/live").status, 200);
                begun.elapsed()
            })
            .collect();
        took.sort();
        // the median, because other tests use the CPU too
        assert!(took[4] < std::time::Duration::from_millis(100), "{took:?}");
        pages.into_iter().map(|page| page.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(pages.iter().all(|page| page.status == 200 && page.body.len() > 1 << 20));
}
