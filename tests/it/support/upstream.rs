//! Scripted upstream on a raw socket that records the requests it receives.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::wait::PATIENCE;

/// A received request.
#[derive(Debug, Clone)]
pub struct Received {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Number of its connection, counted from 0.
    pub connection: usize,
}

impl Received {
    /// Values of all headers with this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Value of the only header with this name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times", all.len());
        all.first().copied()
    }

    /// The request target.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// Names of its headers, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    }
}

/// The upstream, stopped when dropped.
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Upstream {
    /// Sends the same response to every request and keeps connections open.
    pub fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::serving(move |_, stream| stream.write_all(answer.as_bytes()))
    }

    /// Responds with 200 and a small body.
    pub fn ok() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }

    /// Reads each request and calls `answer`; an error closes the connection.
    pub fn serving(
        answer: impl Fn(&Received, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::accepting(move |connection, mut stream, received: &Mutex<Vec<Received>>| {
            let mut reader = BufReader::new(stream.try_clone()?);
            while let Some(request) = read_request(&mut reader, connection)? {
                received.lock().unwrap().push(request.clone());
                answer(&request, &mut stream)?;
            }
            Ok(())
        })
    }

    /// Runs `script` for each connection on a thread of its own.
    pub fn accepting(
        script: impl Fn(usize, TcpStream, &Mutex<Vec<Received>>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            accepted: Arc::default(),
            open: Arc::default(),
            stopped: Arc::default(),
        };
        let (received, accepted, open, stopped) = (
            Arc::clone(&upstream.received),
            Arc::clone(&upstream.accepted),
            Arc::clone(&upstream.open),
            Arc::clone(&upstream.stopped),
        );
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let connection = accepted.fetch_add(1, Ordering::SeqCst);
                let (script, received, open) =
                    (Arc::clone(&script), Arc::clone(&received), Arc::clone(&open));
                open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let _ = script(connection, stream, &received);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        upstream
    }

    /// A function URI with the upstream's address and this path.
    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.into_iter().next().unwrap()
    }

    /// Number of connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // unblocks the accepting thread
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads a request; `None` if the connection ends before its first byte.
pub fn read_request(reader: &mut impl BufRead, connection: usize) -> io::Result<Option<Received>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut request =
        Received { line: line.trim_end().to_owned(), headers: Vec::new(), body: Vec::new(), connection };
    loop {
        let mut bytes = Vec::new();
        reader.read_until(b'\n', &mut bytes)?;
        let header = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        match header.split_once(": ") {
            Some((name, value)) => request.headers.push((name.to_owned(), value.to_owned())),
            None if header.is_empty() => break,
            None => request.headers.push((header.trim_end_matches(':').to_owned(), String::new())),
        }
    }
    assert!(
        request.header("transfer-encoding").is_none(),
        "API Gateway takes no chunked request: {request:?}"
    );
    if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}
