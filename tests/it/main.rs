//! The sidecar as its users meet it: real sockets, the library's application or the binary itself.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and so do its helpers"
)]

/// The admin port, and `check --credentials`.
mod admin;
/// APISIX's behaviour cases (A) with our deviations.
mod api_gateway;
/// One suite for every backend, with bytes alone.
mod backend_contract;
/// `check --connect` and `check --credentials`.
mod check_network;
/// When calls are not even tried.
mod circuit_breaker;
/// `client_certificate` and `client_key`: mutual TLS.
mod client_certificates;
/// Collectors of spans that hang, flood, redirect, close and are busy.
mod collectors;
/// `apigw-invoker` itself: `check`, `dev`, exit codes, signals.
mod commands;
/// One connection of HTTP/1.1 and the requests on it, whatever their headers say.
mod connections;
/// The services of the stand-in that hand out keys, and `dev --credentials`.
mod credential_stand_in;
/// A sidecar whose credentials rotate, fail and come back.
mod credentials;
/// Answers that break off.
mod cut_answers;
/// Level debug and who sets it.
mod debug_lines;
/// Calls that AWS refuses for another reason than their signature.
mod denials;
/// `dev`: its banner, its faults and its admin port.
mod dev;
/// Signatures that AWS refuses, and clocks that are wrong.
mod diagnosis;
/// What the documents and the shipped settings say against what the code does.
mod documents;
/// `/routes`: how each route is set, without its secrets.
mod effective;
/// The proxies of the environment.
mod environment_proxies;
/// Event streams of the Lambda API.
mod event_streams;
/// Both directions of a call at once.
mod exchanges;
/// `explain`, `routes` and `check` as JSON.
mod explain;
/// An upstream that refuses, cuts, stalls and lies.
mod faults;
/// `proxy_url`: calls through an HTTP proxy.
mod forward_proxy;
/// Functions' answers: headers, lengths, limits, failures.
mod function_answers;
/// Clients that speak gRPC.
mod grpc;
/// The rules of the house: file sizes, headers, words.
mod house;
/// HTTP/2 towards clients.
mod http2;
/// Answers of HTTP/2 that break off, come early, or are waited for.
mod http2_answers;
/// What HTTP/2 refuses, and what the log says of it.
mod http2_refusals;
/// Kong's behaviour cases (K, R) with our deviations.
mod lambda;
/// The stand-in's Lambda API, called directly.
mod lambda_stand_in;
/// A client, the sidecar, and functions that answer whole or word by word.
mod lambda_streams;
/// Sizes, counts and times that are too much.
mod limits;
/// TLS and Unix sockets towards clients.
mod listeners;
/// The severity of each failure in the log.
mod log_levels;
/// `/metrics`, what the operators' page says of it, and the dashboard.
mod metrics;
/// The limit of open files.
mod open_files;
/// Certificates that the sidecar shows others.
mod own_certificates;
/// Which route takes a request.
mod path_templates;
/// Values planted in every key that can hold a secret.
mod planted_secrets;
/// `connect`: private APIs behind VPC endpoints.
mod private_apis;
/// Settings that change while requests go on.
mod reload;
/// What is called again, how often, and when.
mod retries;
mod routing;
/// The JSON Schema of the settings.
mod schema;
/// Secrets through a whole run.
mod secrets;
/// Files of the settings that are no such files.
mod settings_files;
/// How the process ends.
mod shutdown;
/// AWS's vectors, golden signatures, and what the stand-in makes of arbitrary requests.
mod signatures;
/// Clients that take their time.
mod slow_clients;
/// Requests that two readers might read differently.
mod smuggling;
/// What a collector is told over OTLP.
mod spans;
/// TCP keep-alive on live sockets.
mod tcp_keepalive;
/// Colours on a terminal.
mod terminal;
/// TLS towards AWS.
mod tls;
/// Failures of TCP and TLS in the log.
mod tls_failures;
/// Traces: `traceparent`, `tracestate`, `X-Amzn-Trace-Id`.
mod tracing;
/// Settings that AWS or the system would refuse later.
mod unwise_settings;

mod support;
