//! A sidecar that signs and forwards plain local HTTP requests to AWS API Gateway endpoints and Lambda
//! functions.
//!
//! The path of a request (`proxy.rs`):
//!
//! ```text
//! cli ─ settings ─ app ─ state ─ listener               from the command line to an open socket
//!
//! listener → proxy → trace → routing → admission → inbound
//!                                                       a client's request
//!          → backend::request                            the request that goes out
//!          → call: circuit_breaker → signing → client → retry
//!                                                       out to AWS, with retries
//!          → diagnosis                                  the cause of a call that AWS refused
//!          → backend::reply → reply                     the response to the client
//!          → record: logging, metrics, spans             access log, counters and spans
//! ```
//!
//! The floors, the highest first: a module uses only modules of lower floors. `tests/it/house.rs` fails on
//! any other `use`.
//!
//! ```text
//! cli                                           commands, and their results as text
//! dev                                           the sidecar beside a stand-in for AWS (feature `dev`)
//! app                                           from settings to a running process
//! admin                                         probes, metrics, routes; status page and inspector
//! explain import stand_in                       dry run of a request; routes from other gateways; a local
//!                                               stand-in for AWS (feature `dev`)
//! listener                                      sockets and HTTP towards clients
//! proxy                                         the path of a request
//! state                                         the current snapshot, its builder and its reload
//! settings_source                               settings from a bundle: fetch, check, cache
//! resilience                                    limits of requests in flight, circuit breakers, retries
//! backend credentials diagnosis spans           API Gateway, Lambda; AWS credentials; causes of refusals;
//!                                               OTLP
//! client                                        connections to AWS and collectors, and HTTP on them
//! signing                                       Signature Version 4 and the clocks of endpoints
//! logging message                               the log; requests, responses, errors and traces
//! metrics settings                              counters; settings files and their checks
//! routing tls                                   the route of a path; TLS on both sides
//! system text                                   files, clock, threads; values as text
//! ```
//!
//! Words: the *client* is the program that calls the *sidecar*; the *upstream* is AWS. *Request* and
//! *response* face the client, *outbound* and *reply* face the upstream. A *route* leads to one *backend*,
//! which has a *target*. A *snapshot* is the state that a reload of the settings replaces as a whole.

mod admin;
pub mod app;
pub mod backend;
mod cli;
pub mod client;
mod credentials;
#[cfg(feature = "dev")]
pub mod dev;
pub mod diagnosis;
mod explain;
pub mod import;
mod listener;
mod logging;
pub mod message;
pub mod metrics;
mod proxy;
mod resilience;
pub mod routing;
pub mod settings;
mod settings_source;
pub mod signing;
mod spans;
#[cfg(feature = "dev")]
pub mod stand_in;
pub mod state;
mod system;
pub mod text;
pub mod tls;

pub use cli::main;
