//! Refuses a client that exceeds a limit of connections: answers 503 and closes the connection.
//!
//! A close with unread bytes makes the kernel send a reset, which may overtake the response, so the client's
//! request is read first: to its end while there are descriptors to wait with, else as far as it has arrived.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use tokio_util::either::Either;

use super::transport::PlainSocket;
use crate::{
    message::error::{ErrorKind, Overload, ProxyError},
    metrics::Metrics,
    proxy,
};

/// Time for a refused client to read the response.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Reads of a request that is discarded.
const MAX_READS: usize = 16;

/// Sends the response, and waits until the client has closed its side.
pub async fn send(mut socket: PlainSocket, cause: String, metrics: &Metrics) {
    send_and_close(&mut socket, &response(cause, metrics), REFUSAL_TIMEOUT).await;
}

/// Sends `bytes`, and waits for at most `limit` until the client has closed its side: bytes that are unread
/// when the connection closes would cost the client the response.
pub async fn send_and_close<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    bytes: &[u8],
    limit: Duration,
) {
    let sending = async {
        socket.write_all(bytes).await?;
        socket.shutdown().await?;
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // the client may have left
    let _ = timeout(limit, sending).await;
}

/// Sends the response without waiting, and reads what has arrived of the request.
pub fn send_at_once(socket: &PlainSocket, cause: String, metrics: &Metrics) {
    let socket = match socket {
        Either::Left(stream) => SockRef::from(stream),
        Either::Right(stream) => SockRef::from(stream),
    };
    let sending = || {
        // the send buffer of a new connection has room for all of it
        (&*socket).write_all(&response(cause, metrics))?;
        socket.shutdown(Shutdown::Write)?;
        let mut unread = [0; 1024];
        for _ in 0..MAX_READS {
            if (&*socket).read(&mut unread)? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // fails when there is no more to read
    let _ = sending();
}

fn response(cause: String, metrics: &Metrics) -> bytes::Bytes {
    let error = ProxyError::new(ErrorKind::Overloaded(Overload::Connections), cause);
    let id = proxy::refused(&error, metrics);
    error.http1_response(&id)
}
