//! A route's own keys in files, such as a mounted Kubernetes Secret; read again when the files change.

use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use secrecy::ExposeSecret;

use super::fetch::FetchError;
use crate::{
    settings::{MountedKeys, MountedPart, is_key, is_swapped, without_line_end},
    system::regular_file,
};

/// Reads the current keys.
///
/// # Errors
/// A file cannot be read, or holds no key.
pub fn read(keys: &MountedKeys) -> Result<Credentials, FetchError> {
    let token = keys.session_token.as_ref().map(part).transpose()?;
    let id = part(&keys.key)?;
    if is_swapped(&id) {
        let swapped = "the access key id has the shape of a secret: the two may be swapped";
        return Err(FetchError::Unusable(swapped.to_owned()));
    }
    Ok(Credentials::new(id, part(&keys.secret)?, token, None, "settings"))
}

pub fn files(keys: &MountedKeys) -> impl Iterator<Item = &PathBuf> {
    let parts = [Some(&keys.key), Some(&keys.secret), keys.session_token.as_ref()];
    parts.into_iter().flatten().filter_map(|part| match part {
        MountedPart::File(path) => Some(path),
        MountedPart::Text(_) => None,
    })
}

fn part(part: &MountedPart) -> Result<String, FetchError> {
    match part {
        MountedPart::Text(text) => Ok(text.expose_secret().to_owned()),
        MountedPart::File(path) => {
            read_key(path).map_err(|reason| FetchError::Unreadable(path.display().to_string(), reason))
        }
    }
}

fn read_key(path: &Path) -> Result<String, String> {
    let text = regular_file::read(path).map_err(|error| error.to_string())?;
    let text = without_line_end(&text);
    if is_key(text) { Ok(text.to_owned()) } else { Err("empty or not visible ASCII".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn keys_are_read_anew_and_debug_shows_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keys = MountedKeys {
            key: MountedPart::Text("AKID".to_owned().into()),
            secret: MountedPart::File(file.path().into()),
            session_token: None,
        };
        for secret in ["hush-one", "hush-two"] {
            fs::write(file.path(), format!("{secret}\n")).unwrap();
            assert_eq!(read(&keys).unwrap().secret_access_key(), secret);
        }
        assert_eq!(files(&keys).collect::<Vec<_>>(), [file.path()]);
        let text = MountedKeys { secret: MountedPart::Text("hush".to_owned().into()), ..keys.clone() };
        assert!(!format!("{keys:?} {text:?}").contains("hush"));
        let swapped = MountedKeys { key: MountedPart::File(file.path().into()), ..keys.clone() };
        fs::write(file.path(), "hush/K7MDENG+hush").unwrap();
        assert!(read(&swapped).unwrap_err().to_string().ends_with("the two may be swapped"));
        fs::write(file.path(), "two\nlines").unwrap();
        assert!(read(&keys).unwrap_err().to_string().ends_with("empty or not visible ASCII"));
    }
}
