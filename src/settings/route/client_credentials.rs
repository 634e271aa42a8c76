//! Keys of the caller: `client_credentials` beside a route's own keys.
//!
//! `proxy/client_credentials.rs` takes the keys from each request.

use super::key_source::{CredentialProvider, CredentialSettings};
use crate::settings::source::check::Checker;

words! {
    /// The way in which a caller sends its AWS keys.
    pub enum CredentialScheme {
        /// `Authorization: Basic` with key id and secret (RFC 7617).
        Basic = "basic",
    }
}

/// The keys that sign the requests of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallerKeys {
    /// The route's own.
    #[default]
    Off,
    /// The caller's, or the route's own for a caller that sends none.
    Optional,
    /// The caller's alone.
    Required,
}

section! {
    /// Keys of the caller.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct ClientCredentialSettings, read as WrittenClientCredentials, optional "a table about keys of the caller";

    made ClientCredentialParts {
        /// The keys that sign.
        keys: CallerKeys,
    }

    /// `basic`: requests are signed with AWS keys that the caller sends in `Authorization: Basic`, see "Keys of
    /// the caller". Off by default.
    client_credentials: CredentialScheme => |client| client.scheme();
    /// `false`: requests without keys of the caller are signed with the route's own.
    client_credentials_required: bool = true => |client| client.is_required();
}

impl ClientCredentialSettings {
    /// The route's own source, if it ever signs.
    pub(in crate::settings) fn own_source<'a>(
        &self,
        source: &'a CredentialSettings,
    ) -> Option<&'a CredentialSettings> {
        (self.keys != CallerKeys::Required).then_some(source)
    }

    fn scheme(&self) -> Option<CredentialScheme> {
        (self.keys != CallerKeys::Off).then_some(CredentialScheme::Basic)
    }

    fn is_required(&self) -> Option<bool> {
        (self.keys != CallerKeys::Off).then_some(self.keys == CallerKeys::Required)
    }
}

impl WrittenClientCredentials {
    /// Checks both keys; `source` is the route's own.
    pub(in crate::settings) fn check(
        &mut self,
        source: Option<&CredentialSettings>,
        checker: &mut Checker<'_>,
    ) -> Option<ClientCredentialSettings> {
        if checker.has_error("client_credentials") || checker.has_error("client_credentials_required") {
            return None;
        }
        let required = self.client_credentials_required.take();
        let keys = match (self.client_credentials.take(), required) {
            (None, None) => CallerKeys::Off,
            (None, Some(_)) => {
                checker.at("client_credentials_required").report_incomplete(
                    "has no effect without `client_credentials`",
                    "`client_credentials: basic` beside it",
                );
                CallerKeys::Off
            }
            (Some(CredentialScheme::Basic), Some(false)) => CallerKeys::Optional,
            (Some(CredentialScheme::Basic), None | Some(true)) => CallerKeys::Required,
        };
        if keys == CallerKeys::Required && source.is_some_and(is_written) {
            checker.at("client_credentials").warn(
                "the route's own keys are never used; `client_credentials_required: false` uses them for callers \
                 without keys",
            );
        }
        Some(self.settled(checker)(ClientCredentialParts { keys }))
    }
}

/// True for a source that the settings name; without one the credential chain is the source.
fn is_written(source: &CredentialSettings) -> bool {
    source.origin != CredentialProvider::Chain || source.role.is_some()
}
