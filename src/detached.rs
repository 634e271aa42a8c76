//! Threads that read files and that nobody waits for at the end: a network file system may hang in the middle
//! of a read, which nothing can interrupt. A runtime, when it ends, waits for what its own blocking threads
//! do.
//!
//! `run.rs` reads here at the start, `reload.rs` and `listener/tls.rs` while requests go on.

use std::{io, thread, time::Duration};

use tokio::{sync::oneshot, time::timeout};

/// A read that takes longer is logged, once.
const SLOW: Duration = Duration::from_secs(10);

/// Runs `read` on a thread of its own, and logs it by `name` if it takes long.
///
/// # Errors
/// The system gives no thread, or the read panicked.
pub async fn run<T: Send + 'static>(
    name: &'static str,
    read: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, mut receiver) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // who asked may be gone
        let _ = sender.send(read());
    })?;
    let result = match timeout(SLOW, &mut receiver).await {
        Ok(result) => result,
        Err(_) => {
            log::error!(
                "reading the {name} has taken {SLOW:?} and goes on. Is a network file system out of order?"
            );
            receiver.await
        }
    };
    result.map_err(|_| io::Error::other(format!("reading the {name} panicked")))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    #[test]
    fn x6_a_read_that_hangs_does_not_keep_a_runtime_from_ending() {
        let (release, hanging) = mpsc::channel::<()>();
        let start = Instant::now();
        let system = actix_rt::System::new();
        system.block_on(async {
            let read = run("test", move || hanging.recv());
            assert!(timeout(Duration::from_millis(50), read).await.is_err());
        });
        drop(system);
        assert!(start.elapsed() < Duration::from_secs(5));
        drop(release);
    }

    #[actix_rt::test]
    async fn a_result_comes_back_and_a_panic_is_an_error() {
        assert_eq!(run("test", || 7).await.unwrap(), 7);
        let error = run("test", || panic!("deliberate")).await.map(|()| 0).unwrap_err();
        assert_eq!(error.to_string(), "reading the test panicked");
    }
}
