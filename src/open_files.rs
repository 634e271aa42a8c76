//! Room for connections among the files that the process may have open.
//!
//! `run.rs` makes it before anything is served. Many systems let a process begin with 1024 and raise that by itself
//! (systemd, `LimitNOFILE=`). Beyond its limit it could not tell clients that there is no room, nor connect to AWS for
//! those whom it has let in.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Limits;

/// Files besides the connections of clients and those to AWS: sockets that are listened on, timers, what reads
/// credentials, probes. Each worker has some of them.
const OTHERS: u64 = 64;
const EACH_WORKER: u64 = 16;

/// Raises the limit as far as the system lets it. The result is a warning if that is not far enough.
pub fn make_room(limits: &Limits, workers: u16) -> Option<String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    shortage(if is_raised { maximum } else { current }, limits, workers)
}

/// What to tell where so many files are too few; `None` is no limit.
fn shortage(limit: Option<u64>, limits: &Limits, workers: u16) -> Option<String> {
    let others = OTHERS + EACH_WORKER * u64::from(workers);
    let needed = others + u64::from(limits.max_connections) + u64::from(limits.max_in_flight);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "{limit} files may be open (ulimit -n), {needed} can be needed: limits.max_connections, {}, and as many \
         connections to AWS as limits.max_in_flight, {}",
        limits.max_connections, limits.max_in_flight
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_are_told_with_what_needs_them() {
        let limits = Limits { max_connections: 1000, max_in_flight: 100, ..Limits::default() };
        assert_eq!(shortage(None, &limits, 1), None);
        assert_eq!(shortage(Some(1180), &limits, 1), None);
        let told = shortage(Some(1180), &limits, 2).unwrap();
        assert!(told.starts_with("1180 files may be open (ulimit -n), 1196 can be needed"), "{told}");
    }
}
