//! Warnings about valid but unwise settings, for the log at start, after a reload, and for `check`. Each
//! backend adds its own.

use super::{
    EndpointVariant, HostPort, InspectSettings, Otlp, RouteSettings, Scheme, Settings, UpstreamServer,
};
use crate::text::uri_syntax::is_loopback;

/// OpenTelemetry's port for OTLP over gRPC, which is not supported.
const OTLP_OVER_GRPC: u16 = 4317;
/// Memory of the inspector that a container rarely has to spare.
const LARGE_INSPECTOR: u64 = 1 << 30;

/// The warnings of reading and those about checked settings, a sentence each.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = settings.warnings.clone();
    warnings.extend(settings.admin.inspect.as_ref().and_then(of_inspector));
    warnings.extend(settings.tracing.otlp.iter().flat_map(of_collector));
    warnings.extend(enabled(settings).flat_map(of_route));
    warnings
}

/// Defaults that differ from API Gateway's, a sentence each, for `check` alone.
pub fn remarks(settings: &Settings) -> Vec<String> {
    let of_backends = enabled(settings).flat_map(|route| route.backend.section().remarks(&route.id));
    of_backends.chain(enabled(settings).filter_map(of_manager_id)).collect()
}

/// The remark about APISIX's references to secrets in AWS, once for a route.
fn of_manager_id(route: &RouteSettings) -> Option<String> {
    route.secrets.iter().any(|secret| secret.has_manager_id).then(|| {
        format!(
            "route {}: the ID in $secret://aws/ID/NAME/KEY is not needed: the sidecar's own keys fetch the \
             secret",
            route.id
        )
    })
}

fn enabled(settings: &Settings) -> impl Iterator<Item = &RouteSettings> {
    settings.routes.iter().map(|route| &**route).filter(|route| route.enabled)
}

fn of_inspector(inspect: &InspectSettings) -> Option<String> {
    let most = inspect.max_memory();
    (most >= LARGE_INSPECTOR).then(|| {
        format!("admin.inspect: keep and bodies allow recorded requests to take {} MiB of memory", most >> 20)
    })
}

fn of_collector(otlp: &Otlp) -> Vec<String> {
    let Otlp { endpoint, headers, .. } = otlp;
    let mut warnings = Vec::new();
    if endpoint.scheme == Scheme::Http && !headers.is_empty() && !is_loopback(&endpoint.host) {
        warnings.push(format!("tracing.otlp: its headers are sent to {} without TLS", endpoint.host));
    }
    if endpoint.port == OTLP_OVER_GRPC {
        warnings.push(format!(
            "tracing.otlp: at port {OTLP_OVER_GRPC} collectors speak gRPC; OTLP over HTTP is at 4318"
        ));
    }
    warnings
}

fn of_route(route: &RouteSettings) -> Vec<String> {
    let (id, section) = (&route.id, route.backend.section());
    let (UpstreamServer { scheme, host, port }, upstream) = (section.server(), section.upstream());
    let mut warnings = EndpointVariant::warnings(route);
    let sts = section.source().and_then(|source| source.sts_endpoint.as_deref());
    if let Some(sts_host) = sts.and_then(|sts| sts.strip_prefix("http://"))
        && !is_loopback(sts_host.split(['/', ':']).next().unwrap_or_default())
    {
        warnings.push(format!("route {id}: secret keys come from {sts_host} without TLS"));
    }
    warnings.extend(section.warnings(id));
    let edits_request = route.headers.as_ref().is_some_and(|headers| !headers.request.is_empty());
    if edits_request && !section.forwards_headers() {
        warnings.push(format!(
            "route {id}: headers.request changes no header that the function sees: set awsgateway_compatible \
             or forward_request_headers"
        ));
    }
    if let Some(key) = route.changed_prefix().filter(|_| !section.forwards_path()) {
        warnings.push(format!(
            "route {id}: {key} changes no path that the function sees: set awsgateway_compatible"
        ));
    }
    if scheme == Scheme::Https && !upstream.ssl_verify {
        warnings.push(format!(
            "route {id}: ssl_verify is off: anyone between here and AWS can impersonate {host}"
        ));
    }
    let HostPort(connected, _) = upstream.connect.place(host, port);
    if scheme == Scheme::Http && !section.authorization_kinds().is_empty() && !is_loopback(connected) {
        warnings.push(format!("route {id}: keys and signatures are sent to {connected} without TLS"));
    }
    warnings
}
