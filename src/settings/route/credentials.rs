//! Checks the credentials of a route. Both backends have the same keys, `lambda` with Kong's prefix `aws_`.

use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};

use super::{
    endpoint_variant::EndpointVariant,
    environment_proxies::UnusableProxy,
    function_uri::host_and_port,
    key_source::{
        CredentialParts, CredentialProvider, CredentialSettings, MountedKeys, MountedPart, Role,
        WrittenCredentials, is_key, is_swapped,
    },
    proxy_rule::ProxyRule,
    roles_anywhere::WrittenRolesAnywhere,
    upstream::Scheme,
};
use crate::{
    settings::source::check::Checker,
    text::{
        aws_hosts::{roles_anywhere_host, sts_host},
        uri_syntax::without_brackets,
    },
};

/// The names of the keys in a section.
#[derive(Debug, Clone, Copy)]
pub(in crate::settings) struct KeyNames {
    /// The prefix of all names other than `key` and `secret`.
    pub(in crate::settings) prefix: &'static str,
    pub(in crate::settings) key: &'static str,
    pub(in crate::settings) secret: &'static str,
    /// The default of `role_session_name`.
    pub(in crate::settings) session: &'static str,
}

/// The values of a section that `WrittenCredentials` does not contain.
#[derive(Debug)]
pub(in crate::settings) struct SectionCredentials {
    pub(in crate::settings) key: Option<SecretString>,
    pub(in crate::settings) secret: Option<SecretString>,
    /// The signing region.
    pub(in crate::settings) region: String,
    pub(in crate::settings) variant: EndpointVariant,
    /// The proxies on the way to AWS.
    pub(in crate::settings) proxy: ProxyRule,
}

impl WrittenCredentials {
    pub(in crate::settings) fn check(
        &mut self,
        names: KeyNames,
        own: SectionCredentials,
        checker: &mut Checker<'_>,
    ) -> Option<CredentialSettings> {
        EndpointVariant::check_variables(checker);
        let origin = self.origin(names, &own, checker);
        let role = self.role(names, checker);
        let sts_endpoint = self.sts_endpoint(names, checker);
        let key = declared!(WrittenCredentials, "imds_protocol_version");
        let metadata = checker.settled(key, self.imds_protocol_version);
        let SectionCredentials { region, variant, proxy, .. } = own;
        let settle = self.settled(checker);
        let source =
            settle(CredentialParts { origin: origin?, role, region, sts_endpoint, variant, metadata, proxy });
        refuse_unusable_proxy(&source, checker);
        Some(source)
    }

    /// The keys if they are set, or the profile, or the credential chain.
    fn origin(
        &mut self,
        names: KeyNames,
        own: &SectionCredentials,
        checker: &mut Checker<'_>,
    ) -> Option<CredentialProvider> {
        let session_token = format!("{}session_token", names.prefix);
        if let Some(written) = self.roles_anywhere.take() {
            return self.roles_anywhere_alone(written, names, own, checker);
        }
        let keys =
            [(names.key, &own.key), (names.secret, &own.secret), (&*session_token, &self.session_token)];
        let first = keys.iter().find(|(_, key)| key.is_some()).map(|(name, _)| *name);
        let Some(present) = first else {
            return Some(self.profile.clone().map_or(CredentialProvider::Chain, CredentialProvider::Profile));
        };
        if self.profile.is_some() {
            let profile = format!("{}profile", names.prefix);
            checker.at(&profile).report(format!("conflicts with `{present}`"), "one of the two");
        }
        let is_valid = check_keys(keys, &session_token, present, names, checker);
        let (Some(key), Some(secret), true) = (&own.key, &own.secret, is_valid) else { return None };
        if keys.iter().any(|(name, _)| checker.file_of(name).is_some()) {
            let part = |name: &str, text: &SecretString| match checker.file_of(name) {
                Some(file) => MountedPart::File(file),
                None => MountedPart::Text(text.clone()),
            };
            return Some(CredentialProvider::Mounted(MountedKeys {
                key: part(names.key, key),
                secret: part(names.secret, secret),
                session_token: self.session_token.as_ref().map(|token| part(&session_token, token)),
            }));
        }
        let token = self.session_token.as_ref().map(|token| token.expose_secret().to_owned());
        Some(CredentialProvider::Keys(Credentials::new(
            key.expose_secret(),
            secret.expose_secret(),
            token,
            None,
            "settings",
        )))
    }

    /// The certificate for IAM Roles Anywhere; any other source beside it is a mistake.
    fn roles_anywhere_alone(
        &self,
        written: WrittenRolesAnywhere,
        names: KeyNames,
        own: &SectionCredentials,
        checker: &mut Checker<'_>,
    ) -> Option<CredentialProvider> {
        let name = |key: &str| format!("{}{key}", names.prefix);
        let (roles_anywhere, session_token, profile) =
            (name("roles_anywhere"), name("session_token"), name("profile"));
        let mut is_alone = true;
        for (other, is_there) in [
            (names.key, own.key.is_some()),
            (names.secret, own.secret.is_some()),
            (&*session_token, self.session_token.is_some()),
            (&*profile, self.profile.is_some()),
        ] {
            if is_there {
                checker.at(other).report(format!("conflicts with `{roles_anywhere}`"), "one of the two");
                is_alone = false;
            }
        }
        let source = written.check(&mut checker.at(&roles_anywhere))?;
        is_alone.then_some(CredentialProvider::RolesAnywhere(source))
    }

    fn role(&self, names: KeyNames, checker: &mut Checker<'_>) -> Option<Role> {
        let name = |key: &str| format!("{}{key}", names.prefix);
        let Some(arn) = &self.assume_role_arn else {
            for (key, is_there) in [
                ("role_session_name", self.role_session_name.is_some()),
                ("external_id", self.external_id.is_some()),
                ("role_duration", self.role_duration.is_some()),
            ] {
                if is_there {
                    let expected = format!("{} beside it", name("assume_role_arn"));
                    checker.at(&name(key)).report_incomplete("has no effect without a role", expected);
                }
            }
            return None;
        };
        let expected = "arn:aws:iam::ACCOUNT:role/NAME";
        let arn = checker
            .parsed(&name("assume_role_arn"), arn, expected, |arn| is_role(arn).then(|| arn.to_owned()));
        let external_id = self.external_id.as_ref().and_then(|id| {
            let expected = "2 to 1224 letters, digits or `_+=,.@:/-`";
            checker.parsed(&name("external_id"), id, expected, |id| is_external_id(id).then(|| id.to_owned()))
        });
        let duration =
            checker.key(&name("role_duration")).and_then(|key| checker.checked(key, self.role_duration));
        let session = self.role_session_name.as_deref().unwrap_or(names.session);
        let session_name = super::session_name::session_name(session);
        Some(Role { arn: arn?, session_name, external_id, duration })
    }

    fn sts_endpoint(&self, names: KeyNames, checker: &mut Checker<'_>) -> Option<String> {
        let key = format!("{}sts_endpoint_url", names.prefix);
        let expected =
            "an http or https URL with a host and nothing after it: https://sts.REGION.amazonaws.com";
        checker.parsed(&key, self.sts_endpoint_url.as_ref()?, expected, |text| {
            let uri: actix_http::Uri = text.parse().ok()?;
            let known = matches!(uri.scheme_str(), Some("http" | "https"));
            let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
            host_and_port(uri.authority()?)?;
            (known && bare).then(|| text.trim_end_matches('/').to_owned())
        })
    }
}

/// Reports a variable of the environment that is not the URL of a supported proxy, if STS or IAM Roles
/// Anywhere would be called through it.
fn refuse_unusable_proxy(source: &CredentialSettings, checker: &mut Checker<'_>) {
    let EndpointVariant { fips, dual_stack } = source.variant;
    if let CredentialProvider::RolesAnywhere(roles_anywhere) = &source.origin {
        let host = roles_anywhere_host(&roles_anywhere.region, fips, dual_stack);
        if let Err(unusable) = source.proxy.choose(Scheme::Https, &host, 443) {
            let problem = format!("calls of IAM Roles Anywhere: {unusable}");
            checker.report_incomplete(problem, UnusableProxy::EXPECTED);
            return;
        }
    }
    if !source.calls_sts() {
        return;
    }
    let regional = || Some((Scheme::Https, sts_host(&source.region, fips, dual_stack), 443));
    let Some((scheme, host, port)) = source.sts_endpoint.as_deref().map_or_else(regional, sts_server) else {
        return;
    };
    if let Err(unusable) = source.proxy.choose(scheme, &host, port) {
        checker.report_incomplete(format!("calls of STS: {unusable}"), UnusableProxy::EXPECTED);
    }
}

/// The server of a checked `sts_endpoint_url`.
fn sts_server(url: &str) -> Option<(Scheme, String, u16)> {
    let uri: actix_http::Uri = url.parse().ok()?;
    let scheme = Scheme::of(uri.scheme_str() == Some("https"));
    let port = uri.port_u16().unwrap_or_else(|| scheme.default_port());
    Some((scheme, without_brackets(uri.host()?).to_owned(), port))
}

/// Reports keys that are missing, invalid or swapped; `present` is a key that is set.
fn check_keys(
    keys: [(&str, &Option<SecretString>); 3],
    session_token: &str,
    present: &str,
    names: KeyNames,
    checker: &mut Checker<'_>,
) -> bool {
    let mut is_valid = true;
    for (name, key) in keys {
        let problem = match key {
            None if name != session_token => format!("missing, but `{present}` is set"),
            Some(key) if !is_visible(key) => "empty or not visible ASCII".to_owned(),
            _ => continue,
        };
        let expected = format!("all or none of {} and {}", names.key, names.secret);
        checker.at(name).report(problem, expected);
        is_valid = false;
    }
    if is_valid && keys[0].1.as_ref().is_some_and(|key| is_swapped(key.expose_secret())) {
        let problem = "not an access key id, which is shorter and has neither `/` nor `+`";
        let expected = format!("the id; {} and {} may be swapped", names.key, names.secret);
        checker.at(names.key).report(problem, expected);
        is_valid = false;
    }
    is_valid
}

/// True if the text is valid in a header.
pub(in crate::settings) fn is_visible(secret: &SecretString) -> bool {
    is_key(secret.expose_secret())
}

pub(super) fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, "iam", "", account, role] = parts[..] else { return false };
    arn.starts_with("arn:aws")
        && (partition == "aws" || partition.starts_with("aws-"))
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        && (20..=2048).contains(&arn.len())
        && arn.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_external_id(id: &str) -> bool {
    (2..=1224).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte))
}
