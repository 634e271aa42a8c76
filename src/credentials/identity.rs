//! The owner of keys: what STS answers to `GetCallerIdentity`, or why nobody knows it.
//!
//! `sts.rs` asks, `refresher_pool.rs` passes it on to `check --credentials`. The call needs no permission, so that a
//! refusal is about the keys
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>).

use std::error::Error;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

use super::sts::reason;
use crate::message::redaction::key_id_end;

/// Why it is not known whose keys they are, with the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallerUnknown {
    /// STS does not take the keys, and so no service does.
    #[error("{0}")]
    Refused(String),
    /// STS could not be asked; the keys may be right.
    #[error("{0}")]
    Unasked(String),
}

impl CallerUnknown {
    /// STS could not be asked for this reason.
    pub fn unasked(reason: &str) -> Self {
        Self::Unasked(format!(
            "calling GetCallerIdentity failed: {reason}. See that this machine reaches STS, or name an \
             endpoint of it that it reaches in sts_endpoint_url (of a function: aws_sts_endpoint_url)"
        ))
    }

    /// A call that failed, with keys of this id.
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

/// A refusal for the date of the request: STS has one name for it, and other services and proxies others.
pub(super) fn is_of_the_clock(code: &str, message: &str) -> bool {
    match code {
        "RequestExpired" | "RequestTimeTooSkewed" => true,
        "SignatureDoesNotMatch" => message.contains("Signature expired") || message.contains("not yet"),
        _ => false,
    }
}

/// The cure for a refusal that is about the keys; `None` for others, such as throttling.
fn cure(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidClientTokenId" => {
            "it was deleted or made inactive, is of another partition than the region, or is a temporary one \
             whose session token is missing or another's"
        }
        _ if is_of_the_clock(code, message) => "set this machine's clock right",
        "SignatureDoesNotMatch" => "the secret key does not belong to it",
        "ExpiredToken" | "ExpiredTokenException" => "it has expired: replace the keys",
        "RegionDisabledException" => "activate the region in the account, or set aws_region to another",
        "AccessDenied" | "AccessDeniedException" => {
            "a policy of the organisation or of a VPC endpoint denies it"
        }
        _ => return None,
    })
}
