//! `apigw-invoker health`: asks the admin port of the running sidecar, for the health checks of images
//! without a shell.
//!
//! The process must start fast, since a health check runs it every few seconds: it reads one key of the
//! settings, starts no runtime, and connects with a blocking socket.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde::Deserialize;

use super::settings_place::{CacheLocation, SettingsLocation};
use crate::{
    app::process::print_line,
    client::blocking_get,
    settings,
    text::{log_safe::log_safe, units::timeout},
};

/// Routes that are not ready and are named.
const MAX_ROUTES: usize = 3;
/// Characters of the cause. The response may come from another program.
const MAX_CAUSE_CHARS: usize = 600;

#[derive(Debug, Args)]
pub(super) struct HealthOptions {
    #[command(flatten)]
    location: SettingsLocation,
    #[command(flatten)]
    cache: CacheLocation,
    /// Ask /ready instead of /live: every signing route must have credentials.
    #[arg(long)]
    ready: bool,
    /// The time for connection and response together.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = timeout)]
    timeout: Duration,
}

impl HealthOptions {
    /// The directory with `default.yaml`. An address or an archive is no directory: its copy is in the cache,
    /// if there is one.
    fn process_directory(&self) -> Option<PathBuf> {
        let settings = Path::new(&self.location.settings);
        if settings.is_dir() {
            return Some(settings.to_owned());
        }
        self.cache.settings_cache.as_ref().map(|cache| cache.join("current"))
    }
}

/// Asks the admin port, and prints why the sidecar is not healthy.
pub(super) fn run(options: &HealthOptions) -> ExitCode {
    let environment = settings::environment();
    let (address, mistakes) = settings::admin_address(options.process_directory().as_deref(), &environment);
    let path = if options.ready { "/ready" } else { "/live" };
    let Err(cause) = ask(address, path, options.timeout) else { return ExitCode::SUCCESS };
    let mut line = format!("apigw-invoker: http://{address}{path}: {}", log_safe(&cause, MAX_CAUSE_CHARS));
    if let Some(mistake) = mistakes.iter().next() {
        line =
            format!("{line}; this is the default address, because {}", log_safe(&mistake.to_string(), 300));
    }
    print_line(&mut io::stderr(), &line);
    ExitCode::FAILURE
}

/// Requests `path`.
///
/// # Errors
/// The reason why the answer is not 200.
fn ask(address: SocketAddr, path: &str, timeout: Duration) -> Result<(), String> {
    if address.port() == 0 {
        return Err("the system chose the port: give admin.address a port".to_owned());
    }
    let (status, body) = blocking_get(&targets(address), &address.to_string(), path, timeout)?;
    if status == 200 {
        return Ok(());
    }
    let causes = causes(&body);
    Err(if causes.is_empty() { status.to_string() } else { format!("{status}: {causes}") })
}

/// The addresses by which this machine reaches a listener. An unspecified address includes loopback; `[::]`
/// includes IPv4, and is replaced by `0.0.0.0` where the kernel has no IPv6.
fn targets(address: SocketAddr) -> Vec<SocketAddr> {
    let loopback = |ip: IpAddr| SocketAddr::new(ip, address.port());
    let (v4, v6) = (loopback(Ipv4Addr::LOCALHOST.into()), loopback(Ipv6Addr::LOCALHOST.into()));
    match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![v4],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![v6, v4],
        _ => vec![address],
    }
}

/// The parts of `/ready` that say why it is not 200.
#[derive(Debug, Deserialize)]
struct Readiness {
    stopping: bool,
    routes: Vec<RouteReadiness>,
}

#[derive(Debug, Deserialize)]
struct RouteReadiness {
    id: String,
    ready: bool,
    credentials: Option<String>,
}

/// The causes that the body of `/ready` names; empty for another body.
fn causes(body: &[u8]) -> String {
    let Ok(page) = serde_json::from_slice::<Readiness>(body) else { return String::new() };
    let mut causes: Vec<String> = page.stopping.then(|| "shutting down".to_owned()).into_iter().collect();
    let failing: Vec<&RouteReadiness> = page.routes.iter().filter(|route| !route.ready).collect();
    causes.extend(
        failing.iter().take(MAX_ROUTES).map(|route| {
            format!("route {}: {}", route.id, route.credentials.as_deref().unwrap_or("not ready"))
        }),
    );
    if failing.len() > MAX_ROUTES {
        causes.push(format!("and {} more", failing.len() - MAX_ROUTES));
    }
    causes.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        let targets = |address: &str| -> Vec<String> {
            targets(address.parse().unwrap()).iter().map(ToString::to_string).collect()
        };
        assert_eq!(targets("0.0.0.0:9180"), ["127.0.0.1:9180"]);
        assert_eq!(targets("[::ffff:0.0.0.0]:9180"), ["127.0.0.1:9180"]);
        assert_eq!(targets("[::]:9180"), ["[::1]:9180", "127.0.0.1:9180"]);
        assert_eq!(targets("[::1]:1"), ["[::1]:1"]);
        assert_eq!(targets("10.1.2.3:9180"), ["10.1.2.3:9180"]);
    }

    #[test]
    fn the_causes_of_ready_are_the_routes_that_are_not() {
        let page = |routes: &str| format!("{{\"stopping\":true,\"routes\":[{routes}]}}");
        let route = r#"{"id":"a","ready":false,"credentials":"no keys"}"#;
        let others = r#"{"id":"b","ready":true}, {"id":"c","ready":false}"#;
        let said = causes(page(&format!("{route},{others}")).as_bytes());
        assert_eq!(said, "shutting down; route a: no keys; route c: not ready");
        let said = causes(page(&[route; 5].join(",")).as_bytes());
        assert!(said.ends_with("; and 2 more"), "{said}");
        assert_eq!(causes(b"<html>"), "");
        assert_eq!(causes(b""), "");
    }
}
