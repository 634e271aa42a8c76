//! The owner of keys: GetCallerIdentity's errors and their cures.
//!
//! The call needs no permission, so a refusal is about the keys
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>).

use std::error::Error;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

use super::sts::reason;
use crate::message::redaction::key_id_end;

/// The reason why the owner of keys is unknown, with the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallerUnknown {
    /// STS refuses the keys, as every service does.
    #[error("{0}")]
    Refused(String),
    /// The call failed; the keys may be valid.
    #[error("{0}")]
    Unasked(String),
}

impl CallerUnknown {
    /// The call failed with this reason.
    pub fn unasked(reason: &str) -> Self {
        Self::Unasked(format!(
            "calling GetCallerIdentity failed: {reason}. See that this machine reaches STS, or name an \
             endpoint of it that it reaches in sts_endpoint_url (of a function: aws_sts_endpoint_url)"
        ))
    }

    /// Classifies a failed call with keys of this id.
    pub(super) fn by<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>, key_id: &str) -> Self
    where
        SdkError<E>: Error,
    {
        let Some(refusal) = error.as_service_error() else { return Self::unasked(&reason(error)) };
        match cure(refusal.code().unwrap_or_default(), refusal.message().unwrap_or_default()) {
            Some(cure) => {
                let key = key_id_end(key_id);
                Self::Refused(format!(
                    "STS refuses the access key ending in {key} ({}): {cure}",
                    reason(error)
                ))
            }
            None => Self::unasked(&format!("STS answered {}", reason(error))),
        }
    }
}

/// True for a refusal because of the request's date; STS, other services and proxies have different codes for
/// it.
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
