//! HTTP/2 client that reports exactly what it received.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use tokio::time::timeout;

use super::{
    answer::{Answer, Ended},
    case::{Failure, TIMEOUT, connect},
    client::Got,
};

/// Sends a request on a new connection and returns the response.
///
/// # Errors
///
/// Timeout: neither a response nor the end of the stream was received.
pub async fn ask(
    number: u64,
    to: SocketAddr,
    method: &str,
    target: &str,
    body: Vec<u8>,
) -> Result<Got, Failure> {
    let failed = |error: h2::Error| Failure::new("no HTTP/2", error.to_string());
    let stream = connect(number, to, None).await?;
    let (mut sender, connection) = h2::client::handshake(stream).await.map_err(failed)?;
    let driver = tokio::task::spawn_local(connection);
    let request = Request::builder().method(method).uri(format!("http://h{target}")).body(());
    let request = request.map_err(|error| Failure::new("no request", error.to_string()))?;
    let (response, mut sending) = sender.send_request(request, body.is_empty()).map_err(failed)?;
    if !body.is_empty() {
        // an early response may have closed the stream
        let _ = sending.send_data(Bytes::from(body), true);
    }
    let got = timeout(TIMEOUT, read(response)).await;
    driver.abort();
    got.map_err(|_| Failure::new("a stream hangs", target))
}

async fn read(response: h2::client::ResponseFuture) -> Got {
    let Ok(response) = response.await else { return Got::Nothing(Ended::Reset) };
    let (head, mut body) = response.into_parts();
    let headers =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let mut answer = Answer { status: head.status.as_u16(), headers: headers.collect(), ..Answer::default() };
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return Got::Broken(Some(answer), Ended::Reset) };
        let _ = body.flow_control().release_capacity(piece.len());
        answer.body.extend_from_slice(&piece);
    }
    match body.trailers().await {
        Ok(_) => Got::Whole(answer),
        Err(_) => Got::Broken(Some(answer), Ended::Reset),
    }
}
