//! Writes bytes to a socket in pieces with pauses, then ends the connection.

use std::{fmt, io, time::Duration};

use fastrand::Rng;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::case::Escaped;

/// Longest pause between two pieces, in milliseconds; far below every limit in the settings.
const MAX_PAUSE: u64 = 4;

/// Pieces to write, and how the connection ends.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub pieces: Vec<Piece>,
    pub end: End,
}

/// Bytes of one write.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Pause before the write.
    pub pause: Duration,
    pub bytes: Vec<u8>,
}

/// How the connection ends after the last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection stays open.
    Open,
    Close,
    Reset,
}

impl Delivery {
    /// Splits `bytes` into pieces; no piece starts after `last_cut`.
    pub fn new(bytes: &[u8], last_cut: usize, end: End, random: &mut Rng) -> Self {
        let count = if random.u8(..3) == 0 { random.usize(1..5) } else { 0 };
        let mut cuts: Vec<usize> = (0..count).map(|_| random.usize(..=last_cut.min(bytes.len()))).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces = Vec::new();
        for bounds in cuts.windows(2) {
            let pause = if random.bool() { random.u64(..=MAX_PAUSE) } else { 0 };
            let pause = Duration::from_millis(if bounds[0] == 0 { 0 } else { pause });
            pieces.push(Piece { pause, bytes: bytes[bounds[0]..bounds[1]].to_vec() });
        }
        Self { pieces, end }
    }

    /// All bytes, in one piece.
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    /// Writes all pieces, without ending the connection.
    ///
    /// # Errors
    ///
    /// The peer has closed the connection.
    pub async fn write(&self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        for piece in &self.pieces {
            if !piece.pause.is_zero() {
                sleep(piece.pause).await;
            }
            stream.write_all(&piece.bytes).await?;
        }
        stream.flush().await
    }
}

/// Closes a connection with a TCP reset.
pub fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            if !piece.pause.is_zero() {
                writeln!(f, "    ({:?} later)", piece.pause)?;
            }
            writeln!(f, "    \"{}\"", Escaped(&piece.bytes))?;
        }
        write!(
            f,
            "    then {}",
            match self.end {
                End::Open => "the connection stays open",
                End::Close => "the connection is closed",
                End::Reset => "the connection is reset",
            }
        )
    }
}
