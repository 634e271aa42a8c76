//! Bundles, and the server that they are on.

use std::{
    io::{self, Write as _},
    net::TcpStream,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

use crate::support::{Upstream, process::binary, upstream::Received};

/// The settings of the process.
pub const PROCESS: &str =
    "listen: { http: '127.0.0.1:0' }\nlog: { access: false }\nreload: { interval: 100ms }\n";

pub fn process_with(reload: &str) -> String {
    PROCESS.replace("reload: { interval: 100ms }", reload)
}

pub fn route(uri: &str, upstream: &Upstream) -> String {
    format!("uri: {uri}\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"))
}

/// A compressed archive of these files.
pub fn bundle(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// The sidecar with settings from this address.
pub fn run(address: &str) -> Command {
    binary(&["run", "--settings", address])
}

type Answer = Arc<dyn Fn(&Received, &mut TcpStream) -> io::Result<()> + Send + Sync>;

/// A server of one bundle.
pub struct Source {
    pub server: Upstream,
    answer: Arc<Mutex<Answer>>,
    version: Mutex<u32>,
}

impl Source {
    /// A server that has this bundle.
    pub fn with(bundle: Vec<u8>) -> Self {
        let answer = Arc::new(Mutex::new(answering(bundle, "\"1\"".to_owned())));
        let current = Arc::clone(&answer);
        let server = Upstream::serving(move |request, stream| {
            let answer = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
            answer(request, stream)
        });
        Self { server, answer, version: Mutex::new(1) }
    }

    /// Replaces the bundle.
    pub fn put(&self, bundle: Vec<u8>) {
        let mut version = self.version.lock().unwrap();
        *version += 1;
        *self.answer.lock().unwrap() = answering(bundle, format!("\"{version}\""));
    }

    /// Replaces the answer.
    pub fn answer(
        &self,
        answer: impl Fn(&Received, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    /// The address with user info and path.
    pub fn address(&self, user: &str, path: &str) -> String {
        format!("http://{user}{}{path}", self.server.address)
    }
}

fn answering(bundle: Vec<u8>, etag: String) -> Answer {
    Arc::new(move |request, stream| {
        if request.header("if-none-match") == Some(&etag) {
            return write!(stream, "HTTP/1.1 304 Not Modified\r\netag: {etag}\r\n\r\n");
        }
        write!(stream, "HTTP/1.1 200 OK\r\netag: {etag}\r\ncontent-length: {}\r\n\r\n", bundle.len())?;
        stream.write_all(&bundle)
    })
}
