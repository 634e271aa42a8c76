//! Secrets in AWS that references name: Secrets Manager and Parameter Store.
//!
//! `{vault://aws/NAME/KEY}` is Kong's spelling, `$secret://aws/ID/NAME/KEY` APISIX's, `$ssm://NAME` our own.
//! `credentials/secrets.rs` fetches the values into a [`SecretStore`], from which `reference.rs` takes them.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};

use super::tree::Environment;
use crate::text::log_safe::log_safe;

/// The spellings of references to secrets in AWS.
pub const REMOTE_FORMS: &str = "{vault://aws/NAME/KEY}, $secret://aws/ID/NAME/KEY or $ssm://NAME";
/// The longest name, an ARN (API references of both services).
const MAX_NAME: usize = 2048;
/// Characters of a key that are shown.
const MAX_SHOWN_KEY: usize = 100;
/// The variables with the region of the process, in the order of precedence.
pub const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// The service that has a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretService {
    SecretsManager,
    ParameterStore,
}

/// A secret of one service and region, which one call fetches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretId {
    pub service: SecretService,
    pub region: String,
    /// Its name or ARN.
    pub name: String,
}

/// The value that a reference names: a whole secret, or a member of its JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretReference {
    pub id: SecretId,
    pub key: Option<String>,
}

/// A reference in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSecret {
    pub reference: SecretReference,
    /// The store has its value.
    pub is_known: bool,
    /// The reason why its fetched value cannot be used for its key.
    pub refused: Option<String>,
    /// The reference has APISIX's id of a secret manager, which has no effect.
    pub has_manager_id: bool,
}

/// A key whose fetched value is not valid for it, and the reason. Its route waits for another value; the
/// other routes do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSecret {
    /// The file of the key.
    pub source: Arc<str>,
    pub key: String,
    pub problem: String,
}

/// The reason why a text is no reference to a secret in AWS, and what was expected.
pub type InvalidReference = (&'static str, &'static str);

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, region) = (&self.name, &self.region);
        match self.service {
            SecretService::SecretsManager => write!(f, "the secret {name} of Secrets Manager in {region}"),
            SecretService::ParameterStore => write!(f, "the parameter {name} of Parameter Store in {region}"),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} of {}", log_safe(key, MAX_SHOWN_KEY), self.id),
            None => self.id.fmt(f),
        }
    }
}

impl NamedSecret {
    /// Parses the part of Kong's reference after `{vault://aws/`: its segments are percent-encoded.
    ///
    /// # Errors
    /// The name or the key is not valid, or there is no region.
    pub fn of_kong(inner: &str, environment: &Environment) -> Result<Self, InvalidReference> {
        const EXPECTED: &str = "{vault://aws/NAME/KEY}, or {vault://aws/NAME/} for the whole secret";
        if inner.contains('#') {
            return Err(("a reference to a version of a secret", EXPECTED));
        }
        let (path, region) = options(inner)?;
        let (name, key) = name_and_key(path);
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned).ok();
        let name = decoded(name).filter(|name| is_secret_name(name));
        let key = key.map(|key| decoded(key).ok_or(())).transpose();
        let (Some(name), Ok(key)) = (name, key) else {
            return Err(("a reference with an invalid name of a secret", EXPECTED));
        };
        Self::of(SecretService::SecretsManager, name, key, region, environment)
    }

    /// Parses the part of APISIX's reference after `$secret://aws/`.
    ///
    /// # Errors
    /// The id or the name is missing or not valid, or there is no region.
    pub fn of_apisix(inner: &str, environment: &Environment) -> Result<Self, InvalidReference> {
        const EXPECTED: &str = "$secret://aws/ID/NAME/KEY, or $secret://aws/ID/NAME/ for the whole secret";
        let (path, region) = options(inner)?;
        let (id, path) = path.split_once('/').unwrap_or((path, ""));
        let (name, key) = name_and_key(path);
        if id.is_empty() || !is_secret_name(name) {
            return Err(("a reference with an invalid name of a secret", EXPECTED));
        }
        let (name, key) = (name.to_owned(), key.map(str::to_owned));
        let named = Self::of(SecretService::SecretsManager, name, key, region, environment)?;
        Ok(Self { has_manager_id: true, ..named })
    }

    /// Parses the part of a reference after `$ssm://`.
    ///
    /// # Errors
    /// The name is not valid, or there is no region.
    pub fn of_parameter(inner: &str, environment: &Environment) -> Result<Self, InvalidReference> {
        let (name, region) = options(inner)?;
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/:".contains(&byte);
        let is_name = (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(is_valid)
            && !name.ends_with('/')
            && !name.contains("//");
        if !is_name {
            let expected =
                "$ssm://NAME with letters, digits, `_`, `.`, `-` and `/`, as in $ssm://prod/api-key";
            return Err(("a reference with an invalid name of a parameter", expected));
        }
        // a name in a hierarchy begins with `/` (`PutParameter` in the API reference of Systems Manager)
        let is_relative = name.contains('/') && !name.starts_with('/') && !name.starts_with("arn:");
        let name = if is_relative { format!("/{name}") } else { name.to_owned() };
        Self::of(SecretService::ParameterStore, name, None, region, environment)
    }

    fn of(
        service: SecretService,
        name: String,
        key: Option<String>,
        region: Option<&str>,
        environment: &Environment,
    ) -> Result<Self, InvalidReference> {
        // arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME
        let of_arn = || name.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let of_process = || {
            let set = REGION_VARIABLES.iter().filter_map(|name| environment.get(*name));
            set.map(|region| region.trim()).find(|region| !region.is_empty())
        };
        let Some(region) = region.or_else(of_arn).or_else(of_process).map(str::to_owned) else {
            let expected =
                "AWS_REGION in the sidecar's environment, or `?region=REGION` at the end of the name";
            return Err(("a reference to a secret without a region", expected));
        };
        if !is_region(&region) {
            let expected = "a region: lower-case letters, digits and `-`, here or in AWS_REGION";
            return Err(("a reference with an invalid region", expected));
        }
        let reference = SecretReference { id: SecretId { service, region, name }, key };
        Ok(Self { reference, is_known: false, refused: None, has_manager_id: false })
    }
}

/// The path of a reference and the region of its options, `?region=REGION`.
fn options(inner: &str) -> Result<(&str, Option<&str>), InvalidReference> {
    let Some((path, options)) = inner.split_once('?') else { return Ok((inner, None)) };
    match options.strip_prefix("region=") {
        Some(region) => Ok((path, Some(region))),
        None => Err(("a reference with an unknown option", "`?region=REGION`, or no option")),
    }
}

/// The name before the last `/`, and the key after it. As in Kong, a `/` at the end stands before no key.
fn name_and_key(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once('/') {
        Some((name, "")) => (name, None),
        Some((name, key)) => (name, Some(key)),
        None => (path, None),
    }
}

/// True for a name or ARN of a secret (`CreateSecret` in the API reference of Secrets Manager).
fn is_secret_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-:!".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_valid) && !name.ends_with('/')
}

/// True for a text that is safe in a host name.
fn is_region(region: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&region.len()) && region.bytes().all(is_valid)
}

/// Fetched values. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct SecretStore(Arc<Mutex<Arc<SecretValues>>>);

/// The fetched values at one time.
#[derive(Debug, Clone, Default)]
pub struct SecretValues {
    values: HashMap<SecretReference, (u64, SecretString)>,
    /// The number of changes so far.
    changes: u64,
}

impl SecretStore {
    pub fn values(&self) -> Arc<SecretValues> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a value, or replaces an older one; true if it differs.
    pub fn publish(&self, reference: &SecretReference, value: SecretString) -> bool {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shared.values.get(reference);
        if known.is_some_and(|(_, known)| known.expose_secret() == value.expose_secret()) {
            return false;
        }
        let values = Arc::make_mut(&mut shared);
        values.changes += 1;
        values.values.insert(reference.clone(), (values.changes, value));
        true
    }

    /// Forgets the values of other references.
    pub fn retain(&self, is_wanted: impl Fn(&SecretReference) -> bool) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.values.keys().any(|reference| !is_wanted(reference)) {
            Arc::make_mut(&mut shared).values.retain(|reference, _| is_wanted(reference));
        }
    }
}

impl SecretValues {
    pub fn get(&self, reference: &SecretReference) -> Option<&SecretString> {
        self.values.get(reference).map(|(_, value)| value)
    }

    /// A number that changes with the value; `None` without a value.
    pub fn version(&self, reference: &SecretReference) -> Option<u64> {
        self.values.get(reference).map(|(version, _)| *version)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment() -> Environment {
        [("AWS_REGION".to_owned(), "us-east-1".to_owned())].into()
    }

    fn shown(named: Result<NamedSecret, InvalidReference>) -> String {
        named.map_or_else(|(problem, _)| problem.to_owned(), |named| named.reference.to_string())
    }

    #[test]
    fn the_key_of_a_secret_stands_after_the_last_slash() {
        for (inner, expected) in [
            ("db", "the secret db of Secrets Manager in us-east-1"),
            ("db/password", "password of the secret db of Secrets Manager in us-east-1"),
            ("prod/db/password", "password of the secret prod/db of Secrets Manager in us-east-1"),
            ("prod/db/", "the secret prod/db of Secrets Manager in us-east-1"),
            ("db/a%20b", "a b of the secret db of Secrets Manager in us-east-1"),
            ("db/k?region=eu-west-1", "k of the secret db of Secrets Manager in eu-west-1"),
            ("", "a reference with an invalid name of a secret"),
            ("/", "a reference with an invalid name of a secret"),
            ("a b/k", "a reference with an invalid name of a secret"),
            ("db/%FF", "a reference with an invalid name of a secret"),
            ("db/k#2", "a reference to a version of a secret"),
            ("db/k?ttl=1", "a reference with an unknown option"),
            ("db/k?region=x.evil.example", "a reference with an invalid region"),
        ] {
            assert_eq!(shown(NamedSecret::of_kong(inner, &environment())), expected, "{inner}");
        }
        let named = NamedSecret::of_apisix("1/prod/db/password", &environment()).unwrap();
        assert_eq!((named.reference.id.name.as_str(), named.has_manager_id), ("prod/db", true));
        for wrong in ["", "1", "1/", "/db/k"] {
            assert!(NamedSecret::of_apisix(wrong, &environment()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_parameter_in_a_hierarchy_begins_with_a_slash() {
        let name = |inner: &str| {
            NamedSecret::of_parameter(inner, &environment()).map(|named| named.reference.id.name).ok()
        };
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/a";
        for (inner, expected) in [
            ("key", Some("key")),
            ("/key", Some("/key")),
            ("prod/key", Some("/prod/key")),
            ("/prod/key", Some("/prod/key")),
            ("/prod/key:3", Some("/prod/key:3")),
            (arn, Some(arn)),
            ("", None),
            ("/", None),
            ("a//b", None),
            ("a b", None),
        ] {
            assert_eq!(name(inner).as_deref(), expected, "{inner}");
        }
    }

    #[test]
    fn the_region_is_that_of_the_reference_or_of_its_arn_or_of_the_process() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf";
        let region = |inner: &str, environment: &Environment| {
            NamedSecret::of_kong(inner, environment).map(|named| named.reference.id.region)
        };
        assert_eq!(region("db/k?region=eu-west-2", &environment()).unwrap(), "eu-west-2");
        assert_eq!(region(&format!("{arn}/k"), &environment()).unwrap(), "eu-west-1");
        assert_eq!(region("db/k", &environment()).unwrap(), "us-east-1");
        let older = [("AWS_DEFAULT_REGION".to_owned(), "eu-west-3".to_owned())].into();
        assert_eq!(region("db/k", &older).unwrap(), "eu-west-3");
        assert_eq!(
            region("db/k", &Environment::new()).unwrap_err().0,
            "a reference to a secret without a region"
        );
    }

    #[test]
    fn a_value_has_a_new_version_only_if_it_differs() {
        let store = SecretStore::default();
        let reference = NamedSecret::of_kong("db/k", &environment()).unwrap().reference;
        let publish = |value: &str| store.publish(&reference, value.to_owned().into());
        assert_eq!(store.values().version(&reference), None);
        assert!(publish("hush") && !publish("hush"));
        let first = store.values().version(&reference);
        assert!(publish("hush-2"));
        assert_ne!(store.values().version(&reference), first);
        assert!(!format!("{store:?}").contains("hush"));
        store.retain(|_| false);
        assert_eq!(store.values().version(&reference), None);
    }

    proptest! {
        #[test]
        fn no_reference_makes_it_panic(inner in any::<String>()) {
            for parse in [NamedSecret::of_kong, NamedSecret::of_apisix, NamedSecret::of_parameter] {
                let _ = parse(&inner, &environment());
            }
        }
    }
}
