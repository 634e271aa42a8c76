//! Keys that AWS refuses as expired before their expiry.

use std::{
    io::Write as _,
    sync::{Arc, Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

use apigw_invoker::stand_in::{Service, Switch};

use super::{
    super::support::{Upstream, call, eventually, upstream::Received},
    Cloud, Sidecar, gateway, role,
};

const CLIENTS: usize = 20;
const EXPIRED: &str =
    "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: 2\r\n\r\n{}";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Access key id of a signed request.
fn key_id(request: &Received) -> String {
    let authorization = request.header("authorization").expect("it is signed");
    let (_, rest) = authorization.split_once("Credential=").expect("it names its keys");
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// Keys that an upstream refuses as expired.
#[derive(Clone, Default)]
struct Expired(Arc<Mutex<Vec<String>>>);

impl Expired {
    /// An API that refuses these keys. It responds once all clients have sent their request.
    fn upstream(&self) -> Upstream {
        self.upstream_for(CLIENTS)
    }

    /// The same for this number of clients.
    fn upstream_for(&self, clients: usize) -> Upstream {
        let (expired, all_have_asked) = (self.clone(), Barrier::new(clients));
        Upstream::serving(move |request, stream| {
            if !expired.0.lock().unwrap().contains(&key_id(request)) {
                return stream.write_all(OK.as_bytes());
            }
            all_have_asked.wait();
            stream.write_all(EXPIRED.as_bytes())
        })
    }

    /// Adds the keys of the last request.
    fn add_last(&self, upstream: &Upstream) {
        let last = key_id(upstream.received().last().expect("a request"));
        self.0.lock().unwrap().push(last);
    }
}

/// Sends a request from every client concurrently; each must get this status.
fn all_at_once(sidecar: &Sidecar, status: u16) {
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| assert_eq!(sidecar.get("/r").status, status));
        }
    });
}

#[test]
fn keys_that_aws_calls_expired_are_fetched_anew_once_however_many_requests_fail() {
    let cloud = Cloud::new();
    let expired = Expired::default();
    let upstream = expired.upstream();
    let route = gateway("/r", &upstream.uri("/"), &role(&cloud, "orders"));
    let sidecar = Sidecar::start(&[("r", format!("{route}  retry: {{ attempts: 1 }}\n"))], &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    for refreshes in 1..=2 {
        expired.add_last(&upstream);
        all_at_once(&sidecar, 403);
        eventually("new keys", || sidecar.sets_of_keys() == 1 + refreshes);
        assert_eq!(sidecar.get("/r").status, 200);
        // a surplus call of the round before would be counted here
        assert_eq!(cloud.calls(Service::AssumeRole), 1 + refreshes);
    }
    sidecar.end(&cloud);
}

#[test]
fn a_refusal_for_expired_keys_is_retried_with_new_keys() {
    let cloud = Cloud::new();
    let expired = Expired::default();
    let upstream = expired.upstream();
    let route = gateway("/r", &upstream.uri("/"), &role(&cloud, "orders"));
    let retry = "retry: { budget: 900, max_backoff: 20s }";
    let sidecar = Sidecar::start(&[("r", format!("{route}  {retry}\n"))], &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    expired.add_last(&upstream);
    all_at_once(&sidecar, 200);
    assert_eq!(upstream.received().len(), 1 + 2 * CLIENTS);
    assert_eq!(cloud.calls(Service::AssumeRole), 2);
    sidecar.end(&cloud);
}

/// Amazon S3 has the code in the body (its API reference, "Error responses").
#[test]
fn an_error_of_s3_for_expired_keys_is_retried_with_new_keys() {
    let body = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
                <Token-0>hush-token</Token-0></Error>";
    let refusal = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let cloud = Cloud::new();
    let expired = Expired::default();
    let known = expired.clone();
    let upstream = Upstream::serving(move |request, stream| {
        let is_expired = known.0.lock().unwrap().contains(&key_id(request));
        stream.write_all(if is_expired { refusal.as_bytes() } else { OK.as_bytes() })
    });
    let s3 = |payload: &str| format!("{}, service: s3{payload}", role(&cloud, "orders"));
    let signed = gateway("/r", &upstream.uri("/"), &s3(""));
    let streamed = gateway("/streamed", &upstream.uri("/"), &s3(", payload: unsigned"));
    let retry = "  retry: { max_backoff: 20s }\n";
    let sidecar = Sidecar::start(&[("r", format!("{signed}{retry}")), ("streamed", streamed)], &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    expired.add_last(&upstream);
    assert_eq!(sidecar.get("/r").status, 200);
    assert_eq!((upstream.received().len(), cloud.calls(Service::AssumeRole)), (3, 2));
    // a body that has been streamed cannot be sent again, but the keys are renewed
    expired.add_last(&upstream);
    let refused = call(sidecar.address, "PUT", "/streamed", &[], b"body");
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("ExpiredToken") && !refused.text().contains("hush"),
        "{}",
        refused.text()
    );
    eventually("new keys", || cloud.calls(Service::AssumeRole) == 3);
    assert_eq!(sidecar.get("/r").status, 200);
    sidecar.end(&cloud);
}

#[test]
fn without_new_keys_in_time_the_refusal_is_the_answer() {
    let cloud = Cloud::new();
    let upstream = Upstream::serving({
        let first = Mutex::new(true);
        move |_, stream| {
            let is_first = std::mem::take(&mut *first.lock().unwrap());
            stream.write_all(if is_first { OK } else { EXPIRED }.as_bytes())
        }
    });
    let route = gateway("/r", &upstream.uri("/"), &role(&cloud, "orders"));
    let retry = "retry: { backoff: 100, max_backoff: 100 }";
    let sidecar = Sidecar::start(&[("r", format!("{route}  {retry}\n"))], &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    cloud.set(Switch::StsDown, true);
    assert_eq!(sidecar.get("/r").status, 403);
    assert_eq!(upstream.received().len(), 2);
    sidecar.end(&cloud);
}

#[test]
fn s3_each_of_ten_refusals_with_good_use_between_is_answered_at_once() {
    let cloud = Cloud::new();
    let expired = Expired::default();
    let upstream = expired.upstream_for(1);
    let route = gateway("/r", &upstream.uri("/"), &role(&cloud, "orders"));
    let sidecar = Sidecar::start(&[("r", route)], &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    for refusals in 1..=10 {
        expired.add_last(&upstream);
        assert_eq!(sidecar.get("/r").status, 200, "refusal {refusals}");
        assert_eq!(cloud.calls(Service::AssumeRole), 1 + refusals);
        assert_eq!(sidecar.get("/r").status, 200);
    }
    sidecar.end(&cloud);
}

#[test]
fn s9_waiting_for_new_keys_costs_no_budget() {
    let cloud = Cloud::new();
    let expired = Expired::default();
    let upstream = expired.upstream();
    let route = gateway("/r", &upstream.uri("/"), &role(&cloud, "orders"));
    let retry = "retry: { budget: 0, max_backoff: 20s }";
    let sidecar = Sidecar::start(&[("r", format!("{route}  {retry}\n"))], &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    expired.add_last(&upstream);
    all_at_once(&sidecar, 200);
    sidecar.end(&cloud);
}

#[test]
fn s9_static_keys_are_not_waited_for() {
    let (cloud, upstream) = (Cloud::new(), Upstream::answering(EXPIRED));
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "the-secret"),
        ("AWS_ENDPOINT_URL_STS", &cloud.url("")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let route = gateway("/r", &upstream.uri("/"), "");
    let sidecar = Sidecar::start(&[("r", format!("{route}  retry: {{ max_backoff: 1h }}\n"))], &environment);
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(sidecar.get("/r").status, 403);
    }
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    assert_eq!(upstream.received().len(), 5);
    sidecar.end(&cloud);
}

#[test]
fn keys_of_a_caller_that_aws_calls_expired_are_not_waited_for_and_leave_the_routes_own_alone() {
    let cloud = Cloud::new();
    let expired = Expired::default();
    let upstream = expired.upstream_for(1);
    let both = ", client_credentials: basic, client_credentials_required: false";
    let route = gateway("/r", &upstream.uri("/"), &(role(&cloud, "orders") + both));
    let retry = "retry: { budget: 900, max_backoff: 20s }";
    let sidecar = Sidecar::start(&[("r", format!("{route}  {retry}\n"))], &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    expired.0.lock().unwrap().push("AKIDCALLER".to_owned());
    // AKIDCALLER:secret
    let keys = [("authorization", "Basic QUtJRENBTExFUjpzZWNyZXQ=")];
    let begun = Instant::now();
    assert_eq!(call(sidecar.address, "GET", "/r", &keys, b"").status, 403);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(key_id(upstream.received().last().unwrap()), "AKIDCALLER");
    assert_eq!(upstream.received().len(), 2);
    assert_eq!(sidecar.get("/r").status, 200);
    assert_eq!(cloud.calls(Service::AssumeRole), 1);
    sidecar.end(&cloud);
}
