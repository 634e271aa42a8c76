//! Names of headers that a proxy must not forward or that the sidecar sets itself (RFC 9110, 7.6).
//!
//! `message/headers.rs` removes these headers; in `headers` of a route their names are a mistake.

/// Declares a list of lower-case names and its predicate.
macro_rules! header_names {
    ($($(#[$meta:meta])* $NAMES:ident, $contains:ident: $($name:literal),+;)*) => { $(
        $(#[$meta])*
        pub const $NAMES: &[&str] = &[$($name),+];

        $(#[$meta])*
        pub fn $contains(name: &str) -> bool {
            matches!(name, $($name)|+)
        }
    )* };
}

header_names! {
    /// RFC 9110, 7.6.1, and the older `Keep-Alive` and `Proxy-Connection`.
    HOP_BY_HOP, is_hop_by_hop:
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "http2-settings", "te", "trailer", "transfer-encoding", "upgrade";
    /// Set or answered by the sidecar: `Host` is the target's, the length is the body's, and 100 has been
    /// sent.
    REQUEST_ONLY, is_request_only: "host", "content-length", "expect";
    /// API Gateway acts on the first and refuses the others, which are reserved for `PrivateLink`.
    MEANT_FOR_AWS, is_meant_for_aws: "x-http-method-override", "x-amzn-tls-version", "x-amzn-cipher-suite";
    /// The headers by which AWS recognises a caller.
    AWS_PROOFS, is_aws_proof:
        "x-api-key", "authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token";
}

/// Loop detection (RFC 9110, 7.6.3) and the id of the request in the log.
const SET_IN_REQUESTS: &[&str] = &["via", "x-request-id"];
/// The length of the body, the id of the request in the log, and the date, which every response has
/// (RFC 9110, 6.6.1).
const SET_IN_RESPONSES: &[&str] = &["content-length", "x-request-id", "date"];

/// The beginning of the other names that API Gateway refuses.
pub const VPC_PREFIX: &str = "x-amzn-vpc";

/// The treatment of the headers by which AWS recognises a caller in a client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientProofs {
    Pass,
    /// Dropped: the route's authorization replaces them.
    Drop,
    /// The same, except for `x-amz-content-sha256`, which describes an `aws-chunked` body.
    DropAllButPayload,
}

impl ClientProofs {
    /// True if a header with this lower-case name is dropped.
    pub fn drop(self, name: &str) -> bool {
        match self {
            Self::Pass => false,
            Self::Drop => is_aws_proof(name),
            Self::DropAllButPayload => is_aws_proof(name) && name != "x-amz-content-sha256",
        }
    }
}

/// Names that are not the operator's to change in one direction.
#[derive(Debug, Clone, Copy)]
pub struct OwnNames {
    pub names: &'static [&'static [&'static str]],
    /// Beginnings of further names.
    pub prefixes: &'static [&'static str],
}

/// Of requests.
pub const OWN_REQUEST_NAMES: OwnNames =
    OwnNames { names: &[HOP_BY_HOP, REQUEST_ONLY, MEANT_FOR_AWS, SET_IN_REQUESTS], prefixes: &[VPC_PREFIX] };

/// Of responses.
pub const OWN_RESPONSE_NAMES: OwnNames = OwnNames { names: &[HOP_BY_HOP, SET_IN_RESPONSES], prefixes: &[] };

impl OwnNames {
    /// True for a lower-case name of the list.
    pub fn contain(&self, name: &str) -> bool {
        self.names.iter().any(|names| names.contains(&name))
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}
