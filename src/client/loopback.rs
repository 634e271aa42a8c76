//! A single request to the sidecar's own listener, for the inspector of `dev`.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Time limit of the whole exchange.
const LONGEST: Duration = Duration::from_mins(1);

/// Sends a request in HTTP/1.1 with `Connection: close`, and reads its response to the end.
///
/// # Errors
/// The listener cannot be reached, or does not answer in time.
pub async fn send_once(listener: SocketAddr, request: &[u8]) -> io::Result<()> {
    let exchange = async {
        let mut stream = TcpStream::connect(listener).await?;
        stream.write_all(request).await?;
        let mut piece = vec![0; 16 << 10];
        while stream.read(&mut piece).await? > 0 {}
        Ok(())
    };
    timeout(LONGEST, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
