//! Values as text: AWS's host names and endpoints, JSON, XML, base64, hexadecimal, durations, sizes, URLs,
//! and text that is safe in a log line.

pub(crate) mod aws_endpoints;
pub(crate) mod aws_hosts;
pub(crate) mod command_line;
pub(crate) mod flat_xml;
pub mod header_names;
pub(crate) mod hexadecimal;
pub(crate) mod ip_text;
pub(crate) mod json;
pub(crate) mod key_source;
pub(crate) mod lenient_base64;
pub(crate) mod listing;
pub(crate) mod local_addresses;
pub(crate) mod log_safe;
pub mod signing_rules;
pub(crate) mod units;
pub mod uri_syntax;
