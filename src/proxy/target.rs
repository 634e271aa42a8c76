//! Is this request's head sound? Nothing here changes a byte of it.
//!
//! `proxy.rs` asks before anything else. The parser below actix has already refused control bytes and blanks, and
//! `listener/request_line.rs` has escaped what is beyond ASCII.

use actix_http::{RequestHead, header};

use crate::{
    error::{ErrorKind, ProxyError},
    uri_syntax::escapes_are_whole,
};

/// Longer than any that is registered (IANA, HTTP Method Registry).
const LONGEST_METHOD: usize = 32;

/// Checks a request's method, path and query, and host.
///
/// # Errors
/// They are too long, hold a `%` that escapes nothing, or are no host.
pub fn check(head: &RequestHead, max_uri: u64) -> Result<(), ProxyError> {
    if head.method.as_str().len() > LONGEST_METHOD {
        return Err(ProxyError::new(ErrorKind::InvalidRequest, "a method longer than any there is"));
    }
    let text = head.uri.path_and_query().map_or("", |text| text.as_str());
    if text.len() as u64 > max_uri {
        return Err(ErrorKind::UriTooLong { limit: max_uri }.into());
    }
    if !escapes_are_whole(text.as_bytes()) {
        return Err(ErrorKind::InvalidPath("`%` is not followed by two hexadecimal digits").into());
    }
    if head
        .headers
        .get(header::HOST)
        .is_some_and(|host| !host.as_bytes().iter().copied().all(is_of_authority))
    {
        return Err(ProxyError::new(ErrorKind::InvalidRequest, "a Host that is none"));
    }
    Ok(())
}

/// RFC 3986, 3.2, without the user.
fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}
