//! [`BackendSection`] of the section `lambda`.

use serde_json::Value;

use crate::{
    settings::{
        CallerKeys, CredentialSettings, EndpointVariant, GatewayEvent, LambdaSettings, PayloadSettings,
        PayloadVersion, UpstreamSettings,
        route::{
            backend::{BackendSection, UpstreamServer},
            shared_parts::SharedParts,
        },
        source::{secrecy::Secrecy, shown::Show as _},
    },
    text::{aws_hosts::lambda_host, units::OrNone},
};

impl LambdaSettings {
    pub(super) fn share_parts(&mut self, shared: &mut SharedParts) {
        shared.share_upstream(&mut self.upstream);
        shared.share_source(&mut self.source);
    }
}

impl BackendSection for LambdaSettings {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn server(&self) -> UpstreamServer<'_> {
        let api = &self.endpoint;
        UpstreamServer { scheme: api.scheme, host: &api.host, port: api.port }
    }

    fn upstream(&self) -> &UpstreamSettings {
        &self.upstream
    }

    fn source(&self) -> Option<&CredentialSettings> {
        self.client.own_source(&self.source).filter(|_| self.sign)
    }

    fn caller_keys(&self) -> CallerKeys {
        self.client.keys
    }

    fn authorization_kinds(&self) -> Vec<&'static str> {
        if self.sign { vec!["iam"] } else { Vec::new() }
    }

    fn forwards_headers(&self) -> bool {
        match &self.payload {
            PayloadSettings::Gateway(_) => true,
            PayloadSettings::Forward(parts) => parts.headers,
            PayloadSettings::Merge { .. } => false,
        }
    }

    fn forwards_path(&self) -> bool {
        matches!(self.payload, PayloadSettings::Gateway(_))
    }

    fn keeps_spelling(&self) -> bool {
        matches!(&self.payload, PayloadSettings::Gateway(event) if event.keeps_spelling())
    }

    fn signing_scope(&self) -> Option<(&str, &str)> {
        self.sign.then_some((&*self.region, "lambda"))
    }

    fn max_request_body(&self) -> OrNone<u64> {
        self.max_request_body
    }

    fn shown(&self) -> Value {
        let mut shown = self.show(Secrecy::Open);
        // from `limits`, not a key of the section
        shown["max_request_body"] = self.max_request_body.show(Secrecy::Open);
        shown
    }

    fn summary(&self) -> String {
        let qualifier = self.qualifier.as_ref().map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
        format!("{}{qualifier} at {}", self.function, self.endpoint.authority())
    }

    fn callee(&self) -> String {
        format!("function {}", self.function)
    }

    fn written_host(&self, variant: EndpointVariant) -> Option<(&'static str, &str)> {
        let host = &self.endpoint.host;
        (*host != lambda_host(&self.region, variant.fips, variant.dual_stack)).then_some(("host", host))
    }

    fn remarks(&self, id: &str) -> Vec<String> {
        let PayloadSettings::Gateway(GatewayEvent {
            version: PayloadVersion::V1,
            base64_encode_body: true,
            base64_is_written: false,
            ..
        }) = &self.payload
        else {
            return Vec::new();
        };
        vec![format!(
            "route {id}: every body is base64 in events of payload 1.0, as with Kong; \
             `base64_encode_body: false` leaves text as it is, as API Gateway does, and `true` ends this \
             remark"
        )]
    }
}
