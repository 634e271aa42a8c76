//! The section `roles_anywhere` of a route's credentials: an X.509 certificate as the source of keys.
//!
//! The files are read at the start, to report mistakes, and again for each fetch of keys
//! (`credentials/roles_anywhere.rs`), because they are renewed.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{api_gateway::is_scope_word, key_source::ROLE_ARN};
use crate::{
    settings::{
        route::credentials::is_role,
        source::{
            check::Checker,
            secrecy::Secrecy,
            shown::{REDACTED, Show},
        },
    },
    tls::{IdentityProblem, SigningIdentity, Validity},
};

/// ARNs of IAM Roles Anywhere (service authorization reference, "Resource types").
const TRUST_ANCHOR_ARN: &str =
    "^arn:aws(-[a-z]+)*:rolesanywhere:[a-z0-9-]+:[0-9]{12}:trust-anchor/[A-Za-z0-9-]+$";
const PROFILE_ARN: &str = "^arn:aws(-[a-z]+)*:rolesanywhere:[a-z0-9-]+:[0-9]{12}:profile/[A-Za-z0-9-]+$";

section! {
    /// IAM Roles Anywhere as the source of credentials.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RolesAnywhereSettings, read as WrittenRolesAnywhere, filled
        "a table with `trust_anchor_arn`, `profile_arn`, `role_arn`, `certificate` and `key`";

    made RolesAnywhereParts {
        trust_anchor_arn: String,
        profile_arn: String,
        role_arn: String,
        /// The region of the trust anchor.
        region: String,
        /// The certificate, followed by the rest of its chain.
        certificate: PemSource,
        key: PemSource,
    }

    /// ARN of the trust anchor; its region is the one that is called.
    trust_anchor_arn: String, pattern(TRUST_ANCHOR_ARN) => |source| &source.trust_anchor_arn;
    /// ARN of the profile of IAM Roles Anywhere, in the region of the trust anchor.
    profile_arn: String, pattern(PROFILE_ARN) => |source| &source.profile_arn;
    /// ARN of the role whose keys are fetched.
    role_arn: String, pattern(ROLE_ARN) => |source| &source.role_arn;
    /// Certificate of a CA that the trust anchor trusts: a PEM file with the certificate, followed by its
    /// intermediate certificates, or a reference to that text. Files are read again when they change.
    certificate: String, secret_unless_path() => |source| &source.certificate;
    /// Private key of `certificate`, RSA or EC on P-256 or P-384, in PKCS#1, PKCS#8 or SEC1: a PEM file,
    /// or a reference to its text.
    key: SecretString, secret_unless_path() => |source| &source.key;
}

/// PEM in a file, or in the settings.
#[derive(Debug, Clone)]
pub enum PemSource {
    File(PathBuf),
    Text(SecretString),
}

impl PemSource {
    /// The path of the file, or the text, as [`SigningIdentity::read`] takes it.
    fn file_or_text(&self) -> &str {
        match self {
            Self::File(path) => path.to_str().unwrap_or_default(),
            Self::Text(text) => text.expose_secret(),
        }
    }

    pub fn file(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }
}

impl PartialEq for PemSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(own), Self::File(other)) => own == other,
            (Self::Text(own), Self::Text(other)) => own.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

impl Show for PemSource {
    fn show(&self, _: Secrecy) -> Value {
        match self {
            Self::File(path) => path.display().to_string().into(),
            Self::Text(_) => REDACTED.into(),
        }
    }
}

impl RolesAnywhereSettings {
    /// Reads certificate and key, which must be valid now.
    ///
    /// # Errors
    /// The setting at fault, with the reason.
    pub fn identity(&self, now: SystemTime) -> Result<SigningIdentity, IdentityProblem> {
        let identity = SigningIdentity::read(self.certificate.file_or_text(), self.key.file_or_text())?;
        match identity.invalid_at(now) {
            Some(problem) => Err(IdentityProblem::Certificate(problem)),
            None => Ok(identity),
        }
    }

    /// The validity of the certificate that the next fetch uses; `None` if it cannot be read.
    pub fn validity(&self) -> Option<Validity> {
        SigningIdentity::validity(self.certificate.file_or_text())
    }

    /// The files of certificate and key.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key].into_iter().filter_map(PemSource::file)
    }
}

impl WrittenRolesAnywhere {
    pub(super) fn check(mut self, checker: &mut Checker<'_>) -> Option<RolesAnywhereSettings> {
        let trust_anchor = arn(checker, "trust_anchor_arn", self.trust_anchor_arn.take(), "trust-anchor");
        let profile = arn(checker, "profile_arn", self.profile_arn.take(), "profile");
        let role = required(checker, "role_arn", self.role_arn.take(), ROLE).and_then(|role| {
            checker.parsed("role_arn", &role, ROLE, |role| is_role(role).then(|| role.to_owned()))
        });
        let certificate = required(checker, "certificate", self.certificate.take(), CERTIFICATE);
        let certificate = certificate.map(|text| pem(checker, "certificate", text.into()));
        let key = required(checker, "key", self.key.take(), KEY).map(|text| pem(checker, "key", text));
        let ((trust_anchor_arn, region), (profile_arn, profile_region)) = (trust_anchor?, profile?);
        if profile_region != region {
            let problem = format!("in another region than `trust_anchor_arn`: {profile_region}");
            checker.at("profile_arn").report(problem, format!("a profile in {region}"));
            return None;
        }
        let (role_arn, certificate, key) = (role?, certificate?, key?);
        let settle = self.settled(checker);
        let parts = RolesAnywhereParts { trust_anchor_arn, profile_arn, role_arn, region, certificate, key };
        let settings = settle(parts);
        is_usable(&settings, checker).then_some(settings)
    }
}

const ROLE: &str = "arn:aws:iam::ACCOUNT:role/NAME";
const CERTIFICATE: &str = "a PEM file with a valid certificate, followed by its intermediate certificates";
const KEY: &str = "a PEM file with the key of certificate, RSA or EC on P-256 or P-384";

fn required<T>(checker: &mut Checker<'_>, key: &str, written: Option<T>, expected: &str) -> Option<T> {
    if written.is_none() && !checker.has_error(key) {
        checker.at(key).report_incomplete("missing", expected);
    }
    written
}

/// An ARN of IAM Roles Anywhere, and its region.
fn arn(
    checker: &mut Checker<'_>,
    key: &str,
    written: Option<String>,
    resource: &str,
) -> Option<(String, String)> {
    let expected = format!("arn:aws:rolesanywhere:REGION:ACCOUNT:{resource}/ID");
    let written = required(checker, key, written, &expected)?;
    checker.parsed(key, &written, &expected, |text| {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "rolesanywhere", region, account, id] = parts[..] else { return None };
        let mut words = partition.split('-');
        let is_partition = words.next() == Some("aws")
            && words.all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()));
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.strip_prefix(resource)?.strip_prefix('/')?;
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_partition && is_scope_word(region) && is_account && is_id)
            .then(|| (text.to_owned(), region.to_owned()))
    })
}

fn pem(checker: &Checker<'_>, key: &str, text: SecretString) -> PemSource {
    if let Some(file) = checker.file_of(key) {
        PemSource::File(file)
    } else if text.expose_secret().contains("-----BEGIN ") {
        PemSource::Text(text)
    } else {
        PemSource::File(text.expose_secret().into())
    }
}

/// Reports certificate and key that cannot sign now.
fn is_usable(settings: &RolesAnywhereSettings, checker: &mut Checker<'_>) -> bool {
    let (name, source, expected, problem) = match settings.identity(SystemTime::now()) {
        Ok(_) => return true,
        Err(IdentityProblem::Certificate(problem)) => {
            ("certificate", &settings.certificate, CERTIFICATE, problem)
        }
        Err(IdentityProblem::Key(problem)) => ("key", &settings.key, KEY, problem),
    };
    checker.report_file(name, source.file_or_text(), &problem, expected);
    false
}
