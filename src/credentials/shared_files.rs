//! The files of profiles, `~/.aws/credentials` and `~/.aws/config`: their checks, the profile `default`, and
//! their stamps. The SDK parses them.

use std::{io, path::PathBuf};

use aws_config::profile::{self, ProfileSet};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

use super::{fetch::FetchError, sts::causes};
use crate::{
    system::{file_stamps::Stamps, regular_file},
    text::log_safe::log_safe,
};

/// Characters of a section's name in an error.
const MAX_SECTION: usize = 100;

pub const PROCESS: &str = "credential_process";
/// The settings of a profile that define a source of keys.
pub const GIVES_KEYS: [&str; 9] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    PROCESS,
    "credential_source",
    "login_session",
    "role_arn",
    "sso_account_id",
    "sso_session",
    "web_identity_token_file",
];

/// The variable with the path of each file, and its default below the home directory
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html>).
const FILES: [(&str, &str); 2] =
    [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];

/// True if there is a profile `default` with a source of keys. Invalid files count as such, because the fetch
/// then reports the mistake in them.
///
/// # Errors
/// As of [`check`].
pub async fn have_default_profile(environment: &Env) -> Result<bool, FetchError> {
    check(environment)?;
    Ok(load(environment).await.map_or(true, |profiles| {
        let default = profiles.get_profile("default");
        default.is_some_and(|profile| GIVES_KEYS.iter().any(|key| profile.get(key).is_some()))
    }))
}

/// The paths of both files, for people.
pub fn places(environment: &Env) -> Option<(String, String)> {
    let place = |(variable, default)| Some(path(environment, variable, default)?.display().to_string());
    let [credentials, config] = FILES.map(place);
    Some((credentials?, config?))
}

/// Parses all profiles.
///
/// # Errors
/// A file is invalid; the error has its name and line.
pub async fn load(environment: &Env) -> Result<ProfileSet, FetchError> {
    let read = profile::load(&Fs::real(), environment, &EnvConfigFiles::default(), None).await;
    // the SDK's text has a line break after the number of the line
    read.map_err(|error| FetchError::Sdk(causes(&error).replace(":\\n  ", ": ")))
}

/// Checks both files before the SDK reads them.
///
/// The SDK treats a file that it cannot read as empty. That is right for an inaccessible home, such as
/// `/root` in many containers; a file that a variable names is configured, and must not be ignored.
///
/// # Errors
/// A file cannot be read, is no UTF-8 text, or has an indented section.
pub fn check(environment: &Env) -> Result<(), FetchError> {
    for (variable, default) in FILES {
        let Some(path) = path(environment, variable, default) else { continue };
        let is_named = environment.get(variable).is_ok_and(|value| !value.is_empty());
        if !is_named && !path.exists() {
            continue;
        }
        let file = format!("{variable} {}", path.display());
        match regular_file::read_profiles(&path) {
            // kind `Other`: not a regular file, which would block the SDK
            Err(error) if is_named || error.kind() == io::ErrorKind::Other => {
                return Err(FetchError::Unreadable(file, error.to_string()));
            }
            Err(_) => {}
            Ok(text) => {
                if let Some(mistake) = encoding_mistake(&text) {
                    return Err(FetchError::Unreadable(file, mistake.to_owned()));
                }
                if let Some((line, mistake)) = indented_section(&text) {
                    return Err(FetchError::Unreadable(format!("{file}, line {line}"), mistake));
                }
            }
        }
    }
    Ok(())
}

/// The SDK treats a file that is not UTF-8 as empty. Neither the SDK nor botocore accepts a byte order mark.
fn encoding_mistake(text: &[u8]) -> Option<&'static str> {
    if text.starts_with(&[0xef, 0xbb, 0xbf]) {
        return Some("it begins with a byte order mark; save it as UTF-8 without one");
    }
    std::str::from_utf8(text).is_err().then_some("not UTF-8 text; save it as UTF-8")
}

/// The first indented section, with the number of its line. AWS's SDKs append an indented line to the value
/// above it, so the keys of an indented section would replace those of the section before.
fn indented_section(text: &[u8]) -> Option<(usize, String)> {
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let indented = line.trim_ascii();
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'))
            && indented.first() == Some(&b'[')
            && let Some(end) = indented.iter().position(|byte| *byte == b']')
        {
            let section = log_safe(&String::from_utf8_lossy(&indented[..=end]), MAX_SECTION);
            let mistake = format!(
                "`{section}` is indented, and so its keys would count for the profile before it; remove the \
                 spaces before it"
            );
            return Some((number, mistake));
        }
    }
    None
}

/// The stamps of both files, which differ after a write or a replacement, as by Kubernetes for mounted
/// secrets.
pub fn stamps(environment: &Env) -> Stamps {
    Stamps::of(FILES.iter().filter_map(|(variable, default)| path(environment, variable, default)))
}

/// The path of a file, by the SDK's rules.
fn path(environment: &Env, variable: &str, default: &str) -> Option<PathBuf> {
    let home = || environment.get("HOME").ok().map(PathBuf::from);
    match environment.get(variable) {
        Ok(given) => match given.strip_prefix("~/") {
            Some(below) => Some(home()?.join(below)),
            None => Some(given.into()),
        },
        Err(_) => Some(home()?.join(default)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A home directory with these files.
    fn home(credentials: Option<&str>, config: Option<&str>) -> (tempfile::TempDir, Env) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        for (name, text) in [("credentials", credentials), ("config", config)] {
            if let Some(text) = text {
                fs::write(home.path().join(".aws").join(name), text).unwrap();
            }
        }
        let environment = Env::from_slice(&[("HOME", home.path().to_str().unwrap())]);
        (home, environment)
    }

    #[actix_rt::test]
    async fn only_a_default_profile_with_a_source_of_keys_counts() {
        for (credentials, config, counts) in [
            (None, None, false),
            (Some("[default]\naws_access_key_id = A\naws_secret_access_key = hush\n"), None, true),
            (Some("[other]\naws_access_key_id = A\naws_secret_access_key = hush\n"), None, false),
            (None, Some("[default]\nregion = eu-west-1\n"), false),
            (None, Some("[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = x\n"), true),
            (None, Some("[profile default]\ncredential_process = /bin/keys\n"), true),
            (None, Some("[default]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n"), true),
            (None, Some("[default\n"), true),
        ] {
            let (_home, environment) = home(credentials, config);
            assert_eq!(have_default_profile(&environment).await, Ok(counts), "{credentials:?} {config:?}");
        }
    }

    #[actix_rt::test]
    async fn a_missing_file_that_a_variable_names_is_an_error() {
        let environment = Env::from_slice(&[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/keys")]);
        let reason = have_default_profile(&environment).await.unwrap_err().to_string();
        assert!(reason.starts_with("AWS_SHARED_CREDENTIALS_FILE /nowhere/keys: No such file"), "{reason}");
        let environment = Env::from_slice(&[("HOME", "/nowhere"), ("AWS_CONFIG_FILE", "/nowhere/config")]);
        let reason = have_default_profile(&environment).await.unwrap_err().to_string();
        assert!(reason.starts_with("AWS_CONFIG_FILE /nowhere/config: No such file"), "{reason}");
        let directory = tempfile::tempdir().unwrap();
        let environment =
            Env::from_slice(&[("AWS_SHARED_CREDENTIALS_FILE", directory.path().to_str().unwrap())]);
        assert!(
            have_default_profile(&environment).await.unwrap_err().to_string().ends_with("not a regular file")
        );
    }

    #[actix_rt::test]
    async fn x7_large_files_and_dev_null_are_accepted() {
        let (home, mut environment) = home(None, Some("[default]\ncredential_process = /bin/keys\n"));
        let config = home.path().join(".aws/config");
        let mut text = fs::read_to_string(&config).unwrap();
        for number in 0..2_000 {
            let profile = format!("[profile p{number}]\nregion = eu-west-1\n# {}\n", "x".repeat(10));
            text.push_str(&profile);
        }
        assert!(text.len() > 81_000);
        fs::write(&config, text).unwrap();
        assert_eq!(have_default_profile(&environment).await, Ok(true));
        environment = Env::from_slice(&[("AWS_CONFIG_FILE", "/dev/null")]);
        assert_eq!(have_default_profile(&environment).await, Ok(false));
        environment = Env::from_slice(&[("AWS_CONFIG_FILE", "/dev/zero")]);
        assert!(have_default_profile(&environment).await.is_err());
    }

    #[actix_rt::test]
    async fn x7_a_file_in_another_encoding_is_an_error_and_not_an_empty_file() {
        const KEYS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key = hush\n";
        let utf_16: Vec<u8> = KEYS.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let latin: &[u8] = b"# caf\xe9\n[default]\naws_access_key_id = A\naws_secret_access_key = hush\n";
        for (text, told) in [
            (&[&[0xff, 0xfe], &*utf_16].concat(), "not UTF-8 text"),
            (&latin.to_vec(), "not UTF-8 text"),
            (&format!("\u{feff}{KEYS}").into_bytes(), "it begins with a byte order mark"),
        ] {
            for (variable, place) in FILES {
                let (home, environment) = home(None, None);
                let file = home.path().join(place);
                fs::write(&file, text).unwrap();
                let reason = have_default_profile(&environment).await.unwrap_err().to_string();
                assert!(reason.starts_with(&format!("{variable} {}: {told}", file.display())), "{reason}");
            }
        }
    }

    #[actix_rt::test]
    async fn an_invalid_file_is_named_with_the_line() {
        let (home, environment) = home(None, Some("[default]\nregion = eu-west-1\nhush\n"));
        let file = home.path().join(".aws/config");
        let told = format!("error parsing {} on line 3: Expected an '='", file.display());
        let reason = load(&environment).await.unwrap_err().to_string();
        assert!(reason.contains(&told) && !reason.contains("hush"), "{reason}");
    }

    #[test]
    fn s7_only_an_indented_section_is_refused() {
        for text in ["[a]\nx = y\n[b]\n", "[a]\ns3 =\n  addressing_style = path\n", " # [a]\n", "", "  [a\n"]
        {
            assert_eq!(indented_section(text.as_bytes()), None, "{text}");
        }
        for text in ["[a]\nx = y\n  [b]\n", "\n\n\t[b] # c\r\n"] {
            let (line, mistake) = indented_section(text.as_bytes()).unwrap();
            assert!(line == 3 && mistake.starts_with("`[b]` is indented"), "{mistake}");
        }
    }

    #[test]
    fn a_written_or_replaced_file_has_other_stamps() {
        let (home, environment) = home(Some("one"), None);
        let file = home.path().join(".aws/credentials");
        let before = stamps(&environment);
        assert_eq!(before, stamps(&environment));
        fs::write(&file, "longer").unwrap();
        let written = stamps(&environment);
        assert_ne!(written, before);
        let other = home.path().join("other");
        fs::write(&other, "longer").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_ne!(stamps(&environment), written);
        fs::remove_file(&file).unwrap();
        assert_ne!(stamps(&environment), written);
    }

    #[test]
    fn the_variables_set_the_paths_of_the_files() {
        let at =
            |variables: &[(&str, &str)]| path(&Env::from_slice(variables), "AWS_CONFIG_FILE", ".aws/config");
        assert_eq!(at(&[("HOME", "/h")]).as_deref(), Some(Path::new("/h/.aws/config")));
        assert_eq!(at(&[("AWS_CONFIG_FILE", "/etc/c")]).as_deref(), Some(Path::new("/etc/c")));
        assert_eq!(at(&[("HOME", "/h"), ("AWS_CONFIG_FILE", "~/c")]).as_deref(), Some(Path::new("/h/c")));
        assert_eq!(at(&[]), None);
    }
}
