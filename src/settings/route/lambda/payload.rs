//! The keys of the section `lambda` for the event of a call.

use super::{ForwardedParts, GatewayEvent, PayloadSettings, WrittenLambda, function::FunctionName};
use crate::settings::source::{check::Checker, key_type::KeyType as _};

/// The account of an event if the function's name contains none.
const UNKNOWN_ACCOUNT: &str = "000000000000";

impl WrittenLambda {
    pub(super) fn payload(
        &mut self,
        route_id: &str,
        function: Option<&FunctionName>,
        checker: &mut Checker<'_>,
    ) -> Option<PayloadSettings> {
        let on = |switch: Option<bool>| switch.unwrap_or(false);
        let base64_encode_body = self.base64_encode_body.unwrap_or(true);
        let forwarded = ForwardedParts {
            method: on(self.forward_request_method),
            uri: on(self.forward_request_uri),
            headers: on(self.forward_request_headers),
            body: on(self.forward_request_body),
            base64_encode_body,
        };
        let is_gateway_event = on(self.awsgateway_compatible);
        if !is_gateway_event {
            self.refuse_gateway_keys(checker);
        }
        let payload = if is_gateway_event {
            let account = function.and_then(|function| function.account.clone());
            let version = checker.settled(
                declared!(WrittenLambda, "awsgateway_compatible_payload_version"),
                self.awsgateway_compatible_payload_version,
            );
            let mut text = |key: &str, written: &Option<String>, default: &str| {
                let text = written.clone().unwrap_or_else(|| default.to_owned());
                checker.parsed(key, &text, "a text that is not empty", |text| {
                    (!text.is_empty()).then(|| text.to_owned())
                })
            };
            PayloadSettings::Gateway(GatewayEvent {
                version,
                base64_encode_body,
                base64_is_written: self.base64_encode_body.is_some(),
                account_id: text(
                    "account_id",
                    &self.account_id,
                    account.as_deref().unwrap_or(UNKNOWN_ACCOUNT),
                )?,
                api_id: text("api_id", &self.api_id, route_id)?,
                stage: text("stage", &self.stage, &String::standard(declared!(WrittenLambda, "stage")))?,
                stage_variables: self.stage_variables.take().unwrap_or_default(),
            })
        } else if forwarded.method || forwarded.uri || forwarded.headers || forwarded.body {
            PayloadSettings::Forward(forwarded)
        } else {
            return Some(PayloadSettings::Merge { body: self.body.take().map(|body| body.0) });
        };
        if self.body.is_some() {
            let problem =
                "is merged with query and body, which awsgateway_compatible and forward_request_* replace";
            checker.at("body").report(problem, "no `body`, or neither of them");
        }
        Some(payload)
    }

    /// Reports keys of the proxy event without `awsgateway_compatible`.
    fn refuse_gateway_keys(&self, checker: &mut Checker<'_>) {
        for (key, is_there) in [
            ("account_id", self.account_id.is_some()),
            ("api_id", self.api_id.is_some()),
            ("stage", self.stage.is_some()),
            ("stage_variables", self.stage_variables.is_some()),
        ] {
            if is_there {
                checker.at(key).report_incomplete(
                    "has no effect without `awsgateway_compatible`",
                    "`awsgateway_compatible: true`, or remove the key",
                );
            }
        }
    }
}
