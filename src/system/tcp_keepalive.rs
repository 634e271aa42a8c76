//! TCP keep-alive on every connection, towards AWS and towards clients.
//!
//! NAT gateways, network load balancers and interface endpoints forget a connection without packets after 350
//! s and drop later packets (AWS, "Implementing long-running TCP Connections within VPC networking"), while a
//! function may run for 15 minutes before the first byte of its response (botocore#2916).

use std::{io, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// With a probe each minute several may be lost before 350 s are over; other firewalls forget within 4
/// minutes. A peer that vanished without a reset is detected after 60 s + 4 * 15 s.
const PROBES: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_mins(1))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Enables keep-alive. Accepted connections inherit it from a listening socket, which saves the calls for
/// each client.
///
/// # Errors
/// The socket is closed.
pub fn enable(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_keepalive(&PROBES)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[track_caller]
    pub fn assert_enabled(socket: &impl AsFd) {
        let socket = SockRef::from(socket);
        assert!(socket.keepalive().unwrap());
        let (idle, interval) =
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        let retries = socket.tcp_keepalive_retries().unwrap();
        assert_eq!((idle.as_secs(), interval.as_secs(), retries), (60, 15, 4));
    }

    #[test]
    fn c5_probes_come_often_enough_for_aws_networks_to_remember_a_silent_connection() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        enable(&socket).unwrap();
        let idle = socket.tcp_keepalive_time().unwrap();
        let interval = socket.tcp_keepalive_interval().unwrap();
        // botocore#2916: 350 s of silence; the first probe and the next two may be lost
        assert!(idle + 2 * interval < Duration::from_secs(350) / 2);
    }
}
