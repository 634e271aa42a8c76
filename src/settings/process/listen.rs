//! The section `listen`: the sockets for clients.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::settings::{schema::ADDRESS_EXPECTED, source::check::Checker};
use crate::tls::server::{self as tls, ServerFiles};

/// The longest path that the kernel takes for a socket: `sun_path` of unix(7), with its closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// The sockets for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// HTTP/1.1.
    pub http: SocketAddr,
    /// Whether HTTP/2 with prior knowledge is spoken on the sockets without TLS too (RFC 9113, 3.3).
    pub h2c: bool,
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub https: Option<Https>,
    /// A Unix socket that speaks what `http` does.
    pub unix: Option<PathBuf>,
}

/// A socket with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Https {
    /// Where.
    pub address: SocketAddr,
    /// The certificate and what belongs to it.
    pub files: ServerFiles,
}

impl Default for Listen {
    fn default() -> Self {
        Self { http: SocketAddr::from(([127, 0, 0, 1], 9080)), h2c: false, https: None, unix: None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of listeners")]
pub(in crate::settings) struct WrittenListen {
    http: Option<String>,
    h2c: Option<bool>,
    https: Option<WrittenHttps>,
    unix: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with address, certificate and key")]
struct WrittenHttps {
    address: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
}

impl WrittenListen {
    pub(in crate::settings) fn check(self, checker: &mut Checker<'_>, default: &Listen) -> Listen {
        Listen {
            http: address("http", self.http, checker).unwrap_or(default.http),
            h2c: self.h2c.unwrap_or(default.h2c),
            https: self.https.and_then(|https| https.check(&mut checker.below("https"))),
            unix: self.unix.and_then(|path| socket_path(&path, checker)),
        }
    }
}

impl WrittenHttps {
    /// `None` if something is wrong, which has then been said.
    fn check(self, checker: &mut Checker<'_>) -> Option<Https> {
        let mut required = |key: &str, written: Option<String>| {
            if written.is_none() {
                checker.mistake(format!("`{key}` is missing"), "address, certificate and key");
            }
            written
        };
        let address_text = required("address", self.address);
        let certificate = required("certificate", self.certificate).map(PathBuf::from);
        let key = required("key", self.key).map(PathBuf::from);
        let client_ca = self.client_ca.map(PathBuf::from);
        let address = address("address", address_text, checker);
        let files = ServerFiles { certificate: certificate?, key: key?, client_ca };
        let address = address?;
        match tls::configuration(&files) {
            Ok(_) => Some(Https { address, files }),
            Err(error) => {
                let file = |path: &Path| path.display().to_string();
                let (key, path, expected) = match error.part {
                    tls::Part::Certificate => {
                        ("certificate", file(&files.certificate), "a PEM file with a certificate")
                    }
                    tls::Part::Key => ("key", file(&files.key), "a PEM file with the certificate's key"),
                    tls::Part::ClientAuthorities => (
                        "client_ca",
                        files.client_ca.as_deref().map(file).unwrap_or_default(),
                        "a PEM file with certificates of authorities",
                    ),
                };
                let problem = match checker.quotable(key, &path) {
                    Some(path) => format!("{path}: {}", error.cause),
                    None => error.cause,
                };
                checker.below(key).mistake(problem, expected);
                None
            }
        }
    }
}

/// An address and a port, or a mistake at `key`.
pub(in crate::settings) fn address(
    key: &str,
    written: Option<String>,
    checker: &mut Checker<'_>,
) -> Option<SocketAddr> {
    checker.parsed(key, &written?, ADDRESS_EXPECTED, |text| text.parse().ok())
}

fn socket_path(path: &str, checker: &mut Checker<'_>) -> Option<PathBuf> {
    let expected = format!("the path of a socket, of at most {LONGEST_SOCKET_PATH} bytes");
    checker.parsed("unix", path, &expected, |path| {
        let fits = (1..=LONGEST_SOCKET_PATH).contains(&path.len()) && !path.contains('\0');
        fits.then(|| PathBuf::from(path))
    })
}
