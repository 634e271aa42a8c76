//! Keys of a route's own that stand in files, as a Kubernetes Secret is mounted: read again when they change.
//!
//! `settings/route/key_source.rs` describes them, `fetch.rs` reads them here.

use std::path::PathBuf;

use aws_credential_types::Credentials;
use secrecy::ExposeSecret;

use crate::{
    settings::{MountedKeys, MountedPart, is_key, is_swapped, without_line_end},
    system::regular_file,
};

/// Reads the keys as they are now.
///
/// # Errors
/// A file cannot be read, or holds no key.
pub fn read(keys: &MountedKeys) -> Result<Credentials, String> {
    let token = keys.session_token.as_ref().map(part).transpose()?;
    let id = part(&keys.key)?;
    if is_swapped(&id) {
        return Err("the access key id has the shape of a secret: the two may be swapped".to_owned());
    }
    Ok(Credentials::new(id, part(&keys.secret)?, token, None, "settings"))
}

/// The files among the parts.
pub fn files(keys: &MountedKeys) -> impl Iterator<Item = &PathBuf> {
    let parts = [Some(&keys.key), Some(&keys.secret), keys.session_token.as_ref()];
    parts.into_iter().flatten().filter_map(|part| match part {
        MountedPart::File(path) => Some(path),
        MountedPart::Text(_) => None,
    })
}

fn part(part: &MountedPart) -> Result<String, String> {
    let path = match part {
        MountedPart::Text(text) => return Ok(text.expose_secret().to_owned()),
        MountedPart::File(path) => path,
    };
    let text = regular_file::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = without_line_end(&text);
    if !is_key(text) {
        return Err(format!("{}: empty or not visible ASCII", path.display()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn keys_are_read_as_they_are_now_and_shown_by_nothing() {
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
        assert!(read(&swapped).unwrap_err().ends_with("the two may be swapped"));
        fs::write(file.path(), "two\nlines").unwrap();
        assert!(read(&keys).unwrap_err().ends_with("empty or not visible ASCII"));
    }
}
