//! `dev`: its banner, its faults and its admin port.

use std::net::{SocketAddr, TcpListener};

use super::{
    commands::curl_lines,
    support::{
        eventually, get,
        process::{Process, binary},
    },
};

fn dev(rest: &[&str], change: impl FnOnce(&mut std::process::Command)) -> (Process, SocketAddr) {
    let mut command = binary(&["dev", "--listen", "127.0.0.1:0", "--stand-in", "127.0.0.1:0"]);
    command.args(rest);
    change(&mut command);
    let (process, address) = Process::listening(&mut command);
    eventually("the banner", || process.output().contains("Ctrl-C"));
    (process, address)
}

/// The text in back quotes after `before`, without the ellipsis.
#[track_caller]
fn quoted<'a>(text: &'a str, before: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before}: {text}")).1;
    let rest = rest.split_once('`').unwrap().1;
    rest.split_once("…`").unwrap().0
}

#[test]
fn k14_each_fault_prints_a_call_and_the_expected_refusal() {
    for fault in [
        "clock",
        "region",
        "service",
        "secret",
        "key",
        "expired",
        "path",
        "header",
        "payload",
        "missing",
        "incomplete",
    ] {
        let (mut process, address) = dev(&["--fault", fault], |_| ());
        let banner = process.output();
        let section =
            banner.split_once("Every signed call is refused, because ").expect("a section of its own").1;
        let (to, target) = curl_lines(section).remove(0);
        assert_eq!((to, target.as_str()), (address, "/iam/echo"), "the call that the documents show");
        let response = get(to, &target);
        let message = response.json()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(response.status, 403, "{fault}: {}", response.text());
        let expected = quoted(section, "expect 403 with ");
        assert!(message.starts_with(expected), "{fault}: {expected}\nis not\n{message}");
        let warning = quoted(section, "the warning");
        let log = process.stop();
        assert!(log.contains(&format!("WARN ] {warning}")), "{fault}: {warning}\nis not in\n{log}");
    }
}

#[test]
fn k14_the_banner_has_routes_keys_paths_and_functions_of_the_stand_in() {
    let (mut process, _) = dev(&[], |_| ());
    let banner = process.output();
    for told in [
        "  iam           /iam*          /iam",
        "  words         /words         function words",
        "an-api-key-of-at-least-20-characters",
        "AKIDEXAMPLE, wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "/open, /key, /iam, /both",
        "break, context, echo, fail, gateway, hello, malformed, slow, words",
    ] {
        assert!(banner.contains(told), "{told}\nis not in\n{banner}");
    }
    assert!(!banner.contains("Every signed call is refused"), "{banner}");
    process.stop();
}

#[test]
fn k14_dev_prints_the_admin_port_and_uses_a_free_one_if_9180_is_in_use() {
    // the port is in use, by this test or by another process
    let _taken = TcpListener::bind("127.0.0.1:9180");
    for rest in [&[][..], &["--credentials", "environment"]] {
        let (mut process, _) = dev(rest, |command| {
            command.env_remove("APIGW_INVOKER__ADMIN__ADDRESS");
        });
        let admin = process.admin();
        assert!(admin.ip().is_loopback() && admin.port() != 9180, "{admin}");
        assert!(process.output().contains(&format!("admin port is http://{admin} ")), "{}", process.output());
        assert_eq!(get(admin, "/live").status, 200);
        process.stop();
    }
}
