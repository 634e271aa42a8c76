//! Integration tests: the library's application or the binary, over real sockets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and so do its helpers"
)]

mod admin;
mod api_gateway;
mod backend_contract;
mod check_network;
mod circuit_breaker;
mod client_certificates;
mod client_credentials;
mod collectors;
mod commands;
mod connections;
mod credential_stand_in;
mod credentials;
mod cut_answers;
mod debug_lines;
mod denials;
mod dev;
mod diagnosis;
mod documents;
mod effective;
mod emulators;
mod environment_proxies;
mod event_streams;
mod exchanges;
mod explain;
mod faults;
mod forward_proxy;
mod function_answers;
mod grpc;
mod header_spelling;
mod headers;
mod health;
mod house;
mod http2;
mod http2_answers;
mod http2_refusals;
mod import;
mod inspector;
mod lambda;
mod lambda_stand_in;
mod lambda_streams;
mod limits;
mod listeners;
mod local_functions;
mod log_levels;
mod metrics;
mod named_hosts;
mod open_files;
mod own_certificates;
mod path_templates;
mod planted_secrets;
mod private_apis;
mod reload;
mod remote_secrets;
mod retries;
mod routing;
mod schema;
mod secrets;
mod service_manager;
mod services;
mod settings_files;
mod settings_source;
mod shutdown;
mod signatures;
mod slow_clients;
mod smuggling;
mod spans;
mod status_page;
mod tcp_keepalive;
mod terminal;
mod tls;
mod tls_failures;
mod tracing;
mod trusted_hops;
mod unwise_settings;

mod support;
