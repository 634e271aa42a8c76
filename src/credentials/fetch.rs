//! One fetch of keys: choose the source, ask it, exchange the keys for a role's.
//!
//! `refresher.rs` knows nothing but the trait [`Fetch`]; [`Aws`] is the one that asks AWS, and tests have others.
//! Everything is built anew for each fetch, because the SDK's providers read profiles only once.

use std::{
    error::Error as _,
    time::{Duration, SystemTime},
};

use aws_config::{
    BehaviorVersion, Region, ecs::EcsCredentialsProvider, imds, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, future::ProvideCredentials},
};
use aws_types::os_shim_internal::Env;

use super::{
    chain::{self, Choice},
    container,
    identity::CallerUnknown,
    instance_keys::InstanceKeys,
    metadata, mounted, process,
    profile_chain::{self, Base, LOGIN_SESSION, ProfileChain},
    sdk_files, shared_files,
    status::Caller,
    sts::{ENDPOINT_VARIABLES, Fetched, Sts, causes},
    way::Way,
};
use crate::{
    client::Endpoint,
    settings::{MetadataProtocol, Origin, Role, Source},
    system::file_stamps::Stamps,
};

/// EC2's metadata service is on the same machine or nowhere: a pod that cannot reach it must not hang at its start.
const METADATA_CONNECT: Duration = Duration::from_secs(1);
const METADATA_ATTEMPTS: u32 = 2;
const METADATA_TOTAL: Duration = Duration::from_secs(3);

/// It is what is left when nothing is configured, so its failure is often not its own.
const METADATA_HINT: &str = "no other source is configured, and in a container the metadata service answers only \
                             where the instance's hop limit is 2 or more";

const METADATA_SWITCH: &str = "AWS_EC2_METADATA_DISABLED";

/// What gives keys when asked.
pub trait Fetch: Send + Sync + 'static {
    /// Which source it is, for a person; also while it fails.
    fn name(&self) -> impl Future<Output = String> + Send;
    /// The keys, or why there are none.
    fn fetch(&self) -> impl Future<Output = Result<Fetched, String>> + Send;
    /// Asks STS for the owner of these keys.
    fn caller(&self, credentials: Credentials) -> impl Future<Output = Result<Caller, CallerUnknown>> + Send;
    /// The state of the files that the keys came from; `None` if they came from elsewhere.
    fn stamps(&self) -> Option<Stamps>;
}

/// What a source means in this environment, now. Nothing is called for it.
///
/// # Errors
/// What is configured cannot be read, or nothing is.
pub async fn choice(source: &Source, environment: &Env) -> Result<Choice, String> {
    match &source.origin {
        // a route's own keys come as they are, and so do those of the environment
        Origin::Keys(keys) => Ok(Choice::Environment(keys.clone())),
        Origin::Mounted(keys) => Ok(Choice::Environment(mounted::read(keys)?)),
        Origin::Profile(name) => Ok(Choice::Profile(name.clone())),
        Origin::Chain => {
            let default_profile = shared_files::have_default_profile(environment).await;
            chain::choose(|name| environment.get(name).ok(), default_profile, source.metadata)
        }
    }
}

/// Keys from AWS, as a [`Source`] describes them.
#[derive(Debug)]
pub struct Aws {
    source: Source,
    environment: Env,
    way: Way,
    sts: Sts,
    instance_keys: InstanceKeys,
}

impl Aws {
    /// The keys of `source`, in the process's environment.
    pub fn new(source: Source, way: Way) -> Self {
        let sts = Sts::new(&source, way.clone());
        Self { source, environment: Env::real(), way, sts, instance_keys: InstanceKeys::default() }
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
        let is_asked = self.source.role.is_some()
            || match self.choice().await? {
                Choice::WebIdentity(_) => true,
                Choice::Profile(name) => shared_files::profiles(&self.environment)
                    .await
                    .is_some_and(|profiles| !profile_chain::of(&profiles, &name).roles.is_empty()),
                _ => false,
            };
        if !is_asked {
            return Ok(None);
        }
        self.refuse_empty_endpoint()?;
        let url = self.sts.url().await?;
        let uri = url.parse().map_err(|_| format!("{url} is no URL"))?;
        self.way.endpoint(&uri).map(Some)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).ok()
    }

    /// The SDK does not take an empty variable for one that is not set everywhere.
    fn refuse_empty(&self, names: &[&str]) -> Result<(), String> {
        match names.iter().find(|name| self.variable(name).is_some_and(|value| value.trim().is_empty())) {
            Some(name) => Err(format!("{name} is set, but empty: unset it")),
            None => Ok(()),
        }
    }

    /// Before STS is called: an endpoint that is empty ends in a panic of the SDK.
    fn refuse_empty_endpoint(&self) -> Result<(), String> {
        match self.source.sts_endpoint {
            Some(_) => Ok(()),
            None => self.refuse_empty(&ENDPOINT_VARIABLES),
        }
    }

    async fn first_keys(&self, choice: Choice) -> Result<Fetched, String> {
        let credentials = match choice {
            Choice::Environment(credentials) => credentials,
            Choice::Profile(name) => return self.profile(&name).await,
            Choice::Container(container) => {
                self.refuse_empty(&[
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                ])?;
                sdk_files::check_container_token(&self.environment)?;
                let provider = EcsCredentialsProvider::builder().configure(&self.provider_config()).build();
                let answer = provided(provider.provide_credentials()).await;
                answer.map_err(|reason| container::told(container, |name| self.variable(name), &reason))?
            }
            Choice::WebIdentity(identity) => {
                self.refuse_empty_endpoint()?;
                return self.sts.assume_role_with_web_identity(&identity).await;
            }
            Choice::Metadata(protocol) => {
                let given = self.metadata(protocol).await.map_err(|failure| match failure {
                    metadata::Failure::Silent(reason) => format!("{reason}; {METADATA_HINT}"),
                    metadata::Failure::Answered(reason) => reason,
                });
                // without a role, the last keys are still in force
                return match self.source.role {
                    Some(_) => self.instance_keys.or_last(given, SystemTime::now()),
                    None => given,
                };
            }
        };
        Ok(credentials.into())
    }

    async fn profile(&self, name: &str) -> Result<Fetched, String> {
        shared_files::check(&self.environment)?;
        let profiles = shared_files::load(&self.environment).await?;
        if profiles.get_profile(name).is_none() {
            return Err(self.no_profile(name));
        }
        let ProfileChain { base, roles } = profile_chain::of(&profiles, name);
        let mut fetched: Fetched = match base {
            Base::Keys(keys) => keys.into(),
            Base::Program(command) => process::fetch(&command).await?.into(),
            Base::Instance => self.instance_of_profile(name).await?,
            Base::Profile(base) => {
                sdk_files::check_profile(&profiles, &base, &self.environment)?;
                if let Some(missing) = profile_chain::missing(&profiles, &base) {
                    let files = self.places();
                    return Err(format!("profile `{base}` {missing}; the files of profiles are {files}"));
                }
                self.profile_of_the_sdk(&base).await?.into()
            }
        };
        for role in &roles {
            fetched = self.assume(role, fetched).await?;
        }
        Ok(fetched)
    }

    /// The keys of the instance, for a profile whose `credential_source` they are.
    async fn instance_of_profile(&self, profile: &str) -> Result<Fetched, String> {
        if self.variable(METADATA_SWITCH).is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            return Err(format!(
                "profile `{profile}` asks EC2's metadata service for keys, and {METADATA_SWITCH} is true"
            ));
        }
        let given = self.metadata(self.source.metadata).await.map_err(|failure| match failure {
            metadata::Failure::Silent(reason) | metadata::Failure::Answered(reason) => reason,
        });
        self.instance_keys.or_last(given, SystemTime::now())
    }

    /// A role's keys; they keep the remark on the keys that they were exchanged for.
    async fn assume(&self, role: &Role, base: Fetched) -> Result<Fetched, String> {
        self.refuse_empty_endpoint()?;
        match (self.sts.assume_role(role, base.credentials).await, base.base_failure) {
            (Ok(fetched), base_failure) => Ok(Fetched { base_failure, ..fetched }),
            (Err(reason), Some(remark)) => Err(format!("{reason}; {remark}")),
            (Err(reason), None) => Err(reason),
        }
    }

    /// Both files of profiles, for a person.
    fn places(&self) -> String {
        match shared_files::places(&self.environment) {
            Some((credentials, config)) => format!("{credentials} and {config}"),
            None => "those that the environment names".to_owned(),
        }
    }

    fn no_profile(&self, name: &str) -> String {
        match shared_files::places(&self.environment) {
            Some((credentials, config)) => {
                format!(
                    "profile `{name}` is neither in {credentials} nor in {config} (or these files do not exist)"
                )
            }
            None => format!("there are no files to look for profile `{name}` in: HOME is not set"),
        }
    }

    async fn profile_of_the_sdk(&self, name: &str) -> Result<Credentials, String> {
        let provider = ProfileFileCredentialsProvider::builder().configure(&self.provider_config());
        match provided(provider.profile_name(name).build().provide_credentials()).await {
            Ok(credentials) => Ok(credentials),
            Err(reason) => Err(self.with_cure(name, reason).await),
        }
    }

    /// A failure of the SDK's that a login cures says so instead of naming a file of the SDK's own.
    async fn with_cure(&self, profile: &str, reason: String) -> String {
        let profiles = shared_files::profiles(&self.environment).await;
        let has_login = profiles.is_some_and(|profiles| {
            profiles.get_profile(profile).is_some_and(|profile| profile.get(LOGIN_SESSION).is_some())
        });
        if reason.contains("SSO token") || reason.contains("sso/cache") {
            let cure = format!("run `aws sso login --profile {profile}`");
            return format!("SSO login of profile {profile} has expired or never happened: {cure}");
        }
        if has_login && (reason.contains("Login token") || reason.contains("failed to read")) {
            let cure = format!("run `aws login --profile {profile}`");
            return format!(
                "the session of `aws login` of profile {profile} has ended or never began: {cure}"
            );
        }
        reason
    }

    /// Keys of EC2 outlive their expiry: where the service fails or gives expired ones, AWS wants them used until AWS
    /// itself refuses them (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>).
    async fn metadata(&self, protocol: MetadataProtocol) -> Result<Fetched, metadata::Failure> {
        let endpoint = metadata::endpoint(|name| self.variable(name));
        let service = match protocol {
            MetadataProtocol::V1 => metadata::Service::V1 { way: &self.way, endpoint },
            MetadataProtocol::V2 => {
                let client = self.metadata_client().map_err(metadata::Failure::Answered)?;
                metadata::Service::V2 { client, endpoint }
            }
        };
        let credentials = metadata::fetch(&service).await?;
        Ok(Fetched { outlives_expiry: true, ..credentials.into() })
    }

    fn metadata_client(&self) -> Result<imds::Client, String> {
        self.refuse_empty(&["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"])?;
        Ok(imds::Client::builder()
            .configure(&self.provider_config())
            .connect_timeout(METADATA_CONNECT)
            .max_attempts(METADATA_ATTEMPTS)
            .operation_timeout(METADATA_TOTAL)
            .build())
    }

    fn provider_config(&self) -> ProviderConfig {
        ProviderConfig::without_region()
            .with_region(Some(Region::new(self.source.region.clone())))
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_use_fips(Some(self.source.variant.fips))
            .with_use_dual_stack(Some(self.source.variant.dual_stack))
            .with_http_client(self.way.client())
    }
}

/// What one of the SDK's providers gives. Of its errors the outermost is dropped: it calls a time limit "not enabled".
async fn provided(answer: ProvideCredentials<'_>) -> Result<Credentials, String> {
    let told = answer.await.map_err(|error| causes(error.source().unwrap_or(&error)));
    // what a `credential_process` writes there is nobody's to publish
    told.map_err(|reason| reason.split("Stderr:").next().unwrap_or_default().trim_end().to_owned())
}

impl Fetch for Aws {
    async fn name(&self) -> String {
        let origin = match (&self.source.origin, self.choice().await) {
            (Origin::Keys(_) | Origin::Mounted(_), _) => "settings".to_owned(),
            (_, Ok(choice)) => choice.to_string(),
            (_, Err(_)) => "credential chain".to_owned(),
        };
        match &self.source.role {
            Some(role) => format!("{origin} as role {}", role.arn),
            None => origin,
        }
    }

    async fn fetch(&self) -> Result<Fetched, String> {
        let fetched = self.first_keys(self.choice().await?).await?;
        match &self.source.role {
            Some(role) => self.assume(role, fetched).await,
            None => Ok(fetched),
        }
    }

    async fn caller(&self, credentials: Credentials) -> Result<Caller, CallerUnknown> {
        self.refuse_empty_endpoint().map_err(|reason| CallerUnknown::unasked(&reason))?;
        self.sts.caller(credentials).await
    }

    fn stamps(&self) -> Option<Stamps> {
        match &self.source.origin {
            Origin::Keys(_) => None,
            Origin::Mounted(keys) => Some(Stamps::of(mounted::files(keys).cloned())),
            // a file that appears may change what the chain chooses
            Origin::Profile(_) | Origin::Chain => Some(shared_files::stamps(&self.environment)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::fakes::{Server, ok, role_source, sts, way};

    fn chain(server: &Server, variables: &[(&str, &str)]) -> Aws {
        let source = Source {
            origin: Origin::Chain,
            role: None,
            metadata: MetadataProtocol::V1,
            ..role_source(server)
        };
        Aws { environment: Env::from_slice(variables), ..Aws::new(source, way()) }
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
        let server = Server::start(|request| {
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
        let source = Source { origin: Origin::Profile("nosuch".into()), ..chain(&sts().await, &[]).source };
        let aws = Aws { environment: Env::from_slice(&[("HOME", &at)]), ..Aws::new(source, way()) };
        assert_eq!(
            aws.fetch().await.unwrap_err(),
            format!(
                "profile `nosuch` is neither in {at}/.aws/credentials nor in {at}/.aws/config (or these files do not \
                 exist)"
            )
        );
    }

    /// A profile of a config file.
    async fn of_profile(name: &str, config: &str) -> (tempfile::TempDir, Server, Aws) {
        let (home, server) = (tempfile::tempdir().unwrap(), sts().await);
        let file = home.path().join("config");
        std::fs::write(&file, config).unwrap();
        let variables = [("AWS_CONFIG_FILE", file.to_str().unwrap())];
        let aws = Aws { environment: Env::from_slice(&variables), ..chain(&server, &[]) };
        let source = Source { origin: Origin::Profile(name.into()), ..aws.source.clone() };
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
        assert_eq!(reason, "credential_process: it prints more than 65536 bytes");
    }

    /// A metadata service that gives keys with this expiry at the first request for them, and 500 afterwards.
    async fn metadata_once(expiry: &'static str) -> Server {
        let given = std::sync::atomic::AtomicBool::new(false);
        Server::start(move |request| {
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
                let is_profile = matches!(aws.source.origin, Origin::Profile(_));
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
        let variables = [(METADATA_SWITCH, "TRUE"), ("AWS_CONFIG_FILE", config.to_str().unwrap())];
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
            ("bare", "profile `bare` gives no keys: it has none of aws_access_key_id, "),
            ("via", "profile `bare` gives no keys: it has none of aws_access_key_id, "),
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
                 profile before it; remove the blanks in front of it",
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
