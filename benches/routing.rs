//! Time of a route lookup among one and among 10,000 routes: `cargo bench --bench routing`. Both must be
//! equal, except for the effect of CPU caches.

use std::sync::Arc;

use actix_http::Method;
use apigw_invoker::routing::{HostPattern, MethodSet, RouteRule, RouteTable, UriPattern};
use divan::{Bencher, black_box};

const ROUTES: [usize; 3] = [1, 100, 10_000];

fn main() {
    divan::main();
}

/// A table of routes such as `/service-17/*`.
fn table(routes: usize, uri: fn(usize) -> String, host: fn(usize) -> Option<String>) -> RouteTable<usize> {
    RouteTable::new((0..routes).map(|index| {
        let rule = RouteRule {
            uris: UriPattern::parse(&uri(index)).map(Arc::new).into_iter().collect(),
            hosts: host(index).and_then(|host| HostPattern::parse(&host)).into_iter().collect(),
            methods: MethodSet::new(Vec::new()),
            priority: 0,
        };
        (rule, index)
    }))
}

fn no_host(_: usize) -> Option<String> {
    None
}

#[divan::bench(args = ROUTES)]
fn a_prefix(bencher: Bencher, routes: usize) {
    let table = table(routes, |index| format!("/service-{index}/*"), no_host);
    let path = format!("/service-{}/orders/4711", routes - 1);
    assert_eq!(table.find("h", &path, &Method::GET).map(|found| *found.route), Ok(routes - 1));
    bencher.bench(|| table.find(black_box("h"), black_box(&path), &Method::GET).is_ok());
}

#[divan::bench(args = ROUTES)]
fn an_exact_path(bencher: Bencher, routes: usize) {
    let table = table(routes, |index| format!("/service-{index}/orders"), no_host);
    let path = format!("/service-{}/orders", routes - 1);
    assert_eq!(table.find("h", &path, &Method::GET).map(|found| *found.route), Ok(routes - 1));
    bencher.bench(|| table.find(black_box("h"), black_box(&path), &Method::GET).is_ok());
}

#[divan::bench(args = ROUTES)]
fn a_host(bencher: Bencher, routes: usize) {
    let table = table(routes, |_| "/*".to_owned(), |index| Some(format!("service-{index}.example.com")));
    let host = format!("service-{}.example.com", routes - 1);
    assert_eq!(table.find(&host, "/orders", &Method::GET).map(|found| *found.route), Ok(routes - 1));
    bencher.bench(|| table.find(black_box(&host), black_box("/orders"), &Method::GET).is_ok());
}

#[divan::bench(args = ROUTES)]
fn no_route(bencher: Bencher, routes: usize) {
    let table = table(routes, |index| format!("/service-{index}/*"), no_host);
    assert!(table.find("h", "/service-x/orders", &Method::GET).is_err());
    bencher.bench(|| table.find(black_box("h"), black_box("/service-x/orders"), &Method::GET).is_err());
}
