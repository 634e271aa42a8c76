//! Keys of a route's own that stand in files, as a Kubernetes Secret is mounted: read again when they change.
//!
//! `settings/source.rs` describes them, `fetch.rs` reads them here.

use std::{fs, path::PathBuf};

use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};

/// A route's own keys, at least one part of which stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct MountedKeys {
    /// The access key id.
    pub key: Part,
    /// The secret access key.
    pub secret: Part,
    /// Of temporary keys.
    pub session_token: Option<Part>,
}

/// One part of them.
#[derive(Debug, Clone)]
pub enum Part {
    /// As it stands in the settings.
    Text(SecretString),
    /// In this file, without its last line end.
    File(PathBuf),
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(own), Self::Text(other)) => own.expose_secret() == other.expose_secret(),
            (Self::File(own), Self::File(other)) => own == other,
            _ => false,
        }
    }
}

impl MountedKeys {
    /// Reads the keys as they are now.
    ///
    /// # Errors
    /// A file cannot be read, or holds no key.
    pub fn read(&self) -> Result<Credentials, String> {
        let token = self.session_token.as_ref().map(Part::read).transpose()?;
        Ok(Credentials::new(self.key.read()?, self.secret.read()?, token, None, "settings"))
    }

    /// The files among the parts.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.key), Some(&self.secret), self.session_token.as_ref()].into_iter().flatten().filter_map(
            |part| match part {
                Part::File(path) => Some(path),
                Part::Text(_) => None,
            },
        )
    }
}

impl Part {
    fn read(&self) -> Result<String, String> {
        let path = match self {
            Self::Text(text) => return Ok(text.expose_secret().to_owned()),
            Self::File(path) => path,
        };
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let text = text.strip_suffix('\n').map_or(&*text, |text| text.trim_end_matches('\r'));
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{}: empty or not visible ASCII", path.display()));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_now_and_shown_by_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keys = MountedKeys {
            key: Part::Text("AKID".to_owned().into()),
            secret: Part::File(file.path().into()),
            session_token: None,
        };
        for secret in ["hush-one", "hush-two"] {
            fs::write(file.path(), format!("{secret}\n")).unwrap();
            assert_eq!(keys.read().unwrap().secret_access_key(), secret);
        }
        assert_eq!(keys.files().collect::<Vec<_>>(), [file.path()]);
        let text = MountedKeys { secret: Part::Text("hush".to_owned().into()), ..keys.clone() };
        assert!(!format!("{keys:?} {text:?}").contains("hush"));
        fs::write(file.path(), "two\nlines").unwrap();
        assert!(keys.read().unwrap_err().ends_with("empty or not visible ASCII"));
    }
}
