//! What is known of a route's keys without calling anybody: for `explain`, which sends nothing.
//!
//! `fetch.rs` says what is configured; where the keys themselves stand there, they are at hand.

use aws_credential_types::Credentials;
use aws_types::os_shim_internal::Env;

use super::{chain::Choice, fetch};
use crate::settings::{Origin, Source};

/// What is known.
#[derive(Debug)]
pub struct AtHand {
    /// Where the keys come from, for a person.
    pub source: String,
    /// Themselves, unless somebody would have to be asked for them.
    pub keys: Option<Credentials>,
}

/// Looks at settings, environment and files, and at nothing else.
pub async fn at_hand(source: &Source) -> AtHand {
    let choice = fetch::choice(source, &Env::real()).await;
    let (told, keys) = match (choice, &source.origin) {
        (Ok(Choice::Environment(keys)), Origin::Keys(_)) => ("settings".to_owned(), Some(keys)),
        (Ok(Choice::Environment(keys)), Origin::Mounted(_)) => {
            ("files of the settings".to_owned(), Some(keys))
        }
        (Ok(Choice::Environment(keys)), _) => ("environment".to_owned(), Some(keys)),
        (Ok(other), _) => (other.to_string(), None),
        (Err(cause), _) => (format!("none: {cause}"), None),
    };
    match &source.role {
        Some(role) => AtHand { source: format!("STS, for the role {} by {told}", role.arn), keys: None },
        None => AtHand { source: told, keys },
    }
}
