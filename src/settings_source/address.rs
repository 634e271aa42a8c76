//! The value of `--settings`: a directory, or the address of a bundle.
//!
//! The user info and the query of an address may be secrets: `Debug` and `Display` redact them, and no error
//! quotes the address.

use std::{ffi::OsStr, fmt, path::PathBuf};

use actix_http::header::HeaderValue;
use http::Uri;

use crate::{
    message::redaction::REDACTED,
    settings::{ForwardProxy, HostPort, Scheme},
    text::uri_syntax::{is_loopback, without_brackets},
};

/// Endings of the names of local archives that do not exist yet.
const ARCHIVE_ENDINGS: [&str; 4] = [".tar", ".tar.gz", ".tgz", ".taz"];

/// The place of the settings.
#[derive(Debug)]
pub enum SettingsPlace {
    Directory(PathBuf),
    Bundle(BundleAddress),
}

/// The address of a bundle.
#[derive(Debug, Clone)]
pub enum BundleAddress {
    /// A local archive.
    File(PathBuf),
    Http(HttpAddress),
    S3(S3Address),
}

/// An `http` or `https` URL.
#[derive(Clone)]
pub struct HttpAddress {
    pub(super) scheme: Scheme,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// The user info of the URL, as `Basic`.
    pub(super) authorization: Option<HeaderValue>,
}

/// `s3://BUCKET/KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Address {
    pub(super) bucket: String,
    /// The key of the object, not percent-encoded.
    pub(super) key: String,
}

impl SettingsPlace {
    /// Parses the value of `--settings`.
    ///
    /// # Errors
    /// A fixed sentence, which quotes nothing of the value.
    pub fn parse(text: &OsStr) -> Result<Self, &'static str> {
        let url = text.to_str().filter(|text| text.contains("://"));
        let Some(url) = url else {
            let path = PathBuf::from(text);
            let has_ending = ARCHIVE_ENDINGS.iter().any(|end| text.to_string_lossy().ends_with(end));
            // a file of the settings, or of another program, is no archive
            let is_text = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
            let is_archive = (path.is_file() && !is_text) || (has_ending && !path.is_dir());
            return Ok(if is_archive {
                Self::Bundle(BundleAddress::File(path))
            } else {
                Self::Directory(path)
            });
        };
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let address = match scheme.to_ascii_lowercase().as_str() {
            "https" => BundleAddress::Http(HttpAddress::parse(Scheme::Https, url)?),
            "http" => BundleAddress::Http(HttpAddress::parse(Scheme::Http, url)?),
            "s3" => BundleAddress::S3(S3Address::parse(rest)?),
            _ => return Err("the scheme of the address must be https, http (on loopback) or s3"),
        };
        Ok(Self::Bundle(address))
    }
}

impl BundleAddress {
    /// True if `Display` redacts nothing.
    pub(super) fn is_shown_whole(&self) -> bool {
        match self {
            Self::Http(address) => address.authorization.is_none() && address.query.is_none(),
            Self::File(_) | Self::S3(_) => true,
        }
    }
}

impl HttpAddress {
    fn parse(scheme: Scheme, url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "the address is not a URL")?;
        let authority = uri.authority().ok_or("the address has no host")?;
        if url.contains('#') {
            return Err("the address has a fragment");
        }
        let (user, _) = authority.as_str().rsplit_once('@').unzip();
        let bracketed = authority.host();
        let host = without_brackets(bracketed).to_owned();
        let place = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, place)| place);
        if host.is_empty() || (place.len() > bracketed.len() && authority.port_u16().is_none_or(|it| it == 0))
        {
            return Err("the address has an invalid host or port");
        }
        if scheme == Scheme::Http && !is_loopback(&host) {
            return Err("an address with http must be on loopback: use https, or verify a local copy");
        }
        let authorization = match user {
            Some(user) => Some(ForwardProxy::basic(user).map_err(|_| "the address has an invalid user")?),
            None => None,
        };
        Ok(Self {
            scheme,
            host,
            port: authority.port_u16().unwrap_or_else(|| scheme.default_port()),
            path: if uri.path().is_empty() { "/".to_owned() } else { uri.path().to_owned() },
            query: uri.query().map(str::to_owned),
            authorization,
        })
    }

    /// The value of `Host`.
    pub(super) fn authority(&self) -> String {
        let host = HostPort(&self.host, self.port).to_string();
        if self.port == self.scheme.default_port() {
            host.rsplit_once(':').map_or_else(|| host.clone(), |(host, _)| host.to_owned())
        } else {
            host
        }
    }
}

impl S3Address {
    fn parse(rest: &str) -> Result<Self, &'static str> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // Amazon S3 user guide, "General purpose bucket naming rules"; older buckets also have capitals and
        // `_`
        let is_bucket = (3..=255).contains(&bucket.len())
            && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if !is_bucket || bucket.starts_with(['.', '-']) || bucket.contains("..") {
            return Err("the address has no valid bucket: s3://BUCKET/KEY");
        }
        if key.is_empty() || key.len() > 1024 || key.chars().any(char::is_control) {
            return Err("the address has no valid key of an object: s3://BUCKET/KEY");
        }
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("the key of the object has a part `.` or `..`, which proxies remove");
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for BundleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Http(address) => address.fmt(f),
            Self::S3(S3Address { bucket, key }) => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

/// Without user info and query.
impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.authorization.is_some() { format!("{REDACTED}@") } else { String::new() };
        write!(f, "{}://{user}{}{}", self.scheme.name(), self.authority(), self.path)?;
        if self.query.is_some() { write!(f, "?{REDACTED}") } else { Ok(()) }
    }
}

impl fmt::Debug for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<SettingsPlace, &'static str> {
        SettingsPlace::parse(OsStr::new(text))
    }

    fn http(text: &str) -> HttpAddress {
        match parsed(text) {
            Ok(SettingsPlace::Bundle(BundleAddress::Http(address))) => address,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_path_is_a_directory_unless_it_is_a_file_or_has_the_ending_of_an_archive() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let directory = tempfile::Builder::new().suffix(".tar").tempdir().unwrap();
        for (path, is_archive) in [
            (file.path().to_str().unwrap(), true),
            ("/nowhere/bundle.tar.gz", true),
            ("/nowhere/bundle.tgz", true),
            (directory.path().to_str().unwrap(), false),
            ("settings", false),
        ] {
            let place = parsed(path).unwrap();
            assert_eq!(matches!(place, SettingsPlace::Bundle(BundleAddress::File(_))), is_archive, "{path}");
        }
    }

    #[test]
    fn user_info_becomes_basic_authorization_and_neither_it_nor_the_query_is_shown() {
        let address = http("https://hush-user:hush%20word@config.example:8443/a/b.tgz?sig=hush-query");
        assert_eq!(address.authorization.as_ref().unwrap(), "Basic aHVzaC11c2VyOmh1c2ggd29yZA==");
        assert_eq!(
            (address.host.as_str(), address.port, address.path.as_str()),
            ("config.example", 8443, "/a/b.tgz")
        );
        assert_eq!(address.query.as_deref(), Some("sig=hush-query"));
        let shown = format!("{address} {address:?} {:?}", parsed("https://hush:hush@h/?hush").unwrap());
        assert!(!shown.contains("hush") && !shown.contains("Basic"), "{shown}");
        assert!(shown.starts_with("https://(left out)@config.example:8443/a/b.tgz?(left out) "), "{shown}");
    }

    #[test]
    fn http_is_allowed_on_loopback_alone() {
        for text in ["http://localhost/b", "http://127.0.0.1:8080/b", "http://[::1]/b"] {
            assert!(parsed(text).is_ok(), "{text}");
        }
        for text in ["http://config.example/b", "http://169.254.169.254/b", "http://localhost.example/b"] {
            assert!(parsed(text).unwrap_err().contains("loopback"), "{text}");
        }
    }

    #[test]
    fn the_host_header_has_a_port_that_is_not_the_schemes_own() {
        assert_eq!(http("https://a.example/x").authority(), "a.example");
        assert_eq!(http("https://a.example:443/x").authority(), "a.example");
        assert_eq!(http("http://[::1]:81/x").authority(), "[::1]:81");
        assert_eq!(http("http://[::1]/x").authority(), "[::1]");
    }

    #[test]
    fn an_object_is_a_bucket_and_a_key() {
        let Ok(SettingsPlace::Bundle(BundleAddress::S3(address))) = parsed("s3://my-bucket/a/b c.tgz") else {
            panic!("not an object")
        };
        assert_eq!((address.bucket.as_str(), address.key.as_str()), ("my-bucket", "a/b c.tgz"));
        for text in
            ["s3://", "s3://b/k", "s3://bucket", "s3://bucket/", "s3://buc ket/k", "s3://bucket/a/../k"]
        {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic_or_is_quoted_in_an_error(
            text in "(https?|s3|ftp)://hush[a-z:@/?#%.\\[\\] 0-9]{0,30}",
        ) {
            if let Err(problem) = parsed(&text) {
                prop_assert!(!problem.contains("hush"));
            }
        }
    }
}
