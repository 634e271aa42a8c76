//! Messages to the service manager that started the process: the protocol of `sd_notify(3)`, which systemd
//! reads with `Type=notify` and `Type=notify-reload`. Without `NOTIFY_SOCKET` nothing is sent.
//!
//! The socket is opened here and not by the crate `sd-notify`: version 0.5 takes an abstract address, such as
//! `@name`, for a file, and its send blocks while the queue of the manager is full.

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
};

use sd_notify::NotifyState;

/// Reports that the sidecar listens and that its settings are in use.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Reports that a reload has begun; [`reloaded`] ends it. `Type=notify-reload` requires the time.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => log::warn!("cannot read the monotonic clock: {error}"),
    }
}

/// Reports that a reload has ended. The protocol has no failed reload, hence a line in `systemctl status`.
pub fn reloaded(is_applied: bool) {
    let status =
        if is_applied { "settings reloaded" } else { "the new settings are not in use, see the log" };
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that the drain has begun.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Sends one message. A manager that does not receive it must not stop the sidecar.
fn send(states: &[NotifyState<'_>]) {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = send_to(&name, message.as_bytes()) {
        log::warn!("cannot notify the service manager at NOTIFY_SOCKET, {}: {error}", name.display());
    }
}

fn send_to(name: &OsStr, message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address(name)?)?;
    Ok(())
}

/// A path, or `@` and an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        _ => Err(io::Error::other("expected an absolute path, or an abstract socket with @")),
    }
}
