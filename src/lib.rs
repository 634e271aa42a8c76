//! A sidecar that lets any program call AWS API Gateway endpoints and Lambda functions as plain local HTTP.
//!
//! The modules in the order in which a request meets them; `proxy.rs` is the path itself.
//!
//! ```text
//! cli ─ settings ─ run ─ app ─ snapshot ─ listener      from the command line to an open socket
//!
//! listener → proxy → trace → routing → admission → inbound
//!                                                       a client's request
//!          → backend::request                            what goes out
//!          → call: circuit_breaker → signing → client → retry
//!                                                       out to AWS, again if need be
//!          → diagnosis                                  what was wrong with a signature that AWS refused
//!          → backend::reply → reply                     and back
//!          → record: logging, metrics, spans             what is known of it afterwards
//! ```
//!
//! Words: the *client* is the program that calls; the *sidecar* is this; the *upstream* is AWS. *Request* and
//! *response* face the client, *outbound* and *reply* face the upstream. A *route* takes requests to one
//! *backend*, which knows its *target*. A *snapshot* is the settings as the running program sees them.

pub mod admin;
pub mod app;
pub mod backend;
pub mod cli;
pub mod client;
pub mod credentials;
pub mod dev;
pub mod diagnosis;
mod explain;
pub mod listener;
pub mod logging;
pub(crate) mod message;
pub mod metrics;
mod process;
pub mod proxy;
pub mod resilience;
pub mod routing;
pub mod settings;
pub mod signing;
pub mod spans;
pub mod state;
pub mod system;
pub mod text;
pub mod tls;
pub mod uri_syntax;
