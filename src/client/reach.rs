//! Which of a name's addresses is connected to: the first that answers (RFC 8305).
//!
//! `dial.rs` has resolved the name. An address that swallows packets costs a quarter of a second here, not the whole
//! time limit: the next one is tried beside it.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::settings::HostPort;

/// How long an attempt stays alone (RFC 8305, 5 and 8).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that an error names.
const MAX_NAMED: usize = 8;

/// The addresses tried so far and what came of it, for the error that tells.
#[derive(Debug, Default)]
pub struct ConnectAttempts(Vec<(SocketAddr, Outcome)>);

#[derive(Debug)]
enum Outcome {
    Unknown,
    Connected,
    Failed(io::Error),
}

impl fmt::Display for ConnectAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address");
        }
        for (index, (address, outcome)) in self.0.iter().take(MAX_NAMED).enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match outcome {
                Outcome::Unknown => write!(f, "{address}: no answer yet")?,
                Outcome::Connected => write!(f, "{address}: connected")?,
                Outcome::Failed(error) => write!(f, "{address}: {}", reason(error))?,
            }
        }
        match self.0.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// `connection refused` for `Connection refused (os error 111)`, as the middle of a sentence.
fn reason(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.find(" (os error ") {
        text.truncate(end);
    }
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

impl ConnectAttempts {
    /// Why no address took a connection to `place`; an address that `place` itself is, is not named again.
    pub fn causes(&self, place: HostPort<'_>) -> String {
        match &*self.0 {
            [(address, Outcome::Failed(error))] if address.to_string() == place.to_string() => reason(error),
            _ => self.to_string(),
        }
    }

    /// Why the addresses that have failed did.
    pub fn errors(&self) -> impl Iterator<Item = &io::Error> {
        self.0.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Failed(error) => Some(error),
            Outcome::Unknown | Outcome::Connected => None,
        })
    }
}

/// One attempt under way, and its place among those tried.
struct Attempt {
    place: usize,
    connecting: Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>,
}

/// Connects to the first of the addresses that answers; `None` if none takes the connection. The next one is tried
/// when the one before it has failed, or has not answered within `delay`.
pub async fn first_to_answer(
    addresses: Vec<SocketAddr>,
    delay: Duration,
    attempts: &mut ConnectAttempts,
) -> Option<TcpStream> {
    let mut waiting = interleaved(addresses).into_iter();
    let mut under_way = Vec::new();
    let mut alone = pin!(sleep(delay));
    poll_fn(|context| {
        loop {
            let before = under_way.len();
            if let Some(stream) = poll_attempts(&mut under_way, attempts, context) {
                return Poll::Ready(Some(stream));
            }
            let has_failed = under_way.len() < before;
            if waiting.len() > 0
                && (under_way.is_empty() || has_failed || alone.as_mut().poll(context).is_ready())
                && let Some(address) = waiting.next()
            {
                let place = attempts.0.len();
                attempts.0.push((address, Outcome::Unknown));
                under_way.push(Attempt { place, connecting: Box::pin(TcpStream::connect(address)) });
                alone.as_mut().reset(Instant::now() + delay);
            } else if under_way.is_empty() {
                return Poll::Ready(None);
            } else {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Gives the connection that is there, and takes out the attempts that have failed.
fn poll_attempts(
    under_way: &mut Vec<Attempt>,
    attempts: &mut ConnectAttempts,
    context: &mut Context<'_>,
) -> Option<TcpStream> {
    let mut connected = None;
    under_way.retain_mut(|Attempt { place, connecting }| {
        let outcome = match connecting.as_mut().poll(context) {
            Poll::Pending => return true,
            Poll::Ready(Ok(stream)) => {
                connected = connected.take().or(Some(stream));
                Outcome::Connected
            }
            Poll::Ready(Err(error)) => Outcome::Failed(error),
        };
        if let Some((_, known)) = attempts.0.get_mut(*place) {
            *known = outcome;
        }
        false
    });
    connected
}

/// The addresses with their families by turns, so that one family that leads nowhere does not stand before the other
/// (RFC 8305, 4). The resolver's order decides which goes first, and counts within each.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let count = addresses.len();
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(count);
    while mixed.len() < count {
        mixed.extend(first.next());
        mixed.extend(second.next());
    }
    mixed
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};
    use tokio::time::timeout;

    use super::*;

    const NEVER: Duration = Duration::from_hours(1);
    const AT_ONCE: Duration = Duration::from_millis(1);

    fn run<T>(test: impl Future<Output = T>) -> T {
        actix_rt::System::new().block_on(test)
    }

    /// An address that takes connections.
    fn open() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    /// An address that refuses.
    fn closed() -> SocketAddr {
        open().0
    }

    /// An address that swallows packets: its queue of connections that nobody accepts is full.
    fn silent() -> (SocketAddr, impl Sized) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut filling = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            filling.push(stream);
        }
        (address, (listener, filling))
    }

    #[test]
    fn an_address_that_refuses_is_followed_by_the_next_at_once() {
        let ((good, _listener), bad) = (open(), [closed(), closed()]);
        let mut attempts = ConnectAttempts::default();
        let stream = run(first_to_answer([&bad[..], &[good]].concat(), NEVER, &mut attempts)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[test]
    fn an_address_that_does_not_answer_is_overtaken_by_the_next() {
        let ((good, _listener), (stuck, _full)) = (open(), silent());
        let mut attempts = ConnectAttempts::default();
        let stream = run(first_to_answer(vec![stuck, stuck, good], AT_ONCE, &mut attempts)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(
            attempts.to_string(),
            format!("{stuck}: no answer yet, {stuck}: no answer yet, {good}: connected")
        );
    }

    #[test]
    fn the_first_address_is_alone_for_the_delay() {
        let ((good, _listener), (stuck, _full)) = (open(), silent());
        let mut attempts = ConnectAttempts::default();
        let start = Instant::now();
        run(first_to_answer(vec![stuck, good], Duration::from_millis(80), &mut attempts)).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(80));
        let late = run(async {
            let mut attempts = ConnectAttempts::default();
            let attempt = first_to_answer(vec![stuck, good], NEVER, &mut attempts);
            timeout(Duration::from_millis(50), attempt).await
        });
        assert!(late.is_err());
    }

    #[test]
    fn every_address_and_its_failure_are_told_in_bounded_number() {
        let (first, second) = (closed(), closed());
        let mut attempts = ConnectAttempts::default();
        assert!(run(first_to_answer(vec![first, second], NEVER, &mut attempts)).is_none());
        let told = attempts.to_string();
        assert!(told.starts_with(&format!("{first}: connection refused")), "{told}");
        assert!(told.contains(&format!(", {second}: connection refused")), "{told}");
        let mut attempts = ConnectAttempts::default();
        assert!(run(first_to_answer(vec![first; 20], NEVER, &mut attempts)).is_none());
        assert!(attempts.to_string().ends_with(", and 12 more"), "{attempts}");
        let mut attempts = ConnectAttempts::default();
        assert!(run(first_to_answer(Vec::new(), NEVER, &mut attempts)).is_none());
        assert_eq!(attempts.to_string(), "no address");
    }

    #[test]
    fn families_take_turns_and_the_resolvers_order_stays_within_them() {
        let order = |texts: &[&str]| -> Vec<String> {
            let addresses = texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 1)).collect();
            interleaved(addresses).iter().map(|address| address.ip().to_string()).collect()
        };
        assert_eq!(
            order(&["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"]),
            ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]
        );
        assert_eq!(order(&["10.0.0.1", "10.0.0.2", "::1"]), ["10.0.0.1", "::1", "10.0.0.2"]);
        assert_eq!(order(&["10.0.0.1"]), ["10.0.0.1"]);
        assert!(order(&[]).is_empty());
    }
}
