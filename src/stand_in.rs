//! The stand-in: a fake AWS on loopback that verifies keys and signatures. It has an API of API Gateway, the
//! Lambda API with some functions, STS, IAM Roles Anywhere, and the sources of keys.
//!
//! The command `dev` runs it beside a sidecar, and tests use it as AWS. It shares no code with the sidecar's
//! signing: `verify.rs` follows AWS's description.

mod account;
mod answers;
mod container;
mod controls;
pub mod credentials;
mod fault;
mod functions;
mod issued;
mod lambda;
mod metadata;
pub mod played;
mod roles_anywhere;
pub mod runtime;
mod server;
mod service_rules;
mod sts;
mod user_api;
mod verify;

pub use self::{
    account::StandInOptions,
    controls::{Controls, Service, Switch},
    fault::Fault,
    server::StandIn,
    verify::StandInKeys,
};
