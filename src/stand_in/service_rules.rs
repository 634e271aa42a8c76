//! The rules of Signature Version 4 that differ by service, as AWS checks them: path, payload and clock.
//!
//! Written from AWS's pages about each service and without the table of the signer
//! (`text/signing_rules.rs`), so that neither can repeat the other's mistakes.

use super::{
    answers::GatewayError,
    verify::{decode, encode, hex_digest},
};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// "Each path segment must be URI-encoded twice, except for Amazon S3 which only gets URI-encoded once", and
/// "you do not normalize URI paths for requests to Amazon S3".
pub fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3-outposts" | "s3-object-lambda")
}

/// Minutes that the clocks may differ.
pub fn tolerance(service: &str) -> u64 {
    if service == "sts" || is_s3(service) { 15 } else { 5 }
}

/// The path of a request to S3: each segment decoded and encoded once.
pub fn s3_path(path: &str) -> String {
    // a plus is a blank in queries alone
    let segments = path.split('/').map(|segment| encode(&decode(&segment.replace('+', "%2B"))));
    segments.collect::<Vec<_>>().join("/")
}

/// The payload in the canonical request, by `x-amz-content-sha256` and the body.
///
/// # Errors
/// The service does not accept the header, or it is missing.
pub fn payload(service: &str, header: Option<&str>, body: &[u8]) -> Result<String, GatewayError> {
    let hash = hex_digest(body);
    let wrong = |message: &str| Err(GatewayError::InvalidSignature(message.into()));
    match (service, header) {
        ("vpc-lattice-svcs", Some(UNSIGNED)) => Ok(UNSIGNED.into()),
        ("vpc-lattice-svcs", _) => wrong("The x-amz-content-sha256 must be UNSIGNED-PAYLOAD."),
        ("aoss" | "glacier", None) => wrong("The header x-amz-content-sha256 is missing."),
        (service, None) if is_s3(service) => wrong("The header x-amz-content-sha256 is missing."),
        (_, None) => Ok(hash),
        ("execute-api" | "lambda" | "sts" | "aoss" | "glacier", Some(UNSIGNED)) => {
            wrong("The payload must be signed.")
        }
        (_, Some(UNSIGNED)) => Ok(UNSIGNED.into()),
        (service, Some(UNSIGNED_TRAILER)) if is_s3(service) => Ok(UNSIGNED_TRAILER.into()),
        (_, Some(given)) if given == hash => Ok(hash),
        _ => wrong("The x-amz-content-sha256 does not match the body."),
    }
}

/// The object in an `aws-chunked` body with trailers: chunks with their sizes in hexadecimal, a chunk of no
/// bytes, then the trailers. `None` if it is malformed.
pub fn unchunked(mut body: &[u8]) -> Option<(Vec<u8>, Vec<String>)> {
    let line = |rest: &mut &[u8]| {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let text = String::from_utf8(rest[..end].to_vec()).ok()?;
        *rest = &rest[end + 2..];
        Some(text)
    };
    let mut object = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(&mut body)?, 16).ok()?;
        if size == 0 {
            break;
        }
        object.extend_from_slice(body.get(..size)?);
        body = body.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let mut trailers = Vec::new();
    loop {
        match line(&mut body)? {
            end if end.is_empty() => return body.is_empty().then_some((object, trailers)),
            trailer => trailers.push(trailer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_s3_is_decoded_and_encoded_once() {
        for (path, canonical) in
            [("/a//../b%2Fc/", "/a//../b%2Fc/"), ("/a+b%20c", "/a%2Bb%20c"), ("/%7e$", "/~%24"), ("/", "/")]
        {
            assert_eq!(s3_path(path), canonical);
        }
    }

    #[test]
    fn an_aws_chunked_body_is_its_chunks_and_its_trailers() {
        let body = b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:AAAA==\r\n\r\n";
        let (object, trailers) = unchunked(body).unwrap();
        assert_eq!(
            (&*object, &*trailers),
            (&b"hello0123456789"[..], &["x-amz-checksum-crc32:AAAA==".into()][..])
        );
        for end in 0..body.len() {
            assert_eq!(unchunked(&body[..end]), None, "{end}");
        }
        assert_eq!(unchunked(b"5;chunk-signature=00\r\nhello\r\n0\r\n\r\n"), None);
    }
}
