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
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct ClientCredentialSettings, read as WrittenClientCredentials,
        optional "a table about keys of the caller";

    made ClientCredentialParts {
        /// The keys that sign.
        keys: CallerKeys,
    }

    /// `basic`: requests are signed with AWS keys that the caller sends in `Authorization: Basic`, see
    /// "Keys of the caller". Off by default.
    client_credentials: CredentialScheme => ClientCredentialSettings::scheme;
    /// `false`: requests without keys of the caller are signed with the route's own.
    client_credentials_required: bool = true => ClientCredentialSettings::is_required;
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
                "the route's own keys are never used; `client_credentials_required: false` uses them for \
                 callers without keys",
            );
        }
        Some(self.settled(checker)(ClientCredentialParts { keys }))
    }
}

/// True for a source that the settings name; without one the credential chain is the source.
fn is_written(source: &CredentialSettings) -> bool {
    source.origin != CredentialProvider::Chain || source.role.is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::{Document, Mistake, RouteSettings, Settings};

    fn read(process: &str, route: &str) -> Result<Settings, Vec<String>> {
        let documents = [Document::process(process), Document::route("r", route)];
        let read = Settings::from_documents(&documents, &std::collections::BTreeMap::new());
        read.map_err(|mistakes| mistakes.iter().map(Mistake::to_string).collect())
    }

    fn gateway(iam: &str, rest: &str) -> String {
        format!(
            "uri: /\napi_gateway: {{ function_uri: 'https://a.example/', {rest} authorization: {{ iam: \
             {{ {iam} }} }} }}\n"
        )
    }

    fn lambda(keys: &str) -> String {
        format!("uri: /\nlambda: {{ function_name: f, aws_region: us-east-1, {keys} }}\n")
    }

    fn route(text: &str) -> Arc<RouteSettings> {
        read("", text).unwrap().routes.remove(0)
    }

    #[test]
    fn keys_of_callers_are_off_by_default_and_required_where_they_are_on() {
        for (keys, expected, has_source) in [
            ("", CallerKeys::Off, true),
            ("client_credentials: basic", CallerKeys::Required, false),
            ("client_credentials: basic, client_credentials_required: true", CallerKeys::Required, false),
            ("client_credentials: basic, client_credentials_required: false", CallerKeys::Optional, true),
        ] {
            for route in [route(&gateway(keys, "")), route(&lambda(keys))] {
                let section = route.backend.section();
                assert_eq!(
                    (section.caller_keys(), section.source().is_some()),
                    (expected, has_source),
                    "{keys}"
                );
            }
        }
    }

    #[test]
    fn contradictions_are_mistakes() {
        let basic = "client_credentials: basic";
        for (route, expected) in [
            (
                gateway(basic, "client_authorization: pass,"),
                "api_gateway.client_authorization: conflicts with",
            ),
            (gateway("client_credentials: digest", ""), "iam.client_credentials: "),
            (lambda("client_credentials: [basic]"), "lambda.client_credentials: "),
            (lambda("client_credentials_required: false"), "has no effect without `client_credentials`"),
            (gateway("client_credentials_required: true", ""), "has no effect without `client_credentials`"),
        ] {
            let mistakes = read("", &route).unwrap_err();
            assert!(mistakes.len() == 1 && mistakes[0].contains(expected), "{route}{mistakes:#?}");
        }
        assert!(read("", &gateway(basic, "client_authorization: replace,")).is_ok());
    }

    #[test]
    fn defaults_may_have_either_key() {
        let process = "defaults: { lambda: { client_credentials_required: false } }";
        assert!(read(process, &gateway("", "")).is_ok());
        let settings = read(process, &lambda("client_credentials: basic")).unwrap();
        assert_eq!(settings.routes[0].backend.section().caller_keys(), CallerKeys::Optional);
    }

    #[test]
    fn own_keys_that_never_sign_are_warned_of() {
        let warned = |keys: &str| read("", &lambda(keys)).unwrap().warnings.join("\n");
        let own = "aws_key: A, aws_secret: s, client_credentials: basic";
        assert!(warned(own).contains("the route's own keys are never used"), "{}", warned(own));
        assert_eq!(warned(&format!("{own}, client_credentials_required: false")), "");
        assert_eq!(warned("client_credentials: basic"), "");
    }

    #[test]
    fn the_prototypes_names_of_keys_and_its_client_context_are_taken() {
        let secret = |text: &str| match &route(text).backend.source().unwrap().origin {
            CredentialProvider::Keys(keys) => {
                (keys.access_key_id().to_owned(), keys.secret_access_key().to_owned())
            }
            other => panic!("{other:?}"),
        };
        for keys in [
            "aws_access_key: A, aws_secret_key: s",
            "aws_key: A, aws_secret_key: s",
            "aws_access_key: A, aws_secret: s",
        ] {
            assert_eq!(secret(&lambda(keys)), ("A".to_owned(), "s".to_owned()), "{keys}");
        }
        for (keys, expected) in [
            (
                "aws_key: A, aws_access_key: A, aws_secret: s",
                "aws_access_key: duplicate key in another spelling",
            ),
            (
                "aws_key: A, aws_secret: s, aws_secret_key: s",
                "aws_secret_key: duplicate key in another spelling",
            ),
            ("aws_access_key: A", "aws_secret: missing, but `aws_access_key` is set"),
            ("aws_access_key: 'a/b', aws_secret_key: s", "lambda.aws_access_key: not an access key id"),
        ] {
            let mistakes = read("", &lambda(keys)).unwrap_err();
            assert!(mistakes.len() == 1 && mistakes[0].contains(expected), "{keys}: {mistakes:#?}");
        }
        let url = |more: &str| {
            format!(
                "uri: /\nlambda: {{ upstream_url: \
                 'aws-lambda://us-east-1/f?client_context=%7B%22a%22%3A1%7D'{more} \
                 }}\n"
            )
        };
        let context = |text: &str| match &route(text).backend {
            crate::settings::BackendSettings::Lambda(lambda) => lambda.client_context.clone(),
            crate::settings::BackendSettings::ApiGateway(_) => None,
        };
        assert_eq!(context(&url("")).as_deref(), Some("eyJhIjoxfQ=="));
        assert_eq!(context(&url(", client_context: { a: 1 }")).as_deref(), Some("eyJhIjoxfQ=="));
        let mistakes = read("", &url(", client_context: { a: hush }")).unwrap_err();
        assert!(mistakes[0].contains("client_context: conflicts with upstream_url"), "{mistakes:#?}");
        assert!(!mistakes[0].contains("hush"), "{mistakes:#?}");
    }
}
