use super::{
    route::RouteMetrics,
    table::{MetricValue as _, SampleValue},
    values::{CounterByName, DurationHistogram},
    *,
};

/// Durations that were measured, of all requests.
fn durations(route: &RouteMetrics) -> Vec<u64> {
    let samples = route.durations.samples().into_iter();
    let counts = samples.filter_map(|sample| match sample.value {
        SampleValue::DurationHistogram(histogram) => Some(histogram.get_sample_count()),
        SampleValue::Number(_) => None,
    });
    counts.collect()
}

#[test]
fn a_route_keeps_its_counters_while_they_are_in_use() {
    let metrics = Metrics::new();
    let first = metrics.route(&"a".into());
    first.served(&actix_http::Method::GET, None, std::time::Duration::from_millis(1));
    let again = metrics.route(&"a".into());
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(durations(&again), [1]);
    drop((first, again));
    assert!(metrics.routes().is_empty());
    let anew = metrics.route(&"a".into());
    assert_eq!(anew.requests.all().count(), 0);
    assert!(durations(&anew).is_empty(), "nothing is left of the last one of this name");
}

#[test]
fn x15_a_route_without_requests_has_no_durations_and_an_error_counts_as_a_request() {
    let metrics = Metrics::new();
    let route = metrics.route(&"a".into());
    assert!(!route.was_called() && !metrics.unrouted.was_called());
    assert!(durations(&route).is_empty());
    metrics.unrouted.errors.count("invalid_request");
    assert!(metrics.unrouted.was_called());
    route.begins();
    assert!(route.was_called());
}

#[test]
fn x15_a_route_without_requests_takes_little_memory() {
    assert!(size_of::<RouteMetrics>() <= 192, "{}", size_of::<RouteMetrics>());
    assert!(size_of::<DurationHistogram>() <= 16 && size_of::<CounterByName>() <= 16);
}

#[test]
fn a_counter_of_a_route_is_sampled_under_the_routes_id_and_its_own_labels() {
    let route = RouteMetrics::new("a".into());
    route.errors.count("overloaded");
    route.shed.process.add(2);
    let samples = |name: &str| -> Vec<String> {
        let row = RouteMetrics::ROWS.iter().find(|row| row.declared.name == name).unwrap();
        let samples = (row.samples)(&route);
        assert!(samples.iter().all(|sample| sample.labels.len() == row.declared.labels.len()));
        samples.iter().map(|sample| format!("{} {:?}", sample.labels.join(" "), sample.value)).collect()
    };
    assert_eq!(samples("apigw_invoker_errors_total"), ["a overloaded Number(1.0)"]);
    assert_eq!(
        samples("apigw_invoker_requests_shed_total"),
        ["a process Number(2.0)", "a route Number(0.0)"]
    );
    assert_eq!(samples("apigw_invoker_signing_failures_total"), ["a Number(0.0)"]);
    assert!(samples("apigw_invoker_requests_total").is_empty());
}

#[test]
fn invented_methods_and_statuses_are_counted_under_known_labels() {
    let metrics = Metrics::new();
    let route = metrics.route(&"a".into());
    let status = |code: u16| actix_http::StatusCode::from_u16(code).unwrap();
    for (method, code) in [("GET", 200), ("BREW", 418), ("PUT", 999), ("HEAD", 101)] {
        let method = actix_http::Method::from_bytes(method.as_bytes()).unwrap();
        route.served(&method, Some(status(code)), std::time::Duration::ZERO);
    }
    route.served(&actix_http::Method::POST, None, std::time::Duration::ZERO);
    let mut counted: Vec<_> = route.requests.all().collect();
    counted.sort_unstable();
    let expected = [("GET", "2xx"), ("HEAD", "1xx"), ("OTHER", "4xx"), ("POST", "499"), ("PUT", "5xx")]
        .map(|(m, s)| (m, s, 1));
    assert_eq!(counted, expected);
}

#[test]
fn each_of_a_hundred_names_has_its_own_count() {
    let names = CounterByName::default();
    let many: Vec<&'static str> = (0..100).map(|number| &*format!("name-{number}").leak()).collect();
    for name in many.iter().chain(&many[..50]) {
        names.count(name);
    }
    let expected: Vec<_> =
        many.iter().zip(0..).map(|(name, place)| (*name, if place < 50 { 2 } else { 1 })).collect();
    assert_eq!(names.all().collect::<Vec<_>>(), expected);
}

#[test]
fn threads_that_count_a_name_for_the_first_time_count_it_once_each() {
    let names = CounterByName::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ["a", "b", "c"].iter().for_each(|name| names.count(name)));
        }
    });
    assert_eq!(names.all().collect::<Vec<_>>(), [("a", 4), ("b", 4), ("c", 4)]);
}

#[test]
fn a_duration_counts_in_every_bucket_from_the_first_bound_that_it_does_not_exceed() {
    let durations = DurationHistogram::default();
    for micros in [0, 1_000, 1_001, 59_999_999, 60_000_001] {
        durations.observe(std::time::Duration::from_micros(micros));
    }
    let SampleValue::DurationHistogram(histogram) = &durations.samples()[0].value else { panic!("a number") };
    let buckets: Vec<_> =
        histogram.get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count())).collect();
    assert_eq!(
        (buckets[0], buckets[1], buckets[13], buckets[14]),
        ((0.001, 2), (0.0025, 3), (30.0, 3), (60.0, 4))
    );
    assert_eq!((histogram.get_sample_count(), histogram.get_sample_sum()), (5, 120.002_001));
}

#[test]
fn reloads_are_counted_by_outcome() {
    let metrics = Metrics::new();
    let (reloads, counted) = (&metrics.reloads, &metrics.reloads.counted);
    let told = || (counted.generation.get(), counted.last_was_right.get());
    assert_eq!(told(), (1, 1));
    reloads.rejected("a mistake");
    assert_eq!(reloads.rejection().as_deref(), Some("a mistake"));
    assert_eq!(told(), (1, 0));
    reloads.unchanged();
    assert_eq!((counted.outcomes.rejected.get(), told()), (1, (1, 1)));
    assert_eq!((reloads.applied(), told()), (2, (2, 1)));
}

#[test]
fn a_quantile_is_interpolated_within_its_bucket() {
    let durations = DurationHistogram::default();
    assert_eq!(durations.quantile(0.5), None);
    let milliseconds = std::time::Duration::from_millis;
    for _ in 0..90 {
        durations.observe(milliseconds(3));
    }
    for _ in 0..10 {
        durations.observe(milliseconds(70));
    }
    // the buckets end at 2.5, 5, 50 and 100 ms
    let of = |share| durations.quantile(share).unwrap();
    assert_eq!((of(0.45), of(0.9)), (std::time::Duration::from_micros(3750), milliseconds(5)));
    assert_eq!((of(0.95), of(1.0)), (milliseconds(75), milliseconds(100)));
    durations.observe(std::time::Duration::from_secs(1000));
    assert_eq!(of(1.0), std::time::Duration::from_mins(1));
}

#[test]
fn only_statuses_of_5xx_are_failed_requests() {
    let route = RouteMetrics::new("a".into());
    for status in [200, 404, 500, 503] {
        let status = actix_http::StatusCode::from_u16(status).unwrap();
        route.served(&actix_http::Method::GET, Some(status), std::time::Duration::ZERO);
    }
    route.served(&actix_http::Method::GET, None, std::time::Duration::ZERO);
    assert_eq!(route.completed(), (5, 2));
}
