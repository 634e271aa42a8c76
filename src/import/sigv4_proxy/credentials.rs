//! Keys of the environment of aws-sigv4-proxy, and the variables that the sidecar needs as well.

use secrecy::{ExposeSecret as _, SecretString};

use super::variables::{Variable, Variables};
use crate::import::{
    route::{ImportedRoute, Secret, Table, Value},
    values::{is_placeholder, shown},
};

/// The variable with the name of a role's session.
pub const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
/// Variables with keys.
const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "accesskey"),
    ("AWS_SECRET_ACCESS_KEY", "secretkey"),
    ("AWS_SESSION_TOKEN", "session_token"),
];
const PROXIES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];

/// Writes the keys whose values are in the file; returns the variables that are written.
pub fn push_keys(environment: &Variables, route: &ImportedRoute, iam: &mut Table) -> Vec<&'static str> {
    let is_real = |value: &&SecretString| {
        let text = value.expose_secret();
        !text.is_empty() && !text.starts_with('$') && !is_placeholder(text)
    };
    let value = |name: &str| environment.get(name)?.value.as_ref().filter(is_real);
    if KEYS[..2].iter().any(|(name, _)| value(name).is_none()) {
        return Vec::new();
    }
    let mut written = Vec::new();
    for (name, key) in KEYS {
        if let Some(value) = value(name) {
            let (kind, value, place) = (key.to_owned(), Some(value.clone()), route.place.clone());
            iam.push(key, Value::Secret(Secret { kind, value, place, file: None }));
            written.push(name);
        } else if environment.get(name).is_some() {
            // keys of a route have no other token than their own
            iam.push(key, format!("$env://{name}"));
        }
    }
    written
}

/// Writes the session's name of an assumed role; returns true if the value is in the file.
pub fn push_session_name(environment: &Variables, route: &mut ImportedRoute, iam: &mut Table) -> bool {
    let Some(Variable { value, .. }) = environment.get(SESSION_NAME) else { return false };
    route.flags.push(SESSION_NAME);
    match value {
        Some(value) => iam.push("role_session_name", value.expose_secret()),
        None => iam.push("role_session_name", format!("$env://{SESSION_NAME}")),
    }
    value.is_some()
}

/// Names the variables that the sidecar needs: those of AWS's SDKs, and those that `mentioned` arguments
/// name, but for those that are `written`.
pub fn report(environment: &Variables, mentioned: &[String], written: &[&str], route: &mut ImportedRoute) {
    let listed = environment.listed.iter().map(|variable| variable.name.as_str());
    let mut names: Vec<&str> = Vec::new();
    for name in listed.chain(mentioned.iter().map(String::as_str)) {
        let is_needed = name.starts_with("AWS_") || mentioned.iter().any(|other| other == name);
        if is_needed && !written.contains(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        let names = names.into_iter().map(shown).collect::<Vec<_>>().join(", ");
        route.attention("environment", format!("give the sidecar's container the same variables: {names}"));
    }
    if !environment.elsewhere.is_empty() {
        let sources = environment.elsewhere.join(", ");
        route.attention("environment", format!("give the sidecar's container the variables of {sources}"));
    }
    let is_set = |proxy: &str| environment.listed.iter().any(|known| known.name.eq_ignore_ascii_case(proxy));
    let proxies: Vec<&str> = PROXIES.into_iter().filter(|proxy| is_set(proxy)).collect();
    if !proxies.is_empty() {
        let text = format!("give the sidecar's container the same variables: {}", proxies.join(", "));
        route.attention("proxies", text);
    }
}
