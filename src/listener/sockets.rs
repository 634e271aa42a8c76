//! The listening sockets, bound before anything is served.
//!
//! `app.rs` binds them, `worker.rs` gives each worker its own handles. A worker that restarts gets handles
//! again, so the originals stay open until the drain.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::unix::{
        fs::FileTypeExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    settings::{Listen, TrustedIps},
    system::tcp_keepalive,
    tls::server::{InvalidFile, ServerTls},
};

/// Connections that wait to be accepted; the kernel refuses more.
const BACKLOG: i32 = 1024;

/// A listening socket and the protocols on it.
#[derive(Debug)]
pub struct ListeningSocket {
    pub socket: Socket,
    /// Its address or path, for the log.
    pub name: Arc<str>,
    pub tls: Option<Arc<ServerTls>>,
    /// HTTP/2 is detected by its preface on a socket without TLS.
    pub h2c: bool,
    /// Connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The proxies whose headers about their clients are used.
    pub trusted_ips: Arc<TrustedIps>,
}

impl ListeningSocket {
    fn share(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            name: Arc::clone(&self.name),
            tls: self.tls.clone(),
            h2c: self.h2c,
            proxy_protocol: self.proxy_protocol,
            trusted_ips: Arc::clone(&self.trusted_ips),
        })
    }

    /// The port that clients connect to. A Unix socket has none, but frameworks behind a function read one:
    /// that of plain HTTP.
    pub fn port(&self) -> u16 {
        let address = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        address.map_or(80, |address| address.port())
    }
}

/// All listening sockets. The Unix socket's file is removed when this is dropped.
#[derive(Debug)]
pub struct Sockets {
    pub handles: SocketHandles,
    /// The TLS of `listen.https`.
    pub tls: Option<Arc<ServerTls>>,
    /// The address of plain HTTP, with the port that the system chose for port 0.
    pub http: SocketAddr,
    /// The same for HTTPS.
    pub https: Option<SocketAddr>,
    /// The path of the Unix socket.
    pub unix: Option<PathBuf>,
}

/// Handles to all sockets, shared with the workers; empty once they are released.
#[derive(Debug, Clone, Default)]
pub struct SocketHandles(Arc<Mutex<Vec<ListeningSocket>>>);

/// The reason why a socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}: {error}; {}change {key}", first_advice(.error))]
    Taken {
        address: String,
        /// The settings key that names the address.
        key: &'static str,
        error: io::Error,
    },
    #[error("{0}")]
    Tls(InvalidFile),
}

/// Advice for an address that another process uses, before the general advice.
fn first_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "end the process that has it (`ss -ltnp`), or ",
        _ => "",
    }
}

impl Sockets {
    /// # Errors
    /// The first socket that cannot be bound.
    pub fn bind(settings: &Listen) -> Result<Self, BindError> {
        let (plain, http) = tcp(settings.http, "listen.http")?;
        let trusted_ips = Arc::new(settings.trusted_ips.clone());
        let socket = |socket: Socket, name: String, tls: Option<Arc<ServerTls>>| ListeningSocket {
            h2c: settings.h2c && tls.is_none(),
            // a Unix socket names no client of another machine
            proxy_protocol: settings.proxy_protocol && socket.domain().is_ok_and(|of| of != Domain::UNIX),
            trusted_ips: Arc::clone(&trusted_ips),
            socket,
            name: name.into(),
            tls,
        };
        let mut all = vec![socket(plain.into(), http.to_string(), None)];
        let mut sockets =
            Self { handles: SocketHandles::default(), tls: None, http, https: None, unix: None };
        if let Some(https) = &settings.https {
            let tls = Arc::new(ServerTls::read(&https.files).map_err(BindError::Tls)?);
            let (listener, address) = tcp(https.address, "listen.https.address")?;
            all.push(socket(listener.into(), address.to_string(), Some(Arc::clone(&tls))));
            (sockets.tls, sockets.https) = (Some(tls), Some(address));
        }
        if let Some(path) = &settings.unix {
            let name = path.display().to_string();
            let listener = unix(path).map_err(|error| taken(name.clone(), "listen.unix", error))?;
            all.push(socket(listener.into(), name, None));
            sockets.unix = Some(path.clone());
        }
        sockets.handles = SocketHandles(Arc::new(Mutex::new(all)));
        Ok(sockets)
    }

    /// Reloads changed certificates, checking the files in this interval; never ends.
    pub async fn follow_certificates(&self, interval: Duration) {
        match &self.tls {
            Some(tls) => tls.follow_files(interval).await,
            None => std::future::pending().await,
        }
    }

    /// Closes these handles. Clients can connect until the workers have closed theirs.
    pub fn release(&self) {
        self.handles.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl SocketHandles {
    /// Handles to all sockets for one run of a worker.
    ///
    /// # Errors
    /// No more files can be opened.
    pub fn share(&self) -> io::Result<Vec<ListeningSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(ListeningSocket::share).collect()
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Some(path) = &self.unix {
            let _ = fs::remove_file(path);
        }
    }
}

fn taken(address: String, key: &'static str, error: io::Error) -> BindError {
    BindError::Taken { address, key, error }
}

pub fn tcp(address: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = bind_tcp(address).or_else(|error| match without_ipv6(address, &error) {
        Some(instead) => {
            log::warn!("no IPv6 on this machine ({error}): {key} is {instead} instead of {address}");
            bind_tcp(instead)
        }
        None => Err(error),
    });
    let bound = bound.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| taken(address.to_string(), key, error))
}

/// The address that replaces `[::]` on a machine without IPv6, such as a kernel with `ipv6.disable=1`.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let errno = Errno::from_io_error(error)?;
    let has_none = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].contains(&errno);
    let is_for_all = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    (has_none && is_for_all).then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
}

/// Binds an address; `[::]` also takes IPv4.
///
/// # Errors
/// The address is in use, or not one of this machine.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // otherwise `net.ipv6.bindv6only` decides (ipv6(7))
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    tcp_keepalive::enable(&socket)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds a Unix socket, and replaces the file that a killed process has left.
fn unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_those_of_ipv4_where_there_is_no_ipv6() {
        let of = |address: &str, errno: Errno| {
            without_ipv6(address.parse().unwrap(), &errno.into()).map(|address| address.to_string())
        };
        for errno in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            assert_eq!(of("[::]:9180", errno).as_deref(), Some("0.0.0.0:9180"));
            // an address that somebody chose
            assert_eq!(of("[::1]:9180", errno), None);
            assert_eq!(of("[2001:db8::1]:9180", errno), None);
            assert_eq!(of("192.0.2.1:9180", errno), None);
        }
        assert_eq!(of("[::]:9180", Errno::ADDRINUSE), None);
        assert_eq!(of("[::]:80", Errno::ACCESS), None);
    }

    #[test]
    fn all_addresses_of_ipv6_include_those_of_ipv4() {
        let listener = bind_tcp("[::]:0".parse().unwrap()).unwrap();
        assert!(!socket2::SockRef::from(&listener).only_v6().unwrap());
        let port = listener.local_addr().unwrap().port();
        for ip in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(ip.parse().unwrap(), port);
            let client = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            client.connect(&address.into()).unwrap();
        }
    }

    #[test]
    fn c5_accepted_connections_have_keep_alive_from_their_listener() {
        let listener = bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        tcp_keepalive::tests::assert_enabled(&accepted);
    }
}
