//! Validation of a request's head. The head is not changed.
//!
//! `proxy.rs` calls [`check`] first. The parser below actix has already rejected control bytes and
//! whitespace, and `listener/request_target.rs` has escaped bytes outside ASCII.

use actix_http::{RequestHead, header};

use crate::{
    message::error::{ErrorKind, ProxyError},
    settings::Limits,
    text::uri_syntax::escapes_are_whole,
};

/// Longer than any registered method (IANA, HTTP Method Registry).
const MAX_METHOD_LENGTH: usize = 32;

/// Checks a request's method, path and query, headers and host.
///
/// # Errors
/// One of them is too long, a `%` is not followed by two hexadecimal digits, or the host is invalid.
pub fn check(head: &RequestHead, limits: &Limits) -> Result<(), ProxyError> {
    let max_uri = limits.max_uri;
    if head.method.as_str().len() > MAX_METHOD_LENGTH {
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

/// Checks `Host` and the authority of an absolute target; one of them becomes `X-Forwarded-Host`. Both must
/// not contain user information (RFC 9110, 4.2.4; RFC 9113, 8.3.1), and the logged cause does not repeat
/// them.
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

/// Bytes of a header line beyond name and value: `: ` and CR LF.
const LINE_OVERHEAD: usize = 4;

fn check_headers(head: &RequestHead, target: usize, limits: &Limits) -> Result<(), ProxyError> {
    let too_large = |cause: String| Err(ProxyError::new(ErrorKind::HeadersTooLarge, cause));
    let headers = &head.headers;
    let Limits { max_head, max_headers, .. } = *limits;
    if headers.len() > usize::try_from(max_headers).unwrap_or(usize::MAX) {
        return too_large(format!("{} headers, the limit is {max_headers}", headers.len()));
    }
    let lines: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_OVERHEAD).sum();
    let bytes = (target + lines) as u64;
    if bytes > max_head {
        return too_large(format!("a head of {bytes} bytes, the limit is {max_head}"));
    }
    Ok(())
}

/// RFC 3986, 3.2, without user information.
fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}
