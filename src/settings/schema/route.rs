//! The keys of a route's file: what each means and takes.
//!
//! `schema.rs` makes a schema of them; the same sections stand under `defaults` in `process.rs`.

use super::{
    Key,
    Kind::{
        Boolean, Duration, Filled, List, Number, Object, Pattern, Proof, Section, Signed, Size, Text, Texts,
        Version, WordBut, Words,
    },
    SCOPE_WORD, key,
    process::DAY,
};
use crate::settings::route::service;

/// STS's bounds for a session, in milliseconds.
const SESSION: (u64, u64) = (15 * 60 * 1000, 12 * 60 * 60 * 1000);

pub(super) const KEYS: &[Key] = &[
    key(
        "id",
        Pattern("^([A-Za-z0-9_.]|[A-Za-z0-9_.-]{2,64})$"),
        "",
        "Its name in the log; by default the file's.",
    ),
    key(
        "uri",
        Pattern(r"^/[^*?#{}\s]*\*?$"),
        "",
        "The path it takes: `/aws` that path alone, `/aws/*` all below `/aws/`, `/aws*` both.",
    ),
    key("uris", List(&Pattern(r"^/[^*?#{}\s]*\*?$")), "", "Several of them instead of `uri`."),
    key(
        "hosts",
        List(&Pattern(r"^(\*\.)?[A-Za-z0-9_.-]+$|^\[.+\]$")),
        "",
        "`a.example.com`, or `*.example.com` for all names below; any by default.",
    ),
    key("methods", List(&Pattern("^[^a-z\\s]+$")), "", "Such as [GET, POST]; any by default."),
    key(
        "priority",
        Signed(i32::MIN as i64, i32::MAX as i64),
        "0",
        "Decides between routes with the same host and path; the higher wins.",
    ),
    key(
        "max_in_flight",
        Number(1, 1_000_000),
        "",
        "Requests at a time, counted to the last byte of the answer; more are answered 503 at once. No limit of its own by default.",
    ),
    key("enabled", Boolean, "true", "`false` leaves the route out."),
    key("api_gateway", Section(API_GATEWAY, &[]), "", "An API Gateway endpoint or Function URL."),
    key("lambda", Section(LAMBDA, &[]), "", "A function by Lambda's Invoke API."),
];

pub(super) const API_GATEWAY: &[Key] = &[
    key(
        "function_uri",
        Pattern(r"^https?://[^#*\s]+$"),
        "",
        "The endpoint: scheme, host, stage, path and, if need be, a query. What the `*` of `uri` stood for is appended.",
    )
    .secret_query(),
    key("authorization", Filled(AUTHORIZATION), "", "What proves to AWS who calls: `apikey`, `iam` or both."),
    key(
        "client_authorization",
        Words(&["replace", "pass"]),
        "replace",
        "What becomes of X-Api-Key, Authorization and SigV4 headers that a client sends on a route with `authorization`: `replace` takes them out, `pass` lets them win.",
    ),
    key("timeout", Duration(100, DAY), "3s", "Each of the next three, where it is not set."),
    CONNECT_TIMEOUT,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    REQUEST_TIMEOUT,
    key("retry", Section(RETRY, &[]), "", RETRY_TEXT),
    CIRCUIT_BREAKER,
    SSL_VERIFY,
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    CONNECT,
    key("keepalive", Boolean, "true", "Whether connections are used again."),
    KEEPALIVE_POOL,
    key("keepalive_timeout", Duration(1000, DAY), "60s", "How long an idle connection stays."),
    PROXY_URL,
    key(
        "max_req_body_size",
        Size(1, 1 << 30),
        "10MiB",
        "Bytes of a request body, no more than `limits.max_request_body`.",
    ),
];

const AUTHORIZATION: &[Key] = &[
    key("apikey", Proof, "", "Goes out as X-Api-Key. Keep it out of files: $env://NAME or $file:///path."),
    key(
        "iam",
        Section(IAM, &[]),
        "",
        "Every request is signed with Signature Version 4; `iam: {}` takes the first keys that are configured.",
    ),
];

const IAM: &[Key] = &[
    // AWS's logs and every signature name it: it proves nothing
    key("accesskey", Proof, "", "The access key id of the route's own.").open(),
    key("secretkey", Proof, "", "Its secret. Keep it out of files: $env://NAME or $file:///path."),
    key("secret_key", Proof, "", "The same as `secretkey`."),
    key("session_token", Text, "", "The token of temporary keys.").secret(),
    key("profile", Text, "", "A profile of the shared files instead.").open(),
    role("assume_role_arn"),
    role_session("role_session_name", "apigw-invoker"),
    external_id("external_id"),
    role_duration("role_duration"),
    sts_endpoint("sts_endpoint_url"),
    metadata_protocol("imds_protocol_version"),
    key("aws_region", Pattern(SCOPE_WORD), "us-east-1", "The region of the endpoint."),
    key("service", WordBut(service::NOT_YET), "execute-api", "`lambda` for a Function URL."),
];

pub(super) const LAMBDA: &[Key] = &[
    key("function_name", Text, "", "A name, NAME:QUALIFIER, a partial or a full ARN.").open(),
    key("qualifier", Text, "", "A version or alias.").open(),
    key(
        "aws_region",
        Pattern(SCOPE_WORD),
        "",
        "The region; by default the ARN's, AWS_REGION, AWS_DEFAULT_REGION, or the host's.",
    ),
    key("aws_key", Proof, "", "The access key id of the route's own.").open(),
    key("aws_secret", Proof, "", "Its secret. Keep it out of files: $env://NAME or $file:///path."),
    key("aws_session_token", Text, "", "The token of temporary keys.").secret(),
    key("aws_profile", Text, "", "A profile of the shared files instead.").open(),
    role("aws_assume_role_arn"),
    role_session("aws_role_session_name", "kong"),
    external_id("aws_external_id"),
    role_duration("aws_role_duration"),
    sts_endpoint("aws_sts_endpoint_url"),
    metadata_protocol("aws_imds_protocol_version"),
    key(
        "upstream_url",
        Pattern("^aws-lambda://.+"),
        "",
        "aws-lambda://REGION/FUNCTION?qualifier=…&invocation_type=…&log_type=… instead of those keys.",
    )
    .secret_query(),
    key("host", Text, "", "The Lambda API's host; by region by default, in all of AWS's partitions.").open(),
    key("port", Number(1, 65535), "443", "`80` by default with `disable_https`."),
    key("disable_https", Boolean, "false", "Plain HTTP, for a local Lambda."),
    key(
        "use_fips_endpoint",
        Boolean,
        "false",
        "The hosts with FIPS 140; by default as AWS_USE_FIPS_ENDPOINT says.",
    ),
    key(
        "use_dualstack_endpoint",
        Boolean,
        "false",
        "The hosts with IPv6; by default as AWS_USE_DUALSTACK_ENDPOINT says.",
    ),
    key(
        "invocation_type",
        Words(&["RequestResponse", "Event", "DryRun"]),
        "RequestResponse",
        "`Event` queues the event and answers 202, `DryRun` 204.",
    ),
    key(
        "log_type",
        Words(&["Tail", "None"]),
        "Tail",
        "`None` asks for no log. The tail goes to the sidecar's own log at level debug, never to the client.",
    ),
    key(
        "invoke_mode",
        Words(&["buffered", "response_stream"]),
        "buffered",
        "`response_stream` passes the function's answer on as it is written.",
    ),
    key("client_context", Object, "", "A table, or a JSON object as a text, sent as X-Amz-Client-Context."),
    key("tenant_id", Text, "", "Sent as X-Amz-Tenant-Id.").secret(),
    key("forward_request_method", Boolean, "false", "The event has the request's method."),
    key("forward_request_uri", Boolean, "false", "The event has the request's target."),
    key("forward_request_headers", Boolean, "false", "The event has the request's headers."),
    key("forward_request_body", Boolean, "false", "The event has the request's body."),
    key(
        "awsgateway_compatible",
        Boolean,
        "false",
        "The event is an API Gateway's; goes before `forward_request_*`.",
    ),
    key(
        "awsgateway_compatible_payload_version",
        Version,
        "1.0",
        "`2.0` as HTTP APIs and Function URLs have it.",
    ),
    key("account_id", Text, "", "Of the event's requestContext; the ARN's by default."),
    key("api_id", Text, "", "Of the event's requestContext; the route's id by default."),
    key("stage", Text, "$default", "Of the event's requestContext."),
    key("stage_variables", Texts, "", "A table for the event's stageVariables."),
    key(
        "body",
        Object,
        "",
        "An object beneath body and query, of which the query then wins; only where the two are merged.",
    ),
    key("base64_encode_body", Boolean, "true", "`false` encodes only what is not UTF-8."),
    key("skip_large_bodies", Boolean, "true", "Accepted; no body is ever skipped."),
    key("is_proxy_integration", Boolean, "false", "The function's answer says status, headers and body."),
    key(
        "unhandled_status",
        Number(200, 999),
        "",
        "The status of an answer with X-Amz-Function-Error: Unhandled.",
    ),
    key(
        "empty_arrays_mode",
        Words(&["correct", "legacy"]),
        "correct",
        "`legacy` makes {} of [] in the function's answer; not with `is_proxy_integration`.",
    ),
    key("preserve_lambda_api_error_code", Boolean, "false", "A refusal of the API keeps its status."),
    key("timeout", Duration(100, DAY), "60s", "Each of the next three, where it is not set."),
    CONNECT_TIMEOUT,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    REQUEST_TIMEOUT,
    key("retry", Section(RETRY_OF_FUNCTIONS, &[]), "", RETRY_TEXT),
    CIRCUIT_BREAKER,
    SSL_VERIFY,
    CA_CERTIFICATE,
    CLIENT_CERTIFICATE,
    CLIENT_KEY,
    CONNECT,
    PROXY_URL,
    key(
        "keepalive",
        Duration(0, DAY),
        "60s",
        "How long an idle connection stays; `0` keeps none, and less than a second is raised to one.",
    ),
    KEEPALIVE_POOL,
];

/// The keys that both backends have by a name of their own.
const fn role(name: &'static str) -> Key {
    key(name, Pattern("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"), "", "A role to assume with those keys.")
}

const fn role_session(name: &'static str, default: &'static str) -> Key {
    key(name, Text, default, "What AWS's logs call the role's sessions.").open()
}

const fn external_id(name: &'static str) -> Key {
    key(name, Text, "", "What the role's owner demands.").secret()
}

const fn role_duration(name: &'static str) -> Key {
    key(name, Duration(SESSION.0, SESSION.1), "", "How long a session lasts, 15 minutes to 12 hours.")
}

const fn sts_endpoint(name: &'static str) -> Key {
    key(name, Pattern("^https?://[^@]+$"), "", "Where STS is; the region's by default.").secret_query()
}

const fn metadata_protocol(name: &'static str) -> Key {
    key(name, Words(&["v1", "v2"]), "v2", "`v1` for a metadata service without tokens.")
}

const CONNECT_TIMEOUT: Key = key(
    "connect_timeout",
    Duration(100, DAY),
    "",
    "Name resolution, TCP, a proxy's tunnel and TLS together; `timeout` by default.",
);
const FIRST_BYTE_TIMEOUT: Key = key(
    "first_byte_timeout",
    Duration(100, DAY),
    "",
    "Without progress in sending, then until the answer's head has arrived; `timeout` by default.",
);
const IDLE_TIMEOUT: Key = key(
    "idle_timeout",
    Duration(100, DAY),
    "",
    "Between two pieces of the answer's body; `timeout` by default.",
);
const REQUEST_TIMEOUT: Key = key(
    "request_timeout",
    Duration(0, DAY),
    "",
    "The whole request, from its head to the last byte of the answer, repeated calls among it; at least 100 ms, 0 for none. None by default.",
);
const RETRY_TEXT: &str = "Which calls are made again, how often and when.";
const CIRCUIT_BREAKER: Key = key(
    "circuit_breaker",
    Section(CIRCUIT_BREAKER_KEYS, &[]),
    "",
    "When calls are not even tried. Without the section they always are.",
);
const SSL_VERIFY: Key =
    key("ssl_verify", Boolean, "true", "Whether the server's certificate is verified; `false` is warned of.");
const CA_CERTIFICATE: Key =
    key("ca_certificate", Text, "", "A PEM file of the authorities to trust instead of the platform's.")
        .open();
const CLIENT_CERTIFICATE: Key = key(
    "client_certificate",
    Text,
    "",
    "A PEM file of a certificate, with those that vouch for it behind, that is shown to a server that asks who calls.",
)
.secret_unless_path();
const CLIENT_KEY: Key =
    key("client_key", Text, "", "A PEM file with the key of `client_certificate`.").secret_unless_path();
const CONNECT: Key = key(
    "connect",
    Filled(CONNECT_KEYS),
    "",
    "Where connections lead, if that is not the host that is called.",
);
const KEEPALIVE_POOL: Key = key(
    "keepalive_pool",
    Number(1, 100_000),
    "5",
    "How many connections stay in each worker once they have been idle for a second.",
);
const PROXY_URL: Key = key(
    "proxy_url",
    Text,
    "",
    "An HTTP proxy that is asked for a tunnel: http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT.",
)
.secret();

const CONNECT_KEYS: &[Key] = &[
    key(
        "address",
        Text,
        "",
        "HOST or HOST:PORT to connect to; the host that is called is still sent and signed.",
    )
    .open(),
    key("sni", Text, "", "What the server is called in TLS: in SNI and in its certificate.").open(),
];

const CIRCUIT_BREAKER_KEYS: &[Key] = &[
    key("failures", Number(0, 10_000), "5", "Failures in a row that open it; 0 for none."),
    key("open_for", Duration(100, DAY), "10s", "How long it then lets nothing through."),
];

const ATTEMPTS: Key =
    key("attempts", Number(1, 10), "2", "How often a call is made in all; 1 turns retries off.");
const BACKOFF: Key = key(
    "backoff",
    Duration(1, DAY),
    "50ms",
    "The first pause is at random anything up to this; the longest doubles each time.",
);
const MAX_BACKOFF: Key =
    key("max_backoff", Duration(1, DAY), "1s", "The longest pause, and the longest that AWS may ask for.");
const BUDGET: Key = key("budget", Number(0, 900), "20", "Repeated calls to 100 requests of the route.");
const UNSAFE: Key = key(
    "unsafe",
    List(&Words(&["connection_lost", "unavailable", "timeout"])),
    "[]",
    "Outcomes after which the function may have run, and that are repeated nonetheless.",
);
const RETRY: &[Key] = &[
    ATTEMPTS,
    BACKOFF,
    MAX_BACKOFF,
    BUDGET,
    UNSAFE,
    key(
        "unsafe_methods",
        Boolean,
        "false",
        "Whether those are repeated for methods that are not idempotent too, such as POST.",
    ),
];
/// Every call of a function is a POST, so the methods say nothing.
const RETRY_OF_FUNCTIONS: &[Key] = &[ATTEMPTS, BACKOFF, MAX_BACKOFF, BUDGET, UNSAFE];
