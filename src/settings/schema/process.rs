//! The keys of `default.yaml`: what each means and takes.
//!
//! `schema.rs` makes a schema of them.

use super::{
    Key,
    Kind::{Address, Boolean, Duration, Number, Pattern, Section, Share, Size, Text, Texts, Words},
    key,
    route::{API_GATEWAY, LAMBDA},
};

/// A day: no duration is longer.
pub(super) const DAY: u64 = 24 * 60 * 60 * 1000;
const HOUR: u64 = 60 * 60 * 1000;

pub(super) const KEYS: &[Key] = &[
    key("listen", Section(LISTEN, &[]), "", "The sockets for clients."),
    key("admin", Section(ADMIN, &[]), "", "The socket for people and probes."),
    key("workers", Number(1, 64), "1", "Threads that serve requests. Each keeps its own connections to AWS."),
    key("limits", Section(LIMITS, &[]), "", "What the process takes on at most."),
    key("log", Section(LOG, &[]), "", "What it writes about itself."),
    key("tracing", Section(TRACING, &[]), "", "What becomes of the traces that requests belong to."),
    key("shutdown", Section(SHUTDOWN, &[]), "", "The end of the process after SIGTERM."),
    key("reload", Section(RELOAD, &[]), "", "What is read again while the process runs."),
    key("defaults", Section(DEFAULTS, &[]), "", "What lies beneath each route; a route's own keys win."),
];

const LISTEN: &[Key] = &[
    key(
        "http",
        Address,
        "127.0.0.1:9080",
        "Where clients connect, with HTTP/1.1: an IP address and a port. Whoever can connect can use the routes' keys.",
    ),
    key("h2c", Boolean, "false", "Whether HTTP/2 with prior knowledge is spoken beside it, and on `unix`."),
    key(
        "https",
        Section(HTTPS, &["address", "certificate", "key"]),
        "",
        "A second socket with TLS for HTTP/1.1 and HTTP/2.",
    ),
    key("unix", Text, "", "The path of a Unix socket that speaks what `http` does, at most 107 bytes.")
        .open(),
];

const HTTPS: &[Key] = &[
    key("address", Address, "", "An IP address and a port."),
    key("certificate", Text, "", "A PEM file: the server's certificate, then those that vouch for it.").open(),
    key("key", Text, "", "A PEM file with the certificate's key.").secret_unless_path(),
    key(
        "client_ca",
        Text,
        "",
        "A PEM file of the authorities that a client's certificate must come from; without it none is asked for.",
    )
    .open(),
];

const ADMIN: &[Key] =
    &[key("address", Address, "127.0.0.1:9180", "Where people and probes come, on a thread of its own.")];

const LIMITS: &[Key] = &[
    key(
        "max_connections",
        Number(1, 1_000_000),
        "10000",
        "Client connections at a time; more are answered 503 and closed.",
    ),
    key(
        "max_in_flight",
        Number(1, 1_000_000),
        "1024",
        "Requests at a time, counted to the last byte of the answer; more are answered 503 at once.",
    ),
    key(
        "max_request_body",
        Size(1, 1 << 30),
        "64MiB",
        "Bytes of a request body that no route may exceed with its own max_req_body_size, at most 1GiB.",
    ),
    key(
        "max_uri",
        Size(64, 16 << 10),
        "10KiB",
        "Bytes of path and query, at most 16KiB; longer ones are answered 414.",
    ),
    key(
        "max_head",
        Size(1 << 10, 128 << 10),
        "64KiB",
        "Bytes of a request's head, at most 128KiB; more are answered 431.",
    ),
    key("max_headers", Number(1, 96), "96", "Headers of a request; more are answered 431."),
    key(
        "header_timeout",
        Duration(100, DAY),
        "10s",
        "How long a request's head may take, on a new connection with its TLS handshake; then 408.",
    ),
    key("body_timeout", Duration(100, DAY), "30s", "How long a request's body may take; then 408."),
    key(
        "send_timeout",
        Duration(100, DAY),
        "1m",
        "How long a client may take nothing of its answer; then its connection ends.",
    ),
    key("keep_alive", Duration(100, DAY), "75s", "How long an idle client connection is kept."),
];

const LOG: &[Key] = &[
    key(
        "level",
        Words(&["off", "error", "warn", "info", "debug"]),
        "info",
        "The least severe level that is written.",
    ),
    key(
        "format",
        Words(&["text", "json"]),
        "text",
        "Lines for people, or one JSON object a line for machines.",
    ),
    key("access", Boolean, "true", "Whether each request is one line, at level info."),
];

const TRACING: &[Key] = &[
    key(
        "propagate",
        Boolean,
        "true",
        "Whether a client's trace is passed on and others begin here: traceparent, tracestate, X-Amzn-Trace-Id.",
    ),
    key(
        "sample",
        Share,
        "",
        "How many of the traces that nobody has decided about are recorded, 0 to 1; without it AWS decides, and with `otlp` it is all of them.",
    ),
    key(
        "otlp",
        Section(OTLP, &["endpoint"]),
        "",
        "A collector that is told of each request that is recorded.",
    ),
];

const OTLP: &[Key] = &[
    key(
        "endpoint",
        Pattern("^https?://[^/?#]+(/[^?#]*)?$"),
        "",
        "Where it takes OTLP over HTTP, such as http://127.0.0.1:4318; /v1/traces is added.",
    )
    .secret_query(),
    key(
        "headers",
        Texts,
        "",
        "Headers of each delivery, such as a collector's key; $env:// and $file:// keep it out of here.",
    ),
    key(
        "service_name",
        Text,
        "",
        "What this process is called, service.name; apigw-invoker unless it is said.",
    )
    .open(),
    key("resource", Texts, "", "What else is said of it, such as deployment.environment.name.").open(),
    key(
        "timeout",
        Duration(100, 60_000),
        "",
        "How long each step of a delivery may take; 10s unless it is said.",
    ),
    key("ca_certificate", Text, "", "A PEM file of the authorities to trust instead of the platform's.")
        .open(),
];

const SHUTDOWN: &[Key] = &[
    key(
        "delay",
        Duration(0, DAY),
        "0s",
        "After SIGTERM, how long to go on accepting, while a load balancer takes the process out of its list.",
    ),
    key(
        "drain",
        Duration(0, DAY),
        "30s",
        "How long requests in flight may then take to finish. A second signal ends them at once.",
    ),
];

const RELOAD: &[Key] =
    &[key("interval", Duration(100, HOUR), "5s", "How often changed files are looked for.")];

const DEFAULTS: &[Key] = &[
    key("api_gateway", Section(API_GATEWAY, &[]), "", "Beneath the section `api_gateway` of every route."),
    key("lambda", Section(LAMBDA, &[]), "", "Beneath the section `lambda` of every route."),
];
