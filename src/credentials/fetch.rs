//! One fetch of keys: choose the source, fetch its keys, exchange them for a role's.
//!
//! `refresher.rs` uses the trait [`Fetch`], which [`Aws`] implements. Each fetch builds the SDK's providers
//! anew, because they read profiles only once.

use std::{error::Error as _, path::Path, time::Duration};

use aws_config::{BehaviorVersion, Region, provider_config::ProviderConfig};
use aws_credential_types::{Credentials, provider::future::ProvideCredentials};
use aws_types::os_shim_internal::Env;

use super::{
    aws_transport::AwsTransport,
    chain::{self, ChainSource, Choice, Environment, InstanceKeys, Profile, Surroundings},
    identity, mounted,
    roles_anywhere::{self, RolesAnywhere},
    shared_files,
    status::{CallerIdentity, CredentialState, Status},
    sts::{ENDPOINT_VARIABLES, Sts, causes},
};
use crate::{
    client::Endpoint,
    settings::{CredentialProvider, CredentialSettings, Role},
    system::{file_stamps::Stamps, supervision::Panicked},
    text::key_source::{KeyOrigin, KeySource},
};

/// A source of keys.
pub trait Fetch: Send + Sync + 'static {
    /// The source's name for people, also while it fails.
    fn name(&self) -> impl Future<Output = String> + Send;
    fn fetch(&self) -> impl Future<Output = Result<Fetched, FetchError>> + Send;
    /// Calls `GetCallerIdentity` with these keys.
    fn caller(
        &self,
        credentials: Credentials,
    ) -> impl Future<Output = Result<CallerIdentity, FetchError>> + Send;
    /// The state of the files that the keys come from; `None` for a source without files.
    fn stamps(&self) -> Option<Stamps>;
}

/// Fetched keys.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub credentials: Credentials,
    /// The owner, if the source names it.
    pub caller: Option<CallerIdentity>,
    /// The keys may be used past their expiry, until AWS refuses them.
    pub outlives_expiry: bool,
    /// The reason why the role was assumed with older keys.
    pub base_failure: Option<FetchError>,
}

impl From<Credentials> for Fetched {
    fn from(credentials: Credentials) -> Self {
        Self { credentials, caller: None, outlives_expiry: false, base_failure: None }
    }
}

/// The reason why a fetch failed, for operators. No variant may quote a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No source is configured, or only a part of one.
    #[error("{0}")]
    NotConfigured(String),
    /// A file cannot be read or has invalid contents.
    #[error("{0}: {1}")]
    Unreadable(String, String),
    #[error("credential_process: {0}")]
    Program(String),
    /// The server of the source does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The server of the source answered `call` with an error code or a status.
    #[error("{text}")]
    Refused { call: String, code: String, text: String },
    /// The SDK's providers give the reason as text only.
    #[error("{0}")]
    Sdk(String),
    /// The source returned no keys, or keys that cannot sign.
    #[error("{0}")]
    Unusable(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the fetch {0}")]
    Panicked(Panicked),
    /// The metadata service failed; its last keys assume the role.
    #[error("assuming the role with the last known keys of the instance{until}, because: {failure}")]
    LastInstanceKeys { until: String, failure: Box<FetchError> },
    #[error("{failure}; {note}")]
    Noted { failure: Box<FetchError>, note: String },
}

impl FetchError {
    /// Adds a hint on the cause.
    pub fn noted(self, note: String) -> Self {
        Self::Noted { failure: Box::new(self), note }
    }

    /// Key of the log's deduplication: the code of a refusal, otherwise the text without digits, because
    /// times and counts differ between attempts.
    pub fn log_key(&self) -> String {
        match self {
            Self::Noted { failure, .. } => failure.log_key(),
            Self::Refused { call, code, .. } => format!("{call}: {code}"),
            other => other.to_string().chars().filter(|char| !char.is_ascii_digit()).collect(),
        }
    }
}

/// Chooses the source that settings, environment and files configure now. Sends nothing.
///
/// # Errors
/// No source is configured, or its configuration cannot be read.
async fn choice(source: &CredentialSettings, environment: &Env) -> Result<Choice, FetchError> {
    match &source.origin {
        // the keys of a route need no further call, as those of the environment
        CredentialProvider::Keys(keys) => Ok(Box::new(Environment(keys.clone()))),
        CredentialProvider::Mounted(keys) => Ok(Box::new(Environment(mounted::read(keys)?))),
        CredentialProvider::RolesAnywhere(settings) => Ok(Box::new(RolesAnywhere(settings.clone()))),
        CredentialProvider::Profile(name) => Ok(Box::new(Profile(name.clone()))),
        CredentialProvider::Chain => {
            let has_default_profile = shared_files::have_default_profile(environment).await;
            let environment = |name: &str| environment.get(name).ok();
            let metadata = source.metadata;
            chain::choose(&Surroundings { environment: &environment, has_default_profile, metadata })
        }
    }
}

impl<'a> From<&'a CredentialSettings> for KeySource<'a> {
    /// The name as far as the settings decide it.
    fn from(source: &'a CredentialSettings) -> Self {
        let origin = match &source.origin {
            CredentialProvider::Keys(_) => KeyOrigin::Settings,
            CredentialProvider::Mounted(_) => KeyOrigin::Files,
            CredentialProvider::RolesAnywhere(_) => KeyOrigin::RolesAnywhere,
            CredentialProvider::Profile(name) => KeyOrigin::Profile(name),
            CredentialProvider::Chain => KeyOrigin::Chain,
        };
        Self { origin, role: source.role.as_ref().map(|role| &*role.arn) }
    }
}

/// The name of a source, with the chosen source of the chain if there is one.
fn source_name(source: &CredentialSettings, chosen: Option<&dyn ChainSource>) -> String {
    let mut named = KeySource::from(source);
    let chosen = chosen.map(ChainSource::name);
    if let (KeyOrigin::Chain, Some(chosen)) = (named.origin, &chosen) {
        named.origin = KeyOrigin::OfChain(chosen);
    }
    named.to_string()
}

/// A source as far as it is known without a call, for `explain`, which sends nothing.
#[derive(Debug)]
pub struct OfflineCredentials {
    pub source: String,
    /// `None` if a server has to give the keys.
    pub keys: Option<Credentials>,
}

/// Reads settings, environment and files, and calls no server.
pub async fn known_offline(source: &CredentialSettings) -> OfflineCredentials {
    match choice(source, &Env::real()).await {
        Ok(choice) => {
            // the keys of a role come from STS
            let keys = choice.static_keys().filter(|_| source.role.is_none()).cloned();
            OfflineCredentials { source: source_name(source, Some(&*choice)), keys }
        }
        Err(failure) => {
            let state = CredentialState::Unavailable { reason: failure.to_string() };
            let status = Status { source: source_name(source, None), state };
            OfflineCredentials { source: status.to_string(), keys: None }
        }
    }
}

/// Fetches keys from AWS by [`CredentialSettings`].
#[derive(Debug)]
pub struct Aws {
    pub(super) source: CredentialSettings,
    pub(super) environment: Env,
    pub(super) transport: AwsTransport,
    pub(super) sts: Sts,
    pub(super) instance_keys: InstanceKeys,
}

impl Aws {
    /// Reads the environment of the process.
    pub fn new(source: CredentialSettings, transport: AwsTransport) -> Self {
        let sts = Sts::new(&source, transport.clone());
        Self { source, environment: Env::real(), transport, sts, instance_keys: InstanceKeys::default() }
    }

    /// The endpoint that certainly gives the keys: IAM Roles Anywhere's for a certificate, STS's for a role,
    /// a web identity, or a profile with a role. `None` if STS would only get `GetCallerIdentity`.
    ///
    /// # Errors
    /// No source is configured, or the region has no STS.
    pub async fn key_endpoint(&self) -> Result<Option<Endpoint>, FetchError> {
        if let CredentialProvider::RolesAnywhere(settings) = &self.source.origin {
            return self.endpoint(&roles_anywhere::url(settings, self)?).map(Some);
        }
        let is_asked =
            self.source.role.is_some() || choice(&self.source, &self.environment).await?.uses_sts(self).await;
        if !is_asked {
            return Ok(None);
        }
        self.refuse_empty_endpoint()?;
        self.endpoint(&self.sts.url().await?).map(Some)
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, FetchError> {
        let uri = url.parse().map_err(|_| FetchError::NotConfigured(format!("{url} is no URL")))?;
        self.transport.endpoint(&uri).map_err(|error| FetchError::NotConfigured(error.to_string()))
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).ok()
    }

    /// Refuses an empty variable, which parts of the SDK treat as set.
    pub(super) fn refuse_empty(&self, names: &[&str]) -> Result<(), FetchError> {
        match names.iter().find(|name| self.variable(name).is_some_and(|value| value.trim().is_empty())) {
            Some(name) => Err(FetchError::NotConfigured(format!("{name} is set, but empty: unset it"))),
            None => Ok(()),
        }
    }

    /// Must precede each call to STS: the SDK panics on an empty endpoint.
    pub(super) fn refuse_empty_endpoint(&self) -> Result<(), FetchError> {
        match self.source.sts_endpoint {
            Some(_) => Ok(()),
            None => self.refuse_empty(&ENDPOINT_VARIABLES),
        }
    }

    /// Exchanges `base` for the keys of a role; a failure behind `base` stays in the result.
    pub(super) async fn assume(&self, role: &Role, base: Fetched) -> Result<Fetched, FetchError> {
        self.refuse_empty_endpoint()?;
        match (self.sts.assume_role(role, base.credentials).await, base.base_failure) {
            (Ok(fetched), base_failure) => Ok(Fetched { base_failure, ..fetched }),
            (Err(failure), Some(base_failure)) => Err(failure.noted(base_failure.to_string())),
            (failed, None) => failed,
        }
    }

    pub(super) fn provider_config(&self) -> ProviderConfig {
        ProviderConfig::without_region()
            .with_region(Some(Region::new(self.source.region.clone())))
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_use_fips(Some(self.source.variant.fips))
            .with_use_dual_stack(Some(self.source.variant.dual_stack))
            .with_http_client(self.transport.client())
    }

    /// The same for the metadata services of the machine and the container.
    pub(super) fn metadata_config(&self) -> ProviderConfig {
        self.provider_config().with_http_client(self.transport.to_metadata().client())
    }
}

/// The keys of an SDK provider, or its error's text without the outermost error, which calls a timeout "not
/// enabled".
pub(super) async fn provided(answer: ProvideCredentials<'_>) -> Result<Credentials, String> {
    let provided = answer.await.map_err(|error| causes(error.source().unwrap_or(&error)));
    // stderr of a `credential_process` may contain secrets
    provided.map_err(|reason| reason.split("Stderr:").next().unwrap_or_default().trim_end().to_owned())
}

impl Fetch for Aws {
    async fn name(&self) -> String {
        source_name(&self.source, choice(&self.source, &self.environment).await.ok().as_deref())
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let fetched = choice(&self.source, &self.environment).await?.fetch(self).await?;
        match &self.source.role {
            Some(role) => self.assume(role, fetched).await,
            None => Ok(fetched),
        }
    }

    async fn caller(&self, credentials: Credentials) -> Result<CallerIdentity, FetchError> {
        self.refuse_empty_endpoint().map_err(|failure| identity::call_failed(&failure.to_string()))?;
        self.sts.caller(credentials).await
    }

    fn stamps(&self) -> Option<Stamps> {
        match &self.source.origin {
            CredentialProvider::Keys(_) => None,
            CredentialProvider::Mounted(keys) => Some(Stamps::of(mounted::files(keys).cloned())),
            CredentialProvider::RolesAnywhere(settings) => {
                Some(Stamps::of(settings.files().map(Path::to_owned)))
            }
            // a new file may change the choice of the chain
            CredentialProvider::Profile(_) | CredentialProvider::Chain => {
                Some(shared_files::stamps(&self.environment))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credentials::tests::{FakeServer, ok, role_source, sts, transport};
    use crate::settings::{EndpointVariant, MetadataProtocol, MountedKeys, MountedPart, ProxyRule};

    fn chain(server: &FakeServer, variables: &[(&str, &str)]) -> Aws {
        let source = CredentialSettings {
            origin: CredentialProvider::Chain,
            role: None,
            metadata: MetadataProtocol::V1,
            ..role_source(server)
        };
        Aws { environment: Env::from_slice(variables), ..Aws::new(source, transport()) }
    }

    #[actix_rt::test]
    async fn a_role_is_assumed_with_the_keys_of_the_chain() {
        let server = sts().await;
        let variables = [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "hush")];
        let mut aws = chain(&server, &variables);
        assert_eq!(aws.fetch().await.unwrap().credentials.access_key_id(), "AKIDENV");
        aws.source.role = role_source(&server).role;
        assert_eq!(aws.name().await, "environment as role arn:aws:iam::123456789012:role/r");
        assert_eq!(aws.fetch().await.unwrap().credentials.access_key_id(), "ASIA1");
        assert!(server.requests()[0].contains("Credential=AKIDENV/"));
    }

    #[actix_rt::test]
    async fn web_identity_calls_the_sts_of_the_settings() {
        let server = sts().await;
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "hush-token").unwrap();
        let variables = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"),
        ];
        let aws = chain(&server, &variables);
        assert_eq!(aws.name().await, "IRSA");
        let fetched = aws.fetch().await.unwrap();
        assert_eq!(fetched.caller.unwrap().account, "123456789012");
    }

    #[actix_rt::test]
    async fn a_configured_source_that_fails_is_not_skipped() {
        let server = sts().await;
        let variables = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{}", server.address)),
        ];
        let reason = chain(&server, &variables).fetch().await.unwrap_err().to_string();
        assert!(reason.starts_with("the token file /nowhere/token: "), "{reason}");
        assert!(server.requests().is_empty());
    }

    #[actix_rt::test]
    async fn metadata_v1_is_used_if_the_settings_say_so() {
        let server = FakeServer::start(|request| {
            ok(if request.starts_with("GET /latest/meta-data/iam/security-credentials/ ") {
                "role"
            } else {
                r#"{"Code":"Success","AccessKeyId":"ASIA1","SecretAccessKey":"hush","Token":"hush",
                    "Expiration":"2050-01-01T00:00:00Z"}"#
            })
        })
        .await;
        let endpoint = format!("http://{}", server.address);
        let aws = chain(&server, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)]);
        assert_eq!(aws.name().await, "EC2 metadata v1");
        assert_eq!(aws.fetch().await.unwrap().credentials.access_key_id(), "ASIA1");
    }

    #[actix_rt::test]
    async fn an_empty_endpoint_variable_is_named_with_the_cure() {
        let server = sts().await;
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKIDENV"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_ENDPOINT_URL_STS", ""),
        ];
        let mut aws = chain(&server, &variables);
        aws.source.sts_endpoint = None;
        assert!(aws.caller(aws.fetch().await.unwrap().credentials).await.is_err());
        aws.source.role = role_source(&server).role;
        assert_eq!(
            aws.fetch().await.unwrap_err().to_string(),
            "AWS_ENDPOINT_URL_STS is set, but empty: unset it"
        );
        assert!(server.requests().is_empty());
    }

    #[actix_rt::test]
    async fn the_error_of_a_missing_profile_names_both_files() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().display().to_string();
        let source = CredentialSettings {
            origin: CredentialProvider::Profile("nosuch".into()),
            ..chain(&sts().await, &[]).source
        };
        let aws = Aws { environment: Env::from_slice(&[("HOME", &at)]), ..Aws::new(source, transport()) };
        assert_eq!(
            aws.fetch().await.unwrap_err().to_string(),
            format!(
                "profile `nosuch` is neither in {at}/.aws/credentials nor in {at}/.aws/config (or these \
                 files do not exist)"
            )
        );
    }

    /// A fetch with a profile of this config file.
    async fn of_profile(name: &str, config: &str) -> (tempfile::TempDir, FakeServer, Aws) {
        let (home, server) = (tempfile::tempdir().unwrap(), sts().await);
        let file = home.path().join("config");
        std::fs::write(&file, config).unwrap();
        let variables = [("AWS_CONFIG_FILE", file.to_str().unwrap())];
        let aws = Aws { environment: Env::from_slice(&variables), ..chain(&server, &[]) };
        let source =
            CredentialSettings { origin: CredentialProvider::Profile(name.into()), ..aws.source.clone() };
        (home, server, Aws { source, ..aws })
    }

    #[actix_rt::test]
    async fn x12_a_program_behind_a_role_has_the_same_limits() {
        const ROLE: &str = "[profile via]\nrole_arn = arn:aws:iam::123456789012:role/r\n\
                            source_profile = base\n\
                            [profile base]\ncredential_process = ";
        let keys = r#"echo '{"Version":1,"AccessKeyId":"AKIDPROGRAM","SecretAccessKey":"hush"}'"#;
        let (_home, server, aws) = of_profile("via", &format!("{ROLE}{keys}\n")).await;
        assert_eq!(aws.fetch().await.unwrap().credentials.access_key_id(), "ASIA1");
        assert!(server.requests()[0].contains("Credential=AKIDPROGRAM/"));

        let place = tempfile::tempdir().unwrap();
        let pid = place.path().join("pid");
        let hang = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let (_home, _server, aws) = of_profile("via", &format!("{ROLE}{hang}\n")).await;
        assert!(tokio::time::timeout(Duration::from_secs(1), aws.fetch()).await.is_err());
        let id = std::fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", id.trim());
        for _ in 0..200 {
            let state = std::fs::read_to_string(&stat).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child outlives the fetch");
    }

    #[actix_rt::test]
    async fn x12_a_program_behind_a_role_prints_no_more_than_keys() {
        let config = "[profile via]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n\
                      [profile base]\ncredential_process = yes hush\n";
        let (_home, _server, aws) = of_profile("via", config).await;
        let reason = aws.fetch().await.unwrap_err().to_string();
        assert_eq!(reason, "credential_process: its output exceeds 65536 bytes");
    }

    /// A metadata service that returns keys with this expiry once, then 500.
    async fn metadata_once(expiry: &'static str) -> FakeServer {
        let given = std::sync::atomic::AtomicBool::new(false);
        FakeServer::start(move |request| {
            if request.starts_with("GET /latest/meta-data/iam/security-credentials/ ") {
                return ok("node");
            }
            if given.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned();
            }
            ok(&format!(
                r#"{{"Code":"Success","AccessKeyId":"ASIANODE","SecretAccessKey":"hush","Token":"hush",
                    "Expiration":"{expiry}"}}"#
            ))
        })
        .await
    }

    #[actix_rt::test]
    async fn s4_a_role_outlives_a_failing_metadata_service() {
        for (expiry, told) in [
            ("2090-01-01T00:00:00Z", "which expire at 2090-01-01T00:00:00Z"),
            ("2020-01-01T00:00:00Z", "which expired at 2020-01-01T00:00:00Z"),
        ] {
            let profile = "[profile via]\nrole_arn = arn:aws:iam::123456789012:role/r\n\
                           credential_source = Ec2InstanceMetadata\n";
            let (home, server, of_profile) = of_profile("via", profile).await;
            let config = home.path().join("config").to_str().unwrap().to_owned();
            let mut of_chain = chain(&server, &[]);
            of_chain.source.role = role_source(&server).role;
            for aws in [of_chain, of_profile] {
                let service = metadata_once(expiry).await;
                let endpoint = format!("http://{}", service.address);
                let is_profile = matches!(aws.source.origin, CredentialProvider::Profile(_));
                let file = if is_profile { ("AWS_CONFIG_FILE", &*config) } else { ("NOTHING", "") };
                let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*endpoint), file];
                let aws = Aws { environment: Env::from_slice(&variables), ..aws };
                assert_eq!(aws.fetch().await.unwrap().base_failure, None);
                let again = aws.fetch().await.unwrap();
                assert!(again.credentials.access_key_id().starts_with("ASIA") && !again.outlives_expiry);
                let remark = again.base_failure.unwrap().to_string();
                assert!(remark.contains(told) && remark.ends_with(": status 500"), "{remark}");
                let last = server.requests().pop().unwrap();
                assert!(last.contains("Credential=ASIANODE/"), "{last}");
            }
        }
    }

    #[actix_rt::test]
    async fn a_profile_of_the_instance_obeys_the_switch_of_the_metadata_service() {
        let (home, server, aws) = of_profile(
            "via",
            "[profile via]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = Ec2InstanceMetadata\n",
        )
        .await;
        let config = home.path().join("config");
        let variables =
            [("AWS_EC2_METADATA_DISABLED", "TRUE"), ("AWS_CONFIG_FILE", config.to_str().unwrap())];
        let aws = Aws { environment: Env::from_slice(&variables), ..aws };
        assert_eq!(
            aws.fetch().await.unwrap_err().to_string(),
            "profile `via` asks EC2's metadata service for keys, and AWS_EC2_METADATA_DISABLED is true"
        );
        assert!(server.requests().is_empty());
    }

    #[actix_rt::test]
    async fn the_error_of_a_profile_without_keys_names_what_is_missing() {
        let config = "[profile bare]\nregion = eu-west-1\n\
                      [profile via]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = bare\n\
                      [profile self]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = self\n";
        for (name, told) in [
            ("bare", "profile `bare` has no keys: it has none of aws_access_key_id, "),
            ("via", "profile `bare` has no keys: it has none of aws_access_key_id, "),
            (
                "self",
                "profile `self` names itself as source_profile, and has neither credential_process nor ",
            ),
        ] {
            let (home, _server, aws) = of_profile(name, config).await;
            let file = home.path().join("config").display().to_string();
            let variables = [("AWS_CONFIG_FILE", &*file), ("HOME", home.path().to_str().unwrap())];
            let aws = Aws { environment: Env::from_slice(&variables), ..aws };
            let reason = aws.fetch().await.unwrap_err().to_string();
            assert!(reason.starts_with(told) && reason.ends_with(&format!(" and {file}")), "{reason}");
        }
    }

    #[actix_rt::test]
    async fn x7_an_invalid_file_of_keys_is_an_error_and_no_other_source_is_used() {
        let service = metadata_once("2090-01-01T00:00:00Z").await;
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in [&b"[default]\naws_access_key_id = \xff\n"[..], b"\xef\xbb\xbf[default]\n", b"[default\n"]
        {
            std::fs::write(file.path(), text).unwrap();
            let endpoint = format!("http://{}", service.address);
            let path = file.path().to_str().unwrap();
            let variables =
                [("AWS_SHARED_CREDENTIALS_FILE", path), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)];
            let reason = chain(&sts().await, &variables).fetch().await.unwrap_err().to_string();
            assert!(reason.contains(path), "{reason}");
        }
        assert!(service.requests().is_empty());
    }

    #[actix_rt::test]
    async fn s7_the_error_of_an_indented_section_names_the_line() {
        let config = "[default]\naws_access_key_id = A\naws_secret_access_key = hush\n  [profile1]\n\
                      aws_access_key_id = B\naws_secret_access_key = hush\n";
        let (home, _server, aws) = of_profile("default", config).await;
        assert_eq!(
            aws.fetch().await.unwrap_err().to_string(),
            format!(
                "AWS_CONFIG_FILE {}/config, line 4: `[profile1]` is indented, and so its keys would count \
                 for the profile before it; remove the spaces before it",
                home.path().display()
            )
        );
    }

    #[actix_rt::test]
    async fn half_a_source_is_an_error_of_the_chain() {
        let aws = chain(&sts().await, &[("AWS_ACCESS_KEY_ID", "AKIDENV")]);
        assert_eq!(aws.name().await, "credential chain");
        assert_eq!(
            aws.fetch().await.unwrap_err().to_string(),
            "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"
        );
    }

    #[test]
    fn the_log_knows_a_refusal_by_call_and_code_and_other_failures_by_text_without_digits() {
        let refused = |call: &str, code: &str, text: &str| {
            let text = text.to_owned();
            FetchError::Refused { call: call.to_owned(), code: code.to_owned(), text }.log_key()
        };
        let first = refused("AssumeRole of r", "AccessDenied", "request id a");
        assert_eq!(first, refused("AssumeRole of r", "AccessDenied", "request id b"));
        assert_ne!(first, refused("AssumeRole of s", "AccessDenied", "request id a"));
        assert_ne!(first, refused("AssumeRole of r", "Throttling", "request id a"));
        let noted = FetchError::Unreachable("no answer at 10:15".to_owned()).noted("a hint".to_owned());
        assert_eq!(noted.log_key(), "no answer at :");
    }

    fn named(origin: CredentialProvider) -> CredentialSettings {
        let variant = EndpointVariant { fips: false, dual_stack: false };
        CredentialSettings {
            origin,
            role: None,
            region: "eu-west-1".into(),
            sts_endpoint: None,
            variant,
            metadata: MetadataProtocol::V2,
            proxy: ProxyRule::Off,
        }
    }

    #[test]
    fn the_chosen_source_is_part_of_the_name_for_the_chain_alone() {
        let text = || MountedPart::Text("hush".to_owned().into());
        let mounted = MountedKeys { key: text(), secret: text(), session_token: None };
        let chosen = Profile("work".into());
        for (origin, alone, with_choice) in [
            (
                CredentialProvider::Keys(Credentials::new("A", "hush", None, None, "t")),
                "settings",
                "settings",
            ),
            (CredentialProvider::Mounted(mounted), "files of the settings", "files of the settings"),
            (CredentialProvider::Profile("work".into()), "profile work", "profile work"),
            (CredentialProvider::Chain, "credential chain", "profile work"),
        ] {
            let mut source = named(origin);
            assert_eq!(source_name(&source, None), alone);
            assert_eq!(source_name(&source, Some(&chosen)), with_choice);
            source.role = Some(Role {
                arn: "arn:r".into(),
                session_name: "s".into(),
                external_id: None,
                duration: None,
            });
            assert_eq!(source_name(&source, Some(&chosen)), format!("{with_choice} as role arn:r"));
        }
    }
}
