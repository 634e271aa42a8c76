//! A profile of the shared files.

use std::{borrow::Cow, time::SystemTime};

use aws_config::profile::{ProfileFileCredentialsProvider, ProfileSet};
use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use futures_core::future::BoxFuture;

use super::{
    ChainSource, Choice, Row, Surroundings,
    instance::{self, METADATA_SWITCH},
};
use crate::{
    credentials::{
        fetch::{Aws, FetchError, Fetched, provided},
        process,
        profile_chain::{self, BaseKeys, LOGIN_SESSION, ProfileChain},
        sdk_files, shared_files,
    },
    text::key_source::KeyOrigin,
};

#[derive(Debug)]
pub struct Profile(pub String);

pub(super) const ROW: Row = Row { name: "profile", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, FetchError> {
    let name = match surroundings.variable("AWS_PROFILE") {
        Some(name) => name,
        None if surroundings.has_default_profile.clone()? => "default".to_owned(),
        None => return Ok(None),
    };
    Ok(Some(Box::new(Profile(name))))
}

impl ChainSource for Profile {
    fn name(&self) -> Cow<'_, str> {
        KeyOrigin::Profile(&self.0).to_string().into()
    }

    fn fetch<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(fetch(aws, &self.0))
    }

    fn uses_sts<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let profiles = shared_files::load(&aws.environment).await.ok();
            profiles.is_some_and(|profiles| !profile_chain::of(&profiles, &self.0).roles.is_empty())
        })
    }
}

async fn fetch(aws: &Aws, name: &str) -> Result<Fetched, FetchError> {
    shared_files::check(&aws.environment)?;
    let profiles = shared_files::load(&aws.environment).await?;
    if profiles.get_profile(name).is_none() {
        return Err(not_found(aws, name));
    }
    let ProfileChain { base, roles } = profile_chain::of(&profiles, name);
    let mut fetched: Fetched = match base {
        BaseKeys::Static(keys) => keys.into(),
        BaseKeys::Program(command) => process::fetch(&command).await?.into(),
        BaseKeys::Instance => of_instance(aws, name).await?,
        BaseKeys::Sdk(base) => {
            sdk_files::check_profile(&profiles, &base, &aws.environment)?;
            if let Some(missing) = profile_chain::missing(&profiles, &base) {
                let files = places(aws);
                return Err(FetchError::NotConfigured(format!(
                    "profile `{base}` {missing}; the files of profiles are {files}"
                )));
            }
            of_the_sdk(aws, &profiles, &base).await?.into()
        }
    };
    for role in &roles {
        fetched = aws.assume(role, fetched).await?;
    }
    Ok(fetched)
}

/// The keys of the instance, for a profile with `credential_source = Ec2InstanceMetadata`.
async fn of_instance(aws: &Aws, profile: &str) -> Result<Fetched, FetchError> {
    if aws.variable(METADATA_SWITCH).is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        return Err(FetchError::NotConfigured(format!(
            "profile `{profile}` asks EC2's metadata service for keys, and {METADATA_SWITCH} is true"
        )));
    }
    let fetched = instance::fetch(aws, aws.source.metadata).await;
    aws.instance_keys.or_last(fetched, SystemTime::now())
}

/// Both files of profiles, for people.
fn places(aws: &Aws) -> String {
    match shared_files::places(&aws.environment) {
        Some((credentials, config)) => format!("{credentials} and {config}"),
        None => "those that the environment names".to_owned(),
    }
}

fn not_found(aws: &Aws, name: &str) -> FetchError {
    FetchError::NotConfigured(match shared_files::places(&aws.environment) {
        Some((credentials, config)) => {
            format!(
                "profile `{name}` is neither in {credentials} nor in {config} (or these files do not exist)"
            )
        }
        None => format!("there are no files to look for profile `{name}` in: HOME is not set"),
    })
}

async fn of_the_sdk(aws: &Aws, profiles: &ProfileSet, name: &str) -> Result<Credentials, FetchError> {
    let provider = ProfileFileCredentialsProvider::builder().configure(&aws.provider_config());
    let answer = provided(provider.profile_name(name).build().provide_credentials()).await;
    answer.map_err(|reason| FetchError::Sdk(with_cure(profiles, name, reason)))
}

/// Replaces the SDK's text, which names only a file of its cache, where a login is the cure.
fn with_cure(profiles: &ProfileSet, profile: &str, reason: String) -> String {
    if reason.contains("SSO token") || reason.contains("sso/cache") {
        let cure = format!("run `aws sso login --profile {profile}`");
        return format!("SSO login of profile {profile} has expired or never happened: {cure}");
    }
    let has_login = profiles.get_profile(profile).is_some_and(|profile| profile.get(LOGIN_SESSION).is_some());
    if has_login && (reason.contains("Login token") || reason.contains("failed to read")) {
        let cure = format!("run `aws login --profile {profile}`");
        return format!("the session of `aws login` of profile {profile} has ended or never began: {cure}");
    }
    reason
}
