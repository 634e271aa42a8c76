//! EC2's metadata service: what never answers, and its first version.

use std::time::{Duration, Instant};

use apigw_invoker::dev::{Service, Switch, credentials::Kind};

use super::{Cloud, Sidecar, gateway, unavailable};

#[test]
fn a_metadata_service_out_of_reach_is_503_within_seconds_and_serves_once_it_answers() {
    let cloud = Cloud::new();
    cloud.set(Switch::MetadataTokenHangs, true);
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), "", &cloud.environment(Kind::Imds));
    let timed = || {
        let start = Instant::now();
        assert!(unavailable(&sidecar.get("/r")));
        start.elapsed()
    };
    let first = timed();
    assert!(first < Duration::from_secs(6), "{first:?}");
    let second = timed();
    assert!(second < Duration::from_secs(1), "only the first fetch is waited for: {second:?}");
    cloud.set(Switch::MetadataTokenHangs, false);
    sidecar.recovers("/r");
    assert_eq!(cloud.calls(Service::MetadataKeys), 1);
    let log = sidecar.end(&cloud);
    assert!(log.contains("EC2 metadata v2: ") && log.contains("hop limit"), "{log}");
}

#[test]
fn the_first_version_is_spoken_only_where_the_settings_say_so() {
    let cloud = Cloud::new();
    cloud.set(Switch::MetadataTokenHangs, true);
    cloud.set(Switch::MetadataV1, true);
    let route = |uri, iam| gateway(uri, &cloud.url("/iam/hello"), iam);
    let routes = [("one", route("/one", ", imds_protocol_version: v1")), ("two", route("/two", ""))];
    let sidecar = Sidecar::start(&routes, &cloud.environment(Kind::Imds));
    assert_eq!(sidecar.get("/one").status, 200);
    assert!(unavailable(&sidecar.get("/two")));
    assert_eq!(cloud.calls(Service::MetadataKeys), 1, "by the first version, for the one route");
    assert!(cloud.calls(Service::MetadataToken) > 0);
    sidecar.process.says("EC2 metadata v1: account 123456789012, ");
    sidecar.end(&cloud);
}
