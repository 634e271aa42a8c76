//! The stand-in's IAM Roles Anywhere: `CreateSession`, and the verification of the certificate that signs it.
//!
//! Written from AWS's description ("The IAM Roles Anywhere authentication signing process") and without code
//! of `credentials/roles_anywhere.rs`.

use std::{sync::Arc, time::SystemTime};

use actix_web::{HttpResponse, http::StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _, asn1::AnyRef};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime, alg_id},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};

use super::{
    account::Account,
    answers::{GatewayError, request_id},
    functions::ReceivedRequest,
    issued::{ACCOUNT, IssuedKeys, Principal},
    verify::{SignatureHeader, canonical, check_signed_headers, header, hex_digest},
};
use crate::stand_in::Service;

const RSA: &str = "AWS4-X509-RSA-SHA256";
const ECDSA: &str = "AWS4-X509-ECDSA-SHA256";

/// The fields of a certificate that the signature needs.
struct SigningCertificate<'c> {
    serial_number: &'c [u8],
    /// `AlgorithmIdentifier` of the public key, without its tag.
    algorithm: &'c [u8],
    public_key: &'c [u8],
}

pub fn answer(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    account.controls.count(Service::RolesAnywhere);
    let (status, kind, message) = match create_session(call, account) {
        Ok(keys) => return HttpResponse::Created().json(session(&keys)),
        Err(Refusal::Signature(error)) => {
            let (status, kind, message) = error.parts();
            (status, kind, message.to_owned())
        }
        Err(Refusal::AccessDenied(message)) => {
            (StatusCode::FORBIDDEN, "AccessDeniedException", message.to_owned())
        }
        Err(Refusal::Validation(message)) => (StatusCode::BAD_REQUEST, "ValidationException", message),
    };
    HttpResponse::build(status)
        .insert_header(("x-amzn-requestid", request_id()))
        .insert_header(("x-amzn-errortype", kind))
        .json(json!({ "message": message }))
}

enum Refusal {
    Signature(GatewayError),
    AccessDenied(&'static str),
    Validation(String),
}

impl From<GatewayError> for Refusal {
    fn from(error: GatewayError) -> Self {
        Self::Signature(error)
    }
}

fn create_session(call: &ReceivedRequest, account: &Account) -> Result<IssuedKeys, Refusal> {
    let missing = |name: &str| Refusal::Validation(format!("Missing header {name}"));
    let certificate = header(call, "x-amz-x509").ok_or_else(|| missing("X-Amz-X509"))?;
    let chain = header(call, "x-amz-x509-chain");
    let chain = chain.iter().flat_map(|chain| chain.split(','));
    let mut certificates = Vec::new();
    for text in [&*certificate].into_iter().chain(chain) {
        let malformed = |_| Refusal::Validation("Unable to parse certificate".to_owned());
        certificates.push(CertificateDer::from(BASE64_STANDARD.decode(text).map_err(malformed)?));
    }
    let (first, chain) = certificates.split_first().ok_or_else(|| missing("X-Amz-X509"))?;
    let parsed = parse(first).map_err(|_| Refusal::Validation("Unable to parse certificate".to_owned()))?;
    verify_signature(call, &parsed, account)?;
    if !is_trusted(first, chain, account) {
        return Err(Refusal::AccessDenied("Untrusted certificate. Insufficient certificate"));
    }
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let arn = |name: &str, resource: &str| {
        let arn = body[name].as_str().filter(|arn| arn.contains(resource) && arn.contains(ACCOUNT));
        arn.ok_or_else(|| Refusal::Validation(format!("Value at '{name}' failed to satisfy constraint")))
    };
    arn("trustAnchorArn", ":trust-anchor/")?;
    arn("profileArn", ":profile/")?;
    let role = arn("roleArn", ":role/")?.rsplit('/').next().unwrap_or_default();
    // "sets this automatically, using the hex-encoded serial number of the authenticating certificate"
    let session = Principal::session(role, hex::encode(parsed.serial_number));
    Ok(account.issue_for(session, account.options.life))
}

fn verify_signature(
    call: &ReceivedRequest,
    certificate: &SigningCertificate<'_>,
    account: &Account,
) -> Result<(), Refusal> {
    let authorization = header(call, "authorization").ok_or(GatewayError::MissingAuthenticationToken)?;
    let is_rsa = certificate.algorithm == alg_id::RSA_ENCRYPTION.as_ref();
    let (algorithm, scheme) =
        if is_rsa { (RSA, alg_id::RSA_PKCS1_SHA256) } else { (ECDSA, alg_id::ECDSA_SHA256) };
    let parsed = SignatureHeader::parse_as(&authorization, algorithm)?;
    if from_decimal(parsed.access_key_id) != stripped(certificate.serial_number) {
        let message = "Serial number in Credential does not match the certificate";
        return Err(Refusal::AccessDenied(message));
    }
    let date = header(call, "x-amz-date").unwrap_or_default();
    let verifier = account.verifier("rolesanywhere", &account.options.keys.region);
    verifier.check_date(&date)?;
    verifier.check_scope(parsed.scope, &date)?;
    check_signed_headers(call, &parsed.signed_headers)?;
    let payload = hex_digest(&call.body);
    let canonical = canonical(call, &parsed.signed_headers, call.path.clone(), payload);
    let string_to_sign = format!("{algorithm}\n{date}\n{}\n{}", parsed.scope, hex_digest(&canonical));
    let signature = hex::decode(parsed.signature).unwrap_or_default();
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let is_valid = algorithms
        .iter()
        .filter(|known| {
            known.public_key_alg_id().as_ref() == certificate.algorithm
                && known.signature_alg_id().as_ref() == scheme.as_ref()
        })
        .any(|known| {
            known.verify_signature(certificate.public_key, string_to_sign.as_bytes(), &signature).is_ok()
        });
    if is_valid { Ok(()) } else { Err(Refusal::AccessDenied("Signature is invalid")) }
}

/// True if the certificate is valid now, and issued by the trust anchor.
fn is_trusted(first: &CertificateDer<'_>, chain: &[CertificateDer<'_>], account: &Account) -> bool {
    let Some(anchor) = &account.options.trust_anchor else { return false };
    let mut roots = RootCertStore::empty();
    if roots.add(CertificateDer::from(anchor.clone())).is_err() {
        return false;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let since_epoch = account.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since_epoch);
    verifier.is_ok_and(|verifier| verifier.verify_client_cert(first, chain, now).is_ok())
}

/// Parses a certificate (RFC 5280, 4.1).
fn parse<'c>(certificate: &'c CertificateDer<'_>) -> der::Result<SigningCertificate<'c>> {
    let mut certificate = SliceReader::new(AnyRef::from_der(certificate)?.value())?;
    let mut fields = SliceReader::new(AnyRef::decode(&mut certificate)?.value())?;
    if fields.peek_tag()? == (Tag::ContextSpecific { constructed: true, number: TagNumber::N0 }) {
        AnyRef::decode(&mut fields)?;
    }
    let serial_number = AnyRef::decode(&mut fields)?;
    serial_number.tag().assert_eq(Tag::Integer)?;
    for _signature_issuer_validity_subject in 0..4 {
        AnyRef::decode(&mut fields)?;
    }
    let mut public_key = SliceReader::new(AnyRef::decode(&mut fields)?.value())?;
    let algorithm = AnyRef::decode(&mut public_key)?.value();
    let bits = AnyRef::decode(&mut public_key)?;
    // the first byte is the number of unused bits, which is 0
    let public_key = bits.value().get(1..).unwrap_or_default();
    Ok(SigningCertificate { serial_number: serial_number.value(), algorithm, public_key })
}

/// The bytes of a decimal number, without leading zeros; empty for any other text.
fn from_decimal(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for digit in text.bytes() {
        if !digit.is_ascii_digit() {
            return Vec::new();
        }
        let mut carry = u16::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            let [high, low] = (u16::from(*byte) * 10 + carry).to_be_bytes();
            *byte = low;
            carry = u16::from(high);
        }
        if let Ok(first @ 1..) = u8::try_from(carry) {
            bytes.insert(0, first);
        }
    }
    bytes
}

fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// The response of `CreateSession` (its page in the user guide, "Response syntax").
fn session(keys: &IssuedKeys) -> Value {
    json!({
        "credentialSet": [{
            "assumedRoleUser": { "arn": keys.identity.arn(), "assumedRoleId": keys.identity.id() },
            "credentials": {
                "accessKeyId": keys.access_key_id,
                "secretAccessKey": keys.secret_access_key,
                "sessionToken": keys.session_token,
                "expiration": keys.expiration(),
            },
        }],
        "subjectArn": format!("arn:aws:rolesanywhere:us-east-1:{ACCOUNT}:subject/stand-in"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_read_from_its_decimal_digits() {
        assert_eq!(from_decimal("16711938"), [0xff, 1, 2]);
        assert_eq!(from_decimal("1000000000"), [0x3b, 0x9a, 0xca, 0]);
        assert!(from_decimal("0").is_empty() && from_decimal("1x").is_empty());
        assert_eq!(stripped(&[0, 0xff, 1]), [0xff, 1]);
    }
}
