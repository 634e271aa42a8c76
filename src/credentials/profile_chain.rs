//! Chains of profiles by `source_profile`: the first keys and the roles to assume with them
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html>).
//!
//! The SDK's provider is not used for a chain: it runs a `credential_process` without limits (`process.rs`),
//! and its STS client ignores `sts_endpoint_url` and `use_fips_endpoint`. The order of precedence is the
//! SDK's.

use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::Credentials;

use super::shared_files::{GIVES_KEYS, PROCESS};
use crate::settings::{DEFAULT_SESSION_NAME, Role};

pub const LOGIN_SESSION: &str = "login_session";
pub const WEB_IDENTITY: &str = "web_identity_token_file";
pub const CREDENTIAL_SOURCE: &str = "credential_source";
/// The settings of a profile with SSO.
pub const SSO: [&str; 5] = ["sso_account_id", "sso_region", "sso_role_name", "sso_start_url", "sso_session"];

#[derive(Debug, PartialEq)]
pub struct ProfileChain {
    pub base: BaseKeys,
    /// In the order in which to assume them.
    pub roles: Vec<Role>,
}

/// The source of a chain's first keys.
#[derive(Debug, PartialEq)]
pub enum BaseKeys {
    /// The command of a `credential_process`.
    Program(String),
    Static(Credentials),
    /// EC2's metadata service, by `credential_source`.
    Instance,
    /// The name of a profile for the SDK's provider: with SSO, a token or `aws login`, or with a mistake.
    Sdk(String),
}

/// The chain that begins at the profile `name`.
pub fn of(profiles: &ProfileSet, name: &str) -> ProfileChain {
    follow(profiles, name)
        .unwrap_or_else(|| ProfileChain { base: BaseKeys::Sdk(name.to_owned()), roles: Vec::new() })
}

/// `None` for chains of the SDK's provider: invalid ones, and the other values of `credential_source`.
fn follow(profiles: &ProfileSet, name: &str) -> Option<ProfileChain> {
    let (mut seen, mut roles) = (Vec::new(), Vec::new());
    let mut profile = profiles.get_profile(name)?;
    loop {
        if seen.contains(&profile.name()) {
            return None;
        }
        seen.push(profile.name());
        // after the first profile, keys precede everything else
        let keys = if seen.len() > 1 { keys_of(profile) } else { None };
        let base = match keys {
            Some(keys) => Some(BaseKeys::Static(keys)),
            None => match role_of(profile) {
                None => Some(base_of(profile)),
                Some(role) if is_of_the_instance(profile) => {
                    roles.push(role);
                    Some(BaseKeys::Instance)
                }
                Some(role) => {
                    let source =
                        profile.get("source_profile").filter(|_| profile.get(CREDENTIAL_SOURCE).is_none())?;
                    roles.push(role);
                    if source == profile.name() {
                        Some(own_keys_of(profile)?)
                    } else {
                        profile = profiles.get_profile(source)?;
                        None
                    }
                }
            },
        };
        if let Some(base) = base {
            roles.reverse();
            return Some(ProfileChain { base, roles });
        }
    }
}

/// The SDK refuses `credential_source` together with `source_profile`.
fn is_of_the_instance(profile: &Profile) -> bool {
    profile.get(CREDENTIAL_SOURCE) == Some("Ec2InstanceMetadata") && profile.get("source_profile").is_none()
}

/// The error of a profile without a source of keys, which the SDK calls "not enabled".
pub fn missing(profiles: &ProfileSet, name: &str) -> Option<String> {
    let profile = profiles.get_profile(name)?;
    let has = |key: &&str| profile.get(key).is_some();
    if !GIVES_KEYS.iter().chain(&SSO).any(has) {
        return Some(format!("has no keys: it has none of {}", GIVES_KEYS.join(", ")));
    }
    let is_its_own_source = profile.get("source_profile") == Some(name);
    (is_its_own_source && own_keys_of(profile).is_none()).then(|| {
        format!(
            "names itself as source_profile, and has neither {PROCESS} nor aws_access_key_id with \
             aws_secret_access_key"
        )
    })
}

/// The keys of a profile without a role.
fn base_of(profile: &Profile) -> BaseKeys {
    let mut sdk_keys = [CREDENTIAL_SOURCE, WEB_IDENTITY, LOGIN_SESSION].iter().chain(&SSO);
    let is_the_sdks = sdk_keys.any(|key| profile.get(key).is_some());
    let own = if is_the_sdks { None } else { own_keys_of(profile) };
    own.unwrap_or_else(|| BaseKeys::Sdk(profile.name().to_owned()))
}

/// A program precedes keys of the same profile.
fn own_keys_of(profile: &Profile) -> Option<BaseKeys> {
    let program = profile.get(PROCESS).map(|command| BaseKeys::Program(command.to_owned()));
    program.or_else(|| keys_of(profile).map(BaseKeys::Static))
}

fn keys_of(profile: &Profile) -> Option<Credentials> {
    let (id, secret) = (profile.get("aws_access_key_id")?, profile.get("aws_secret_access_key")?);
    let token = profile.get("aws_session_token").map(str::to_owned);
    Some(Credentials::new(id, secret, token, None, "profile"))
}

/// `None` for a role with a web identity token, which needs no other profile.
fn role_of(profile: &Profile) -> Option<Role> {
    if profile.get(WEB_IDENTITY).is_some() {
        return None;
    }
    Some(Role {
        arn: profile.get("role_arn")?.to_owned(),
        session_name: profile.get("role_session_name").unwrap_or(DEFAULT_SESSION_NAME).to_owned(),
        external_id: profile.get("external_id").map(str::to_owned),
        duration: None,
    })
}

#[cfg(test)]
mod tests {
    use aws_config::profile;
    use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
    use aws_types::os_shim_internal::{Env, Fs};

    use super::*;

    async fn chain(config: &str, name: &str) -> (BaseKeys, Vec<String>) {
        let files = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, config).build();
        let profiles =
            profile::load(&Fs::from_slice(&[]), &Env::from_slice(&[]), &files, None).await.unwrap();
        let ProfileChain { base, roles } = of(&profiles, name);
        (base, roles.into_iter().map(|role| role.arn).collect())
    }

    fn sdk(name: &str) -> BaseKeys {
        BaseKeys::Sdk(name.to_owned())
    }

    #[actix_rt::test]
    async fn x12_a_program_is_found_anywhere_in_the_chain() {
        let config = "[profile program]\ncredential_process = /bin/keys\n\
                      [profile one]\nrole_arn = arn:one\nsource_profile = program\n\
                      [profile two]\nrole_arn = arn:two\nsource_profile = one\nexternal_id = e\n\
                      [profile self]\nrole_arn = arn:self\nsource_profile = self\n\
                      credential_process = /bin/own\n\
                      [profile both]\ncredential_process = /bin/own\naws_access_key_id = A\n\
                      aws_secret_access_key = s\n\
                      [profile keys]\nrole_arn = arn:keys\nsource_profile = both\n";
        let program = |command: &str| BaseKeys::Program(command.to_owned());
        assert_eq!(chain(config, "program").await, (program("/bin/keys"), vec![]));
        assert_eq!(chain(config, "one").await, (program("/bin/keys"), vec!["arn:one".to_owned()]));
        let roles = ["arn:one", "arn:two"].map(str::to_owned).to_vec();
        assert_eq!(chain(config, "two").await, (program("/bin/keys"), roles));
        assert_eq!(chain(config, "self").await, (program("/bin/own"), vec!["arn:self".to_owned()]));
        assert_eq!(chain(config, "both").await, (program("/bin/own"), vec![]));
        assert!(
            matches!(chain(config, "keys").await.0, BaseKeys::Static(keys) if keys.access_key_id() == "A")
        );
    }

    #[actix_rt::test]
    async fn other_profiles_go_to_the_sdk() {
        let config = "[profile sso]\nsso_session = s\ncredential_process = /bin/keys\n\
                      [profile of-sso]\nrole_arn = arn:r\nsource_profile = sso\n\
                      [profile token]\nrole_arn = arn:r\nweb_identity_token_file = /t\n\
                      [profile ec2]\nrole_arn = arn:r\ncredential_source = Ec2InstanceMetadata\n\
                      [profile ecs]\nrole_arn = arn:r\ncredential_source = EcsContainer\n\
                      [profile both]\nrole_arn = arn:r\nsource_profile = sso\n\
                      credential_source = Ec2InstanceMetadata\n\
                      [profile a]\nrole_arn = arn:a\nsource_profile = b\n\
                      [profile b]\nrole_arn = arn:b\nsource_profile = a\n\
                      [profile lost]\nrole_arn = arn:l\nsource_profile = nowhere\n";
        for name in ["sso", "token", "ecs", "both", "a", "lost", "unknown"] {
            assert_eq!(chain(config, name).await, (sdk(name), vec![]), "{name}");
        }
        assert_eq!(chain(config, "of-sso").await, (sdk("sso"), vec!["arn:r".to_owned()]));
        assert_eq!(chain(config, "ec2").await, (BaseKeys::Instance, vec!["arn:r".to_owned()]));
    }
}
