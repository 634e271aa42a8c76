//! The section `listen`: the sockets for clients.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    settings::source::{check::Checker, key_type::Address},
    tls::server::{self as tls, ServerFiles},
};

/// The longest path of a socket: `sun_path` of unix(7) without its closing zero.
const MAX_SOCKET_PATH: usize = 107;

section! {
    /// The sockets for clients.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Listen, read as WrittenListen, optional "a table of listeners";

    made ListenParts {
        /// HTTP/1.1 and HTTP/2 over TLS.
        https: Option<Https>,
        /// The path of a Unix socket for the protocols of `http`.
        unix: Option<PathBuf>,
    }

    /// IP address and port for HTTP/1.1 clients. Every client that can connect can use the credentials of the
    /// routes.
    http: Address = "127.0.0.1:9080";
    /// Also accept HTTP/2 with prior knowledge (`curl --http2-prior-knowledge`, gRPC) on `http` and `unix`.
    h2c: bool = false;
    /// TLS listener for HTTP/1.1 and HTTP/2; none by default. The PEM files are reloaded when they change:
    /// `{ address: "0.0.0.0:9443", certificate: /tls/tls.crt, key: /tls/tls.key, client_ca: /tls/ca.crt }`.
    https: WrittenHttps => _;
    /// Path of a Unix socket for the protocols of `http`, at most 107 bytes; none by default:
    /// `/run/apigw-invoker.sock`.
    unix: String, pattern("^[^\\x00]{1,107}$") => _;
}

section! {
    /// A socket with TLS.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Https, read as WrittenHttps, optional "a table with address, certificate and key";

    made HttpsParts {
        /// IP address and port.
        address: SocketAddr,
        /// The certificate, its key and the authorities of clients.
        files: ServerFiles,
    }

    /// IP address and port.
    address: Address, required() => _;
    /// PEM file with the server's certificate, followed by its intermediate certificates.
    certificate: String, open(), required() => _;
    /// PEM file with the private key of `certificate`.
    key: String, secret_unless_path(), required() => _;
    /// PEM file with the authorities that must have issued the client's certificate. Without this key,
    /// clients need no certificate.
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
    /// `None` if a mistake was reported.
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
                let (key, path, expected) = match error.part {
                    tls::ServerFilePart::Certificate => {
                        ("certificate", Some(&files.certificate), "a PEM file with a certificate")
                    }
                    tls::ServerFilePart::Key => {
                        ("key", Some(&files.key), "a PEM file with the certificate's key")
                    }
                    tls::ServerFilePart::ClientAuthorities => {
                        ("client_ca", files.client_ca.as_ref(), "a PEM file with certificates of authorities")
                    }
                };
                let path = path.map(|path| path.display().to_string()).unwrap_or_default();
                checker.report_file(key, &path, &error.cause, expected);
                None
            }
        }
    }
}

fn socket_path(path: &str, checker: &mut Checker<'_>) -> Option<PathBuf> {
    let expected = format!("the path of a socket, of at most {MAX_SOCKET_PATH} bytes");
    checker.parsed("unix", path, &expected, |path| {
        let fits = (1..=MAX_SOCKET_PATH).contains(&path.len()) && !path.contains('\0');
        fits.then(|| PathBuf::from(path))
    })
}
