//! Signature Version 4 for `execute-api` and `lambda`.
//!
//! `proxy.rs` calls [`Signer::sign`] as the last step before sending: what is signed is what is sent. The
//! result depends on the request, the credentials and the time given, and on nothing else; the derived key is
//! kept for as long as it stays the same. Key derivation and the last HMAC are `aws-sigv4`'s, the canonical
//! request is ours, built in one buffer (`canonical.rs`), and a property test holds both together.
//!
//! Signed are `host`, `content-type` and every `x-amz-*` header that goes out. Whatever a hop may add or
//! rewrite stays unsigned.

pub mod canonical;
pub mod query;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_sigv4::sign::v4;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::proxy::outbound::OutboundRequest;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What a signature is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Such as `us-east-1`.
    pub region: String,
    /// `execute-api` or `lambda`.
    pub service: String,
}

/// Signs the requests of one route.
#[derive(Debug)]
pub struct Signer {
    scope: Scope,
    key: ArcSwapOption<SigningKey>,
}

/// A derived key and all that it was derived from. Anyone who holds it can sign for a day.
struct SigningKey {
    credentials: Credentials,
    day: [u8; 8],
    key: [u8; 32],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// The headers that make a request a signed one.
#[derive(Debug)]
pub struct SigningHeaders {
    date: HeaderValue,
    authorization: HeaderValue,
    security_token: Option<HeaderValue>,
}

impl SigningHeaders {
    /// Puts them into the request, in place of any that are there.
    pub fn apply(self, headers: &mut HeaderMap) {
        headers.insert(DATE, self.date);
        headers.insert(header::AUTHORIZATION, self.authorization);
        match self.security_token {
            Some(token) => headers.insert(SECURITY_TOKEN, token),
            None => headers.remove(SECURITY_TOKEN),
        };
    }
}

impl Signer {
    /// A signer that has derived no key yet.
    pub fn new(scope: Scope) -> Self {
        Self { scope, key: ArcSwapOption::empty() }
    }

    /// Signs a request as it is about to be sent, at the given time.
    ///
    /// # Errors
    /// The access key id or session token does not fit into a header.
    pub fn sign(
        &self,
        request: &OutboundRequest,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<SigningHeaders, InvalidHeaderValue> {
        let time = Timestamp::at(now);
        let token = credentials.session_token().map(sensitive).transpose()?;
        let canonical = canonical::Request {
            outbound: request,
            date: time.date_time(),
            security_token: token.as_ref(),
            payload_hash: hex(&Sha256::digest(request.body.bytes())),
        };
        let text = canonical.text();
        let scope = format!("{}/{}/{}/aws4_request", time.day(), self.scope.region, self.scope.service);
        let string_to_sign = string_to_sign(time.date_time(), &scope, &text.canonical);
        let key = self.key(credentials, &time, now);
        let signature = v4::calculate_signature(key.key, string_to_sign.as_bytes());
        let id = credentials.access_key_id();
        let signed = &text.signed_headers;
        let authorization = sensitive(&format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        ))?;
        Ok(SigningHeaders {
            date: HeaderValue::from_str(time.date_time())?,
            authorization,
            security_token: token,
        })
    }

    /// The key of this day: four HMACs, once a day and rotation.
    fn key(&self, credentials: &Credentials, time: &Timestamp, now: SystemTime) -> Arc<SigningKey> {
        let kept = self.key.load_full();
        if let Some(kept) =
            kept.filter(|kept| kept.day == time.day_bytes() && kept.credentials == *credentials)
        {
            return kept;
        }
        let secret = credentials.secret_access_key();
        let derived = v4::generate_signing_key(secret, now, &self.scope.region, &self.scope.service);
        let mut key = [0; 32];
        key.copy_from_slice(derived.as_ref());
        let key = Arc::new(SigningKey { credentials: credentials.clone(), day: time.day_bytes(), key });
        self.key.store(Some(key.clone()));
        key
    }
}

/// The text whose HMAC is the signature.
pub fn string_to_sign(date_time: &str, scope: &str, canonical: &[u8]) -> String {
    format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{}", hex(&Sha256::digest(canonical)))
}

fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// `20261120T120000Z`, whose first eight characters are the scope's day: one clock read for both.
struct Timestamp([u8; 16]);

impl Timestamp {
    fn at(now: SystemTime) -> Self {
        // beyond the year 9999 the format has no room; no clock is that wrong
        let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let time = OffsetDateTime::from(now.clamp(SystemTime::UNIX_EPOCH, latest));
        let mut text = *b"00000000T000000Z";
        let mut put = |position: usize, width: usize, mut value: u32| {
            for place in text[position..position + width].iter_mut().rev() {
                *place = b'0' + u8::try_from(value % 10).unwrap_or_default();
                value /= 10;
            }
        };
        put(0, 4, u32::try_from(time.year()).unwrap_or_default());
        put(4, 2, u8::from(time.month()).into());
        put(6, 2, time.day().into());
        put(9, 2, time.hour().into());
        put(11, 2, time.minute().into());
        put(13, 2, time.second().into());
        Self(text)
    }

    fn date_time(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    fn day(&self) -> &str {
        &self.date_time()[..8]
    }

    fn day_bytes(&self) -> [u8; 8] {
        let mut day = [0; 8];
        day.copy_from_slice(&self.0[..8]);
        day
    }
}

#[cfg(test)]
mod tests;
