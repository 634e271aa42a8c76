//! What goes out: the head as `client.rs` writes it, the body, and what of it is signed, without any secret.
//!
//! `explain.rs` comes here with what a backend has made of the request.

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
        redaction,
    },
    settings::{CredentialSettings, Hidden, RouteSettings, is_swapped},
    signing::{Scope, Signer, SigningHeaders, hash},
};

/// Stands for what is not at hand: no AWS key looks like this.
const PLACEHOLDER: &str = "PLACEHOLDER";

/// A request on its way to AWS.
#[derive(Debug, Serialize)]
pub struct Outgoing {
    /// Host and port that are connected to.
    pub endpoint: String,
    pub tls: bool,
    pub proxy: Option<String>,
    pub request_line: String,
    /// Names and values in the order in which they go out.
    pub headers: Vec<(String, String)>,
    pub body: Body,
    /// The client's headers and query arguments that do not go out as they came.
    pub left_out: Vec<LeftOut>,
    /// What is another with each request or process.
    pub varies: Vec<String>,
    pub signature: Option<SignatureParts>,
}

#[derive(Debug, Serialize)]
pub struct Body {
    /// Its size in bytes.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
    /// Itself, if it is UTF-8.
    pub text: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct SignatureParts {
    /// Where the keys come from.
    pub keys: String,
    /// The id, unless somebody would have to be asked for it.
    pub key_id: Option<String>,
    /// Whether placeholders stand for the keys.
    pub placeholder: bool,
    /// Day, region, service.
    pub scope: String,
    /// Names with `;` between.
    pub signed_headers: String,
    pub canonical_request: String,
    /// The text whose HMAC is the signature.
    pub string_to_sign: String,
}

impl Outgoing {
    /// Signs a request and takes it apart again.
    ///
    /// # Errors
    /// It cannot be signed or sent.
    pub async fn of(
        route: &RouteSettings,
        backend: &dyn Backend,
        outbound: OutboundRequest,
        sent: &[u8],
        date: SystemTime,
    ) -> Result<Self, ProxyError> {
        let target = backend.target();
        let signing = (&target.scope, route.backend.source());
        let (signature, signing_headers) = match signing {
            (Some(scope), Some(source)) if outbound.signature == Signature::Ours => {
                let (parts, signing_headers) = sign(scope, source, &outbound, date).await?;
                (Some(parts), Some(signing_headers))
            }
            _ => (None, None),
        };
        let head = encode_head(&outbound, signing_headers.as_ref(), target.endpoint.keepalive.enabled)?;
        let (request_line, headers) = lines(&String::from_utf8_lossy(&head));
        // what passes as it arrives is what was sent
        let streams = outbound.body.bytes().is_empty() && outbound.body.length() > 0;
        let body = if streams { sent } else { outbound.body.bytes() };
        Ok(Self {
            endpoint: target.endpoint.to_string(),
            tls: target.endpoint.tls.is_some(),
            proxy: target.endpoint.proxy.as_ref().map(ToString::to_string),
            request_line,
            headers,
            body: Body {
                bytes: outbound.body.length(),
                sha256: hash(body),
                text: str::from_utf8(body).ok().map(str::to_owned),
            },
            left_out: Vec::new(),
            varies: Vec::new(),
            signature,
        })
    }

    /// The same without the texts that nobody is shown.
    pub fn without(mut self, hidden: &Hidden) -> Self {
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

/// Signs with the keys that are at hand, or with placeholders.
async fn sign(
    scope: &Scope,
    source: &CredentialSettings,
    outbound: &OutboundRequest,
    date: SystemTime,
) -> Result<(SignatureParts, SigningHeaders), ProxyError> {
    let OfflineCredentials { source: keys, keys: known } = known_offline(source).await;
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
    let parts = SignatureParts {
        keys,
        key_id,
        placeholder,
        scope: signing_input.scope,
        signed_headers: signing_input.canonical.signed_headers,
        canonical_request: redaction::canonical_request(&String::from_utf8_lossy(
            &signing_input.canonical.text,
        )),
        string_to_sign: signing_input.string_to_sign,
    };
    Ok((parts, headers.map_err(unfit)?))
}

/// The first line and the headers of a head as it goes out; in the order of their names, which has no meaning, so that
/// two explanations can be compared.
fn lines(head: &str) -> (String, Vec<(String, String)>) {
    let mut lines = head.trim_end().split("\r\n");
    let request_line = lines.next().unwrap_or_default().to_owned();
    let headers =
        lines.filter_map(|line| line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))));
    let shown = headers.map(|(name, value)| (name.to_owned(), redaction::header_value(name, value)));
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    (request_line, shown)
}
