//! The outbound request as `client` would send it, and its signature, without secrets.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use serde::Serialize;

use super::left_out::LeftOut;
use crate::{
    backend::Backend,
    client::encode_head,
    credentials::{OfflineCredentials, known_offline},
    message::{
        error::{ErrorKind, ProxyError},
        outbound::{OutboundRequest, Signature},
        redaction::{self, sensitive_names},
    },
    settings::{Hidden, RouteSettings, is_swapped, service},
    signing::{Scope, Signer, SigningHeaders, hash},
};

/// Replaces credentials that are not known offline. No AWS key looks like this.
const PLACEHOLDER: &str = "PLACEHOLDER";
/// The source of keys that came with the request.
const CALLER: &str = "the caller's Authorization";

/// An outbound request.
#[derive(Debug, Serialize)]
pub struct Outgoing {
    /// Host and port to connect to.
    pub endpoint: String,
    pub tls: bool,
    pub proxy: Option<String>,
    /// The setting or variable that named the proxy, or that made the connection direct.
    pub proxy_reason: Option<&'static str>,
    pub request_line: String,
    /// Names and values, sorted by name.
    pub headers: Vec<(String, String)>,
    pub body: OutgoingBody,
    /// Headers and query arguments of the client that are removed or replaced.
    pub left_out: Vec<LeftOut>,
    /// Headers and other parts whose value differs with each request or process.
    pub varies: Vec<String>,
    pub signature: Option<SignatureParts>,
}

#[derive(Debug, Serialize)]
pub struct OutgoingBody {
    /// The size in bytes.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
    /// The body, if it is UTF-8.
    pub text: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct SignatureParts {
    /// The source of the credentials.
    pub keys: String,
    /// The access key id; `None` if it is not known offline.
    pub key_id: Option<String>,
    /// Key id, token and signature are those of placeholders.
    pub placeholder: bool,
    /// Date, region and service.
    pub scope: String,
    /// Reasons to doubt region or service, a sentence each.
    pub doubts: Vec<String>,
    /// Names, separated by `;`.
    pub signed_headers: String,
    pub canonical_request: String,
    /// The text whose HMAC is the signature.
    pub string_to_sign: String,
}

impl Outgoing {
    /// Signs a request, with the keys of `caller` if it sent some, and encodes its head; `received` is the
    /// client's body.
    ///
    /// # Errors
    /// The request cannot be signed or sent.
    pub async fn of(
        route: &RouteSettings,
        backend: &dyn Backend,
        outbound: OutboundRequest,
        caller: Option<&Credentials>,
        received: &[u8],
        date: SystemTime,
    ) -> Result<Self, ProxyError> {
        let target = backend.target();
        let keys = match (caller, route.backend.source()) {
            (Some(keys), _) => {
                Some(OfflineCredentials { source: CALLER.to_owned(), keys: Some(keys.clone()) })
            }
            (None, Some(source)) => Some(known_offline(source).await),
            (None, None) => None,
        };
        let (signature, signing_headers) = match (&target.scope, keys) {
            (Some(scope), Some(keys)) if outbound.signature == Signature::Ours => {
                let (parts, signing_headers) = sign(scope, keys, &outbound, date)?;
                (Some(parts), Some(signing_headers))
            }
            _ => (None, None),
        };
        let head = encode_head(&outbound, signing_headers.as_ref(), target.endpoint.keepalive.enabled)?;
        let sensitive = sensitive_names(&outbound.headers);
        let (request_line, headers) = parse_head(&String::from_utf8_lossy(&head), &sensitive);
        // a streamed body is sent unchanged
        let bytes = outbound.body.length().unwrap_or(received.len() as u64);
        let streams = outbound.body.bytes().is_empty() && bytes > 0;
        let body = if streams { received } else { outbound.body.bytes() };
        Ok(Self {
            endpoint: target.endpoint.to_string(),
            tls: target.endpoint.tls.is_some(),
            proxy: target.endpoint.proxy.as_ref().map(ToString::to_string),
            proxy_reason: route.backend.upstream().proxy.reason(),
            request_line,
            headers,
            body: OutgoingBody {
                bytes,
                sha256: hash(body),
                text: str::from_utf8(body).ok().map(str::to_owned),
            },
            left_out: Vec::new(),
            varies: Vec::new(),
            signature,
        })
    }

    /// Replaces secret texts of the settings.
    pub fn redacted(mut self, hidden: &Hidden) -> Self {
        let leave_out = |text: &mut String| *text = hidden.left_out_of(text, redaction::REDACTED);
        leave_out(&mut self.request_line);
        self.headers.iter_mut().for_each(|(_, value)| leave_out(value));
        self.body.text.iter_mut().for_each(leave_out);
        if let Some(signature) = &mut self.signature {
            leave_out(&mut signature.canonical_request);
        }
        self
    }
}

/// Signs with credentials that are known offline, or with placeholders.
fn sign(
    scope: &Scope,
    OfflineCredentials { source: keys, keys: known }: OfflineCredentials,
    outbound: &OutboundRequest,
    date: SystemTime,
) -> Result<(SignatureParts, SigningHeaders), ProxyError> {
    if known.as_ref().is_some_and(|keys| is_swapped(keys.access_key_id())) {
        let cause = format!("the access key id of {keys} has the shape of a secret: the two may be swapped");
        return Err(ProxyError::new(ErrorKind::CredentialsUnavailable, cause));
    }
    let placeholder = known.is_none();
    let key_id = known.as_ref().map(|keys| keys.access_key_id().to_owned());
    let credentials = known.unwrap_or_else(|| {
        let token = Some(PLACEHOLDER.to_owned());
        Credentials::new(PLACEHOLDER, PLACEHOLDER, token, None, "explain")
    });
    let signer = Signer::new(scope.clone());
    let signing_input = signer.signing_input(outbound, credentials.session_token(), date);
    let headers = signer.sign(outbound, &credentials, date);
    let unfit = |cause: actix_http::header::InvalidHeaderValue| {
        ProxyError::new(ErrorKind::CredentialsUnavailable, cause.to_string())
    };
    let host = outbound.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let parts = SignatureParts {
        doubts: service::doubts(host, &scope.region, &scope.service),
        keys,
        key_id,
        placeholder,
        scope: signing_input.scope,
        signed_headers: signing_input.canonical.signed_headers,
        canonical_request: redaction::canonical_request(
            &String::from_utf8_lossy(&signing_input.canonical.text),
            &sensitive_names(&outbound.headers),
        ),
        string_to_sign: signing_input.string_to_sign,
    };
    Ok((parts, headers.map_err(unfit)?))
}

/// The request line and the headers of an encoded head, sorted by name, so that two explanations can be
/// compared.
fn parse_head(head: &str, sensitive: &[&str]) -> (String, Vec<(String, String)>) {
    let mut lines = head.trim_end().split("\r\n");
    let request_line = lines.next().unwrap_or_default().to_owned();
    let headers =
        lines.filter_map(|line| line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))));
    let shown =
        headers.map(|(name, value)| (name.to_owned(), redaction::header_value(name, value, sensitive)));
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    (request_line, shown)
}
