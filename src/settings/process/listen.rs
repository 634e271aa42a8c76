//! The section `listen`: the sockets for clients.

use std::{net::SocketAddr, path::PathBuf};

use super::trusted_ips::{TrustedIp, TrustedIps};
use crate::{
    settings::{
        route::each,
        source::{check::Checker, key_type::Address},
    },
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
        /// The proxies whose headers about their clients are used.
        trusted_ips: TrustedIps,
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
    /// IP addresses and networks of the proxies in front of the sidecar, and `unix:` for all clients of the
    /// Unix socket: `[10.0.0.0/8, "fd00::/8", "unix:"]`; none by default. From them `X-Forwarded-Proto`,
    /// `-Host` and `-Port` are kept, and the client's address is taken from `X-Forwarded-For`, see
    /// "Trusted proxies".
    trusted_ips: Vec<String> = [], kind(Kind::List(&Kind::TrustedIp)) => _;
    /// Connections on `http` and `https` must begin with a header of the PROXY protocol, version 1 or 2,
    /// which names the client. Only peers in `trusted_ips` may connect.
    proxy_protocol: bool = false;
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
        let trusted_ips = trusted_ips(&self.trusted_ips.take().unwrap_or_default(), checker);
        if self.proxy_protocol == Some(true) && trusted_ips.as_ref().is_some_and(|ips| !ips.has_networks()) {
            let expected = "the addresses of the proxies in `trusted_ips`, or false";
            checker.at("proxy_protocol").report("on, but `trusted_ips` has no address", expected);
        }
        let parts = ListenParts {
            https: self.https.take().and_then(|https| https.check(&mut checker.at("https"))),
            unix: self.unix.take().and_then(|path| socket_path(&path, checker)),
            trusted_ips: trusted_ips.unwrap_or_default(),
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

/// `None` if a mistake was reported.
fn trusted_ips(written: &[String], checker: &mut Checker<'_>) -> Option<TrustedIps> {
    let parse = |checker: &mut Checker<'_>, key: &str, text: &str| {
        checker.parsed(key, text, TrustedIp::EXPECTED, TrustedIp::parse)
    };
    each("trusted_ips", written, checker, parse).map(TrustedIps::from_iter)
}

fn socket_path(path: &str, checker: &mut Checker<'_>) -> Option<PathBuf> {
    let expected = format!("the path of a socket, of at most {MAX_SOCKET_PATH} bytes");
    checker.parsed("unix", path, &expected, |path| {
        let fits = (1..=MAX_SOCKET_PATH).contains(&path.len()) && !path.contains('\0');
        fits.then(|| PathBuf::from(path))
    })
}
