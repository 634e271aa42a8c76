use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    message::error::ErrorKind,
    settings::{Document, Settings},
};

/// The retries of a route with these settings.
fn retries(section: &str, retry: &str) -> Retries {
    let keys = match section {
        "lambda" => "  function_name: f\n  aws_region: us-east-1\n  aws_key: A\n  aws_secret: s",
        _ => "  function_uri: https://a.example/",
    };
    let route = Document::route("r", format!("uri: /\n{section}:\n{keys}\n  retry: {retry}\n"));
    let settings = Settings::from_documents(&[Document::process(String::new()), route], &BTreeMap::new());
    let settings = settings.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Retries::new(settings.routes[0].backend.upstream().retry).unwrap()
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

/// True if a response with this verdict is retried.
fn repeats(retries: &Retries, attempt: u32, verdict: Verdict, is_idempotent: bool) -> bool {
    retries.after(attempt, Ok((verdict, &HeaderMap::new())), is_idempotent, || 0.5).is_some()
}

fn repeats_failure(retries: &Retries, error: &ProxyError, is_idempotent: bool) -> bool {
    retries.after(1, Err(error), is_idempotent, || 0.5).is_some()
}

const RAN_MAYBE: [ErrorKind; 2] = [ErrorKind::UpstreamTruncated, ErrorKind::UpstreamTimeout];

#[test]
fn a_call_that_has_not_run_is_retried_with_any_method() {
    for section in ["api_gateway", "lambda"] {
        let retries = retries(section, "{}");
        for is_idempotent in [false, true] {
            for verdict in [Verdict::Throttled, Verdict::NotReady, Verdict::SlowStart, Verdict::KeysExpired] {
                assert!(repeats(&retries, 1, verdict, is_idempotent), "{verdict:?}");
            }
            for kind in [ErrorKind::UpstreamConnect, ErrorKind::UpstreamTls, ErrorKind::UpstreamTimeout] {
                let unsent = ProxyError::from(kind.clone()).before_sending();
                assert!(repeats_failure(&retries, &unsent, is_idempotent), "{kind:?}");
                assert!(!repeats_failure(&retries, &unsent.permanent(), is_idempotent), "{kind:?}");
            }
        }
    }
}

#[test]
fn a_call_that_may_have_run_is_not_retried_by_default() {
    for section in ["api_gateway", "lambda"] {
        let retries = retries(section, "{ attempts: 10 }");
        for is_idempotent in [false, true] {
            for verdict in [Verdict::Final, Verdict::Unavailable] {
                assert!(!repeats(&retries, 1, verdict, is_idempotent), "{verdict:?}");
            }
            for kind in RAN_MAYBE.into_iter().chain([ErrorKind::UpstreamTls, ErrorKind::UpstreamProtocol]) {
                assert!(!repeats_failure(&retries, &kind.clone().into(), is_idempotent), "{kind:?}");
            }
        }
    }
}

#[test]
fn each_outcome_is_enabled_by_its_own_value() {
    for (word, expected) in [
        ("unavailable", [true, false, false]),
        ("connection_lost", [false, true, false]),
        ("timeout", [false, false, true]),
        ("unavailable, connection_lost, timeout", [true; 3]),
    ] {
        let retries = retries("api_gateway", &format!("{{ unsafe: [{word}] }}"));
        let [lost, late] = RAN_MAYBE.map(|kind| repeats_failure(&retries, &kind.into(), true));
        assert_eq!([repeats(&retries, 1, Verdict::Unavailable, true), lost, late], expected, "{word}");
        assert!(!repeats(&retries, 1, Verdict::Final, true));
    }
}

#[test]
fn enabled_outcomes_are_retried_for_idempotent_methods_or_with_unsafe_methods_and_for_functions_always() {
    let all = "unsafe: [unavailable, connection_lost, timeout]";
    for (section, more, for_others) in
        [("api_gateway", "", false), ("api_gateway", ", unsafe_methods: true", true), ("lambda", "", true)]
    {
        let retries = retries(section, &format!("{{ {all}{more} }}"));
        for (is_idempotent, expected) in [(true, true), (false, for_others)] {
            assert_eq!(
                repeats(&retries, 1, Verdict::Unavailable, is_idempotent),
                expected,
                "{section}{more}"
            );
            for kind in RAN_MAYBE {
                let repeated = repeats_failure(&retries, &kind.into(), is_idempotent);
                assert_eq!(repeated, expected, "{section}{more}");
            }
        }
    }
}

#[test]
fn attempts_include_the_first_and_a_slow_start_gets_one_retry() {
    let retries = retries("lambda", "{ attempts: 3 }");
    let seen = |verdict| [1, 2, 3, 4].map(|attempt| repeats(&retries, attempt, verdict, true));
    assert_eq!(seen(Verdict::Throttled), [true, true, false, false]);
    assert_eq!(seen(Verdict::SlowStart), [true, false, false, false]);
}

#[test]
fn a_requested_delay_is_kept_and_one_above_the_maximum_is_not_retried() {
    let retries = retries("lambda", "{ backoff: 50ms, max_backoff: 2s }");
    for (lines, expected) in [
        (&[("retry-after", "2")][..], Some(2000)),
        (&[("retry-after", "3")], None),
        (&[("x-amz-retry-after", "1500")], Some(1500)),
        (&[("x-amz-retry-after", "2001")], None),
        (&[("retry-after", "1"), ("x-amz-retry-after", "1500")], Some(1500)),
        (&[("retry-after", "3"), ("x-amz-retry-after", "1500")], None),
        (&[("retry-after", "0")], Some(25)),
        (&[("x-amz-retry-after", "10")], Some(25)),
        (&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], None),
        (&[("retry-after", "18446744073709551615")], None),
        (&[("retry-after", "-1")], None),
    ] {
        let pause = retries.after(1, Ok((Verdict::Throttled, &headers(lines))), false, || 0.5);
        assert_eq!(pause, expected.map(|time| RetryDelay::For(Duration::from_millis(time))), "{lines:?}");
    }
}

#[test]
fn a_target_that_is_not_ready_gets_up_to_the_maximum_back_off_from_the_first_retry() {
    let retries = retries("lambda", "{ backoff: 50ms, max_backoff: 2s }");
    let pause = |verdict, jitter| retries.after(1, Ok((verdict, &HeaderMap::new())), false, || jitter);
    for verdict in [Verdict::NotReady, Verdict::SlowStart] {
        assert_eq!(pause(verdict, 1.0), Some(RetryDelay::For(Duration::from_secs(2))), "{verdict:?}");
        assert_eq!(pause(verdict, 0.0), Some(RetryDelay::For(Duration::ZERO)), "{verdict:?}");
    }
    assert_eq!(pause(Verdict::Throttled, 1.0), Some(RetryDelay::For(Duration::from_millis(50))));
}

#[test]
fn new_keys_are_awaited_for_the_maximum_back_off() {
    let retries = retries("lambda", "{ max_backoff: 2s }");
    let pause = retries.after(1, Ok((Verdict::KeysExpired, &HeaderMap::new())), false, || 0.5);
    assert_eq!(pause, Some(RetryDelay::UntilNewKeys(Duration::from_secs(2))));
}

#[test]
fn one_attempt_means_no_retries() {
    let settings = retries("lambda", "{}").settings;
    assert!(Retries::new(RetrySettings { attempts: 1, ..settings }).is_none());
}

proptest! {
    #[test]
    fn the_back_off_doubles_up_to_the_maximum_with_full_jitter(
        attempt in 1_u32..10,
        jitter in 0.0..=1.0,
        backoff in 1_u64..1000,
        more in 0_u64..10_000,
    ) {
        let longest = backoff + more;
        let text = format!("{{ attempts: 10, backoff: {backoff}, max_backoff: {longest} }}");
        let retries = retries("api_gateway", &text);
        let headers = HeaderMap::new();
        let throttled = Ok((Verdict::Throttled, &headers));
        let pause = |jitter| match retries.after(attempt, throttled, false, || jitter) {
            Some(RetryDelay::For(time)) => time,
            other => panic!("{other:?}"),
        };
        let most = Duration::from_millis((backoff << (attempt - 1)).min(longest));
        prop_assert_eq!(pause(0.0), Duration::ZERO);
        prop_assert_eq!(pause(1.0), most);
        prop_assert!(pause(jitter) <= most);
    }
}
