//! Takes AWS keys of the caller out of a request, on routes with `client_credentials`.
//!
//! The keys leave the request's headers here, before anything of the request is forwarded, and are dropped
//! when its response begins. `state/signing.rs` signs with them.

use std::sync::Arc;

use actix_http::{
    Request,
    header::{self, HeaderValue},
};
use aws_credential_types::Credentials;

use crate::message::{
    basic_credentials,
    client_link::ClientLink,
    error::{ErrorKind, ProxyError},
};

/// Removes `Authorization` from a request and returns the keys in it.
///
/// `None` means that the route's own keys sign, which is allowed unless `is_required`.
///
/// # Errors
/// The keys are missing or malformed, or have come over a connection that others can read. A request without
/// keys over such a connection gets the same error if keys are required: a challenge would make the client
/// send them.
pub fn take(
    request: &mut Request,
    link: ClientLink,
    is_required: bool,
) -> Result<Option<Arc<Credentials>>, ProxyError> {
    let lines: Vec<HeaderValue> = request.headers_mut().remove(header::AUTHORIZATION).collect();
    if !link.is_private() && (is_required || !lines.is_empty()) {
        return Err(ErrorKind::ClientCredentialsInsecure.into());
    }
    let parsed = match &lines[..] {
        [] => Err("there is no Authorization"),
        [authorization] => basic_credentials::parse(authorization),
        _ => Err("there is more than one Authorization"),
    };
    match parsed {
        Ok(keys) => Ok(Some(Arc::new(keys))),
        Err(_) if !is_required => Ok(None),
        Err(reason) => Err(ErrorKind::ClientCredentialsMissing(reason).into()),
    }
}

#[cfg(test)]
mod tests {
    use actix_http::HttpMessage as _;

    use super::*;

    fn taken(
        lines: &[&'static str],
        link: ClientLink,
        is_required: bool,
    ) -> Result<Option<Arc<Credentials>>, ErrorKind> {
        let mut request = Request::new();
        for line in lines {
            request.headers_mut().append(header::AUTHORIZATION, HeaderValue::from_static(line));
        }
        let taken = take(&mut request, link, is_required).map_err(|error| error.kind);
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
        taken
    }

    fn key_id(taken: Result<Option<Arc<Credentials>>, ErrorKind>) -> Option<String> {
        taken.unwrap().map(|keys| keys.access_key_id().to_owned())
    }

    #[test]
    fn keys_are_taken_over_tls_and_local_connections_alone() {
        for link in [ClientLink::Tls, ClientLink::Local] {
            assert_eq!(key_id(taken(&["Basic QTpi"], link, true)).as_deref(), Some("A"));
        }
        for is_required in [true, false] {
            let refused = taken(&["Basic QTpi"], ClientLink::Plain, is_required).unwrap_err();
            assert_eq!(refused, ErrorKind::ClientCredentialsInsecure);
        }
    }

    #[test]
    fn a_client_is_not_asked_for_keys_over_a_connection_that_others_can_read() {
        let refused = taken(&[], ClientLink::Plain, true).unwrap_err();
        assert_eq!(refused, ErrorKind::ClientCredentialsInsecure);
        assert_eq!(key_id(taken(&[], ClientLink::Plain, false)), None);
    }

    #[test]
    fn missing_malformed_and_repeated_keys_are_refused_where_keys_are_required() {
        for lines in [&[][..], &["Bearer QTpi"], &["Basic !"], &["Basic QTpi", "Basic QTpi"]] {
            let refused = taken(lines, ClientLink::Local, true).unwrap_err();
            assert!(matches!(refused, ErrorKind::ClientCredentialsMissing(_)), "{lines:?}");
            assert_eq!(key_id(taken(lines, ClientLink::Local, false)), None, "{lines:?}");
        }
    }
}
