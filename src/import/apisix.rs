//! Routes of APISIX with the plugin `aws-lambda`: dumps of the Admin API, the file of standalone mode,
//! ADC, and resources of the ingress controller.

mod entities;
mod kubernetes;
mod paths;
mod plugin;
mod route;

pub use entities::ApisixConfiguration;
