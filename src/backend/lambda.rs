//! A Lambda function behind a route, called by the Invoke API: Kong's `aws-lambda` plugin.
//!
//! The client's request becomes the function's event (`payload.rs`), and nothing else of it reaches the API;
//! the function's answer becomes the client's (`answer.rs`), as does a refusal of the API (`refusal.rs`).

pub mod answer;
pub mod payload;
