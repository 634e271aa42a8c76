//! Redaction of secret headers and access key ids, for output that a person reads: `explain.rs`,
//! `diagnosis.rs` and `proxy/call/debug_line.rs`.

use actix_http::header::HeaderMap;

/// Replaces a secret.
pub const REDACTED: &str = "(left out)";
/// Characters of a signature that are shown: enough to compare two, too few to use one.
const SIGNATURE_PREFIX: usize = 8;

/// True if a header with this lower-case name may contain a secret.
pub fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 10] = [
        "authorization",
        "cookie",
        "token",
        "secret",
        "password",
        "api-key",
        "apikey",
        "signature",
        // the settings `client_context` and `tenant_id` are secrets
        "client-context",
        "tenant-id",
    ];
    PARTS.iter().any(|part| name.contains(part))
}

/// The last four characters of an access key id, by which people recognise it; at most half of a shorter id.
pub fn key_id_end(id: &str) -> &str {
    let length = id.chars().count();
    let skipped = length - 4.min(length / 2);
    id.char_indices().nth(skipped).map_or("", |(start, _)| &id[start..])
}

/// The lower-case names of headers with a value that is marked as sensitive, as values of a route's `headers`
/// are.
pub fn sensitive_names(headers: &HeaderMap) -> Vec<&str> {
    headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.as_str()).collect()
}

/// Redacts a header's value: of a SigV4 signature the scope and the first characters stay, of other secrets
/// and of the `sensitive` names nothing.
pub fn header_value(name: &str, value: &str, sensitive: &[&str]) -> String {
    const SIGNATURE: &str = "Signature=";
    if sensitive.contains(&name) {
        return REDACTED.to_owned();
    }
    if !is_secret(name) {
        return value.to_owned();
    }
    match value.split_once(SIGNATURE) {
        Some((before, signature)) if before.starts_with("AWS4-HMAC-SHA256 ") => {
            let beginning: String = signature.chars().take(SIGNATURE_PREFIX).collect();
            format!("{before}{SIGNATURE}{beginning}…")
        }
        _ => REDACTED.to_owned(),
    }
}

/// Redacts the headers of a canonical request: secrets and the `sensitive` names.
pub fn canonical_request(text: &str, sensitive: &[&str]) -> String {
    let lines = text.split('\n').enumerate().map(|(index, line)| match line.split_once(':') {
        // method, path and query come first
        Some((name, value)) if index >= 3 => format!("{name}:{}", header_value(name, value, sensitive)),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted_and_a_signature_keeps_its_scope() {
        for name in ["x-api-key", "cookie", "x-amz-security-token", "authorization", "proxy-authorization"] {
            assert_eq!(header_value(name, "hush", &[]), REDACTED, "{name}");
        }
        assert_eq!(header_value("x-amz-date", "20261120T120000Z", &[]), "20261120T120000Z");
        assert_eq!(
            header_value(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=0123456789",
                &[]
            ),
            "AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=01234567…"
        );
        assert_eq!(header_value("authorization", "Basic Signature=hush", &[]), REDACTED);
    }

    #[test]
    fn at_most_half_of_a_short_key_id_is_shown() {
        let ends = ["AKIDEXAMPLE", "ABCD1", "é1", "A", ""].map(key_id_end);
        assert_eq!(ends, ["MPLE", "D1", "1", "", ""]);
    }

    #[test]
    fn the_token_of_a_canonical_request_is_redacted() {
        let text = "GET\n/a:b\nq=token\nhost:a\nx-amz-security-token:hush\n\nhost;x-amz-security-token\ne3b0";
        assert_eq!(canonical_request(text, &[]), text.replace("hush", REDACTED));
    }
}
