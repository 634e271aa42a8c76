//! A route with all its settings and defaults as JSON in the shape of its file, for the admin port's
//! `/routes` and the command `routes`.

use serde_json::{Map, Value, json};

use super::{RouteSettings, source::shown::REDACTED};

/// The settings of a route without its secrets. A key without a value or default is `null`. Added are `file`
/// and `proxy_reason`, the setting or variable that decided about the proxy.
pub fn effective(route: &RouteSettings) -> Value {
    let mut members = Map::new();
    route.members("", &mut members);
    members.insert("file".to_owned(), json!(&*route.place.source));
    members.insert("proxy_reason".to_owned(), json!(route.backend.upstream().proxy.reason()));
    let mut route_as_set = Value::Object(members);
    for path in &route.hidden {
        let last = path.iter().try_fold(&mut route_as_set, |value, key| value.get_mut(key));
        if let Some(value) = last.filter(|value| !value.is_null()) {
            *value = json!(REDACTED);
        }
    }
    route_as_set
}
