//! Checks of the files that only the SDK's providers read: tokens, and the caches of SSO and of `aws login`.
//! The SDK waits for a pipe's writer, reads a device without end, and has no way to set a reader.
//!
//! The SDK itself names a missing or unreadable file of a profile; for a container's token it names only the
//! endpoint.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_config::profile::{Profile, ProfileSet};
use aws_types::os_shim_internal::Env;

use super::{
    fetch::FetchError,
    profile_chain::{CREDENTIAL_SOURCE, LOGIN_SESSION, SSO, WEB_IDENTITY},
};
use crate::system::regular_file;

const CONTAINER_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// The `credential_source` with the keys of a container's endpoint.
const OF_CONTAINER: &str = "EcsContainer";
const LOGIN_CACHE: &str = "AWS_LOGIN_CACHE_DIRECTORY";

/// Checks the token's file of a container's endpoint.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is too long.
pub fn check_container_token(environment: &Env) -> Result<(), FetchError> {
    let Ok(file) = environment.get(CONTAINER_TOKEN) else { return Ok(()) };
    match regular_file::read(Path::new(&file)) {
        Ok(_) => Ok(()),
        Err(error) => Err(FetchError::Unreadable(format!("{CONTAINER_TOKEN} {file}"), error.to_string())),
    }
}

/// Checks the files of a profile and of its chain of `source_profile`.
///
/// # Errors
/// A file is not a regular file, or is too long.
pub fn check_profile(profiles: &ProfileSet, name: &str, environment: &Env) -> Result<(), FetchError> {
    let mut seen = Vec::new();
    let mut next = profiles.get_profile(name);
    while let Some(profile) = next.filter(|profile| !seen.contains(&profile.name())) {
        seen.push(profile.name());
        check_files(profile, environment)?;
        next = profile.get("source_profile").and_then(|source| profiles.get_profile(source));
    }
    Ok(())
}

fn check_files(profile: &Profile, environment: &Env) -> Result<(), FetchError> {
    let has = |key: &&str| profile.get(key).is_some();
    if let Some(token) = profile.get(WEB_IDENTITY) {
        check(WEB_IDENTITY, Path::new(token))?;
    }
    if profile.get(CREDENTIAL_SOURCE) == Some(OF_CONTAINER) {
        check_container_token(environment)?;
    }
    let below_home = |path| environment.get("HOME").ok().map(|home| Path::new(&home).join(path));
    if SSO.iter().any(has) {
        check_cache("the cache of SSO logins:", below_home(".aws/sso/cache"))?;
    }
    if has(&LOGIN_SESSION) {
        let named = environment.get(LOGIN_CACHE).ok().map(PathBuf::from);
        check_cache("the cache of `aws login`:", named.or_else(|| below_home(".aws/login/cache")))?;
    }
    Ok(())
}

/// Checks all files of a cache: the SDK picks one by a hash.
fn check_cache(what: &str, directory: Option<PathBuf>) -> Result<(), FetchError> {
    let Some(Ok(entries)) = directory.map(fs::read_dir) else { return Ok(()) };
    let files = entries.filter_map(Result::ok).map(|entry| entry.path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .try_for_each(|file| check(what, &file))
}

fn check(what: &str, file: &Path) -> Result<(), FetchError> {
    match regular_file::check(file) {
        Err(error) if error.kind() == io::ErrorKind::Other => {
            Err(FetchError::Unreadable(format!("{what} {}", file.display()), error.to_string()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use aws_config::profile;
    use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
    use aws_types::os_shim_internal::Fs;

    use super::*;

    async fn profiles(config: &str) -> ProfileSet {
        let files = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, config).build();
        profile::load(&Fs::from_slice(&[]), &Env::from_slice(&[]), &files, None).await.unwrap()
    }

    #[actix_rt::test]
    async fn x6_no_file_of_a_profile_blocks_the_sdk() {
        let home = tempfile::tempdir().unwrap();
        let environment =
            Env::from_slice(&[("HOME", home.path().to_str().unwrap()), (CONTAINER_TOKEN, "/dev/zero")]);
        for cache in [".aws/sso/cache", ".aws/login/cache"] {
            fs::create_dir_all(home.path().join(cache)).unwrap();
            symlink("/dev/zero", home.path().join(cache).join("0a.json")).unwrap();
        }
        let config = "[profile token]\nrole_arn = arn:r\nweb_identity_token_file = /dev/zero\n\
                      [profile container]\nrole_arn = arn:r\ncredential_source = EcsContainer\n\
                      [profile sso]\nsso_session = s\n\
                      [profile login]\nlogin_session = arn:s\n\
                      [profile behind]\nrole_arn = arn:r\nsource_profile = token\n\
                      [profile circle]\nrole_arn = arn:r\nsource_profile = circle\n\
                      [profile lost]\nrole_arn = arn:r\nweb_identity_token_file = /nowhere/token\n\
                      [profile ec2]\nrole_arn = arn:r\ncredential_source = Ec2InstanceMetadata\n";
        let profiles = profiles(config).await;
        for name in ["token", "container", "sso", "login", "behind"] {
            let reason = check_profile(&profiles, name, &environment).unwrap_err().to_string();
            assert!(reason.ends_with(": not a regular file"), "{name}: {reason}");
        }
        for name in ["circle", "lost", "ec2", "unknown"] {
            assert_eq!(check_profile(&profiles, name, &environment), Ok(()), "{name}");
        }
        assert!(check_container_token(&environment).is_err());
        assert_eq!(check_profile(&profiles, "sso", &Env::from_slice(&[])), Ok(()));
        assert_eq!(check_container_token(&Env::from_slice(&[])), Ok(()));
    }

    #[test]
    fn s10_a_missing_token_of_a_container_is_named() {
        let reason =
            check_container_token(&Env::from_slice(&[(CONTAINER_TOKEN, "/nowhere/token")])).unwrap_err();
        let reason = reason.to_string();
        assert!(reason.starts_with(&format!("{CONTAINER_TOKEN} /nowhere/token: No such file")), "{reason}");
        let token = tempfile::NamedTempFile::new().unwrap();
        let environment = Env::from_slice(&[(CONTAINER_TOKEN, token.path().to_str().unwrap())]);
        assert_eq!(check_container_token(&environment), Ok(()));
    }
}
