//! The steps of an upstream on one connection, executed regardless of what the sidecar sends.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Condvar, Mutex},
    time::Duration,
};

/// Longer than any test: a script ends because the sidecar closes, not by timeout.
const SCRIPT_TIMEOUT: Duration = Duration::from_mins(5);

/// One step of an upstream.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads the request's head, with the body bytes in the same read.
    ReadHead,
    /// Reads this many more bytes.
    ReadSome(usize),
    /// Reads the whole request, by its `Content-Length`.
    ReadAll,
    /// Writes these bytes.
    Say(Vec<u8>),
    /// Writes these bytes repeatedly until writing fails, with this pause in milliseconds.
    Endlessly(&'static [u8], u64),
    /// Writes a few bytes at a time, with this pause in milliseconds.
    Drip(Vec<u8>, usize, u64),
    /// Closes gracefully and waits until the peer closes.
    Close,
    /// Sends a reset.
    Reset,
    /// Neither reads nor writes until the client has its result.
    Stall,
    /// Reads until the sidecar closes.
    Hold,
}

/// Opened once the client has its result.
#[derive(Debug, Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

/// Runs a script; it ends at the first error.
pub fn play(steps: &[Step], gate: &Gate, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(SCRIPT_TIMEOUT))?;
    stream.set_write_timeout(Some(SCRIPT_TIMEOUT))?;
    let mut request = Vec::new();
    for step in steps {
        match step {
            Step::ReadHead => {
                read_until(&mut stream, &mut request, |request| head_end(request).is_some())?;
            }
            Step::ReadSome(bytes) => {
                let wanted = request.len() + bytes;
                read_until(&mut stream, &mut request, |request| request.len() >= wanted)?;
            }
            Step::ReadAll => read_until(&mut stream, &mut request, is_whole)?,
            Step::Say(bytes) => stream.write_all(bytes)?,
            Step::Endlessly(bytes, pause) => loop {
                stream.write_all(bytes)?;
                std::thread::sleep(Duration::from_millis(*pause));
            },
            Step::Drip(bytes, size, pause) => {
                for piece in bytes.chunks(*size) {
                    stream.write_all(piece)?;
                    std::thread::sleep(Duration::from_millis(*pause));
                }
            }
            Step::Close => {
                stream.shutdown(Shutdown::Write)?;
                io::copy(&mut stream, &mut io::sink())?;
            }
            Step::Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            Step::Stall | Step::Hold => {
                if matches!(step, Step::Stall) {
                    gate.pass();
                }
                io::copy(&mut stream, &mut io::sink())?;
            }
        }
    }
    Ok(())
}

fn read_until(
    stream: &mut TcpStream,
    request: &mut Vec<u8>,
    is_enough: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let mut piece = vec![0; 1 << 16];
    while !is_enough(request) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => request.extend_from_slice(&piece[..length]),
        }
    }
    Ok(())
}

fn head_end(request: &[u8]) -> Option<usize> {
    request.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = head_end(request) else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    request.len() >= end + length.map_or(0, |length| length.parse().unwrap())
}
