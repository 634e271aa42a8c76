//! Signature Version 4 (SigV4), by the rules of the signed service (`text/signing_rules.rs`).
//!
//! [`Signer::sign`] is the last step before a request is sent, so the signed request is the sent request. The
//! signature depends only on the request, the credentials and the time; the derived key is cached. With
//! keys that callers send signs [`Signer::sign_for_caller`], with a derived key for each (`derived_keys.rs`).
//! `aws-sigv4` derives the key; `canonical.rs` writes the canonical request into one buffer. Tests compare
//! the result with `aws-sigv4`, botocore and awscrt (`.ci/signatures/run`). Signing does not change the
//! request, so that it can be signed and sent again: it returns the headers to add, [`SigningHeaders`].
//!
//! [`Signer::signing_input`] needs no secret key: `explain.rs` prints its result, and `diagnosis.rs` compares
//! it with the canonical request in AWS's error message.
//!
//! Signed headers: `host`, every `x-amz-*` header that is sent, and `content-type` if all signers write it in
//! the same form (`has_portable_form`). A header that a hop may add or change is never signed. Whitespace is
//! normalised only in the canonical request, never in the headers that are sent.

pub mod canonical;
pub(crate) mod clock_skew;
pub mod derived_keys;
pub(crate) mod explanation;
pub(crate) mod timestamp;

use std::{borrow::Cow, fmt, sync::Arc, time::SystemTime};

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_sigv4::sign::v4;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use self::{
    canonical::{CanonicalRequest, CanonicalText, SignedHeader, SignedValue},
    derived_keys::DerivedKeys,
    timestamp::Timestamp,
};
use crate::{
    message::outbound::{OutboundRequest, SignedPayload},
    text::{
        hexadecimal,
        signing_rules::{self, SigningRules},
    },
};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const SHA256_HEX_LENGTH: usize = 64;
/// Block size of SHA-256 in bytes (RFC 2104, 2).
const HMAC_BLOCK_SIZE: usize = 64;
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The payload of an `aws-chunked` body with trailers whose chunks have no signatures.
pub const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// Region and service that a signature is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Such as `us-east-1`.
    pub region: String,
    /// Such as `execute-api`.
    pub service: String,
}

/// The owner of the keys of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyOwner {
    /// The route, whose settings name the source of the keys.
    #[default]
    Route,
    /// The caller, who sent the keys with the request.
    Caller,
}

#[derive(Debug)]
pub struct Signer {
    scope: Scope,
    /// Those of the scope's service.
    rules: SigningRules,
    key: ArcSwapOption<SigningKey>,
}

/// A derived signing key and its inputs. Its holder can sign requests for a day.
struct SigningKey {
    credentials: Credentials,
    day: [u8; 8],
    mac: Hmac<Sha256>,
    security_token: Option<HeaderValue>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// The canonical request and the string to sign. Contains the session token, but never the secret key.
pub struct SigningInput {
    time: Timestamp,
    content_sha256: Option<Cow<'static, str>>,
    pub canonical: CanonicalText,
    /// Credential scope: day, region, service and `aws4_request`.
    pub scope: String,
    pub string_to_sign: String,
}

impl fmt::Debug for SigningInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningInput").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// The headers that signing adds to a request.
#[derive(Debug)]
pub struct SigningHeaders {
    date: Timestamp,
    authorization: HeaderValue,
    security_token: Option<HeaderValue>,
    /// Sent if the service requires it, or the body is not signed.
    content_sha256: Option<Cow<'static, str>>,
}

impl SigningHeaders {
    /// True for a header of the request that signing replaces or drops.
    ///
    /// A client's `x-amz-content-sha256` is dropped: AWS rejects a request whose header differs from the
    /// payload hash in the signature. The sidecar sends its own to services that require the header.
    pub fn replace(name: &HeaderName) -> bool {
        [header::AUTHORIZATION, DATE, SECURITY_TOKEN, CONTENT_SHA256].contains(name)
    }

    pub fn lines(&self) -> impl Iterator<Item = (HeaderName, &[u8])> {
        let token = self.security_token.as_ref().map(|token| (SECURITY_TOKEN, token.as_bytes()));
        let always = [(DATE, &self.date.0[..]), (header::AUTHORIZATION, self.authorization.as_bytes())];
        let hash = self.content_sha256.as_ref().map(|hash| (CONTENT_SHA256, hash.as_bytes()));
        always.into_iter().chain(token).chain(hash)
    }
}

impl Signer {
    pub fn new(scope: Scope) -> Self {
        let rules = signing_rules::of(&scope.service);
        Self { scope, rules, key: ArcSwapOption::empty() }
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Signs a request at the given time. The request must not be changed afterwards.
    ///
    /// # Errors
    /// The access key id or the session token is not a valid header value.
    pub fn sign(
        &self,
        request: &OutboundRequest,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<SigningHeaders, InvalidHeaderValue> {
        self.sign_with_input(request, credentials, now).map(|(headers, _)| headers)
    }

    /// The same, and the texts that were signed.
    ///
    /// # Errors
    /// The access key id or the session token is not a valid header value.
    pub fn sign_with_input(
        &self,
        request: &OutboundRequest,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<(SigningHeaders, SigningInput), InvalidHeaderValue> {
        let input = self.signing_input(request, credentials.session_token(), now);
        let key = self.key(credentials, &input.time, now)?;
        let (mac, token) = (key.mac.clone(), key.security_token.clone());
        Ok((signing_headers(&input, credentials.access_key_id(), mac, token)?, input))
    }

    /// Signs a request with keys that its caller has sent. Only the derived key is kept, in `derived_keys`.
    ///
    /// # Errors
    /// The access key id or the session token is not a valid header value.
    pub fn sign_for_caller(
        &self,
        request: &OutboundRequest,
        credentials: &Credentials,
        derived_keys: &DerivedKeys,
        now: SystemTime,
    ) -> Result<(SigningHeaders, SigningInput), InvalidHeaderValue> {
        let input = self.signing_input(request, credentials.session_token(), now);
        let mac = derived_keys.get(credentials, input.time.day_bytes(), || self.derive(credentials, now));
        let token = credentials.session_token().map(sensitive).transpose()?;
        Ok((signing_headers(&input, credentials.access_key_id(), mac, token)?, input))
    }

    /// Steps 1 and 2 of SigV4, which need no secret: the canonical request and the string to sign for this
    /// session token.
    pub fn signing_input(
        &self,
        request: &OutboundRequest,
        token: Option<&str>,
        now: SystemTime,
    ) -> SigningInput {
        let time = Timestamp::at(now);
        // Step 1: https://docs.aws.amazon.com/general/latest/gr/sigv4-create-canonical-request.html
        let payload_hash = payload_hash(request);
        let sends_hash = self.rules.sends_hash || request.payload != SignedPayload::Hash;
        let added = AddedHeaders {
            date: time.date_time(),
            token,
            content_sha256: sends_hash.then_some(&*payload_hash),
        };
        let canonical = CanonicalRequest {
            method: request.method.as_str(),
            path: request.path(),
            path_form: self.rules.path,
            query: request.query().unwrap_or_default(),
            headers: &signed_headers(&request.headers, added),
            payload_hash: &payload_hash,
        }
        .write();
        // Step 2: https://docs.aws.amazon.com/general/latest/gr/sigv4-create-string-to-sign.html
        let scope = [time.day(), &self.scope.region, &self.scope.service, "aws4_request"].join("/");
        let string_to_sign = string_to_sign(time.date_time(), &scope, &canonical.text);
        let content_sha256 = sends_hash.then_some(payload_hash);
        SigningInput { time, content_sha256, canonical, scope, string_to_sign }
    }

    /// The signing key of this day, derived once per day and credentials.
    fn key(
        &self,
        credentials: &Credentials,
        time: &Timestamp,
        now: SystemTime,
    ) -> Result<Arc<SigningKey>, InvalidHeaderValue> {
        let kept = self.key.load_full();
        if let Some(kept) =
            kept.filter(|kept| kept.day == time.day_bytes() && kept.credentials == *credentials)
        {
            return Ok(kept);
        }
        let key = Arc::new(SigningKey {
            credentials: credentials.clone(),
            day: time.day_bytes(),
            mac: self.derive(credentials, now),
            security_token: credentials.session_token().map(sensitive).transpose()?,
        });
        self.key.store(Some(key.clone()));
        Ok(key)
    }

    /// Derives the signing key of a day from the secret access key.
    fn derive(&self, credentials: &Credentials, now: SystemTime) -> Hmac<Sha256> {
        let secret = credentials.secret_access_key();
        let derived = v4::generate_signing_key(secret, now, &self.scope.region, &self.scope.service);
        let mut block = Zeroizing::new([0; HMAC_BLOCK_SIZE]);
        // a key shorter than a block is padded with zeros (RFC 2104, 2)
        block[..derived.as_ref().len()].copy_from_slice(derived.as_ref());
        Hmac::new((&*block).into())
    }
}

/// Steps 3 and 4 of SigV4: the signature with a derived key, and the headers that contain it.
fn signing_headers(
    SigningInput { time, content_sha256, canonical, scope, string_to_sign }: &SigningInput,
    key_id: &str,
    mac: Hmac<Sha256>,
    security_token: Option<HeaderValue>,
) -> Result<SigningHeaders, InvalidHeaderValue> {
    // Step 3: https://docs.aws.amazon.com/general/latest/gr/sigv4-calculate-signature.html
    let signature = mac.chain_update(string_to_sign).finalize().into_bytes();
    // Step 4: https://docs.aws.amazon.com/general/latest/gr/sigv4-add-signature-to-request.html
    let parts: [&[u8]; 7] = [
        b"AWS4-HMAC-SHA256 Credential=",
        key_id.as_bytes(),
        b"/",
        scope.as_bytes(),
        b", SignedHeaders=",
        canonical.signed_headers.as_bytes(),
        b", Signature=",
    ];
    let mut authorization =
        Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + SHA256_HEX_LENGTH);
    for part in parts {
        authorization.extend_from_slice(part);
    }
    authorization.extend_from_slice(&hexadecimal::digits::<SHA256_HEX_LENGTH>(&signature));
    let mut authorization = HeaderValue::from_maybe_shared(Bytes::from(authorization))?;
    authorization.set_sensitive(true);
    Ok(SigningHeaders {
        date: time.clone(),
        authorization,
        security_token,
        content_sha256: content_sha256.clone(),
    })
}

/// The payload in the canonical request: the hash of the body, or a word that stands for it.
fn payload_hash(request: &OutboundRequest) -> Cow<'static, str> {
    match (request.payload, request.body.bytes()) {
        (SignedPayload::Hash, []) => EMPTY_SHA256.into(),
        (SignedPayload::Hash, body) => hash(body).into(),
        (SignedPayload::Unsigned, _) => UNSIGNED_PAYLOAD.into(),
        (SignedPayload::UnsignedTrailer, _) => UNSIGNED_TRAILER.into(),
    }
}

/// The headers that signing adds and signs.
#[derive(Clone, Copy)]
struct AddedHeaders<'a> {
    date: &'a str,
    token: Option<&'a str>,
    content_sha256: Option<&'a str>,
}

/// The signed headers, sorted by name.
fn signed_headers<'a>(headers: &'a HeaderMap, added: AddedHeaders<'a>) -> Vec<SignedHeader<'a>> {
    let mut signed = Vec::with_capacity(8);
    signed.push(SignedHeader { name: "x-amz-date", value: SignedValue::Added(added.date) });
    if let Some(token) = added.token {
        signed.push(SignedHeader { name: "x-amz-security-token", value: SignedValue::Added(token) });
    }
    if let Some(hash) = added.content_sha256 {
        signed.push(SignedHeader { name: "x-amz-content-sha256", value: SignedValue::Added(hash) });
    }
    for name in headers.keys().filter(|name| is_signed(name)) {
        let lines = headers.get_all(name).as_slice();
        if *name == header::CONTENT_TYPE && !lines.iter().all(has_portable_form) {
            continue;
        }
        signed.push(SignedHeader { name: name.as_str(), value: SignedValue::Lines(lines) });
    }
    signed.sort_unstable_by_key(|header| header.name);
    signed
}

/// True for a header of the request that is signed; the headers in [`SigningHeaders`] are signed separately.
fn is_signed(name: &HeaderName) -> bool {
    *name == header::HOST
        || *name == header::CONTENT_TYPE
        || (name.as_str().starts_with("x-amz-") && !SigningHeaders::replace(name))
}

/// True for a `Content-Type` of visible ASCII with single spaces, which every signer writes in the same form.
///
/// Signers differ on tabs, on runs of spaces within quotes, and on bytes outside ASCII. Such a value is sent
/// unsigned, which AWS accepts: the AWS SDK for JavaScript v2 never signs this header. An `x-amz-*` header
/// must be signed whatever it contains.
fn has_portable_form(value: &HeaderValue) -> bool {
    let mut before = b' ';
    for &byte in value.as_bytes() {
        if !matches!(byte, b' '..=b'~') || (byte == b' ' && before == b' ') {
            return false;
        }
        before = byte;
    }
    before != b' ' || value.is_empty()
}

pub fn string_to_sign(date_time: &str, scope: &str, canonical: &[u8]) -> String {
    ["AWS4-HMAC-SHA256", date_time, scope, &hash(canonical)].join("\n")
}

fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// SHA-256 in lower-case hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    hexadecimal::text(&hexadecimal::digits::<SHA256_HEX_LENGTH>(&Sha256::digest(bytes))).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn debug_of_a_signing_key_and_of_the_headers_shows_no_secret() {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "hush-secret", Some("hush-token".into()), None, "test");
        let signer = Signer::new(Scope { region: "us-east-1".into(), service: "lambda".into() });
        let time = Timestamp::at(SystemTime::UNIX_EPOCH);
        let key = signer.key(&credentials, &time, SystemTime::UNIX_EPOCH).unwrap();
        let headers = SigningHeaders {
            date: Timestamp::at(SystemTime::UNIX_EPOCH),
            authorization: sensitive("hush-signature").unwrap(),
            security_token: Some(sensitive("hush-token").unwrap()),
            content_sha256: None,
        };
        let shown = format!("{signer:?} {key:?} {headers:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn the_key_is_derived_again_for_another_day_or_other_credentials_only() {
        let credentials = |secret: &str| Credentials::new("AKIDEXAMPLE", secret, None, None, "test");
        let signer = Signer::new(Scope { region: "us-east-1".into(), service: "lambda".into() });
        let key = |secret, seconds| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            signer.key(&credentials(secret), &Timestamp::at(now), now).unwrap()
        };
        let first = key("a", 0);
        assert!(Arc::ptr_eq(&first, &key("a", 86_399)));
        assert!(!Arc::ptr_eq(&first, &key("a", 86_400)));
        assert!(!Arc::ptr_eq(&first, &key("b", 0)));
    }
}
