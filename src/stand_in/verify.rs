//! Verification of Signature Version 4, as AWS does it.
//!
//! Written from AWS's description alone ("Create a signed AWS API request") and without code of `signing.rs`,
//! so that neither can repeat the other's mistakes.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use actix_web::http::header::HeaderName;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

use super::{
    answers::GatewayError,
    functions::ReceivedRequest,
    issued::{KeyRegister, Principal},
    service_rules,
};

const DATE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// The keys that a stand-in accepts besides those that it issues.
#[derive(Clone)]
pub struct StandInKeys {
    /// The value of `x-api-key`.
    pub api_key: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The token of temporary keys.
    pub session_token: Option<String>,
    pub region: String,
    /// The service's name in signatures for API Gateway.
    pub service: String,
}

impl StandInKeys {
    /// The keys of AWS's own examples.
    pub fn example() -> Self {
        Self {
            api_key: "an-api-key-of-at-least-20-characters".into(),
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            region: "us-east-1".into(),
            service: "execute-api".into(),
        }
    }
}

impl fmt::Debug for StandInKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandInKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Verifies the requests to one service.
#[derive(Debug)]
pub struct Verifier<'a> {
    pub keys: &'a StandInKeys,
    pub issued: &'a KeyRegister,
    pub service: &'a str,
    pub region: &'a str,
    /// The service's clock.
    pub now: SystemTime,
}

/// A parsed `Authorization` header.
pub(super) struct SignatureHeader<'a> {
    /// The serial number of the certificate, in signatures of IAM Roles Anywhere.
    pub(super) access_key_id: &'a str,
    pub(super) scope: &'a str,
    pub(super) signed_headers: Vec<&'a str>,
    pub(super) signature: &'a str,
}

impl<'a> SignatureHeader<'a> {
    fn parse(header: &'a str) -> Result<Self, GatewayError> {
        Self::parse_as(header, "AWS4-HMAC-SHA256")
    }

    /// Parses a header with this algorithm.
    pub(super) fn parse_as(header: &'a str, algorithm: &str) -> Result<Self, GatewayError> {
        let incomplete = |what: &str| {
            GatewayError::IncompleteSignature(format!("Authorization header requires '{what}' parameter."))
        };
        let rest = header.strip_prefix(algorithm).and_then(|rest| rest.strip_prefix(' '));
        let rest = rest.ok_or_else(|| incomplete("Credential"))?;
        let part = |name: &str| {
            let mut parts = rest.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).ok_or_else(|| incomplete(name))
        };
        let (access_key_id, scope) =
            part("Credential")?.split_once('/').ok_or_else(|| incomplete("Credential"))?;
        Ok(Self {
            access_key_id,
            scope,
            signed_headers: part("SignedHeaders")?.split(';').collect(),
            signature: part("Signature")?,
        })
    }
}

impl Verifier<'_> {
    /// Verifies a request's signature and returns its signer.
    ///
    /// # Errors
    /// AWS's refusal.
    pub fn verify(&self, request: &ReceivedRequest) -> Result<Principal, GatewayError> {
        let header = header(request, "authorization").ok_or(GatewayError::MissingAuthenticationToken)?;
        let SignatureHeader { access_key_id, scope, signed_headers, signature: given } =
            SignatureHeader::parse(&header)?;
        let token = self::header(request, "x-amz-security-token");
        let (secret, identity) = self.secret(access_key_id, token.as_deref())?;
        let date = self::header(request, "x-amz-date").ok_or_else(|| {
            GatewayError::IncompleteSignature(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".into(),
            )
        })?;
        self.check_date(&date)?;
        self.check_scope(scope, &date)?;
        check_signed_headers(request, &signed_headers)?;
        let payload = self.payload(request)?;
        let path = if service_rules::is_s3(self.service) {
            service_rules::s3_path(&request.path)
        } else {
            canonical_path(&request.path)
        };
        let canonical = canonical(request, &signed_headers, path, payload);
        let string_to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex_digest(&canonical));
        if signature(&secret, scope, &string_to_sign) == given {
            return Ok(identity);
        }
        let canonical = String::from_utf8_lossy(&canonical);
        Err(GatewayError::InvalidSignature(format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS \
             Secret Access Key and signing method. Consult the service documentation for details.\n\nThe \
             Canonical String for this request should have been\n'{canonical}'\n\n\
             The String-to-Sign should have been\n\
             '{string_to_sign}'\n"
        )))
    }

    /// The payload that the signature covers; an `aws-chunked` body must be whole.
    fn payload(&self, request: &ReceivedRequest) -> Result<String, GatewayError> {
        let given = header(request, "x-amz-content-sha256");
        let payload = service_rules::payload(self.service, given.as_deref(), &request.body)?;
        if payload.starts_with("STREAMING-") {
            let length = header(request, "x-amz-decoded-content-length").and_then(|text| text.parse().ok());
            let is_whole = service_rules::unchunked(&request.body)
                .is_some_and(|(object, _)| length == Some(object.len()));
            if !is_whole {
                let message = "The body is not aws-chunked, or has another length.";
                return Err(GatewayError::InvalidSignature(message.into()));
            }
        }
        Ok(payload)
    }

    /// The secret and the owner of the keys that a request names.
    fn secret(&self, access_key_id: &str, token: Option<&str>) -> Result<(String, Principal), GatewayError> {
        if access_key_id == self.keys.access_key_id && token == self.keys.session_token.as_deref() {
            return Ok((self.keys.secret_access_key.clone(), Principal::User));
        }
        let issued = self.issued.find(access_key_id).ok_or(GatewayError::UnrecognizedClient)?;
        if token != Some(&*issued.session_token) {
            return Err(GatewayError::UnrecognizedClient);
        }
        if issued.expires <= self.now {
            return Err(GatewayError::ExpiredToken);
        }
        Ok((issued.secret_access_key, issued.identity))
    }

    pub(super) fn check_date(&self, date: &str) -> Result<(), GatewayError> {
        let malformed =
            |_| GatewayError::IncompleteSignature("Date must be in ISO-8601 'basic format'.".into());
        let signed = PrimitiveDateTime::parse(date, DATE_TIME).map_err(malformed)?.assume_utc();
        let now = OffsetDateTime::from(self.now);
        // STS and S3 tolerate a larger difference of the clocks
        let minutes = service_rules::tolerance(self.service);
        let tolerance = Duration::from_mins(minutes);
        let text = |time: OffsetDateTime| time.format(DATE_TIME).unwrap_or_default();
        if signed < now - tolerance {
            return Err(GatewayError::InvalidSignature(format!(
                "Signature expired: {date} is now earlier than {} ({} - {minutes} min.)",
                text(now - tolerance),
                text(now)
            )));
        }
        if signed > now + tolerance {
            return Err(GatewayError::InvalidSignature(format!(
                "Signature not yet current: {date} is still later than {} ({} + {minutes} min.)",
                text(now + tolerance),
                text(now)
            )));
        }
        Ok(())
    }

    pub(super) fn check_scope(&self, scope: &str, date: &str) -> Result<(), GatewayError> {
        let wrong = |message: String| Err(GatewayError::InvalidSignature(message));
        let parts: Vec<&str> = scope.split('/').collect();
        let [day, region, service, end] = parts[..] else {
            return Err(GatewayError::IncompleteSignature(
                "Credential must have exactly 5 slash-delimited elements.".into(),
            ));
        };
        if end != "aws4_request" {
            return wrong("Credential should be scoped with a valid terminator: 'aws4_request'.".into());
        }
        if date.get(..8) != Some(day) {
            return wrong(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{day}' != '{date}'."
            ));
        }
        if region != self.region {
            return wrong(format!("Credential should be scoped to a valid region, not '{region}'."));
        }
        if service != self.service {
            return wrong(format!("Credential should be scoped to correct service: '{}'.", self.service));
        }
        Ok(())
    }
}

/// Requires `host` and all `x-amz-*` headers among the signed ones.
pub(super) fn check_signed_headers(request: &ReceivedRequest, signed: &[&str]) -> Result<(), GatewayError> {
    let mut names = request.headers.keys().map(HeaderName::as_str);
    let unsigned = names
        .find(|name| (*name == "host" || name.starts_with("x-amz-")) && !signed.contains(name))
        .map(|name| format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."));
    unsigned.map_or(Ok(()), |message| Err(GatewayError::InvalidSignature(message)))
}

/// All lines of a header, joined.
pub(super) fn header(request: &ReceivedRequest, name: &str) -> Option<String> {
    let lines = request.headers.get_all(name);
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

pub(super) fn canonical(
    request: &ReceivedRequest,
    signed_headers: &[&str],
    path: String,
    payload: String,
) -> Vec<u8> {
    let headers = signed_headers.iter().map(|name| {
        let lines: Vec<Vec<u8>> =
            request.headers.get_all(*name).map(|line| single_blanks(line.as_bytes())).collect();
        [name.as_bytes(), b":", &lines.join(&b',')].concat()
    });
    let mut lines = vec![
        request.method.as_str().as_bytes().to_vec(),
        path.into_bytes(),
        canonical_query(&request.query).into_bytes(),
    ];
    lines.extend(headers);
    lines.push(Vec::new());
    lines.push(signed_headers.join(";").into_bytes());
    lines.push(payload.into_bytes());
    lines.join(&b'\n')
}

/// "Remove leading and trailing spaces, convert sequential spaces to a single space." Within quotes too
/// (AWS's vector `get-header-value-trim`); a tab counts as a space (botocore, awscrt, AWS's SDKs for Java).
fn single_blanks(value: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

/// "Normalize URI paths according to RFC 3986", then "each path segment must be URI-encoded twice".
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    // "if the path ends with a slash": `/.` and `/..` do not
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    let encoded: Vec<String> = segments.into_iter().map(|segment| encode(segment.as_bytes())).collect();
    format!("/{}{end}", encoded.join("/"))
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

pub(super) fn encode(bytes: &[u8]) -> String {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encode(bytes, ESCAPED).to_string()
}

pub(super) fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

fn signature(secret: &str, scope: &str, string_to_sign: &str) -> String {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part.as_bytes());
    }
    hex::encode(hmac(&key, string_to_sign.as_bytes()))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

pub(super) fn hex_digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_a_header_may_have_any_order(
            id in "[A-Z0-9]{1,12}",
            scope in "[a-z0-9/-]{0,20}",
            names in prop::collection::vec("[a-z-]{1,8}", 1..4),
            signature in "[0-9a-f]{0,64}",
            order in Just(vec![0, 1, 2]).prop_shuffle(),
        ) {
            let parts = [
                format!("Credential={id}/{scope}"),
                format!("SignedHeaders={}", names.join(";")),
                format!("Signature={signature}"),
            ];
            let parts: Vec<&str> = order.into_iter().map(|index: usize| &*parts[index]).collect();
            let header = format!("AWS4-HMAC-SHA256 {}", parts.join(", "));
            let Ok(read) = SignatureHeader::parse(&header) else { panic!("{header}") };
            prop_assert_eq!((read.access_key_id, read.scope), (&*id, &*scope));
            let names = names.iter().map(String::as_str).collect();
            prop_assert_eq!((read.signed_headers, read.signature), (names, &*signature));
        }

        #[test]
        fn no_header_causes_a_panic(
            text in any::<String>(),
            parts in "(Credential|Signature|SignedHeaders|=|/|,| |é|a){0,12}",
        ) {
            let _ = SignatureHeader::parse(&text).is_ok();
            let _ = SignatureHeader::parse(&format!("AWS4-HMAC-SHA256 {parts}")).is_ok();
        }
    }
}
