//! A stand-in for AWS on loopback that really checks keys and signatures: an API of API Gateway, the Lambda API with
//! a few functions, STS, and the sources that hand out keys.
//!
//! `dev.rs` runs it beside a sidecar, and the tests use it as their AWS. Nothing of the sidecar's own signing is used
//! here: `verify.rs` follows AWS's description by itself.

mod account;
mod answers;
mod container;
mod controls;
pub mod credentials;
mod fault;
mod functions;
mod ids;
mod issued;
mod lambda;
mod metadata;
mod options;
mod server;
mod sts;
mod verify;

pub use self::{
    controls::{Controls, Service, Switch},
    fault::Fault,
    options::StandInOptions,
    server::StandIn,
    verify::StandInKeys,
};
