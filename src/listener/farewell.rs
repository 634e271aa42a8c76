//! The answer to a client for which there is no room: 503, and the end of its connection.
//!
//! `accept.rs` comes here. A close with bytes unread makes the kernel send a reset, which may overtake the
//! answer, so the client's request is read first: patiently where there are descriptors to wait with, else as
//! far as it has come.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::fd::AsFd,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::transport::PlainSocket;
use crate::{
    message::error::{ErrorKind, Overload, ProxyError},
    metrics::Metrics,
    proxy,
};

/// How long such a client has to read why.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// Reads of a request that nobody will look at.
const MOST_READS: usize = 16;

/// Answers, and waits until the client has closed its side.
pub async fn patient(mut socket: PlainSocket, cause: String, metrics: &Metrics) {
    last_words(&mut socket, &answer(cause, metrics), PATIENCE).await;
}

/// Says this, and waits until the client has closed its side, no longer than `limit`: what is unread when the
/// connection closes would cost the client the answer.
pub async fn last_words<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S, words: &[u8], limit: Duration) {
    let farewell = async {
        socket.write_all(words).await?;
        socket.shutdown().await?;
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // a client that has left needs no answer
    let _ = timeout(limit, farewell).await;
}

/// Answers without waiting for anything: what closes after this has been read as far as it has come.
pub fn brief(stream: &impl AsFd, cause: String, metrics: &Metrics) {
    let socket = SockRef::from(stream);
    let farewell = || {
        // the buffer of a new connection takes it whole
        (&*socket).write_all(&answer(cause, metrics))?;
        socket.shutdown(Shutdown::Write)?;
        let mut unread = [0; 1024];
        for _ in 0..MOST_READS {
            if (&*socket).read(&mut unread)? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // it ends with an error where there is no more to read
    let _ = farewell();
}

fn answer(cause: String, metrics: &Metrics) -> bytes::Bytes {
    let error = ProxyError::new(ErrorKind::Overloaded(Overload::Connections), cause);
    let id = proxy::refused(&error, metrics);
    error.http1_response(&id)
}
