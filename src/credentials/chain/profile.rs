//! A profile of the shared files.

use std::{borrow::Cow, time::SystemTime};

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_credential_types::{Credentials, provider::ProvideCredentials as _};

use super::{
    Answer, ChainSource, Choice, Row, Surroundings,
    instance::{self, METADATA_SWITCH},
};
use crate::{
    credentials::{
        fetch::{Aws, provided},
        metadata, process,
        profile_chain::{self, Base, LOGIN_SESSION, ProfileChain},
        sdk_files, shared_files,
        sts::Fetched,
    },
    text::key_source::KeyOrigin,
};

#[derive(Debug)]
pub struct Profile(pub String);

pub(super) const ROW: Row = Row { name: "profile", find };

fn find(surroundings: &Surroundings<'_>) -> Result<Option<Choice>, String> {
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

    fn fetch<'a>(&'a self, aws: &'a Aws) -> Answer<'a, Result<Fetched, String>> {
        Box::pin(fetch(aws, &self.0))
    }

    fn is_of_sts<'a>(&'a self, aws: &'a Aws) -> Answer<'a, bool> {
        Box::pin(async move {
            let profiles = shared_files::load(&aws.environment).await.ok();
            profiles.is_some_and(|profiles| !profile_chain::of(&profiles, &self.0).roles.is_empty())
        })
    }
}

async fn fetch(aws: &Aws, name: &str) -> Result<Fetched, String> {
    shared_files::check(&aws.environment)?;
    let profiles = shared_files::load(&aws.environment).await?;
    if profiles.get_profile(name).is_none() {
        return Err(not_found(aws, name));
    }
    let ProfileChain { base, roles } = profile_chain::of(&profiles, name);
    let mut fetched: Fetched = match base {
        Base::Keys(keys) => keys.into(),
        Base::Program(command) => process::fetch(&command).await?.into(),
        Base::Instance => of_instance(aws, name).await?,
        Base::Profile(base) => {
            sdk_files::check_profile(&profiles, &base, &aws.environment)?;
            if let Some(missing) = profile_chain::missing(&profiles, &base) {
                let files = places(aws);
                return Err(format!("profile `{base}` {missing}; the files of profiles are {files}"));
            }
            of_the_sdk(aws, &base).await?.into()
        }
    };
    for role in &roles {
        fetched = aws.assume(role, fetched).await?;
    }
    Ok(fetched)
}

/// The keys of the instance, for a profile whose `credential_source` they are.
async fn of_instance(aws: &Aws, profile: &str) -> Result<Fetched, String> {
    if aws.variable(METADATA_SWITCH).is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        return Err(format!(
            "profile `{profile}` asks EC2's metadata service for keys, and {METADATA_SWITCH} is true"
        ));
    }
    let given = instance::fetch(aws, aws.source.metadata).await.map_err(|failure| match failure {
        metadata::Failure::Silent(reason) | metadata::Failure::Answered(reason) => reason,
    });
    aws.instance_keys.or_last(given, SystemTime::now())
}

/// Both files of profiles, for a person.
fn places(aws: &Aws) -> String {
    match shared_files::places(&aws.environment) {
        Some((credentials, config)) => format!("{credentials} and {config}"),
        None => "those that the environment names".to_owned(),
    }
}

fn not_found(aws: &Aws, name: &str) -> String {
    match shared_files::places(&aws.environment) {
        Some((credentials, config)) => {
            format!(
                "profile `{name}` is neither in {credentials} nor in {config} (or these files do not exist)"
            )
        }
        None => format!("there are no files to look for profile `{name}` in: HOME is not set"),
    }
}

async fn of_the_sdk(aws: &Aws, name: &str) -> Result<Credentials, String> {
    let provider = ProfileFileCredentialsProvider::builder().configure(&aws.provider_config());
    match provided(provider.profile_name(name).build().provide_credentials()).await {
        Ok(credentials) => Ok(credentials),
        Err(reason) => Err(with_cure(aws, name, reason).await),
    }
}

/// A failure of the SDK's that a login cures says so instead of naming a file of the SDK's own.
async fn with_cure(aws: &Aws, profile: &str, reason: String) -> String {
    let profiles = shared_files::load(&aws.environment).await.ok();
    let has_login = profiles.is_some_and(|profiles| {
        profiles.get_profile(profile).is_some_and(|profile| profile.get(LOGIN_SESSION).is_some())
    });
    if reason.contains("SSO token") || reason.contains("sso/cache") {
        let cure = format!("run `aws sso login --profile {profile}`");
        return format!("SSO login of profile {profile} has expired or never happened: {cure}");
    }
    if has_login && (reason.contains("Login token") || reason.contains("failed to read")) {
        let cure = format!("run `aws login --profile {profile}`");
        return format!("the session of `aws login` of profile {profile} has ended or never began: {cure}");
    }
    reason
}
