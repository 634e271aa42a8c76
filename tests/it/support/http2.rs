//! HTTP/2 client, and raw frames for what no client sends.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Runtime,
    task::JoinHandle,
    time::timeout,
};

use super::wait::PATIENCE;

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// Value of the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An HTTP/2 connection.
pub struct Http2 {
    pub runtime: Runtime,
    sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// An open stream without a response yet.
pub struct OpenStream {
    pub response: ResponseFuture,
    pub body: h2::SendStream<Bytes>,
}

impl Http2 {
    /// Connects over TCP with prior knowledge.
    pub fn open(address: SocketAddr) -> Self {
        Self::over(async move { tokio::net::TcpStream::connect(address).await })
    }

    /// Connects over another transport.
    pub fn over<S>(connection: impl Future<Output = io::Result<S>>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, driver) = runtime.block_on(async {
            let stream = connection.await.expect("the sidecar accepts");
            let (sender, connection) =
                // the connection's window exceeds that of one stream
                h2::client::Builder::new()
                    .initial_connection_window_size(1 << 20)
                    .handshake(stream)
                    .await
                    .expect("it speaks HTTP/2");
            (sender, tokio::spawn(connection))
        });
        Self { runtime, sender, driver }
    }

    /// Opens a stream; the body follows unless `ends`.
    pub fn begin(&mut self, request: Request<()>, ends: bool) -> Result<OpenStream, h2::Error> {
        self.runtime.block_on(async {
            let mut ready =
                timeout(PATIENCE, self.sender.clone().ready()).await.expect("room for a stream")?;
            let (response, body) = ready.send_request(request, ends)?;
            // lets the driver write it
            tokio::task::yield_now().await;
            Ok(OpenStream { response, body })
        })
    }

    /// Waits for an interim response and returns its status.
    pub fn interim(&self, response: &mut ResponseFuture) -> Option<u16> {
        let told = std::future::poll_fn(|context| response.poll_informational(context));
        self.runtime.block_on(async {
            let told = timeout(PATIENCE, told).await.expect("a response in time");
            told.map(|told| told.unwrap().status().as_u16())
        })
    }

    /// Waits for the complete response.
    pub fn finish(&self, response: ResponseFuture) -> Result<Answer, h2::Error> {
        self.runtime.block_on(async { timeout(PATIENCE, read(response)).await.expect("an answer in time") })
    }

    /// Sends a request and waits for the response.
    pub fn call(
        &mut self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, h2::Error> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut stream = self.begin(request.body(()).unwrap(), body.is_empty())?;
        if !body.is_empty() {
            stream.body.send_data(Bytes::copy_from_slice(body), true)?;
        }
        self.finish(stream.response)
    }

    /// Sends a GET and waits for the response.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.call("GET", &format!("http://h{path}"), &[], b"").unwrap()
    }

    /// How the connection ended.
    pub fn end(self) -> Result<(), h2::Error> {
        drop(self.sender);
        self.runtime
            .block_on(async { timeout(PATIENCE, self.driver).await.expect("it ends").expect("no panic") })
    }
}

async fn read(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: bytes, trailers })
}

/// A connection for raw frames.
pub struct Frames {
    pub stream: TcpStream,
}

/// A received frame.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `GET /` with the authority `h`, in HPACK without the dynamic table: `:method: GET`, `:scheme: http`,
/// `:path: /` from the static table, `:authority` as a literal.
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'h'];

/// Encodes fields in HPACK as literals without indexing; lengths must fit into one byte.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "the length is in one byte");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The header block of a GET with this path, authority and additional fields.
pub fn head(path: &str, authority: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", authority)];
    block(&[&pseudo[..], more].concat())
}

impl Frames {
    /// Connects, and sends preface and SETTINGS.
    pub fn open(address: SocketAddr) -> Self {
        Self::with_settings(address, &[])
    }

    /// The same with a payload for SETTINGS.
    pub fn with_settings(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = super::client::open(address);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut frames = Self { stream };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.send(SETTINGS, 0, 0, settings).unwrap();
        frames
    }

    /// Reads to the end of a stream, and returns its frames.
    pub fn of_stream(&mut self, stream: u32) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.read() {
            let is_end = frame.kind == RST_STREAM || (frame.kind <= HEADERS && frame.flags & END_STREAM != 0);
            if frame.stream == stream {
                frames.push(frame);
                if is_end {
                    return frames;
                }
            }
        }
        panic!("the connection ended before the stream did: {frames:?}")
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// Reads the next frame and answers PING; `None` at the end of the connection.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (kind, flags) = (head[3], head[4]);
        if kind == PING && flags & ACK == 0 {
            let _ = self.send(PING, ACK, 0, &payload);
        }
        Some(Frame { kind, flags, stream, payload })
    }

    /// Reads until a frame of this kind; `None` if the connection ends first.
    pub fn until(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.read()).find(|frame| frame.kind == kind)
    }

    /// Reads until the connection ends, and returns all frames.
    pub fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.read()).collect()
    }
}
