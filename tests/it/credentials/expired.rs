//! Keys that AWS calls expired before their time.

use std::{
    io::Write as _,
    sync::{Arc, Barrier, Mutex},
    thread,
};

use apigw_invoker::dev::Service;

use super::{
    super::support::{Upstream, eventually, upstream::Received},
    Cloud, Sidecar, role,
};

const CLIENTS: usize = 20;
const EXPIRED: &str =
    "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: 2\r\n\r\n{}";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The id of the keys that a request was signed with.
fn key_id(request: &Received) -> String {
    let authorization = request.header("authorization").expect("it is signed");
    let (_, rest) = authorization.split_once("Credential=").expect("it names its keys");
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// The keys that an upstream takes for expired.
#[derive(Clone, Default)]
struct Expired(Arc<Mutex<Vec<String>>>);

impl Expired {
    /// An API that refuses them, and answers so once all clients have asked.
    fn upstream(&self) -> Upstream {
        let (expired, all_have_asked) = (self.clone(), Barrier::new(CLIENTS));
        Upstream::serving(move |request, stream| {
            if !expired.0.lock().unwrap().contains(&key_id(request)) {
                return stream.write_all(OK.as_bytes());
            }
            all_have_asked.wait();
            stream.write_all(EXPIRED.as_bytes())
        })
    }

    /// Adds the keys that were used last.
    fn add_last(&self, upstream: &Upstream) {
        let last = key_id(upstream.received().last().expect("a request"));
        self.0.lock().unwrap().push(last);
    }
}

#[test]
fn keys_that_aws_calls_expired_are_fetched_anew_once_however_many_requests_fail() {
    let cloud = Cloud::new();
    let expired = Expired::default();
    let upstream = expired.upstream();
    let sidecar = Sidecar::with_route(&upstream.uri("/"), &role(&cloud, "orders"), &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    for refreshes in 1..=2 {
        expired.add_last(&upstream);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| assert_eq!(sidecar.get("/r").status, 403));
            }
        });
        eventually("new keys", || sidecar.sets_of_keys() == 1 + refreshes);
        assert_eq!(sidecar.get("/r").status, 200);
        // one that was one too many in the round before would be seen in this one
        assert_eq!(cloud.calls(Service::AssumeRole), 1 + refreshes);
    }
    sidecar.end(&cloud);
}
