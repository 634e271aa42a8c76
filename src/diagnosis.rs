//! Cause and cure of a call that AWS refused, in one sentence for the log; the client never sees it.
//!
//! `proxy/call.rs` records a refused call ([`RefusedCall`]) at no cost for other calls, and [`diagnose`] runs
//! before the backend converts the refusal. A refused signature is compared part by part if AWS returns the
//! request that it expected (`comparison.rs`); otherwise AWS's error type and message decide
//! (`sentences.rs`). Refusals for other reasons, such as an API key or a quota, are in `denial.rs`.

mod comparison;
mod denial;
mod sentences;

use std::{borrow::Cow, time::SystemTime};

use self::denial::Denial;
use actix_http::{
    StatusCode,
    header::{self, HeaderValue},
};
use aws_credential_types::Credentials;
use log::Level;

use crate::{
    client::aws_error::{AwsApi, error_type},
    client::{ReplyBody, UpstreamReply},
    message::{
        log_note::LogNote,
        outbound::OutboundRequest,
        redaction::{key_id_end, sensitive_names},
    },
    signing::{
        KeyOwner, Signer, SigningInput,
        explanation::{explanation, message, split},
    },
    text::flat_xml,
};

/// The header that carries an API key (API Gateway developer guide, API key sources).
const API_KEY: &str = "x-api-key";

/// Facts about a route that decide which advice fits it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller {
    /// The route has credentials to sign with.
    pub signs: bool,
    /// The AWS API that is called, which decides which settings can be named.
    pub api: AwsApi,
    /// The endpoint's name belongs to another service or region than the route signs for.
    pub has_doubtful_scope: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ApiKey {
    #[default]
    None,
    /// The route's `authorization.apikey`.
    OfRoute,
    /// A key that the client sent.
    OfClient,
}

impl ApiKey {
    /// `backend/api_gateway.rs` marks the route's key as sensitive; a client's is not.
    fn of(request: &OutboundRequest) -> Self {
        match request.headers.get(API_KEY) {
            None => Self::None,
            Some(key) if key.is_sensitive() => Self::OfRoute,
            Some(_) => Self::OfClient,
        }
    }
}

/// A call that AWS refused, as it was sent.
#[derive(Debug, Default)]
pub struct RefusedCall {
    host: String,
    api_key: ApiKey,
    caller: Caller,
    /// The client signed the call itself.
    is_signed_by_client: bool,
    /// `None` if the route did not sign the call.
    signed: Option<SignedRequest>,
}

#[derive(Debug)]
pub struct Diagnosis {
    /// The label in the metric of denials; `None` for refused signatures.
    pub denial: Option<&'static str>,
    /// The caller's keys are the cause, so that nothing is wrong with the route.
    pub is_callers: bool,
    pub note: LogNote,
}

/// The signature that was sent, for the comparison with AWS's.
#[derive(Debug)]
pub struct SignedRequest {
    signing_input: SigningInput,
    /// The owner of the keys that signed.
    owner: KeyOwner,
    /// Headers whose values are not quoted.
    sensitive: Vec<String>,
    key_id: String,
    has_token: bool,
    host: String,
    region: String,
    service: String,
    dated: SystemTime,
}

/// AWS's reasons to refuse a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignatureRefusal {
    /// The signature does not match, or its date or scope is wrong.
    Signature,
    /// `Authorization` is malformed.
    Incomplete,
    /// There is no signature, or the path or the method is unknown.
    Missing,
    /// The access key id is unknown, or the session token belongs to another key.
    UnknownKey,
    Expired,
}

impl SignatureRefusal {
    /// The reason for an error type of API Gateway, Lambda or the services of the query protocol.
    fn named(error_type: &str) -> Option<Self> {
        Some(match error_type.strip_suffix("Exception").unwrap_or(error_type) {
            "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "AuthorizationHeaderMalformed"
            | "RequestTimeTooSkewed"
            | "RequestExpired" => Self::Signature,
            "IncompleteSignature" => Self::Incomplete,
            "MissingAuthenticationToken" => Self::Missing,
            "UnrecognizedClient" | "InvalidClientTokenId" | "InvalidAccessKeyId" | "InvalidToken" => {
                Self::UnknownKey
            }
            "ExpiredToken" => Self::Expired,
            _ => return None,
        })
    }

    fn of(reply: &UpstreamReply) -> Option<Self> {
        let is_refusal = matches!(
            reply.status,
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST
        );
        if is_refusal { error_type(&reply.headers).and_then(Self::named) } else { None }
    }
}

/// True if [`diagnose`] may have a sentence for a response with this head.
pub fn concerns(reply: &UpstreamReply, caller: Caller) -> bool {
    SignatureRefusal::of(reply).is_some()
        || Denial::of(reply).is_some()
        || (caller.api == AwsApi::ObjectStore && reply.is_xml_refusal())
        || (caller.has_doubtful_scope && reply.status == StatusCode::FORBIDDEN)
}

impl RefusedCall {
    /// Records a call; `signed` is the route's signature.
    pub fn of(request: &OutboundRequest, signed: Option<SignedRequest>, caller: Caller) -> Self {
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let authorization = request.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_signed = authorization.is_some_and(|value| value.starts_with(b"AWS4-"))
            || request.path_and_query.contains("X-Amz-Signature=");
        Self {
            host: host.to_owned(),
            api_key: ApiKey::of(request),
            caller,
            is_signed_by_client: signed.is_none() && is_signed,
            signed,
        }
    }
}

impl SignedRequest {
    /// Records the signature of a request before it was added, with its credentials and time.
    pub fn of(
        request: &OutboundRequest,
        signer: &Signer,
        keys: &Credentials,
        owner: KeyOwner,
        dated: SystemTime,
    ) -> Self {
        let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scope = signer.scope();
        Self {
            signing_input: signer.signing_input(request, keys.session_token(), dated),
            owner,
            sensitive: sensitive_names(&request.headers).into_iter().map(str::to_owned).collect(),
            key_id: keys.access_key_id().to_owned(),
            has_token: keys.session_token().is_some(),
            host: host.to_owned(),
            region: scope.region.clone(),
            service: scope.service.clone(),
            dated,
        }
    }

    /// The access key in sentences, by the last characters of its id: `the access key that ends in MPLE`.
    fn key_name(&self) -> String {
        let caller = if self.owner == KeyOwner::Caller { "caller's " } else { "" };
        format!("the {caller}access key that ends in {}", self.key())
    }

    /// The last characters of the access key id.
    fn key(&self) -> &str {
        key_id_end(&self.key_id)
    }
}

/// The cause and the cure of a refusal; `None` for any other response.
pub fn diagnose(reply: &UpstreamReply, call: &RefusedCall) -> Option<Diagnosis> {
    let body: &[u8] = if let ReplyBody::Whole(body) = &reply.body { body } else { b"" };
    // AWS's bodies are UTF-8
    let body = str::from_utf8(body).unwrap_or_default();
    let code = if call.caller.api == AwsApi::ObjectStore { flat_xml::element(body, "Code") } else { None };
    let reason = SignatureRefusal::of(reply).or_else(|| SignatureRefusal::named(code.as_deref()?));
    let of_code = || (code.as_deref()? == "AccessDenied").then_some(Denial::AccessDenied);
    let denial = Denial::of(reply).or_else(of_code);
    let (denial, text) = match (reason, denial, &call.signed) {
        (Some(reason), ..) => (None, refused_signature(reason, reply, body, call)),
        (None, Some(denial), _) => (Some(denial.label()), denial.sentence(body, call)?),
        (None, None, Some(signed)) if call.caller.has_doubtful_scope => {
            (None, sentences::doubtful_scope(reply.status, signed))
        }
        (None, None, _) => return None,
    };
    let is_about_keys = denial.is_none_or(|denial| denial == Denial::AccessDenied.label());
    let owner = call.signed.as_ref().map(|signed| signed.owner);
    let is_callers = is_about_keys && owner == Some(KeyOwner::Caller);
    let level = if is_callers { Level::Info } else { Level::Warn };
    Some(Diagnosis { denial, is_callers, note: LogNote { level, text } })
}

fn refused_signature(
    reason: SignatureRefusal,
    reply: &UpstreamReply,
    body: &str,
    call: &RefusedCall,
) -> String {
    let Refusal { message, expected } = match call.caller.api {
        AwsApi::ObjectStore => Refusal::in_xml(body),
        AwsApi::Gateway | AwsApi::Lambda => Refusal::in_json(body),
    };
    match (&call.signed, expected) {
        (Some(signed_request), Some((canonical, string_to_sign))) => {
            comparison::sentence(signed_request, &canonical, &string_to_sign)
        }
        (Some(signed_request), None) => {
            sentences::signed(reason, &message, &reply.headers, signed_request, call.caller)
        }
        (None, _) => sentences::unsigned(reason, call.caller),
    }
}

/// AWS's error for a signature.
struct Refusal {
    message: String,
    /// Canonical request and string to sign that AWS expected.
    expected: Option<(String, String)>,
}

impl Refusal {
    fn in_json(body: &str) -> Self {
        let text = message(body).map_or(Cow::Borrowed(body), Cow::Owned);
        let expected = explanation(&text);
        let expected =
            expected.map(|(canonical, string_to_sign)| (canonical.to_owned(), string_to_sign.to_owned()));
        // an incomplete explanation is left out, because it repeats the request
        Self { message: split(&text).0.to_owned(), expected }
    }

    /// An error of Amazon S3 has the expected request in elements of its own.
    fn in_xml(body: &str) -> Self {
        let element = |name: &str| flat_xml::element(body, name).map(Cow::into_owned);
        let expected = element("CanonicalRequest").zip(element("StringToSign"));
        Self { message: element("Message").unwrap_or_default(), expected }
    }
}
