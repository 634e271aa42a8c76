//! Where the keys come from that sign a route's requests.
//!
//! `proxy.rs` asks a [`CredentialSource`] for its current keys right before signing. Whatever goes wrong
//! here, nothing goes out unsigned: the route answers 503.

mod source;

use std::fmt;

use aws_credential_types::Credentials;

pub use self::source::{MetadataProtocol, Origin, Role, Source};

/// A name that STS takes for a session, made of any text.
pub fn session_name(text: &str) -> String {
    text.to_owned()
}

/// One source of keys.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// Keys that stand in the settings and never change.
    Static(Credentials),
    /// There are none, for this reason.
    None(&'static str),
}

/// A source has no keys to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsUnavailable(String);

impl CredentialsUnavailable {
    /// Says why, without any secret.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for CredentialsUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no credentials: {}", self.0)
    }
}

impl std::error::Error for CredentialsUnavailable {}

impl CredentialSource {
    /// The keys to sign with now.
    ///
    /// # Errors
    /// There are none, for the reason given.
    pub fn current(&self) -> Result<&Credentials, CredentialsUnavailable> {
        match self {
            Self::Static(credentials) => Ok(credentials),
            Self::None(reason) => Err(CredentialsUnavailable::because(*reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_secret_nor_token() {
        let source = CredentialSource::Static(Credentials::new(
            "AKIDEXAMPLE",
            "hush-secret",
            Some("hush-token".into()),
            None,
            "settings",
        ));
        let shown = format!("{source:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
