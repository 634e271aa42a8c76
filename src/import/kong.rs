//! Routes of Kong with the plugin `aws-lambda`: declarative files of every version, dumps of the Admin API,
//! and `apis` of 2016.

mod entities;
pub mod expression;
mod paths;
mod plugin;
mod route;

pub use entities::KongConfiguration;
