use super::*;

#[test]
fn a_route_keeps_its_counters_for_as_long_as_anybody_has_them() {
    let metrics = Metrics::new().unwrap();
    let first = metrics.route(&"a".into());
    first.served(&actix_http::Method::GET, None, std::time::Duration::from_millis(1));
    let again = metrics.route(&"a".into());
    assert!(Arc::ptr_eq(&first, &again));
    drop((first, again));
    assert!(metrics.routes().is_empty());
    let anew = metrics.route(&"a".into());
    assert_eq!(anew.requests().count(), 0);
    let known = || prometheus::core::Collector::collect(&metrics.whole)[0].get_metric().len();
    assert_eq!(known(), 0, "nothing is left of the last one of this name");
    anew.served(&actix_http::Method::GET, None, std::time::Duration::from_millis(1));
    assert_eq!(known(), 1);
    drop(anew);
    assert!(metrics.routes().is_empty());
    assert_eq!(known(), 0);
}

#[test]
fn x15_a_route_that_nobody_called_has_no_durations_and_a_refusal_alone_is_a_call() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route(&"a".into());
    assert!(!route.was_called() && !metrics.unrouted.was_called());
    assert_eq!(prometheus::core::Collector::collect(&metrics.whole)[0].get_metric().len(), 0);
    metrics.unrouted.errors.count("invalid_request");
    assert!(metrics.unrouted.was_called());
    route.begins();
    assert!(route.was_called());
}

#[test]
fn methods_and_statuses_have_their_places_whatever_clients_and_functions_make_up() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route(&"a".into());
    let status = |code: u16| actix_http::StatusCode::from_u16(code).unwrap();
    for (method, code) in [("GET", 200), ("BREW", 418), ("PUT", 999), ("HEAD", 101)] {
        let method = actix_http::Method::from_bytes(method.as_bytes()).unwrap();
        route.served(&method, Some(status(code)), std::time::Duration::ZERO);
    }
    route.served(&actix_http::Method::POST, None, std::time::Duration::ZERO);
    let mut counted: Vec<_> = route.requests().collect();
    counted.sort_unstable();
    let expected = [("GET", "2xx"), ("HEAD", "1xx"), ("OTHER", "4xx"), ("POST", "499"), ("PUT", "5xx")]
        .map(|(m, s)| (m, s, 1));
    assert_eq!(counted, expected);
}

#[test]
fn names_are_told_apart_and_more_than_there_is_room_for_are_left_out() {
    let names = route::Named::<2>::default();
    for name in ["a", "b", "a", "c", "a"] {
        names.count(name);
    }
    assert_eq!(names.all().collect::<Vec<_>>(), [("a", 3), ("b", 1)]);
}

#[test]
fn reloads_are_told_by_their_outcome() {
    let metrics = Metrics::new().unwrap();
    let reloads = &metrics.reloads;
    assert_eq!((reloads.generation(), reloads.last_was_right()), (1, 1));
    reloads.rejected("a mistake");
    assert_eq!(reloads.rejection().as_deref(), Some("a mistake"));
    assert_eq!((reloads.generation(), reloads.last_was_right()), (1, 0));
    reloads.unchanged();
    assert_eq!((reloads.rejected.get(), reloads.last_was_right()), (1, 1));
    assert_eq!((reloads.applied(), reloads.generation()), (2, 2));
}
