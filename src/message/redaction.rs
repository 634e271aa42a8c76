//! What is a secret among the headers of a request, and of an access key's id, for whoever shows
//! one to a person: `explain.rs`, `diagnosis.rs` and `proxy/call/debug_line.rs`.

/// What stands in the place of a secret.
pub const LEFT_OUT: &str = "(left out)";
/// Characters of a signature that are shown: enough to tell two apart, not enough to use one.
const OF_A_SIGNATURE: usize = 8;

/// Whether a header of this name, in lower case, proves something to somebody.
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
        // the keys `client_context` and `tenant_id` are secrets
        "client-context",
        "tenant-id",
    ];
    PARTS.iter().any(|part| name.contains(part))
}

/// The last four characters of an access key's id, by which people know it; fewer of an id so short that they
/// would be most of it.
pub fn key_id_end(id: &str) -> &str {
    let length = id.chars().count();
    let skipped = length - 4.min(length / 2);
    id.char_indices().nth(skipped).map_or("", |(start, _)| &id[start..])
}

/// A header's value as it may be shown: of our own signature its scope and its beginning, of other secrets nothing.
pub fn shown(name: &str, value: &str) -> String {
    const SIGNATURE: &str = "Signature=";
    if !is_secret(name) {
        return value.to_owned();
    }
    match value.split_once(SIGNATURE) {
        Some((before, signature)) if before.starts_with("AWS4-HMAC-SHA256 ") => {
            let beginning: String = signature.chars().take(OF_A_SIGNATURE).collect();
            format!("{before}{SIGNATURE}{beginning}…")
        }
        _ => LEFT_OUT.to_owned(),
    }
}

/// A canonical request as it may be shown.
pub fn canonical(text: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((name, value)) => format!("{name}:{}", shown(name, value)),
        None => line.to_owned(),
    };
    text.split('\n')
        .enumerate()
        .map(|(at, text)| if at < 3 { text.to_owned() } else { line(text) })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_secret_nothing_is_shown_and_of_a_signature_its_scope() {
        for name in ["x-api-key", "cookie", "x-amz-security-token", "authorization", "proxy-authorization"] {
            assert_eq!(shown(name, "hush"), LEFT_OUT, "{name}");
        }
        assert_eq!(shown("x-amz-date", "20261120T120000Z"), "20261120T120000Z");
        assert_eq!(
            shown(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=0123456789"
            ),
            "AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=01234567…"
        );
        assert_eq!(shown("authorization", "Basic Signature=hush"), LEFT_OUT);
    }

    #[test]
    fn of_a_short_id_no_more_than_half_is_shown() {
        let ends = ["AKIDEXAMPLE", "ABCD1", "é1", "A", ""].map(key_id_end);
        assert_eq!(ends, ["MPLE", "D1", "1", "", ""]);
    }

    #[test]
    fn a_canonical_request_is_shown_but_for_its_token() {
        let text = "GET\n/a:b\nq=token\nhost:a\nx-amz-security-token:hush\n\nhost;x-amz-security-token\ne3b0";
        assert_eq!(canonical(text), text.replace("hush", LEFT_OUT));
    }
}
