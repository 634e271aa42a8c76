//! Test support: the application, a scripted upstream, and a client that sees every byte.

pub mod app;
pub mod client;
pub mod exposition;
pub mod http2;
pub mod process;
pub mod signatory;
pub mod times;
pub mod tls;
pub mod upstream;
pub mod wait;

pub use app::App;
pub use client::{Response, call, get, open, read_response, send};
pub use http2::Http2;
pub use signatory::Signatory;
pub use upstream::Upstream;
pub use wait::eventually;
