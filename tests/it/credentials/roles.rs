//! Roles: number of calls to STS, and behaviour while STS does not respond.

use std::time::{Duration, Instant};

use apigw_invoker::stand_in::{Service, StandInKeys, Switch};

use super::{
    super::support::{Upstream, eventually},
    Cloud, Sidecar, gateway, role, unavailable,
};

#[test]
fn keys_rotate_under_load_without_a_failed_request() {
    let cloud = Cloud::with_keys_for(Duration::from_secs(2));
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), &role(&cloud, "orders"), &[]);
    sidecar.serves(4, "/r", || cloud.calls(Service::AssumeRole) > 5);
    let sets = sidecar.sets_of_keys();
    assert!(sets >= 5, "{sets}");
    let log = sidecar.end(&cloud);
    let introduced = "credentials: route r: keys from the settings as role \
        arn:aws:iam::123456789012:role/orders, account 123456789012, \
        arn:aws:sts::123456789012:assumed-role/orders/apigw-invoker, expires 20";
    assert!(log.contains(introduced), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn sts_may_be_down_until_just_before_the_keys_expire() {
    const LIFE: Duration = Duration::from_secs(12);
    // the SDK waits up to two seconds between attempts
    const UP: Duration = Duration::from_millis(9_700);
    let start = Instant::now();
    let cloud = Cloud::with_keys_for(LIFE);
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), &role(&cloud, "orders"), &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    cloud.set(Switch::StsDown, true);
    let expired = Instant::now() + LIFE;
    sidecar.serves(2, "/r", || {
        if start.elapsed() > UP && cloud.stand_in.controls().has(Switch::StsDown) {
            assert!(cloud.calls(Service::AssumeRole) > 1, "it has not tried while STS was down");
            cloud.set(Switch::StsDown, false);
        }
        Instant::now() > expired
    });
    assert_eq!(sidecar.sets_of_keys(), 2);
    sidecar.end(&cloud);
}

#[test]
fn past_the_expiry_nothing_is_sent_and_the_route_recovers_by_itself() {
    let (cloud, upstream) = (Cloud::with_keys_for(Duration::from_secs(2)), Upstream::ok());
    let sidecar = Sidecar::with_route(&upstream.uri("/"), &role(&cloud, "orders"), &[]);
    assert_eq!(sidecar.get("/r").status, 200);
    cloud.set(Switch::StsDown, true);
    eventually("the keys expire", || {
        let sent = upstream.received().len();
        let unavailable = unavailable(&sidecar.get("/r"));
        assert_eq!(upstream.received().len(), sent + usize::from(!unavailable));
        unavailable
    });
    sidecar.process.says("AssumeRole of arn:aws:iam::123456789012:role/orders: ");
    let sent = upstream.received().len();
    assert!(unavailable(&sidecar.get("/r")));
    assert_eq!(upstream.received().len(), sent);
    cloud.set(Switch::StsDown, false);
    sidecar.recovers("/r");
    for call in upstream.received() {
        assert!(call.header("authorization").is_some_and(|value| value.contains("Credential=ASIA")));
        let token = call.header("x-amz-security-token").expect("keys of a role have one");
        assert!(cloud.secrets().iter().any(|secret| secret == token), "it would not be searched for");
    }
    let log = sidecar.end(&cloud);
    assert!(log.contains("role/orders: works again"), "{log}");
}

#[test]
fn a_hundred_routes_with_one_role_make_one_call_and_another_role_makes_another() {
    let cloud = Cloud::new();
    let route = |uri: String, name: &str| gateway(&uri, &cloud.url("/iam/hello"), &role(&cloud, name));
    let names: Vec<String> = (0..100).map(|number| format!("r{number}")).collect();
    let mut routes: Vec<_> =
        names.iter().map(|name| (name.as_str(), route(format!("/{name}"), "orders"))).collect();
    let one = Sidecar::start(&routes, &[]);
    for name in &names {
        assert_eq!(one.get(&format!("/{name}")).status, 200, "{name}");
    }
    assert_eq!(cloud.calls(Service::AssumeRole), 1);
    one.end(&cloud);

    routes.push(("other", route("/other".to_owned(), "reports")));
    let two = Sidecar::start(&routes, &[]);
    for target in ["/r0", "/other", "/r99"] {
        assert_eq!(two.get(target).status, 200, "{target}");
    }
    assert_eq!(cloud.calls(Service::AssumeRole), 1 + 2);
    two.process.says("assumed-role/orders/");
    two.process.says("assumed-role/reports/");
    two.end(&cloud);
}

#[test]
fn a_function_is_called_in_a_role_too_and_shares_it_with_a_gateway() {
    let cloud = Cloud::new();
    let StandInKeys { access_key_id, secret_access_key, .. } = StandInKeys::example();
    let (address, session) = (cloud.stand_in.address(), "orders-pod");
    let lambda = format!(
        "uri: /f\nlambda:\n  function_name: hello\n  host: {}\n  port: {}\n  disable_https: true\n  \
         aws_region: us-east-1\n  aws_key: {access_key_id}\n  aws_secret: '{secret_access_key}'\n  \
         aws_assume_role_arn: arn:aws:iam::123456789012:role/orders\n  aws_role_session_name: {session}\n  \
         aws_sts_endpoint_url: '{}'\n",
        address.ip(),
        address.port(),
        cloud.url("")
    );
    let iam = format!("{}, role_session_name: {session}", role(&cloud, "orders"));
    let routes = [("f", lambda), ("r", gateway("/r", &cloud.url("/iam/hello"), &iam))];
    let sidecar = Sidecar::start(&routes, &[]);
    for target in ["/f", "/r"] {
        let response = sidecar.get(target);
        assert_eq!((response.status, response.text().as_str()), (200, "\"Hello, world!\""), "{target}");
    }
    assert_eq!(cloud.calls(Service::AssumeRole), 1);
    sidecar.process.says("assumed-role/orders/orders-pod");
    sidecar.end(&cloud);
}
