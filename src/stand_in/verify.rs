//! The other side of Signature Version 4: what AWS does with a signed request.
//!
//! Written from AWS's description alone ("Create a signed AWS API request") and sharing no code with
//! `signing.rs`, so that neither can repeat the other's mistakes.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use actix_web::http::header::{HeaderMap, HeaderName};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

use super::{
    answers::Refusal,
    issued::{Identity, Register},
};

const DATE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// What a stand-in accepts besides the keys that it issues.
#[derive(Clone)]
pub struct StandInKeys {
    /// The value of `x-api-key`.
    pub api_key: String,
    /// The one access key id it knows from the start.
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The token that belongs to it, if it is temporary.
    pub session_token: Option<String>,
    pub region: String,
    /// The service that its API Gateway is.
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

/// A request as it arrived.
#[derive(Debug)]
pub struct VerifiedSignature<'a> {
    pub method: &'a str,
    /// Its path, raw.
    pub path: &'a str,
    /// Its query, raw.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// What a request is held against.
#[derive(Debug)]
pub struct Demand<'a> {
    /// The keys known from the start, and the region.
    pub keys: &'a StandInKeys,
    pub issued: &'a Register,
    /// The service that the request is for.
    pub service: &'a str,
    /// What the service's clock shows.
    pub now: SystemTime,
}

/// Whom an access key id belongs to, and the secret.
struct Known {
    secret: String,
    identity: Identity,
}

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    access_key_id: &'a str,
    scope: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

/// Checks a request's signature, and tells whose it is.
///
/// # Errors
/// What AWS would refuse it for.
pub fn verify(request: &VerifiedSignature<'_>, demand: &Demand<'_>) -> Result<Identity, Refusal> {
    let header = request.header("authorization").ok_or(Refusal::MissingAuthenticationToken)?;
    let authorization = Authorization::parse(&header)?;
    let token = request.header("x-amz-security-token");
    let known = demand.known(authorization.access_key_id, token.as_deref())?;
    let date = request.header("x-amz-date").ok_or_else(|| {
        Refusal::IncompleteSignature(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".into(),
        )
    })?;
    demand.check_date(&date)?;
    demand.check_scope(authorization.scope, &date)?;
    check_signed_headers(request, &authorization.signed_headers)?;
    if let Some(hash) = request.header("x-amz-content-sha256")
        && hash != hex_digest(request.body)
    {
        return Err(Refusal::InvalidSignature("The x-amz-content-sha256 does not match the body.".into()));
    }
    let canonical = request.canonical(&authorization.signed_headers);
    let string_to_sign =
        format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", authorization.scope, hex_digest(&canonical));
    if signature(&known.secret, authorization.scope, &string_to_sign) == authorization.signature {
        return Ok(known.identity);
    }
    let canonical = String::from_utf8_lossy(&canonical);
    Err(Refusal::InvalidSignature(format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String \
         for this request should have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{string_to_sign}'\n"
    )))
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Result<Self, Refusal> {
        let incomplete = |what: &str| {
            Refusal::IncompleteSignature(format!("Authorization header requires '{what}' parameter."))
        };
        let rest = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| incomplete("Credential"))?;
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

impl Demand<'_> {
    /// Finds the keys that a request claims to be signed with.
    fn known(&self, access_key_id: &str, token: Option<&str>) -> Result<Known, Refusal> {
        if access_key_id == self.keys.access_key_id && token == self.keys.session_token.as_deref() {
            return Ok(Known { secret: self.keys.secret_access_key.clone(), identity: Identity::User });
        }
        let issued = self.issued.find(access_key_id).ok_or(Refusal::UnrecognizedClient)?;
        if token != Some(&*issued.session_token) {
            return Err(Refusal::UnrecognizedClient);
        }
        if issued.expires <= self.now {
            return Err(Refusal::ExpiredToken);
        }
        Ok(Known { secret: issued.secret_access_key, identity: issued.identity })
    }

    /// What a service forgives a caller's clock: STS more than the others.
    fn tolerance(&self) -> Duration {
        if self.service == "sts" { Duration::from_mins(15) } else { Duration::from_mins(5) }
    }

    fn check_date(&self, date: &str) -> Result<(), Refusal> {
        let malformed = || Refusal::IncompleteSignature("Date must be in ISO-8601 'basic format'.".into());
        let signed = PrimitiveDateTime::parse(date, DATE_TIME).map_err(|_| malformed())?.assume_utc();
        let now = OffsetDateTime::from(self.now);
        let tolerance = self.tolerance();
        let minutes = tolerance.as_secs() / 60;
        let text = |time: OffsetDateTime| time.format(DATE_TIME).unwrap_or_default();
        if signed < now - tolerance {
            return Err(Refusal::InvalidSignature(format!(
                "Signature expired: {date} is now earlier than {} ({} - {minutes} min.)",
                text(now - tolerance),
                text(now)
            )));
        }
        if signed > now + tolerance {
            return Err(Refusal::InvalidSignature(format!(
                "Signature not yet current: {date} is still later than {} ({} + {minutes} min.)",
                text(now + tolerance),
                text(now)
            )));
        }
        Ok(())
    }

    fn check_scope(&self, scope: &str, date: &str) -> Result<(), Refusal> {
        let wrong = |message: String| Err(Refusal::InvalidSignature(message));
        let parts: Vec<&str> = scope.split('/').collect();
        let [day, region, service, end] = parts[..] else {
            return Err(Refusal::IncompleteSignature(
                "Credential must have exactly 5 slash-delimited elements.".into(),
            ));
        };
        if end != "aws4_request" {
            return wrong("Credential should be scoped with a valid terminator: 'aws4_request'.".into());
        }
        if date.get(..8) != Some(day) {
            return wrong(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != '{date}'."
            ));
        }
        if region != self.keys.region {
            return wrong(format!("Credential should be scoped to a valid region, not '{region}'."));
        }
        if service != self.service {
            return wrong(format!("Credential should be scoped to correct service: '{}'.", self.service));
        }
        Ok(())
    }
}

/// `host` and every `x-amz-*` header that was sent must be among the signed ones.
fn check_signed_headers(request: &VerifiedSignature<'_>, signed: &[&str]) -> Result<(), Refusal> {
    let must = request
        .headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| *name == "host" || name.starts_with("x-amz-"));
    for name in must {
        if !signed.contains(&name) {
            return Err(Refusal::InvalidSignature(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
    }
    Ok(())
}

impl VerifiedSignature<'_> {
    /// All lines of a header as one.
    fn header(&self, name: &str) -> Option<String> {
        let lines: Vec<String> = self
            .headers
            .get_all(name)
            .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
            .collect();
        (!lines.is_empty()).then(|| lines.join(","))
    }

    fn canonical(&self, signed_headers: &[&str]) -> Vec<u8> {
        let headers = signed_headers.iter().map(|name| {
            let lines: Vec<Vec<u8>> =
                self.headers.get_all(*name).map(|line| single_blanks(line.as_bytes())).collect();
            [name.as_bytes(), b":", &lines.join(&b',')].concat()
        });
        let mut lines = vec![
            self.method.as_bytes().to_vec(),
            canonical_path(self.path).into_bytes(),
            canonical_query(self.query).into_bytes(),
        ];
        lines.extend(headers);
        lines.push(Vec::new());
        lines.push(signed_headers.join(";").into_bytes());
        lines.push(hex_digest(self.body).into_bytes());
        lines.join(&b'\n')
    }
}

/// "Remove leading and trailing spaces, convert sequential spaces to a single space." That holds within quotes
/// too (AWS's vector `get-header-value-trim`), and a tab counts as a space (botocore, awscrt, AWS's SDKs for Java).
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

fn encode(bytes: &[u8]) -> String {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encode(bytes, ESCAPED).to_string()
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut index = 0;
    while index < text.len() {
        let digits = text.get(index + 1..index + 3).filter(|digits| !digits.starts_with('+'));
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (text.as_bytes()[index], escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                index += 2;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
        index += 1;
    }
    bytes
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

fn hex_digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_a_header_are_found_in_any_order(
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
            let Ok(read) = Authorization::parse(&header) else { panic!("{header}") };
            prop_assert_eq!((read.access_key_id, read.scope), (&*id, &*scope));
            prop_assert_eq!((read.signed_headers, read.signature), (names.iter().map(String::as_str).collect(), &*signature));
        }

        #[test]
        fn no_header_makes_it_panic(text in any::<String>(), parts in "(Credential|Signature|SignedHeaders|=|/|,| |é|a){0,12}") {
            let _ = Authorization::parse(&text).is_ok();
            let _ = Authorization::parse(&format!("AWS4-HMAC-SHA256 {parts}")).is_ok();
        }
    }
}
