//! The options that name the settings, and the settings that they lead to: a directory, or a bundle of a
//! source.

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{Format, INVALID_USAGE, check, print_json};
use crate::{
    app::process::{FollowedSettings, cannot_start, invalid_settings, print_line},
    settings::{Mistakes, SecretStore, Settings, SettingsLoader},
    settings_source::{
        BundleAddress, SettingsPlace, SettingsSource, SourceError, SourceOptions, StartPolicy,
    },
    system::exhausted,
};

#[derive(Args)]
pub(super) struct SettingsLocation {
    /// The directory with default.yaml and routes/*.yaml. Or the address of a bundle, a tar archive of such a
    /// directory: a URL with `https` (`http` on loopback), `s3://BUCKET/KEY`, or a file.
    // the address may contain a password
    #[arg(
        long,
        value_name = "DIR",
        env = "APIGW_INVOKER_SETTINGS",
        hide_env_values = true,
        default_value = "settings"
    )]
    pub(super) settings: OsString,
}

#[derive(Debug, Args)]
pub(super) struct CacheLocation {
    /// The directory that keeps the last good bundle, with which a start without the source serves.
    #[arg(long, value_name = "DIR", env = "APIGW_INVOKER_SETTINGS_CACHE")]
    pub(super) settings_cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SettingsArguments {
    #[command(flatten)]
    location: SettingsLocation,
    /// A PEM file with the Ed25519 public key that must have signed the bundle; the signature is at the
    /// bundle's address plus `.sig`.
    #[arg(long, value_name = "FILE", env = "APIGW_INVOKER_SETTINGS_KEY")]
    settings_key: Option<PathBuf>,
}

/// Options of a source that is followed.
#[derive(Debug, Args)]
pub(super) struct FollowingArguments {
    #[command(flatten)]
    cache: CacheLocation,
    /// The time limit of the first fetch, with retries, if there is no cached bundle; after it the start ends
    /// with 1.
    #[arg(
        long,
        value_name = "TIME",
        env = "APIGW_INVOKER_SETTINGS_WAIT",
        default_value = "30s",
        value_parser = humantime::parse_duration
    )]
    settings_wait: Duration,
}

/// Settings that a command shows.
pub(super) struct LoadedSettings {
    pub(super) settings: Settings,
    /// Keeps the files of the bundle.
    bundle: Option<SettingsSource>,
}

impl From<Settings> for LoadedSettings {
    fn from(settings: Settings) -> Self {
        Self { settings, bundle: None }
    }
}

/// The address may contain a password.
impl fmt::Debug for SettingsLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsLocation").finish_non_exhaustive()
    }
}

impl SettingsArguments {
    /// The place of the settings.
    ///
    /// # Errors
    /// The exit code after the problem was printed.
    fn place(&self) -> Result<SettingsPlace, ExitCode> {
        let place = SettingsPlace::parse(&self.location.settings);
        let place = place.map_err(|problem| invalid_usage(&format!("--settings: {problem}")))?;
        if matches!(place, SettingsPlace::Directory(_)) && self.settings_key.is_some() {
            return Err(invalid_usage("--settings-key: a directory has no signature, only a bundle has"));
        }
        Ok(place)
    }

    /// The directory of the settings, for what does not work with a bundle.
    #[cfg(feature = "dev")]
    pub(super) fn directory(&self) -> Result<PathBuf, ExitCode> {
        match self.place()? {
            SettingsPlace::Directory(directory) => Ok(directory),
            SettingsPlace::Bundle(_) => Err(invalid_usage("--dev: the settings must be a directory")),
        }
    }

    /// The place without secrets.
    pub(super) fn shown(&self) -> String {
        match SettingsPlace::parse(&self.location.settings) {
            Ok(SettingsPlace::Directory(directory)) => directory.display().to_string(),
            Ok(SettingsPlace::Bundle(address)) => address.to_string(),
            Err(_) => String::new(),
        }
    }

    /// Loads the settings, or prints their mistakes and returns the exit code.
    pub(super) fn load(&self, format: Format) -> Result<LoadedSettings, ExitCode> {
        match self.place()? {
            SettingsPlace::Directory(directory) => {
                valid(Settings::load(&directory), format).map(LoadedSettings::from)
            }
            SettingsPlace::Bundle(address) => {
                let source =
                    self.open(address, None, StartPolicy::Once).map_err(|error| failed(error, format))?;
                let loader = SettingsLoader::of_link(source.link());
                let settings = valid(loader.collecting_hidden().load(), format)?;
                Ok(LoadedSettings { settings, bundle: Some(source) })
            }
        }
    }

    /// Loads the settings again with secrets that have been fetched since.
    pub(super) fn load_again(
        &self,
        before: &LoadedSettings,
        secrets: SecretStore,
        format: Format,
    ) -> Result<Settings, ExitCode> {
        let loader = match &before.bundle {
            Some(source) => SettingsLoader::of_link(source.link()),
            None => SettingsLoader::new(Path::new(&self.location.settings)),
        };
        let mut loader = loader.collecting_hidden();
        loader.use_secrets(secrets);
        valid(loader.load(), format)
    }

    fn open(
        &self,
        address: BundleAddress,
        cache: Option<&Path>,
        start: StartPolicy,
    ) -> Result<SettingsSource, SourceError> {
        let (key, cache) = (self.settings_key.clone(), cache.map(Path::to_owned));
        let options = SourceOptions { address, key, cache, start };
        SettingsSource::open(options, |line| print_line(&mut io::stderr(), &format!("apigw-invoker: {line}")))
    }

    /// Loads the settings of a sidecar that follows them.
    pub(super) fn load_followed(
        &self,
        following: &FollowingArguments,
    ) -> Result<(Settings, FollowedSettings), ExitCode> {
        let mut followed = match self.place()? {
            SettingsPlace::Directory(directory) => SettingsLoader::new(&directory).into(),
            SettingsPlace::Bundle(address) => {
                let FollowingArguments { cache, settings_wait } = following;
                let (cache, start) = (cache.settings_cache.as_deref(), StartPolicy::Service(*settings_wait));
                let source = self.open(address, cache, start);
                let source = source.map_err(|error| failed(error, Format::Text))?;
                let loader = SettingsLoader::of_link(source.link());
                FollowedSettings { loader, source: Some(source) }
            }
        };
        let read = exhausted::watch(|| followed.loader.load());
        let settings = read.map_err(|exhausted| cannot_start(&exhausted))?;
        Ok((settings.map_err(|mistakes| invalid_settings(&mistakes))?, followed))
    }
}

/// The exit code of a source without a bundle, after the reason was printed.
fn failed(error: SourceError, format: Format) -> ExitCode {
    match error {
        SourceError::Mistakes(mistakes) => refused(&mistakes, format),
        SourceError::Failed(_) => cannot_start(&error),
        // as after a signal at any later time
        SourceError::Ended => ExitCode::SUCCESS,
    }
}

/// The settings, or the exit code after their mistakes were printed.
pub(super) fn valid(settings: Result<Settings, Mistakes>, format: Format) -> Result<Settings, ExitCode> {
    settings.map_err(|mistakes| refused(&mistakes, format))
}

fn refused(mistakes: &Mistakes, format: Format) -> ExitCode {
    if format == Format::Json {
        print_json(&check::mistakes(mistakes));
    }
    invalid_settings(mistakes)
}

fn invalid_usage(problem: &str) -> ExitCode {
    print_line(&mut io::stderr(), &format!("apigw-invoker: {problem}"));
    ExitCode::from(INVALID_USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password_of_the_address() {
        let location = SettingsLocation { settings: "https://user:secret-word@bundles.example/b".into() };
        let arguments = SettingsArguments { location, settings_key: None };
        assert!(!format!("{arguments:?}").contains("secret-word"));
    }
}
