//! The section `listen`: the sockets for clients.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    settings::source::{check::Checker, key_type::Address},
    tls::server::{self as tls, ServerFiles},
};

/// The longest path that the kernel takes for a socket: `sun_path` of unix(7), with its closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

section! {
    /// The sockets for clients.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Listen, read as WrittenListen, optional "a table of listeners";

    made ListenParts {
        /// HTTP/1.1 and HTTP/2 over TLS.
        https: Option<Https>,
        /// A Unix socket that speaks what `http` does.
        unix: Option<PathBuf>,
    }

    /// Where clients connect, with HTTP/1.1: an IP address and a port. Whoever can connect can use the routes' keys.
    http: Address = "127.0.0.1:9080";
    /// HTTP/2 with prior knowledge (`curl --http2-prior-knowledge`, gRPC) is spoken on `http` and `unix` too.
    h2c: bool = false;
    /// A second socket with TLS for HTTP/1.1 and HTTP/2, none by default. PEM files, read again when they change:
    /// `{ address: "0.0.0.0:9443", certificate: /tls/tls.crt, key: /tls/tls.key, client_ca: /tls/ca.crt }`.
    https: WrittenHttps => _;
    /// The path of a Unix socket that speaks what `http` does, of at most 107 bytes, none by default:
    /// `/run/apigw-invoker.sock`.
    unix: String, pattern("^[^\\x00]{1,107}$") => _;
}

section! {
    /// A socket with TLS.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Https, read as WrittenHttps, optional "a table with address, certificate and key";

    made HttpsParts {
        /// Where.
        address: SocketAddr,
        /// The certificate and what belongs to it.
        files: ServerFiles,
    }

    /// An IP address and a port.
    address: Address, required() => _;
    /// A PEM file: the server's certificate, then those that vouch for it.
    certificate: String, open(), required() => _;
    /// A PEM file with the certificate's key.
    key: String, secret_unless_path(), required() => _;
    /// A PEM file of the authorities that a client's certificate must come from; without it none is asked for.
    client_ca: String, open() => _;
}

impl WrittenListen {
    pub(in crate::settings) fn check(mut self, checker: &mut Checker<'_>) -> Listen {
        let parts = ListenParts {
            https: self.https.take().and_then(|https| https.check(&mut checker.at("https"))),
            unix: self.unix.take().and_then(|path| socket_path(&path, checker)),
        };
        self.settled(checker)(parts)
    }
}

impl WrittenHttps {
    /// `None` if something is wrong, which has then been said.
    fn check(mut self, checker: &mut Checker<'_>) -> Option<Https> {
        for (key, is_there) in [
            ("address", self.address.is_some()),
            ("certificate", self.certificate.is_some()),
            ("key", self.key.is_some()),
        ] {
            if !is_there {
                checker.report(format!("missing `{key}`"), "address, certificate and key");
            }
        }
        let certificate = self.certificate.take().map(PathBuf::from);
        let key = self.key.take().map(PathBuf::from);
        let client_ca = self.client_ca.take().map(PathBuf::from);
        let address = checker.checked(declared!(WrittenHttps, "address"), self.address.take());
        let files = ServerFiles { certificate: certificate?, key: key?, client_ca };
        let address = address?;
        match tls::configuration(&files) {
            Ok(_) => Some(self.settled(checker)(HttpsParts { address, files })),
            Err(error) => {
                let file = |path: &Path| path.display().to_string();
                let (key, path, expected) = match error.part {
                    tls::ServerFilePart::Certificate => {
                        ("certificate", file(&files.certificate), "a PEM file with a certificate")
                    }
                    tls::ServerFilePart::Key => {
                        ("key", file(&files.key), "a PEM file with the certificate's key")
                    }
                    tls::ServerFilePart::ClientAuthorities => (
                        "client_ca",
                        files.client_ca.as_deref().map(file).unwrap_or_default(),
                        "a PEM file with certificates of authorities",
                    ),
                };
                let problem = match checker.quotable(key, &path) {
                    Some(path) => format!("{path}: {}", error.cause),
                    None => error.cause,
                };
                checker.at(key).report(problem, expected);
                None
            }
        }
    }
}

fn socket_path(path: &str, checker: &mut Checker<'_>) -> Option<PathBuf> {
    let expected = format!("the path of a socket, of at most {LONGEST_SOCKET_PATH} bytes");
    checker.parsed("unix", path, &expected, |path| {
        let fits = (1..=LONGEST_SOCKET_PATH).contains(&path.len()) && !path.contains('\0');
        fits.then(|| PathBuf::from(path))
    })
}
