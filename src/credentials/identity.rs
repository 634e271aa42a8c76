//! The owner of keys: `GetCallerIdentity`'s errors and their cures.
//!
//! The call needs no permission, so a refusal is about the keys
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>).

use std::error::Error;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

use super::{fetch::FetchError, sts::reason};
use crate::message::redaction::key_id_end;

/// The error of a call that failed without a refusal; the keys may be valid.
pub(super) fn call_failed(reason: &str) -> FetchError {
    FetchError::Unreachable(format!(
        "calling GetCallerIdentity failed: {reason}. See that this machine reaches STS, or name an endpoint \
         of it that it reaches in sts_endpoint_url (of a function: aws_sts_endpoint_url)"
    ))
}

/// The error of a call with keys of this id: [`FetchError::Refused`] if STS refuses the keys, as every
/// service does.
pub(super) fn failure<E: ProvideErrorMetadata + Error + 'static>(
    error: &SdkError<E>,
    key_id: &str,
) -> FetchError
where
    SdkError<E>: Error,
{
    let Some(refusal) = error.as_service_error() else { return call_failed(&reason(error)) };
    let (code, message) = (refusal.code().unwrap_or_default(), refusal.message().unwrap_or_default());
    let Some(cure) = cure(code, message) else {
        return call_failed(&format!("STS answered {}", reason(error)));
    };
    let key = key_id_end(key_id);
    let text = format!("STS refuses the access key ending in {key} ({}): {cure}", reason(error));
    FetchError::Refused { call: "GetCallerIdentity".to_owned(), code: code.to_owned(), text }
}

/// True for a refusal because of the request's date; STS, other services and proxies have different codes.
pub(super) fn is_clock_error(code: &str, message: &str) -> bool {
    match code {
        "RequestExpired" | "RequestTimeTooSkewed" => true,
        "SignatureDoesNotMatch" => message.contains("Signature expired") || message.contains("not yet"),
        _ => false,
    }
}

/// The cure for a refusal of the keys; `None` for other refusals, such as throttling.
fn cure(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidClientTokenId" => {
            "it was deleted or made inactive, is of another partition than the region, or is a temporary one \
             whose session token is missing or another's"
        }
        _ if is_clock_error(code, message) => "set this machine's clock right",
        "SignatureDoesNotMatch" => "the secret key does not belong to it",
        "ExpiredToken" | "ExpiredTokenException" => "it has expired: replace the keys",
        "RegionDisabledException" => "activate the region in the account, or set aws_region to another",
        "AccessDenied" | "AccessDeniedException" => {
            "a policy of the organisation or of a VPC endpoint denies it"
        }
        _ => return None,
    })
}
