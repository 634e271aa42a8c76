//! The sockets that clients connect to, bound before anything is served.
//!
//! `app.rs` binds them as the settings say, `worker.rs` gives each worker its own handles. A worker that starts
//! again is given handles again, so these here are kept until the drain begins.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::FileTypeExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::server::{ServerTls, UnfitFile};
use crate::{settings::Listen, system::tcp_keepalive};

/// Connections that wait to be accepted; more are refused by the kernel.
const BACKLOG: i32 = 1024;

/// A socket, and what is spoken on it.
#[derive(Debug)]
pub struct Listening {
    /// Where connections come in.
    pub listener: Listener,
    /// Its address or path, for the log.
    pub name: Arc<str>,
    /// Whether HTTP/2 is looked for where no TLS says which protocol it is.
    pub h2c: bool,
}

#[derive(Debug)]
pub enum Listener {
    Plain(TcpListener),
    Secure(TcpListener, Arc<ServerTls>),
    Unix(UnixListener),
}

impl Listener {
    /// The port that clients connect to. Nobody connects to a port of a Unix socket, but frameworks behind a function
    /// read one: plain HTTP's.
    pub fn port(&self) -> u16 {
        match self {
            Self::Plain(listener) => listener.local_addr().map_or(80, |address| address.port()),
            Self::Secure(listener, _) => listener.local_addr().map_or(443, |address| address.port()),
            Self::Unix(_) => 80,
        }
    }
}

/// All of them. The Unix socket's file is removed when this is dropped.
#[derive(Debug)]
pub struct Sockets {
    all: Handles,
    tls: Option<Arc<ServerTls>>,
    /// Where plain HTTP is spoken, with the port that the system chose for port 0.
    pub http: SocketAddr,
    /// The same for HTTPS.
    pub https: Option<SocketAddr>,
    /// Where the Unix socket is.
    pub unix: Option<PathBuf>,
}

/// Handles to all sockets, to be shared with workers; none once they are released.
#[derive(Debug, Clone, Default)]
pub struct Handles(Arc<Mutex<Vec<Listening>>>);

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It is taken, or not ours.
    #[error("cannot listen on {address}: {error}; {}change {key}", first_advice(.error))]
    Taken {
        address: String,
        /// The key of the settings that names it.
        key: &'static str,
        error: io::Error,
    },
    /// Certificate or key are unfit.
    #[error("{0}")]
    Tls(UnfitFile),
}

/// What helps where the socket is another process's, before the advice that always helps.
fn first_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "end the process that has it (`ss -ltnp`), or ",
        _ => "",
    }
}

impl Sockets {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// The first that cannot be had.
    pub fn bind(settings: &Listen) -> Result<Self, BindError> {
        let (plain, http) = tcp(settings.http, "listen.http")?;
        let h2c = settings.h2c;
        let mut all = vec![Listening::new(Listener::Plain(plain), &http.to_string(), h2c)];
        let mut sockets = Self { all: Handles::default(), tls: None, http, https: None, unix: None };
        if let Some(https) = &settings.https {
            let tls = Arc::new(ServerTls::read(&https.files).map_err(BindError::Tls)?);
            let (listener, address) = tcp(https.address, "listen.https.address")?;
            sockets.tls = Some(Arc::clone(&tls));
            all.push(Listening::new(Listener::Secure(listener, tls), &address.to_string(), false));
            sockets.https = Some(address);
        }
        if let Some(path) = &settings.unix {
            let listener =
                unix(path).map_err(|error| taken(path.display().to_string(), "listen.unix", error))?;
            all.push(Listening::new(Listener::Unix(listener), &path.display().to_string(), h2c));
            sockets.unix = Some(path.clone());
        }
        sockets.all = Handles(Arc::new(Mutex::new(all)));
        Ok(sockets)
    }

    /// All of them, for workers.
    pub fn handles(&self) -> Handles {
        self.all.clone()
    }

    /// TLS towards clients, if there is a listener with it.
    pub fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.clone()
    }

    /// Takes changed certificates into use, looking at the files in this interval; never ends.
    pub async fn follow_certificates(&self, interval: Duration) {
        match &self.tls {
            Some(tls) => tls.follow_files(interval).await,
            None => std::future::pending().await,
        }
    }

    /// Gives up these handles. Clients can connect until the workers have given up theirs.
    pub fn release(&self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Handles {
    /// Handles to all sockets for one run of a worker.
    ///
    /// # Errors
    /// The process has as many open files as it may.
    pub fn share(&self) -> io::Result<Vec<Listening>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Listening::share).collect()
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Some(path) = &self.unix {
            let _ = fs::remove_file(path);
        }
    }
}

impl Listening {
    fn new(listener: Listener, name: &str, h2c: bool) -> Self {
        Self { listener, name: name.into(), h2c }
    }

    fn share(&self) -> io::Result<Self> {
        let listener = match &self.listener {
            Listener::Plain(listener) => Listener::Plain(listener.try_clone()?),
            Listener::Secure(listener, tls) => Listener::Secure(listener.try_clone()?, Arc::clone(tls)),
            Listener::Unix(listener) => Listener::Unix(listener.try_clone()?),
        };
        Ok(Self { listener, name: Arc::clone(&self.name), h2c: self.h2c })
    }
}

fn taken(address: String, key: &'static str, error: io::Error) -> BindError {
    BindError::Taken { address, key, error }
}

pub fn tcp(address: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = bind_tcp(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| taken(address.to_string(), key, error))
}

/// Binds a TCP socket.
///
/// # Errors
/// The address is taken, or not ours.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    tcp_keepalive::enable(&socket)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds a Unix socket in the place of one that a process left behind when it was killed.
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
    fn c5_accepted_connections_have_keep_alive_from_their_listener() {
        let listener = bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        tcp_keepalive::tests::assert_enabled(&accepted);
    }
}
