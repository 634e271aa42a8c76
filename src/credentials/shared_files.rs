//! The files that profiles stand in: whether they hold keys to use without being asked, and whether they changed.
//!
//! `chain.rs` is told the former, `refresher.rs` the latter. The SDK finds the files and reads them.

use std::{io, path::PathBuf};

use aws_config::profile::{self, ProfileSet};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

use super::sts::causes;
use crate::{
    system::{file_stamps::Stamps, regular_file},
    text::log_safe::log_safe,
};

/// Characters of a section's name that are told.
const LONGEST_SECTION: usize = 100;

/// The key of a program that prints keys.
pub const PROCESS: &str = "credential_process";
/// Keys of a profile that say where its keys come from; one with a region alone gives none.
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

/// The variables that say where the files are, and where they are in one's home otherwise
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html>).
const FILES: [(&str, &str); 2] =
    [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];

/// Whether there is a profile `default` that says where its keys come from. Files that make no sense count, since
/// somebody wrote them: the profile's own provider then says what is wrong.
///
/// # Errors
/// As of [`check`].
pub async fn have_default_profile(environment: &Env) -> Result<bool, String> {
    check(environment)?;
    Ok(load(environment).await.map_or(true, |profiles| {
        let default = profiles.get_profile("default");
        default.is_some_and(|profile| GIVES_KEYS.iter().any(|key| profile.get(key).is_some()))
    }))
}

/// The files that profiles are looked for in, for a person.
pub fn places(environment: &Env) -> Option<(String, String)> {
    let place = |(variable, default)| Some(path(environment, variable, default)?.display().to_string());
    let [credentials, config] = FILES.map(place);
    Some((credentials?, config?))
}

/// All profiles.
///
/// # Errors
/// A file makes no sense, for the reason given with its name and line.
pub async fn load(environment: &Env) -> Result<ProfileSet, String> {
    let read = profile::load(&Fs::real(), environment, &EnvConfigFiles::default(), None).await;
    // the SDK puts a line break behind the line's number
    read.map_err(|error| causes(&error).replace(":\\n  ", ": "))
}

/// The SDK takes a file that it cannot read for an empty one. In a home that is closed to us, as `/root` is in many
/// containers, that is right; a file of keys that somebody pointed at is configured, and must not be passed over.
///
/// # Errors
/// It cannot be read, is no plain UTF-8 text, or has a section that counts for another.
pub fn check(environment: &Env) -> Result<(), String> {
    for (variable, default) in FILES {
        let Some(path) = path(environment, variable, default) else { continue };
        let is_named = environment.get(variable).is_ok_and(|value| !value.is_empty());
        // a file in its usual place that is not there is none; what is there but no file would hold the SDK up
        if is_named || path.exists() {
            match regular_file::read_profiles(&path) {
                Err(error) if is_named || error.kind() == io::ErrorKind::Other => {
                    return Err(format!("{variable} {}: {error}", path.display()));
                }
                Err(_) => {}
                Ok(text) => {
                    if let Some(mistake) = encoding_mistake(&text) {
                        return Err(format!("{variable} {}: {mistake}", path.display()));
                    }
                    refuse_indented_sections(&text)
                        .map_err(|mistake| format!("{variable} {}, {mistake}", path.display()))?;
                }
            }
        }
    }
    Ok(())
}

/// The SDK takes a file that is not UTF-8 for an empty one. Neither it nor botocore takes a byte order mark.
fn encoding_mistake(text: &[u8]) -> Option<&'static str> {
    if text.starts_with(&[0xef, 0xbb, 0xbf]) {
        return Some("it begins with a byte order mark; save it as UTF-8 without one");
    }
    std::str::from_utf8(text).is_err().then_some("not UTF-8 text; save it as UTF-8")
}

/// To AWS's SDKs an indented line belongs to the value above it. The keys below an indented section so take the place
/// of those of the section before.
fn refuse_indented_sections(text: &[u8]) -> Result<(), String> {
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let indented = line.trim_ascii();
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'))
            && indented.first() == Some(&b'[')
            && let Some(end) = indented.iter().position(|byte| *byte == b']')
        {
            let section = log_safe(&String::from_utf8_lossy(&indented[..=end]), LONGEST_SECTION);
            return Err(format!(
                "line {number}: `{section}` is indented, and so its keys would count for the profile before it; \
                 remove the spaces before it"
            ));
        }
    }
    Ok(())
}

/// What tells that a file was written or, as Kubernetes does with mounted secrets, replaced.
pub fn stamps(environment: &Env) -> Stamps {
    Stamps::of(FILES.iter().filter_map(|(variable, default)| path(environment, variable, default)))
}

/// Where a file is, as the SDK finds it.
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

    /// A home with these two files in it.
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
    async fn only_a_default_profile_that_gives_keys_counts() {
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
    async fn a_file_of_keys_that_was_pointed_at_and_is_not_there_is_a_mistake() {
        let environment = Env::from_slice(&[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/keys")]);
        let reason = have_default_profile(&environment).await.unwrap_err();
        assert!(reason.starts_with("AWS_SHARED_CREDENTIALS_FILE /nowhere/keys: No such file"), "{reason}");
        let environment = Env::from_slice(&[("HOME", "/nowhere"), ("AWS_CONFIG_FILE", "/nowhere/config")]);
        let reason = have_default_profile(&environment).await.unwrap_err();
        assert!(reason.starts_with("AWS_CONFIG_FILE /nowhere/config: No such file"), "{reason}");
        let directory = tempfile::tempdir().unwrap();
        let environment =
            Env::from_slice(&[("AWS_SHARED_CREDENTIALS_FILE", directory.path().to_str().unwrap())]);
        assert!(have_default_profile(&environment).await.unwrap_err().ends_with("not a regular file"));
    }

    #[actix_rt::test]
    async fn x7_what_the_sdks_take_is_taken() {
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
    async fn x7_a_file_in_another_encoding_is_a_mistake_and_not_an_empty_file() {
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
                let reason = have_default_profile(&environment).await.unwrap_err();
                assert!(reason.starts_with(&format!("{variable} {}: {told}", file.display())), "{reason}");
            }
        }
    }

    #[actix_rt::test]
    async fn a_file_that_makes_no_sense_is_named_with_the_line() {
        let (home, environment) = home(None, Some("[default]\nregion = eu-west-1\nhush\n"));
        let file = home.path().join(".aws/config");
        let told = format!("error parsing {} on line 3: Expected an '='", file.display());
        let reason = load(&environment).await.unwrap_err();
        assert!(reason.contains(&told) && !reason.contains("hush"), "{reason}");
    }

    #[test]
    fn s7_only_an_indented_section_is_refused() {
        for text in ["[a]\nx = y\n[b]\n", "[a]\ns3 =\n  addressing_style = path\n", " # [a]\n", "", "  [a\n"]
        {
            assert_eq!(refuse_indented_sections(text.as_bytes()), Ok(()), "{text}");
        }
        for text in ["[a]\nx = y\n  [b]\n", "\n\n\t[b] # c\r\n"] {
            let mistake = refuse_indented_sections(text.as_bytes()).unwrap_err();
            assert!(mistake.starts_with("line 3: `[b]` is indented"), "{mistake}");
        }
    }

    #[test]
    fn a_file_that_is_written_or_replaced_is_noticed() {
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
    fn the_variables_say_where_the_files_are() {
        let at =
            |variables: &[(&str, &str)]| path(&Env::from_slice(variables), "AWS_CONFIG_FILE", ".aws/config");
        assert_eq!(at(&[("HOME", "/h")]).as_deref(), Some(Path::new("/h/.aws/config")));
        assert_eq!(at(&[("AWS_CONFIG_FILE", "/etc/c")]).as_deref(), Some(Path::new("/etc/c")));
        assert_eq!(at(&[("HOME", "/h"), ("AWS_CONFIG_FILE", "~/c")]).as_deref(), Some(Path::new("/h/c")));
        assert_eq!(at(&[]), None);
    }
}
