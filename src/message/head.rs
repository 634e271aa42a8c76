//! Is this request's head sound? Nothing here changes a byte of it.
//!
//! `proxy.rs` asks before anything else. The parser below actix has already refused control bytes and blanks, and
//! `listener/request_target.rs` has escaped what is beyond ASCII.

use actix_http::{RequestHead, header};

use crate::{
    message::error::{ErrorKind, ProxyError},
    settings::Limits,
    text::uri_syntax::escapes_are_whole,
};

/// Longer than any that is registered (IANA, HTTP Method Registry).
const LONGEST_METHOD: usize = 32;

/// What a head may cost.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the names are those of the settings")]
pub struct HeadLimits {
    /// Bytes of path and query.
    pub max_uri: u64,
    /// Bytes of the whole head.
    pub max_head: u64,
    pub max_headers: u32,
}

impl HeadLimits {
    /// As the settings have them.
    pub fn of(limits: &Limits) -> Self {
        Self { max_uri: limits.max_uri, max_head: limits.max_head, max_headers: limits.max_headers }
    }
}

/// Checks a request's method, path and query, headers and host.
///
/// # Errors
/// They are too long or too many, hold a `%` that escapes nothing, or are no host.
pub fn check(head: &RequestHead, limits: &HeadLimits) -> Result<(), ProxyError> {
    let max_uri = limits.max_uri;
    if head.method.as_str().len() > LONGEST_METHOD {
        return Err(ProxyError::new(ErrorKind::InvalidRequest, "a method longer than any there is"));
    }
    let text = head.uri.path_and_query().map_or("", |text| text.as_str());
    if text.len() as u64 > max_uri {
        return Err(ErrorKind::UriTooLong { limit: max_uri }.into());
    }
    check_headers(head, text.len(), limits)?;
    if !escapes_are_whole(text.as_bytes()) {
        return Err(ErrorKind::InvalidPath("`%` is not followed by two hexadecimal digits").into());
    }
    check_authority(head)
}

/// Checks `Host` and the authority of an absolute target, of which one becomes `X-Forwarded-Host`. Both may hold
/// no user and password (RFC 9110, 4.2.4; RFC 9113, 8.3.1), and the cause for the log does not repeat them.
fn check_authority(head: &RequestHead) -> Result<(), ProxyError> {
    let is_authority = |text: &[u8]| text.iter().copied().all(is_of_authority);
    let malformed = |cause: &'static str| Err(ProxyError::new(ErrorKind::InvalidRequest, cause));
    if head.headers.get(header::HOST).is_some_and(|host| !is_authority(host.as_bytes())) {
        return malformed("the Host header is not a host with an optional port");
    }
    if head.uri.authority().is_some_and(|authority| !is_authority(authority.as_str().as_bytes())) {
        return malformed("the authority of the target is not a host with an optional port");
    }
    Ok(())
}

/// Bytes between a name and its value, and at the end of a line.
const FILLING: usize = 4;

fn check_headers(head: &RequestHead, target: usize, limits: &HeadLimits) -> Result<(), ProxyError> {
    let too_large = |cause: String| Err(ProxyError::new(ErrorKind::HeadersTooLarge, cause));
    let headers = &head.headers;
    let HeadLimits { max_head, max_headers, .. } = *limits;
    if headers.len() > usize::try_from(max_headers).unwrap_or(usize::MAX) {
        return too_large(format!("{} headers, the limit is {max_headers}", headers.len()));
    }
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FILLING).sum();
    let bytes = (target + lines) as u64;
    if bytes > max_head {
        return too_large(format!("a head of {bytes} bytes, the limit is {max_head}"));
    }
    Ok(())
}

/// RFC 3986, 3.2, without the user.
fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}
