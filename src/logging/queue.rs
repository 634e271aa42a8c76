//! The queue of log lines: a thread writes them to standard error, so that logging never blocks.
//!
//! `env_logger` pushes whole lines. The queue has room for [`MOST_BYTES`]; further lines are dropped and counted, and
//! the count is logged when there is room again. Lines that are close together are written by one system call.

use std::{
    io::{self, Write},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::system::{
    fault_points,
    supervision::{Task, catch, supervise_thread},
};

/// Bytes in the queue, some thousand lines; as many may be in the write in progress.
const MOST_BYTES: usize = 1 << 20;
/// Bytes that are written without waiting for more lines.
const PLENTY: usize = 96 << 10;
/// The longest time that a line waits for others: short for a person, long for a busy process.
const GATHERING: Duration = Duration::from_millis(10);

static QUEUE: Queue = Queue::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The queue, shared by the threads that log and the writer.
#[derive(Debug)]
pub(super) struct QueueWriter(&'static Queue);

#[derive(Debug)]
struct Queue {
    state: Mutex<QueueState>,
    /// Signals that there are lines to write.
    filled: Condvar,
    /// Signals that all lines are written.
    emptied: Condvar,
}

#[derive(Debug)]
struct QueueState {
    waiting: Vec<u8>,
    /// Dropped lines that have not been logged yet.
    untold: u64,
    is_writing: bool,
    /// A flush waits for the end.
    in_haste: bool,
}

/// Starts the thread.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start() -> io::Result<QueueWriter> {
    std::thread::Builder::new().name(Task::Log.name().to_owned()).spawn(|| {
        let mut batch = Vec::new();
        let run = || catch(|| QUEUE.write_all_to(&mut io::stderr(), &mut batch)).into();
        supervise_thread(Task::Log, || false, run);
    })?;
    Ok(QueueWriter(&QUEUE))
}

/// Waits until all lines are written, for `limit` at most.
pub(super) fn flush(limit: Duration) {
    QUEUE.flush(limit);
}

pub(super) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl Write for QueueWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.0.push(line) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    const fn new() -> Self {
        let state = QueueState { waiting: Vec::new(), untold: 0, is_writing: false, in_haste: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes a line; false if the queue is full.
    fn push(&self, line: &[u8]) -> bool {
        let mut state = self.lock();
        let before = state.waiting.len();
        let after = before + line.len();
        if after > MOST_BYTES {
            state.untold += 1;
            return false;
        }
        state.waiting.extend_from_slice(line);
        // otherwise the writer is waiting for more lines and need not be woken
        if before == 0 || (before < PLENTY && after >= PLENTY) {
            self.filled.notify_one();
        }
        true
    }

    /// The loop of the thread, which writes from `batch`.
    fn write_all_to(&self, to: &mut impl Write, batch: &mut Vec<u8>) {
        // a run that panicked may have written a part of these
        DROPPED.fetch_add(lines_in(batch), Ordering::Relaxed);
        batch.clear();
        loop {
            let untold = self.next_batch(batch);
            fault_points::pass("log");
            if untold > 0 {
                // there is room: the queue has just been emptied
                log::error!("{untold} log lines were dropped because standard error is read too slowly");
            }
            // the failure cannot be logged, but `/metrics` counts the lines
            if to.write_all(batch).and_then(|()| to.flush()).is_err() {
                DROPPED.fetch_add(lines_in(batch), Ordering::Relaxed);
            }
            batch.clear();
            // frees the memory of a burst
            batch.shrink_to(2 * PLENTY);
        }
    }

    /// Waits for lines and takes all of them; returns the number of lines dropped after them.
    fn next_batch(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        state.is_writing = false;
        while state.waiting.is_empty() {
            state.in_haste = false;
            self.emptied.notify_all();
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let gathers = |state: &mut QueueState| !state.in_haste && state.waiting.len() < PLENTY;
        let waited = self.filled.wait_timeout_while(state, GATHERING, gathers);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(&mut state.waiting, batch);
        std::mem::take(&mut state.untold)
    }

    fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        while !state.waiting.is_empty() || state.is_writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state.in_haste = true;
            self.filled.notify_one();
            (state, _) = self.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lines_in(batch: &[u8]) -> u64 {
    batch.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A writer that sends each write on and waits for an answer.
    struct Slow(mpsc::Sender<Vec<u8>>, mpsc::Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (&'static Queue, mpsc::Receiver<Vec<u8>>, mpsc::Sender<()>) {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
        let ((sender, written), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || queue.write_all_to(&mut Slow(sender, wait), &mut Vec::new()));
        (queue, written, go_on)
    }

    #[test]
    fn with_a_stuck_reader_the_queue_is_bounded_and_dropped_lines_are_counted() {
        let (queue, written, go_on) = slow();
        assert!(queue.push(b"first\n"));
        assert_eq!(written.recv().unwrap(), b"first\n");
        let line = [b'x'; 1 << 10];
        let taken = (0..2000).filter(|_| queue.push(&line)).count();
        assert_eq!(taken, MOST_BYTES / line.len());
        assert_eq!(queue.lock().untold, 2000 - 1024);
        queue.flush(Duration::from_millis(5));
        assert!(queue.lock().is_writing, "a flush gives up");
        go_on.send(()).unwrap();
        assert_eq!(written.recv().unwrap().len(), MOST_BYTES);
        assert_eq!(queue.lock().untold, 0, "it is told as soon as there is room");
        drop(go_on);
    }

    #[test]
    fn lines_are_written_whole_and_in_order_and_a_flush_waits_for_them() {
        let (queue, written, go_on) = slow();
        drop(go_on);
        for number in 0..100 {
            assert!(queue.push(format!("{number}\n").as_bytes()));
        }
        queue.flush(Duration::from_secs(20));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(all).unwrap(), expected);
    }
}
