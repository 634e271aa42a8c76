//! A sidecar that lets any program call AWS API Gateway endpoints and Lambda functions as plain local HTTP.
//!
//! The path of a request; `proxy.rs` is the path itself:
//!
//! ```text
//! cli ─ settings ─ app ─ state ─ listener               from the command line to an open socket
//!
//! listener → proxy → trace → routing → admission → inbound
//!                                                       a client's request
//!          → backend::request                            the request that goes out
//!          → call: circuit_breaker → signing → client → retry
//!                                                       out to AWS, with retries
//!          → diagnosis                                  the cause of a signature that AWS refused
//!          → backend::reply → reply                     and back
//!          → record: logging, metrics, spans             the request's line, counters and spans
//! ```
//!
//! The floors, the highest first: a room uses rooms of lower floors alone, and `tests/it/house.rs` fails on any other
//! `use`.
//!
//! ```text
//! cli                                           commands, and their results as text
//! dev                                           the sidecar beside a stand-in for AWS (feature `dev`)
//! app                                           from settings to a running process
//! admin explain stand_in                        probes, metrics, routes; a request's course without sending it; AWS on
//!                                               loopback (feature `dev`)
//! listener                                      sockets and HTTP towards clients
//! proxy                                         the path of a request
//! state                                         the snapshot in force, its builder and its reload
//! resilience                                    limits of requests in flight, circuit breakers, retries
//! backend credentials diagnosis spans           API Gateway and Lambda; keys; refusals explained; spans for a collector
//! client                                        connections to AWS and collectors, and HTTP on them
//! signing                                       Signature Version 4 and the clocks of endpoints
//! logging message                               the log; requests, answers, errors and traces on their way
//! metrics settings                              counters; the settings' files, checked
//! routing tls                                   the route of a path; TLS on both sides
//! system text                                   files, clock, threads; values as text
//! ```
//!
//! Words: the *client* is the program that calls; the *sidecar* is this; the *upstream* is AWS. *Request* and
//! *response* face the client, *outbound* and *reply* face the upstream. A *route* takes requests to one
//! *backend*, which knows its *target*. A *snapshot* is the settings as the running program sees them.

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
mod listener;
mod logging;
pub mod message;
pub mod metrics;
mod proxy;
mod resilience;
pub mod routing;
pub mod settings;
pub mod signing;
mod spans;
#[cfg(feature = "dev")]
pub mod stand_in;
pub mod state;
mod system;
pub mod text;
pub mod tls;

pub use cli::main;
