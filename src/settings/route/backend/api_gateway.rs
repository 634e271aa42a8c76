//! [`BackendSection`] of the section `api_gateway`.

use serde_json::Value;

use crate::{
    settings::{
        ApiGatewaySettings, CallerKeys, CredentialSettings, EndpointVariant, UpstreamSettings,
        route::{
            backend::{BackendSection, UpstreamServer},
            shared_parts::SharedParts,
            target_hosts::{HostChoice, TargetHosts},
        },
        service,
        source::{secrecy::Secrecy, shown::Show as _},
    },
    text::{header_names::AWS_PROOFS, units::OrNone},
};

impl ApiGatewaySettings {
    pub(super) fn share_parts(&mut self, shared: &mut SharedParts) {
        shared.share_upstream(&mut self.upstream);
        if let Some(iam) = &mut self.authorization.iam {
            shared.share_source(&mut iam.source);
        }
    }
}

impl BackendSection for ApiGatewaySettings {
    fn name(&self) -> &'static str {
        "api_gateway"
    }

    fn server(&self) -> UpstreamServer<'_> {
        let uri = &self.function_uri;
        UpstreamServer { scheme: uri.scheme, host: &uri.host, port: uri.port }
    }

    fn upstream(&self) -> &UpstreamSettings {
        &self.upstream
    }

    fn source(&self) -> Option<&CredentialSettings> {
        self.authorization.iam.as_ref().and_then(|iam| iam.client.own_source(&iam.source))
    }

    fn caller_keys(&self) -> CallerKeys {
        self.authorization.iam.as_ref().map_or(CallerKeys::Off, |iam| iam.client.keys)
    }

    fn authorization_kinds(&self) -> Vec<&'static str> {
        let key = self.authorization.apikey.as_ref().map(|_| "apikey");
        key.into_iter().chain(self.authorization.iam.as_ref().map(|_| "iam")).collect()
    }

    fn target_hosts(&self) -> Option<&TargetHosts> {
        match &self.host_choice {
            HostChoice::OfClient(hosts) => Some(hosts),
            HostChoice::Fixed | HostChoice::Named(_) => None,
        }
    }

    fn named_by_client(&self) -> Option<&str> {
        match &self.host_choice {
            HostChoice::Named(pattern) => Some(pattern),
            HostChoice::Fixed | HostChoice::OfClient(_) => None,
        }
    }

    fn path_parameters(&self) -> Vec<&str> {
        self.function_uri.parameters().collect()
    }

    fn own_headers(&self) -> &'static [&'static str] {
        if self.authorization.is_none() { &[] } else { AWS_PROOFS }
    }

    fn signing_scope(&self) -> Option<(&str, &str)> {
        self.authorization.iam.as_ref().map(|iam| (&*iam.region, &*iam.service))
    }

    fn max_request_body(&self) -> OrNone<u64> {
        self.max_req_body_size
    }

    fn shown(&self) -> Value {
        self.show(Secrecy::Open)
    }

    /// Leaves out the query of `function_uri`, which may contain a secret.
    fn summary(&self) -> String {
        let mut uri = self.function_uri.clone();
        let has_query = uri.query.take().is_some();
        format!("{uri}{}", if has_query { "?…" } else { "" })
    }

    fn callee(&self) -> String {
        self.function_uri.path.to_string()
    }

    fn written_host(&self, variant: EndpointVariant) -> Option<(&'static str, &str)> {
        let host = &self.function_uri.host;
        (self.target_hosts().is_none() && variant.fips && host.contains(".execute-api."))
            .then_some(("function_uri", host))
    }

    fn warnings(&self, id: &str) -> Vec<String> {
        if let Some(hosts) = self.target_hosts() {
            let named = hosts.names().filter_map(|name| self.for_host(hosts, &name).ok());
            return named.flat_map(|settings| settings.warnings(id)).collect();
        }
        let Some(iam) = &self.authorization.iam else { return Vec::new() };
        let doubts = service::doubts(&self.function_uri.host, &iam.region, &iam.service);
        doubts.into_iter().map(|doubt| format!("route {id}: {doubt}")).collect()
    }
}
