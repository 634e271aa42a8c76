//! Threads that read files and that the end of the process does not wait for: a network file system may hang
//! in a read, which cannot be interrupted. A tokio runtime waits for its own blocking threads when it ends.
//!
//! `app/process.rs` reads settings here at the start, `state/reload.rs` and `tls/server.rs` read while
//! requests are served.

use std::{io, thread, time::Duration};

use tokio::{sync::oneshot, time::timeout};

use crate::system::supervision::{catch, resume};

/// A read that takes longer is logged once.
const SLOW_READ: Duration = Duration::from_secs(10);

/// Runs `read` on its own thread, and logs `name` if it takes longer than [`SLOW_READ`]. If `read` panics,
/// the waiting task panics with the same place; `supervision.rs` counts and logs that.
///
/// # Errors
/// No thread can be started.
pub async fn run<T: Send + 'static>(
    name: &'static str,
    read: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, mut receiver) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // the waiting task may have been dropped
        let _ = sender.send(catch(read));
    })?;
    let result = match timeout(SLOW_READ, &mut receiver).await {
        Ok(result) => result,
        Err(_) => {
            log::error!("still reading the {name} after {SLOW_READ:?}; does a network file system hang?");
            receiver.await
        }
    };
    match result {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(panicked)) => resume(panicked),
        Err(_) => Err(io::Error::other(format!("the thread that reads the {name} has ended"))),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;
    use crate::system::supervision::catch_in;

    #[test]
    fn x6_a_read_that_hangs_does_not_keep_a_runtime_from_ending() {
        let (release, hanging) = mpsc::channel::<()>();
        let start = Instant::now();
        let system = actix_rt::System::new();
        system.block_on(async {
            // ends after 10 s, so that a runtime that waits for it fails the test and does not hang it
            let read = run("test", move || hanging.recv_timeout(Duration::from_secs(10)));
            assert!(timeout(Duration::from_millis(50), read).await.is_err());
        });
        drop(system);
        assert!(start.elapsed() < Duration::from_secs(5));
        drop(release);
    }

    #[actix_rt::test]
    async fn a_result_comes_back_and_so_does_a_panic_with_its_place() {
        assert_eq!(run("test", || 7).await.unwrap(), 7);
        let panicked =
            catch_in(run("test", || panic!("deliberate"))).await.map(|_: io::Result<()>| ()).unwrap_err();
        assert!(panicked.to_string().starts_with("panicked at src/system/detached.rs:"), "{panicked}");
    }
}
