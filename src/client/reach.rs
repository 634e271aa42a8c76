//! Happy Eyeballs (RFC 8305): connects to the first of a name's addresses that accepts.
//!
//! `dial.rs` has resolved the name. An address that drops packets costs a quarter of a second, not the whole
//! timeout: the next one is tried in parallel.

use std::{fmt, io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::settings::HostPort;

/// Delay before the next address is tried in parallel (RFC 8305, 5 and 8).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Maximum addresses named in an error.
const MAX_NAMED: usize = 8;

/// The addresses tried so far and their outcomes, for error messages.
#[derive(Debug, Default)]
pub struct ConnectAttempts(Vec<(SocketAddr, AttemptOutcome)>);

#[derive(Debug)]
enum AttemptOutcome {
    Unknown,
    Connected,
    Failed(io::Error),
}

impl fmt::Display for ConnectAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address");
        }
        let named = self.0.iter().take(MAX_NAMED).map(|(address, outcome)| match outcome {
            AttemptOutcome::Unknown => format!("{address}: no answer yet"),
            AttemptOutcome::Connected => format!("{address}: connected"),
            AttemptOutcome::Failed(error) => format!("{address}: {}", reason(error)),
        });
        f.write_str(&named.collect::<Vec<_>>().join(", "))?;
        match self.0.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Shortens `Connection refused (os error 111)` to `connection refused`.
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
    /// The reasons why no address of `place` accepted; the address is omitted if `place` is that address.
    pub fn causes(&self, place: HostPort<'_>) -> String {
        match &*self.0 {
            [(address, AttemptOutcome::Failed(error))] if address.to_string() == place.to_string() => {
                reason(error)
            }
            _ => self.to_string(),
        }
    }

    pub fn errors(&self) -> impl Iterator<Item = &io::Error> {
        self.0.iter().filter_map(|(_, outcome)| match outcome {
            AttemptOutcome::Failed(error) => Some(error),
            AttemptOutcome::Unknown | AttemptOutcome::Connected => None,
        })
    }
}

/// Connects to the first address that accepts; `None` if all fail. The next address is tried when the
/// previous one has failed, or has not answered within `delay`.
pub async fn first_to_answer(
    addresses: Vec<SocketAddr>,
    delay: Duration,
    attempts: &mut ConnectAttempts,
) -> Option<TcpStream> {
    let mut waiting = interleave(addresses).into_iter();
    // dropping it aborts the attempts that are still pending
    let mut pending = JoinSet::new();
    loop {
        if let Some(address) = waiting.next() {
            let index = attempts.0.len();
            attempts.0.push((address, AttemptOutcome::Unknown));
            pending.spawn(async move { (index, TcpStream::connect(address).await) });
        }
        let delay = if waiting.len() > 0 { delay } else { Duration::MAX };
        match timeout(delay, pending.join_next()).await {
            Ok(Some(Ok((index, Ok(stream))))) => {
                attempts.0[index].1 = AttemptOutcome::Connected;
                return Some(stream);
            }
            Ok(Some(Ok((index, Err(error))))) => attempts.0[index].1 = AttemptOutcome::Failed(error),
            Ok(None) => return None,
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

/// Interleaves the address families, so that an unreachable family does not block the other (RFC 8305, 4).
/// The resolver's order decides which goes first, and is kept within each family.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
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
    use std::{net::TcpListener, time::Instant};

    use socket2::{Domain, Socket, Type};

    use super::*;

    const NEVER: Duration = Duration::from_hours(1);
    const AT_ONCE: Duration = Duration::from_millis(1);

    fn run<T>(test: impl Future<Output = T>) -> T {
        actix_rt::System::new().block_on(test)
    }

    /// An address that accepts connections.
    fn open() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    /// An address that refuses connections.
    fn closed() -> SocketAddr {
        open().0
    }

    /// An address that drops packets: its accept queue is full.
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
    fn the_next_address_is_tried_beside_one_that_does_not_answer() {
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
    fn an_error_names_at_most_eight_addresses_with_their_failures() {
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
            interleave(addresses).iter().map(|address| address.ip().to_string()).collect()
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
