//! One fetch of keys: choose the source, let it fetch, exchange the keys for a role's.
//!
//! `refresher.rs` knows nothing but the trait [`Fetch`]; [`Aws`] is the one that asks AWS, and tests have others.
//! Everything is built anew for each fetch, because the SDK's providers read profiles only once.

use std::error::Error as _;

use aws_config::{BehaviorVersion, Region, provider_config::ProviderConfig};
use aws_credential_types::{Credentials, provider::future::ProvideCredentials};
use aws_types::os_shim_internal::Env;

use super::{
    aws_transport::AwsTransport,
    chain::{self, Choice, Environment, Profile, Surroundings},
    identity::CallerUnknown,
    instance_keys::InstanceKeys,
    mounted, shared_files, source_name,
    status::CallerIdentity,
    sts::{ENDPOINT_VARIABLES, Fetched, Sts, causes},
};
use crate::{
    client::Endpoint,
    settings::{CredentialProvider, CredentialSettings, Role},
    system::file_stamps::Stamps,
};

/// What gives keys when asked.
pub trait Fetch: Send + Sync + 'static {
    /// Which source it is, for a person; also while it fails.
    fn name(&self) -> impl Future<Output = String> + Send;
    /// The keys, or why there are none.
    fn fetch(&self) -> impl Future<Output = Result<Fetched, String>> + Send;
    /// Asks STS for the owner of these keys.
    fn caller(
        &self,
        credentials: Credentials,
    ) -> impl Future<Output = Result<CallerIdentity, CallerUnknown>> + Send;
    /// The state of the files that the keys came from; `None` if they came from elsewhere.
    fn stamps(&self) -> Option<Stamps>;
}

/// What a source means in this environment, now. Nothing is called for it.
///
/// # Errors
/// What is configured cannot be read, or nothing is.
pub async fn choice(source: &CredentialSettings, environment: &Env) -> Result<Choice, String> {
    match &source.origin {
        // a route's own keys come as they are, and so do those of the environment
        CredentialProvider::Keys(keys) => Ok(Box::new(Environment(keys.clone()))),
        CredentialProvider::Mounted(keys) => Ok(Box::new(Environment(mounted::read(keys)?))),
        CredentialProvider::Profile(name) => Ok(Box::new(Profile(name.clone()))),
        CredentialProvider::Chain => {
            let has_default_profile = shared_files::have_default_profile(environment).await;
            let environment = |name: &str| environment.get(name).ok();
            let metadata = source.metadata;
            chain::choose(&Surroundings { environment: &environment, has_default_profile, metadata })
        }
    }
}

/// Keys from AWS, as a [`CredentialSettings`] describes them.
#[derive(Debug)]
pub struct Aws {
    pub(super) source: CredentialSettings,
    pub(super) environment: Env,
    pub(super) transport: AwsTransport,
    pub(super) sts: Sts,
    pub(super) instance_keys: InstanceKeys,
}

impl Aws {
    /// The keys of `source`, in the process's environment.
    pub fn new(source: CredentialSettings, transport: AwsTransport) -> Self {
        let sts = Sts::new(&source, transport.clone());
        Self { source, environment: Env::real(), transport, sts, instance_keys: InstanceKeys::default() }
    }

    /// What is configured now.
    async fn choice(&self) -> Result<Choice, String> {
        choice(&self.source, &self.environment).await
    }

    /// Where STS is, if it is certain that keys come from there: for a role, a web identity, or a profile
    /// with a role. `None` where it would only be asked whose keys they are.
    ///
    /// # Errors
    /// There is no such service, or nothing to choose from.
    pub async fn sts_endpoint(&self) -> Result<Option<Endpoint>, String> {
        let is_asked = self.source.role.is_some() || self.choice().await?.is_of_sts(self).await;
        if !is_asked {
            return Ok(None);
        }
        self.refuse_empty_endpoint()?;
        let url = self.sts.url().await?;
        let uri = url.parse().map_err(|_| format!("{url} is no URL"))?;
        self.transport.endpoint(&uri).map(Some)
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).ok()
    }

    /// The SDK does not take an empty variable for one that is not set everywhere.
    pub(super) fn refuse_empty(&self, names: &[&str]) -> Result<(), String> {
        match names.iter().find(|name| self.variable(name).is_some_and(|value| value.trim().is_empty())) {
            Some(name) => Err(format!("{name} is set, but empty: unset it")),
            None => Ok(()),
        }
    }

    /// Before STS is called: an endpoint that is empty ends in a panic of the SDK.
    pub(super) fn refuse_empty_endpoint(&self) -> Result<(), String> {
        match self.source.sts_endpoint {
            Some(_) => Ok(()),
            None => self.refuse_empty(&ENDPOINT_VARIABLES),
        }
    }

    /// A role's keys; they keep the remark on the keys that they were exchanged for.
    pub(super) async fn assume(&self, role: &Role, base: Fetched) -> Result<Fetched, String> {
        self.refuse_empty_endpoint()?;
        match (self.sts.assume_role(role, base.credentials).await, base.base_failure) {
            (Ok(fetched), base_failure) => Ok(Fetched { base_failure, ..fetched }),
            (Err(reason), Some(remark)) => Err(format!("{reason}; {remark}")),
            (Err(reason), None) => Err(reason),
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
}

/// What one of the SDK's providers gives. Of its errors the outermost is dropped: it calls a time limit "not enabled".
pub(super) async fn provided(answer: ProvideCredentials<'_>) -> Result<Credentials, String> {
    let told = answer.await.map_err(|error| causes(error.source().unwrap_or(&error)));
    // what a `credential_process` writes there is nobody's to publish
    told.map_err(|reason| reason.split("Stderr:").next().unwrap_or_default().trim_end().to_owned())
}

impl Fetch for Aws {
    async fn name(&self) -> String {
        source_name::name(&self.source, self.choice().await.ok().as_deref())
    }

    async fn fetch(&self) -> Result<Fetched, String> {
        let fetched = self.choice().await?.fetch(self).await?;
        match &self.source.role {
            Some(role) => self.assume(role, fetched).await,
            None => Ok(fetched),
        }
    }

    async fn caller(&self, credentials: Credentials) -> Result<CallerIdentity, CallerUnknown> {
        self.refuse_empty_endpoint().map_err(|reason| CallerUnknown::unasked(&reason))?;
        self.sts.caller(credentials).await
    }

    fn stamps(&self) -> Option<Stamps> {
        match &self.source.origin {
            CredentialProvider::Keys(_) => None,
            CredentialProvider::Mounted(keys) => Some(Stamps::of(mounted::files(keys).cloned())),
            // a file that appears may change what the chain chooses
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
    use crate::credentials::fakes::{FakeServer, ok, role_source, sts, transport};
    use crate::settings::MetadataProtocol;

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
    async fn web_identity_goes_to_the_sts_of_the_settings() {
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
    async fn a_source_that_fails_is_not_passed_over() {
        let server = sts().await;
        let variables = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{}", server.address)),
        ];
        let reason = chain(&server, &variables).fetch().await.unwrap_err();
        assert!(reason.starts_with("the token file /nowhere/token: "), "{reason}");
        assert!(server.requests().is_empty());
    }

    #[actix_rt::test]
    async fn the_first_metadata_protocol_is_there_on_request() {
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
    async fn a_variable_that_the_sdk_trips_over_is_named_with_the_cure() {
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
        assert_eq!(aws.fetch().await.unwrap_err(), "AWS_ENDPOINT_URL_STS is set, but empty: unset it");
        assert!(server.requests().is_empty());
    }

    #[actix_rt::test]
    async fn a_profile_that_is_nowhere_is_told_with_the_files_that_were_looked_at() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().display().to_string();
        let source = CredentialSettings {
            origin: CredentialProvider::Profile("nosuch".into()),
            ..chain(&sts().await, &[]).source
        };
        let aws = Aws { environment: Env::from_slice(&[("HOME", &at)]), ..Aws::new(source, transport()) };
        assert_eq!(
            aws.fetch().await.unwrap_err(),
            format!(
                "profile `nosuch` is neither in {at}/.aws/credentials nor in {at}/.aws/config (or these files do not \
                 exist)"
            )
        );
    }

    /// A profile of a config file.
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
    async fn x12_a_program_behind_a_role_is_on_the_same_leash() {
        const ROLE: &str = "[profile via]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n\
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
        panic!("it lives on");
    }

    #[actix_rt::test]
    async fn x12_a_program_behind_a_role_prints_no_more_than_keys() {
        let config = "[profile via]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n\
                      [profile base]\ncredential_process = yes hush\n";
        let (_home, _server, aws) = of_profile("via", config).await;
        let reason = aws.fetch().await.unwrap_err();
        assert_eq!(reason, "credential_process: its output exceeds 65536 bytes");
    }

    /// A metadata service that gives keys with this expiry at the first request for them, and 500 afterwards.
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
    async fn s4_a_role_outlives_a_metadata_service_that_fails() {
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
                let remark = again.base_failure.unwrap();
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
            aws.fetch().await.unwrap_err(),
            "profile `via` asks EC2's metadata service for keys, and AWS_EC2_METADATA_DISABLED is true"
        );
        assert!(server.requests().is_empty());
    }

    #[actix_rt::test]
    async fn a_profile_without_a_source_of_keys_is_told_what_is_missing() {
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
            let reason = aws.fetch().await.unwrap_err();
            assert!(reason.starts_with(told) && reason.ends_with(&format!(" and {file}")), "{reason}");
        }
    }

    #[actix_rt::test]
    async fn x7_a_file_of_keys_that_is_no_text_leads_to_no_other_source() {
        let service = metadata_once("2090-01-01T00:00:00Z").await;
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in [&b"[default]\naws_access_key_id = \xff\n"[..], b"\xef\xbb\xbf[default]\n", b"[default\n"]
        {
            std::fs::write(file.path(), text).unwrap();
            let endpoint = format!("http://{}", service.address);
            let path = file.path().to_str().unwrap();
            let variables =
                [("AWS_SHARED_CREDENTIALS_FILE", path), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)];
            let reason = chain(&sts().await, &variables).fetch().await.unwrap_err();
            assert!(reason.contains(path), "{reason}");
        }
        assert!(service.requests().is_empty());
    }

    #[actix_rt::test]
    async fn s7_an_indented_section_is_a_mistake_that_names_the_line() {
        let config = "[default]\naws_access_key_id = A\naws_secret_access_key = hush\n  [profile1]\n\
                      aws_access_key_id = B\naws_secret_access_key = hush\n";
        let (home, _server, aws) = of_profile("default", config).await;
        assert_eq!(
            aws.fetch().await.unwrap_err(),
            format!(
                "AWS_CONFIG_FILE {}/config, line 4: `[profile1]` is indented, and so its keys would count for the \
                 profile before it; remove the spaces before it",
                home.path().display()
            )
        );
    }

    #[actix_rt::test]
    async fn half_a_source_is_the_chains_mistake() {
        let aws = chain(&sts().await, &[("AWS_ACCESS_KEY_ID", "AKIDENV")]);
        assert_eq!(aws.name().await, "credential chain");
        assert_eq!(
            aws.fetch().await.unwrap_err(),
            "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"
        );
    }
}
