//! [`BackendSection`] of the section `lambda`.

use serde_json::Value;

use crate::{
    settings::{
        CredentialSettings, EndpointVariant, GatewayEvent, LambdaSettings, PayloadSettings, PayloadVersion,
        UpstreamSettings,
        route::{
            backend::{BackendSection, UpstreamServer},
            shared_parts::SharedParts,
        },
        source::{secrecy::Secrecy, shown::Show as _},
    },
    text::aws_hosts::lambda_host,
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
        Some(&self.source)
    }

    fn authorization_kinds(&self) -> Vec<&'static str> {
        vec!["iam"]
    }

    fn signing_scope(&self) -> Option<(&str, &str)> {
        Some((&self.region, "lambda"))
    }

    fn max_request_body(&self) -> u64 {
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
             `base64_encode_body: false` leaves text as it is, as API Gateway does, and `true` ends this remark"
        )]
    }
}
