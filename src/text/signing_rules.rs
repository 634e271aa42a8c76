//! The rules of Signature Version 4 that differ by service: one row for each service with rules of its own.
//!
//! `settings/route/service.rs` checks a route against them, `signing.rs` and the backend of API Gateway apply
//! them, each with the row that it finds once for a route.

/// The path in the canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanonicalPath {
    /// Normalised, and its escapes escaped again.
    EncodedTwice,
    /// As sent: in strict escapes, and not normalised.
    EncodedOnce,
}

/// The payload of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadRule {
    /// Always the hash of the body.
    Signed,
    /// The hash of the body or `UNSIGNED-PAYLOAD`.
    Either,
    /// Always `UNSIGNED-PAYLOAD`.
    Unsigned,
}

/// The rules of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningRules {
    pub path: CanonicalPath,
    /// True if `x-amz-content-sha256` is sent and signed, also beside the hash of a body.
    pub sends_hash: bool,
    pub payload: PayloadRule,
    /// True if bodies may be `aws-chunked`, and a body without any length gets 411.
    pub is_object_store: bool,
}

/// The rules of a service without a row (IAM user guide, "Create a signed AWS API request",
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
const GENERAL: SigningRules = SigningRules {
    path: CanonicalPath::EncodedTwice,
    sends_hash: false,
    payload: PayloadRule::Either,
    is_object_store: false,
};

/// Names of services and their rules.
type Row = (&'static [&'static str], SigningRules);

static ROWS: [Row; 5] = [
    // the path is encoded once and not normalised, x-amz-content-sha256 is required and may be
    // UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER
    // <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, and for the relatives
    // <https://docs.aws.amazon.com/AmazonS3/latest/userguide/S3OutpostsIAM.html>,
    // <https://docs.aws.amazon.com/AmazonS3/latest/API/API_WriteGetObjectResponse.html>
    (
        &["s3", "s3-outposts", "s3-object-lambda"],
        SigningRules {
            path: CanonicalPath::EncodedOnce,
            sends_hash: true,
            payload: PayloadRule::Either,
            is_object_store: true,
        },
    ),
    // x-amz-content-sha256 is required and is the hash of the body
    // <https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-clients.html>,
    // <https://docs.aws.amazon.com/amazonglacier/latest/dev/api-common-request-headers.html>
    (&["aoss", "glacier"], SigningRules { sends_hash: true, payload: PayloadRule::Signed, ..GENERAL }),
    // x-amz-content-sha256 is required and is UNSIGNED-PAYLOAD: the service supports no payload signing
    // <https://docs.aws.amazon.com/vpc-lattice/latest/ug/sigv4-authenticated-requests.html>
    (&["vpc-lattice-svcs"], SigningRules { sends_hash: true, payload: PayloadRule::Unsigned, ..GENERAL }),
    // Lambda does not support unsigned payloads (Amazon CloudFront developer guide, "Restrict access to an
    // AWS Lambda function URL origin"), and no page of API Gateway mentions them
    // <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html>
    (&["execute-api", "lambda"], SigningRules { payload: PayloadRule::Signed, ..GENERAL }),
    // operations with the trait `unsignedPayload` in the models of these services
    // <https://smithy.io/2.0/aws/aws-auth.html#aws-auth-unsignedpayload-trait>
    (&["ebs", "lex", "mediastore", "omics"], GENERAL),
];

/// Services that cannot be signed, with the reason.
const UNSUPPORTED: [(&str, &str); 3] = [
    // <https://docs.aws.amazon.com/AmazonS3/latest/API/s3-express-authenticating-authorizing.html>
    ("s3express", "S3 Express One Zone needs a session for each bucket (CreateSession)"),
    // <https://docs.aws.amazon.com/AmazonSimpleDB/latest/DeveloperGuide/HMACAuth.html>
    ("sdb", "SimpleDB uses Signature Version 2"),
    // the model of the service in botocore
    ("importexport", "Import/Export uses Signature Version 2"),
];

/// The names of the services that cannot be signed.
pub const UNSUPPORTED_NAMES: &[&str] = &{
    let mut names = [""; UNSUPPORTED.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = UNSUPPORTED[at].0;
        at += 1;
    }
    names
};

/// The rules of a service.
pub fn of(service: &str) -> SigningRules {
    ROWS.iter().find(|(names, _)| names.contains(&service)).map_or(GENERAL, |(_, rules)| *rules)
}

/// The reason why a service cannot be signed; `None` for all others.
pub fn why_unsupported(service: &str) -> Option<&'static str> {
    UNSUPPORTED.iter().find(|(name, _)| *name == service).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_at_most_one_row() {
        let names: Vec<&str> = ROWS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
            assert_eq!(why_unsupported(name), None, "{name}");
        }
    }

    #[test]
    fn a_service_without_a_row_has_the_general_rules() {
        for service in ["es", "aps", "appsync", "bedrock", "s3tables", ""] {
            assert_eq!(of(service), GENERAL, "{service}");
        }
        assert_ne!(of("s3"), GENERAL);
    }

    #[test]
    fn only_payloads_that_the_service_may_not_sign_lack_a_hash() {
        for (names, rules) in ROWS {
            assert!(rules.payload != PayloadRule::Unsigned || rules.sends_hash, "{names:?}");
        }
    }
}
