//! Responses that are read from a socket completely.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use actix_http::Method;
use apigw_invoker::{
    backend::{Backend, ReplyMode},
    client::{Client, SendRecord},
    message::{
        inbound::RequestBody,
        outbound::{OutboundRequest, Signature, SignedPayload},
    },
    metrics::Metrics,
};

use super::{SIZES, Verdict, answers::shapes, lambda, once};

/// A server that sends these bytes to one client.
fn serving(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        // the client may have read enough
        let _ = stream.write_all(&answer);
    });
    address
}

/// The response in each framing.
fn framed(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let head = |framing: &str| format!("HTTP/1.1 200 OK\r\n{framing}\r\n").into_bytes();
    let mut chunked = head("Transfer-Encoding: chunked\r\n");
    for piece in body.chunks(5000) {
        write!(chunked, "{:x}\r\n", piece.len()).unwrap();
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let length = head(&format!("Content-Length: {}\r\n", body.len()));
    vec![
        ("with a length", [&length, body].concat()),
        ("in chunks", chunked),
        ("until the end", [&head("")[..], body].concat()),
    ]
}

async fn call(backend: &dyn Backend, client: &Client) {
    let target = backend.target();
    let mut request = OutboundRequest {
        method: Method::POST,
        path_and_query: "/".to_owned(),
        headers: actix_http::header::HeaderMap::new(),
        body: RequestBody::Empty,
        signature: Signature::Ours,
        payload: SignedPayload::Hash,
    };
    let upstream = client
        .send(&target.endpoint, target.timeouts, &mut request, None, &mut SendRecord::default())
        .await
        .unwrap();
    let ReplyMode::Collected { limit } = backend.reply_mode(&upstream) else { panic!("it is collected") };
    let upstream = upstream.collect(limit).await.unwrap();
    // other tests check the result
    let _ = backend.reply(upstream);
}

#[test]
fn x5_no_answer_costs_more_than_three_times_its_bytes_as_it_arrives() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut verdict = Verdict::default();
    for size in SIZES {
        for (what, body) in shapes(size) {
            for (framing, answer) in framed(&body) {
                let length = answer.len();
                let address = serving(answer);
                let backend = lambda(&format!(
                    "host: 127.0.0.1, port: {}, disable_https: true, is_proxy_integration: true",
                    address.port()
                ));
                let client = Client::new(Arc::default(), Metrics::new());
                let local = tokio::task::LocalSet::new();
                let ((), mut cost) = once(|| local.block_on(&runtime, Box::pin(call(&*backend, &client))));
                // includes time spent waiting for the socket
                cost.time = std::time::Duration::ZERO;
                verdict.judge(&format!("{what} {framing}"), length, cost);
                drop(Arc::clone(&backend));
            }
        }
    }
    verdict.end();
}
