//! Requests signed by AWS's own signer, for the services of the stand-in.

use std::time::SystemTime;

use apigw_invoker::stand_in::{StandIn, StandInKeys};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{self, SignableBody, SignableRequest, SigningSettings},
    sign::v4,
};

use super::{Response, call};

/// Keys, scope and time of a signature.
pub struct Signatory {
    pub keys: StandInKeys,
    pub at: SystemTime,
}

impl Signatory {
    /// A signer with keys that the stand-in knows.
    pub fn known(service: &str) -> Self {
        Self {
            keys: StandInKeys { service: service.into(), ..StandInKeys::example() },
            at: SystemTime::now(),
        }
    }

    /// The same with other keys.
    pub fn with(service: &str, change: impl FnOnce(&mut StandInKeys)) -> Self {
        let mut signatory = Self::known(service);
        change(&mut signatory.keys);
        signatory
    }

    /// Headers that AWS's signer adds.
    pub fn sign(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        self.sign_for("localhost", method, target, headers, body)
    }

    /// Headers that AWS's signer adds for another host.
    pub fn sign_for(
        &self,
        host: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        let StandInKeys { access_key_id, secret_access_key, session_token, region, service, .. } = &self.keys;
        let identity =
            Credentials::new(access_key_id, secret_access_key, session_token.clone(), None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(self.at)
            .settings(SigningSettings::default())
            .build()
            .expect("all parameters are there");
        let headers = [("host", host)].into_iter().chain(headers.iter().copied());
        let url = format!("http://{host}{target}");
        let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body));
        let signed = http_request::sign(request.expect("a request"), &parameters.into());
        let (instructions, _) = signed.expect("it can be signed").into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Sends a signed request.
    #[track_caller]
    pub fn send(
        &self,
        to: &StandIn,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let signature = self.sign(method, target, headers, body);
        let signature = signature.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain(signature).collect();
        call(to.address(), method, target, &headers, body)
    }

    /// Sends a signed POST.
    #[track_caller]
    pub fn post(&self, to: &StandIn, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send(to, "POST", target, headers, body)
    }
}
