//! Values as text: AWS's host names, JSON, base64, hexadecimal, durations and sizes, and text that is safe in a log line.

pub mod aws_hosts;
pub mod excerpt;
pub mod hexadecimal;
pub mod json;
pub mod key_source;
pub mod lenient_base64;
pub mod units;
pub mod uri_syntax;
