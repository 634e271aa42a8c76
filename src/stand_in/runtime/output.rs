//! The output of a function: each line goes to the log with the function's name, and the end of it into the
//! `LogResult` of the call that is running.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::text::log_safe::log_safe;

/// "Returns the last 4 KB of the execution log" (`LogType`, Lambda API reference).
const MAX_TAIL: usize = 4 << 10;
/// Bytes of the longest line; a longer one is split.
const MAX_LINE: usize = 8 << 10;

/// The last bytes of a function's output.
#[derive(Debug, Clone, Default)]
pub struct LogTail(Rc<RefCell<VecDeque<u8>>>);

impl LogTail {
    /// Appends a line.
    pub fn push(&self, line: &str) {
        let mut tail = self.0.borrow_mut();
        tail.extend(line.as_bytes());
        tail.push_back(b'\n');
        let surplus = tail.len().saturating_sub(MAX_TAIL);
        tail.drain(..surplus);
    }

    /// Takes the bytes out.
    pub fn take(&self) -> Vec<u8> {
        self.0.take().into()
    }
}

/// Logs every line of `output` until its end.
pub async fn follow(name: Rc<str>, mut output: impl AsyncRead + Unpin, tail: LogTail) {
    let mut lines = LineBuffer::default();
    let mut piece = [0; 4 << 10];
    while let Ok(read @ 1..) = output.read(&mut piece).await {
        lines.add(&piece[..read], |line| log_line(&name, line, &tail));
        // a function that prints without end must not keep the others waiting
        tokio::task::yield_now().await;
    }
    lines.finish(|line| log_line(&name, line, &tail));
}

fn log_line(name: &str, line: &str, tail: &LogTail) {
    tail.push(line);
    log::info!("[{name}] {}", log_safe(line, MAX_LINE));
}

/// Splits bytes into lines. A carriage return ends a line as well: awslambdaric writes the lines of a
/// traceback so.
#[derive(Debug, Default)]
struct LineBuffer {
    line: Vec<u8>,
    /// The last byte was a carriage return.
    was_return: bool,
}

impl LineBuffer {
    fn add(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for byte in bytes {
            let follows_return = std::mem::replace(&mut self.was_return, *byte == b'\r');
            let is_end = matches!(byte, b'\r' | b'\n');
            if !is_end {
                self.line.push(*byte);
            }
            let is_second = *byte == b'\n' && follows_return;
            if is_end && !is_second || self.line.len() == MAX_LINE {
                line(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            }
        }
    }

    fn finish(self, mut line: impl FnMut(&str)) {
        if !self.line.is_empty() {
            line(&String::from_utf8_lossy(&self.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_whatever_the_pieces_are() {
        let (mut lines, mut buffer) = (Vec::new(), LineBuffer::default());
        for piece in ["a", "b\r", "\nc", "\n\rd"] {
            buffer.add(piece.as_bytes(), |line| lines.push(line.to_owned()));
        }
        buffer.finish(|line| lines.push(line.to_owned()));
        assert_eq!(lines, ["ab", "c", "", "d"]);
    }

    #[test]
    fn a_line_without_an_end_is_split() {
        let mut lines = Vec::new();
        LineBuffer::default().add(&vec![b'x'; 3 * MAX_LINE], |line| lines.push(line.len()));
        assert_eq!(lines, [MAX_LINE; 3]);
    }

    #[test]
    fn the_tail_has_the_last_4_kilobytes() {
        let tail = LogTail::default();
        for number in 0..2000 {
            tail.push(&format!("line {number}"));
        }
        let tail = String::from_utf8(tail.take()).unwrap();
        assert!(tail.len() <= MAX_TAIL && tail.ends_with("line 1998\nline 1999\n"), "{tail}");
    }
}
