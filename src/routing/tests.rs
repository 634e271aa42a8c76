use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn rule(uri: &str) -> RouteRule {
    RouteRule {
        uris: vec![Arc::new(UriPattern::parse(uri).unwrap())],
        hosts: Vec::new(),
        methods: MethodSet::new(Vec::new()),
        priority: 0,
    }
}

fn on(host: &str, mut rule: RouteRule) -> RouteRule {
    rule.hosts.push(HostPattern::parse(host).unwrap());
    rule
}

fn only(methods: &[Method], mut rule: RouteRule) -> RouteRule {
    rule.methods = MethodSet::new(methods.to_vec());
    rule
}

fn first(priority: i32, mut rule: RouteRule) -> RouteRule {
    rule.priority = priority;
    rule
}

/// Finds a route in tables with the rules in both orders, which must agree. A route's name is its index.
fn found(
    rules: &[RouteRule],
    host: &str,
    path: &str,
    method: &Method,
) -> Result<(usize, Option<String>), Miss> {
    let answer = |order: Vec<usize>| {
        let table = RouteTable::new(order.into_iter().map(|index| (rules[index].clone(), index)));
        table.find(host, path, method).map(|found| (*found.route, found.path.rest(path).map(str::to_owned)))
    };
    let forward = answer((0..rules.len()).collect());
    assert_eq!(forward, answer((0..rules.len()).rev().collect()), "the order of routes decided");
    forward
}

fn get(rules: &[RouteRule], path: &str) -> Result<(usize, Option<String>), Miss> {
    found(rules, "localhost:9080", path, &Method::GET)
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what is found")]
fn at(index: usize, remainder: &str) -> Result<(usize, Option<String>), Miss> {
    Ok((index, Some(remainder.to_owned())))
}

#[test]
fn an_exact_path_goes_before_a_prefix_and_a_longer_prefix_before_a_shorter() {
    let rules = [rule("/*"), rule("/a/*"), rule("/a/b/*"), rule("/a/b/c")];
    assert_eq!(get(&rules, "/a/b/c"), Ok((3, None)));
    assert_eq!(get(&rules, "/a/b/c/d"), at(2, "c/d"));
    assert_eq!(get(&rules, "/a/b"), at(1, "b"));
    assert_eq!(get(&rules, "/a/"), Ok((1, None)));
    assert_eq!(get(&rules, "/a"), at(0, "a"));
    assert_eq!(get(&rules, "/"), Ok((0, None)));
}

#[test]
fn a_prefix_ends_at_a_whole_segment() {
    let rules = [rule("/aws/*"), rule("/key*")];
    assert_eq!(get(&rules, "/awsome"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "/aws"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "/key"), Ok((1, None)));
    assert_eq!(get(&rules, "/key/x"), at(1, "x"));
    assert_eq!(get(&rules, "/keys"), Err(Miss::NoRoute));
}

#[test]
fn a_path_is_compared_and_handed_on_raw() {
    let rules = [rule("/aws/*"), rule("/:x/*"), rule("/a%2Fb")];
    assert_eq!(get(&rules, "/%61ws/x"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "/aws//x%2F//y/"), at(0, "/x%2F//y/"));
    assert_eq!(get(&rules, "/:x/y"), at(1, "y"));
    assert_eq!(get(&rules, "/z/y"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "/a%2Fb"), Ok((2, None)));
    assert_eq!(get(&rules, "/a%2fb"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "*"), Err(Miss::NoRoute));
}

#[test]
fn at_the_first_segment_that_differs_a_literal_goes_before_a_parameter_and_that_before_the_rest() {
    let rules = [
        rule("/users/{id}"),
        rule("/users/me"),
        rule("/users/{id}/orders/{order}"),
        rule("/users/me/orders/{order}"),
        rule("/users/{user}/*"),
        rule("/{proxy+}"),
    ];
    assert_eq!(get(&rules, "/users/me"), Ok((1, None)));
    assert_eq!(get(&rules, "/users/7"), Ok((0, None)));
    assert_eq!(get(&rules, "/users/7/orders/1"), Ok((2, None)));
    assert_eq!(get(&rules, "/users/me/orders/1"), Ok((3, None)));
    // the better branch ends in nothing
    assert_eq!(get(&rules, "/users/me/carts/1"), at(4, "carts/1"));
    assert_eq!(get(&rules, "/users/"), at(5, "users/"));
    assert_eq!(get(&rules, "/"), Err(Miss::NoRoute));
}

#[test]
fn a_parameter_takes_a_whole_segment_that_is_not_empty_and_a_greedy_one_takes_one_byte_at_least() {
    let rules = [rule("/u/{id}/x"), rule("/files/{path+}"), rule("/v/{id}*")];
    assert_eq!(get(&rules, "/u//x"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "/u/a%2Fb/x"), Ok((0, None)));
    assert_eq!(get(&rules, "/files"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "/files/"), Err(Miss::NoRoute));
    assert_eq!(get(&rules, "/files//"), at(1, "/"));
    assert_eq!(get(&rules, "/v/7"), Ok((2, None)));
    assert_eq!(get(&rules, "/v/7/x/y"), at(2, "x/y"));
    assert_eq!(get(&rules, "/v/"), Err(Miss::NoRoute));
}

#[test]
fn routing_goes_back_past_a_branch_whose_methods_do_not_fit() {
    let rules = [only(&[Method::PUT], rule("/a/b")), only(&[Method::POST], rule("/a/{x}")), rule("/{y}/b")];
    assert_eq!(get(&rules, "/a/b"), Ok((2, None)));
    assert_eq!(found(&rules, "h", "/a/b", &Method::POST), Ok((1, None)));
}

#[test]
fn names_of_parameters_make_no_difference_between_routes() {
    let clash = |a: &str, b: &str| clashes([&rule(a), &rule(b)]).len();
    assert_eq!(clash("/u/{id}", "/u/{user}"), 1);
    assert_eq!(clash("/f/{proxy+}", "/f/*"), 1);
    assert_eq!(clash("/f/{proxy+}", "/f*"), 1);
    assert_eq!(clash("/u/{id}*", "/u/{id}"), 1);
    assert_eq!(clash("/u/{id}", "/u/x"), 0);
    assert_eq!(clash("/u/{id}", "/u/*"), 0);
    assert_eq!(clash("/{a}/b", "/a/{b}"), 0);
}

#[test]
fn a_path_of_many_segments_is_searched_without_recursion() {
    let deep = "/{a}".replace("{a}", "x").repeat(100_000);
    let rules = [rule(&deep), rule("/{all+}")];
    let table = RouteTable::new(rules.into_iter().enumerate().map(|(index, rule)| (rule, index)));
    assert_eq!(table.find("h", &deep, &Method::GET).map(|found| *found.route), Ok(0));
    assert_eq!(table.find("h", &format!("{deep}/y"), &Method::GET).map(|found| *found.route), Ok(1));
}

#[test]
fn an_exact_path_may_equal_a_prefix() {
    let rules = [rule("/a/*"), rule("/a/")];
    assert_eq!(get(&rules, "/a/"), Ok((1, None)));
    assert_eq!(get(&rules, "/a/x"), at(0, "x"));
}

#[test]
fn siblings_that_share_letters_do_not_hide_a_prefix() {
    let rules = [rule("/a/:y/*"), rule("/*"), rule("/a/foo/bar"), rule("/a/foo/*"), rule("/a/food/*")];
    assert_eq!(get(&rules, "/a/fool/x"), at(1, "a/fool/x"));
    assert_eq!(get(&rules, "/a/foo/baz"), at(3, "baz"));
    assert_eq!(get(&rules, "/a/foo"), at(1, "a/foo"));
}

#[test]
fn the_host_decides_before_the_path() {
    let rules = [rule("/a/b"), on("api.example.com", rule("/*")), on("*.example.com", rule("/a/*"))];
    let host = |host: &str| found(&rules, host, "/a/b", &Method::GET);
    assert_eq!(host("api.example.com"), at(1, "a/b"));
    assert_eq!(host("API.Example.com.:8080"), at(1, "a/b"));
    assert_eq!(host("x.y.example.com"), at(2, "b"));
    assert_eq!(host("example.com"), Ok((0, None)));
    assert_eq!(host(".example.com"), Ok((0, None)));
    assert_eq!(host("badexample.com"), Ok((0, None)));
    assert_eq!(host(""), Ok((0, None)));
}

#[test]
fn the_longer_wildcard_goes_first_and_a_host_without_the_path_gives_way() {
    let rules = [on("*.com", rule("/*")), on("*.example.com", rule("/a"))];
    assert_eq!(found(&rules, "x.example.com", "/a", &Method::GET), Ok((1, None)));
    assert_eq!(found(&rules, "x.example.com", "/b", &Method::GET), at(0, "b"));
}

#[test]
fn an_ipv6_host_keeps_its_colons() {
    let rules = [on("[::1]", rule("/a"))];
    assert_eq!(found(&rules, "[::1]:9080", "/a", &Method::GET), Ok((0, None)));
    assert_eq!(found(&rules, "[::1]", "/a", &Method::GET), Ok((0, None)));
}

#[test]
fn priority_decides_between_equal_paths_and_a_named_method_before_any() {
    let rules = [rule("/a"), first(1, rule("/a")), only(&[Method::PUT], rule("/a"))];
    assert_eq!(get(&rules, "/a"), Ok((1, None)));
    let rules = [rule("/a"), only(&[Method::GET], rule("/a"))];
    assert_eq!(get(&rules, "/a"), Ok((1, None)));
    assert_eq!(found(&rules, "h", "/a", &Method::PUT), Ok((0, None)));
}

#[test]
fn a_route_with_the_wrong_method_gives_way_to_a_shorter_prefix() {
    let rules = [only(&[Method::POST], rule("/a/b")), only(&[Method::GET], rule("/a/*"))];
    assert_eq!(get(&rules, "/a/b"), at(1, "b"));
}

#[test]
fn where_only_the_method_is_wrong_the_miss_names_the_right_ones() {
    let rules = [
        only(&[Method::PUT, Method::POST], rule("/a/b")),
        only(&[Method::DELETE, Method::POST], rule("/a/*")),
        only(&[Method::PATCH], rule("/c")),
    ];
    assert_eq!(get(&rules, "/a/b"), Err(Miss::NoMethod(vec![Method::DELETE, Method::POST, Method::PUT])));
    assert_eq!(found(&rules, "h", "/c", &Method::HEAD), Err(Miss::NoMethod(vec![Method::PATCH])));
}

#[test]
fn connect_and_trace_are_taken_by_no_route() {
    for method in [Method::CONNECT, Method::TRACE] {
        let Err(Miss::NoMethod(allowed)) = found(&[rule("/a")], "h", "/a", &method) else {
            panic!("{method}")
        };
        assert!(allowed.contains(&Method::GET) && !allowed.contains(&method));
    }
}

#[test]
fn routes_that_tie_are_clashes() {
    let clash = |a: &RouteRule, b: &RouteRule| {
        let found = clashes([a, b]);
        found.first().map(|clash| clash.requests.to_string())
    };
    assert_eq!(clash(&rule("/a"), &rule("/a")).as_deref(), Some("any method /a with priority 0"));
    let named = clash(&rule("/{a}/u/{id}*"), &rule("/{b}/u/{user}/*"));
    assert_eq!(named.as_deref(), Some("any method /{b}/u/{user}/* with priority 0"));
    assert_eq!(clash(&rule("/a*"), &rule("/a/*")).as_deref(), Some("any method /a/* with priority 0"));
    assert_eq!(
        clash(&only(&[Method::GET, Method::PUT], rule("/a")), &only(&[Method::PUT], rule("/a"))).as_deref(),
        Some("PUT /a with priority 0")
    );
    assert_eq!(
        clash(&on("*.a.com", rule("/a/*")), &on("*.A.com", rule("/a/*"))).as_deref(),
        Some("any method /a/* on *.a.com with priority 0")
    );
}

#[test]
fn routes_that_differ_in_a_criterion_do_not_clash() {
    let a = rule("/a");
    for b in [
        rule("/a/"),
        rule("/a/*"),
        first(1, rule("/a")),
        on("x.com", rule("/a")),
        only(&[Method::GET], rule("/a")),
    ] {
        assert_eq!(clashes([&a, &b]), [], "{b:?}");
    }
    assert_eq!(clashes([&only(&[Method::GET], rule("/a")), &only(&[Method::PUT], rule("/a"))]), []);
}

#[test]
fn uris_and_hosts_that_mean_nothing_are_refused() {
    for uri in ["", "a", "*", "/a?b", "/a#b", "/*/a", "/a/../b", "/a b", "/%zz", "/é", "/a/%2e%2e/*", "/{a"]
    {
        assert_eq!(UriPattern::parse(uri), None, "{uri}");
    }
    for host in ["", "*", "*.", "a..b", "a.*", "*a.com", "a.com:80", "a b", "http://a"] {
        assert_eq!(HostPattern::parse(host), None, "{host}");
    }
}

/// How closely a pattern, as it is written, fits a path, and what is left for its end: written by itself,
/// segment by segment, to be compared with the table. 2 is a literal segment, 1 a parameter, 0 the rest.
fn path_fit(pattern: &str, path: &str) -> Option<(Vec<u8>, Option<String>)> {
    if let Some(base) = pattern.strip_suffix('*').filter(|base| !base.ends_with('/')) {
        // the path itself, or what is below
        return path_fit(base, path).or_else(|| path_fit(&format!("{base}/*"), path));
    }
    let mut ranks = Vec::new();
    let mut segments: Vec<&str> = path.split('/').collect();
    for wanted in pattern.split('/') {
        let is_greedy = wanted.ends_with("+}");
        if wanted == "*" || is_greedy {
            let rest = segments.join("/");
            ranks.push(0);
            let fits = !segments.is_empty() && (!is_greedy || !rest.is_empty());
            return fits.then_some((ranks, Some(rest).filter(|rest| !rest.is_empty())));
        }
        if segments.is_empty() {
            return None;
        }
        let segment = segments.remove(0);
        match wanted.starts_with('{') {
            true if !segment.is_empty() => ranks.push(1),
            false if segment == wanted => ranks.push(2),
            _ => return None,
        }
    }
    segments.is_empty().then_some((ranks, None))
}

/// The precedence of a rule for a host and a path, by the documentation of the module; `None` if it does not
/// match.
fn fit(rule: &RouteRule, host: &str, path: &str) -> Option<(usize, Vec<u8>, Option<String>)> {
    let by_name = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
        HostPattern::Suffix(suffix) => (host.ends_with(suffix) && host != suffix).then_some(suffix.len()),
    };
    let by_host = if rule.hosts.is_empty() { Some(0) } else { rule.hosts.iter().filter_map(by_name).max() }?;
    let by_path = rule.uris.iter().filter_map(|uri| path_fit(&uri.to_string(), path)).max()?;
    Some((by_host, by_path.0, by_path.1))
}

/// The result of a search of every rule.
fn found_by_search(
    rules: &[RouteRule],
    host: &str,
    path: &str,
    method: &Method,
) -> Result<(usize, Option<String>), Miss> {
    let fits = || rules.iter().enumerate().filter_map(|(at, rule)| Some((at, rule, fit(rule, host, path)?)));
    let taken = fits().filter(|(_, rule, _)| rule.methods.takes(method));
    let best = taken.max_by_key(|(_, rule, (by_host, ranks, _))| {
        (*by_host, ranks.clone(), rule.priority, !rule.methods.is_any())
    });
    if let Some((at, _, (.., remainder))) = best {
        return Ok((at, remainder));
    }
    let mut allowed: Vec<Method> = fits().flat_map(|(_, rule, _)| rule.methods.allowed().to_vec()).collect();
    if allowed.is_empty() {
        return Err(Miss::NoRoute);
    }
    allowed.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    allowed.dedup();
    Err(Miss::NoMethod(allowed))
}

/// The rules without those that clash with an earlier one.
fn without_clashes(rules: Vec<RouteRule>) -> Vec<RouteRule> {
    rules.into_iter().fold(Vec::new(), |mut kept, rule| {
        kept.push(rule);
        if !clashes(&kept).is_empty() {
            kept.pop();
        }
        kept
    })
}

fn any_rule() -> impl Strategy<Value = RouteRule> {
    let uri = select(vec![
        "/*",
        "/",
        "/a",
        "/a*",
        "/a/*",
        "/a/",
        "/a/b",
        "/a/b*",
        "/a/b/*",
        "/:x/*",
        "/ab*",
        "//*",
        "/{x}",
        "/{x}/b",
        "/{y}/{z}",
        "/a/{x}",
        "/a/{x}/b",
        "/{x}/{y}*",
        "/{x}/*",
        "/{all+}",
        "/a/{rest+}",
        "/{x}/b/{rest+}",
        "/{x}/",
    ]);
    let host = select(vec!["x.com", "*.x.com", "y.x.com", "*.com", "*.y.x.com"]);
    let methods =
        select(vec![vec![], vec![Method::GET], vec![Method::POST, Method::PUT], vec![Method::TRACE]]);
    (vec(uri, 1..3), vec(host, 0..2), methods, 0..2).prop_map(|(uris, hosts, methods, priority)| RouteRule {
        uris: uris.into_iter().filter_map(UriPattern::parse).map(Arc::new).collect(),
        hosts: hosts.into_iter().filter_map(HostPattern::parse).collect(),
        methods: MethodSet::new(methods),
        priority,
    })
}

proptest! {
    #[test]
    fn the_table_finds_what_a_reference_matcher_finds(
        rules in vec(any_rule(), 0..7),
        host in select(vec!["x.com", "y.x.com", "z.y.x.com", "com", "other"]),
        path in "/((a|b|ab|:x|\\{x\\}|\\{\\*rest\\})/?|/){0,4}",
        method in select(vec![Method::GET, Method::POST, Method::DELETE, Method::TRACE, Method::CONNECT]),
    ) {
        let rules = without_clashes(rules);
        prop_assert_eq!(found(&rules, host, &path, &method), found_by_search(&rules, host, &path, &method));
    }

    #[test]
    fn the_table_finds_the_most_specific_rule(
        rules in vec(any_rule(), 0..7),
        host in select(vec!["x.com", "Y.x.com:80", "z.y.x.com.", "com", "other"]),
        path in "/((a|b|ab|:x|\\{x\\})/?|/){0,4}",
        method in select(vec![Method::GET, Method::POST, Method::DELETE, Method::TRACE]),
    ) {
        let rules = without_clashes(rules);
        let specificities: Vec<_> = rules.iter().map(|rule| match_rule(rule, host, &path, &method)).collect();
        let best = specificities
            .iter()
            .enumerate()
            .filter_map(|(at, specificity)| Some((specificity.as_ref().ok()?, at)))
            .max();
        match found(&rules, host, &path, &method) {
            Ok((at, _)) => prop_assert_eq!(Some(at), best.map(|(_, at)| at)),
            Err(miss) => {
                prop_assert!(best.is_none());
                let is_by_method = specificities.contains(&Err(Mismatch::Method));
                prop_assert_eq!(is_by_method && miss != Miss::NoRoute, miss != Miss::NoRoute);
            }
        }
    }

    #[test]
    fn no_path_or_host_makes_the_table_panic(host in any::<String>(), path in any::<String>()) {
        let rules = [rule("/*"), on("*.a", rule("/a*")), on("[::1]", rule("/:a/*"))];
        let _ = found(&rules, &host, &path, &Method::GET);
    }
}
