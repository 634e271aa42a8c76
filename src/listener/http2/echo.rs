//! PING frames of one connection: the answer to one shows that the client has read everything written before
//! it.
//!
//! `answer.rs` waits for it before it resets a stream. curl 7.88 loses the head of a response when the reset
//! of its stream comes in the same read, and other clients drop what waits to be read.

use std::{rc::Rc, time::Duration};

use h2::{Ping, PingPong};
use tokio::{sync::Mutex, time::timeout};

/// Time for a client to answer a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The PINGs of one connection; `h2` sends one at a time.
#[derive(Clone)]
pub struct Echo(Rc<Mutex<Option<PingPong>>>);

impl Echo {
    /// Takes the handle that `h2` gives out once for each connection.
    pub fn new(pings: Option<PingPong>) -> Self {
        Self(Rc::new(Mutex::new(pings)))
    }

    /// Waits until the client has read everything written so far, up to [`PING_TIMEOUT`].
    pub async fn returns(&self) {
        let ping = async {
            if let Some(pings) = &mut *self.0.lock().await
                && let Err(error) = pings.ping(Ping::opaque()).await
            {
                log::debug!("cannot send an HTTP/2 PING to a client: {error}");
            }
        };
        let _ = timeout(PING_TIMEOUT, ping).await;
    }
}
