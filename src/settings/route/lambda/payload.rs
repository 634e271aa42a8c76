//! What the section says about the event that a function is given.

use super::{ForwardedParts, GatewayEvent, PayloadSettings, WrittenLambda, function::FunctionName};
use crate::settings::source::{check::Checker, key_type::KeyType as _};

/// The account of a function that is called by its name alone.
const NO_ACCOUNT: &str = "000000000000";

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
        let payload = if on(self.awsgateway_compatible) {
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
                account_id: text("account_id", &self.account_id, account.as_deref().unwrap_or(NO_ACCOUNT))?,
                api_id: text("api_id", &self.api_id, route_id)?,
                stage: text("stage", &self.stage, &String::standard(declared!(WrittenLambda, "stage")))?,
                stage_variables: self.stage_variables.take().unwrap_or_default(),
            })
        } else if forwarded.method || forwarded.uri || forwarded.headers || forwarded.body {
            PayloadSettings::Forward(forwarded)
        } else {
            self.refuse_gateway_keys(checker);
            return Some(PayloadSettings::Merge { body: self.body.take().map(|body| body.0) });
        };
        if !matches!(payload, PayloadSettings::Gateway(_)) {
            self.refuse_gateway_keys(checker);
        }
        if self.body.is_some() {
            let problem =
                "is merged with query and body, which awsgateway_compatible and forward_request_* replace";
            checker.at("body").report(problem, "no `body`, or neither of them");
        }
        Some(payload)
    }

    /// Only an API Gateway's event has them.
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
