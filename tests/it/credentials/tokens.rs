//! Sources that need a token in a file: web identity (IRSA) and EKS Pod Identity.

use std::{fs, thread, time::Duration};

use apigw_invoker::stand_in::{Service, Switch, credentials::CredentialKind};

use super::{
    super::support::{Upstream, eventually, get},
    Cloud, Sidecar, unavailable,
};

/// Rotates the token after each refresh, under load.
#[track_caller]
fn follows(kind: CredentialKind, service: Service, name: &str) {
    let cloud = Cloud::with_keys_for(Duration::from_secs(2));
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), "", &cloud.environment(kind));
    let mut rotated = 0;
    sidecar.serves(2, "/r", || {
        // keys were just refreshed, so the file is not being read
        if sidecar.sets_of_keys() > rotated {
            cloud.rotate_token(kind);
            rotated += 1;
        }
        rotated > 2
    });
    assert!(cloud.calls(service) > 2);
    let log = sidecar.end(&cloud);
    assert!(
        log.contains(&format!("credentials: route r: keys from {name}, account 123456789012, ")),
        "{log}"
    );
}

#[test]
fn a_token_may_rotate_while_requests_go_on() {
    thread::scope(|scope| {
        scope.spawn(|| follows(CredentialKind::Irsa, Service::WebIdentity, "IRSA"));
        scope.spawn(|| follows(CredentialKind::PodIdentity, Service::PodIdentity, "EKS Pod Identity"));
    });
}

/// The source fails although the node has a role; then it is repaired.
#[track_caller]
fn fails_alone(kind: CredentialKind, service: Service, repair: impl FnOnce(&Cloud)) {
    let (cloud, upstream) = (Cloud::new(), Upstream::ok());
    let mut environment = cloud.environment(kind);
    environment.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), cloud.url("")));
    match kind {
        CredentialKind::Irsa => fs::write(cloud.files.path().join("wrong"), "a.wrong.token").unwrap(),
        _ => cloud.set(Switch::PodIdentityTokenWrong, true),
    }
    for (name, value) in &mut environment {
        if name == "AWS_WEB_IDENTITY_TOKEN_FILE" {
            *value = cloud.files.path().join("wrong").to_string_lossy().into_owned();
        }
    }
    let sidecar = Sidecar::with_route(&upstream.uri("/"), "", &environment);
    assert!(unavailable(&sidecar.get("/r")));
    // retries, with the same result
    eventually("a second attempt", || cloud.calls(service) > 1);
    assert!(unavailable(&sidecar.get("/r")));
    assert_eq!(upstream.accepted(), 0);
    repair(&cloud);
    sidecar.recovers("/r");
    assert_eq!((cloud.calls(Service::MetadataToken), cloud.calls(Service::MetadataKeys)), (0, 0));
    sidecar.end(&cloud);
}

#[test]
fn s10_an_agent_that_refuses_is_named_with_address_path_and_cure() {
    let cloud = Cloud::new();
    cloud.set(Switch::PodIdentityTokenWrong, true);
    let sidecar =
        Sidecar::with_route("http://127.0.0.1:1/", "", &cloud.environment(CredentialKind::PodIdentity));
    assert!(unavailable(&sidecar.get("/r")));
    let told = format!(
        "EKS Pod Identity: the agent at {} answered 400: is there an association for this service account?",
        cloud.url("/v1/credentials")
    );
    sidecar.process.says(&told);
    let ready = get(sidecar.process.admin(), "/ready").text();
    assert!(ready.contains(told.split_once(": ").unwrap().1), "{ready}");
    sidecar.end(&cloud);
}

#[test]
fn a_web_identity_that_fails_does_not_fall_to_the_role_of_the_node() {
    fails_alone(CredentialKind::Irsa, Service::WebIdentity, |cloud| {
        let right = cloud.token_file(CredentialKind::Irsa).unwrap();
        fs::copy(right, cloud.files.path().join("wrong")).unwrap();
    });
}

#[test]
fn a_pod_identity_that_fails_does_not_fall_to_the_role_of_the_node() {
    fails_alone(CredentialKind::PodIdentity, Service::PodIdentity, |cloud| {
        cloud.set(Switch::PodIdentityTokenWrong, false);
    });
}
