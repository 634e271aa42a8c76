//! Kong's default event: query and body as one JSON object.
//!
//! Unlike Kong, which then ignores the body (`peers.md` K08), a body that cannot be merged is refused.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    arguments::{self, Argument},
    body_arguments::BodyArguments,
    json::{as_it_is, json},
    pairs::{OneOrAll, Pairs},
};
use crate::{
    error::{ErrorKind, ProxyError},
    proxy::inbound::InboundRequest,
};

/// A member of the event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Member<'p> {
    /// From a query or a form.
    Argument(OneOrAll<'p, 'p, Argument<'p>>),
    /// From a JSON body, digit for digit.
    Json(&'p RawValue),
    /// From the settings.
    Setting(&'p Value),
}

type Members<'p> = BTreeMap<Cow<'p, str>, Member<'p>>;

/// Makes the event of a request. `beneath` is the object of Kong's prototype.
///
/// # Errors
/// The body cannot be merged, or the event is too large.
pub fn event(
    beneath: Option<&Map<String, Value>>,
    inbound: &InboundRequest,
    limit: u64,
) -> Result<Vec<u8>, ProxyError> {
    let query = arguments::decode(inbound.uri.query().unwrap_or_default().as_bytes(), Argument::from);
    let body = BodyArguments::read(inbound)?;
    let body_bytes = inbound.body.bytes();
    let is_alone = query.is_empty() && beneath.is_none_or(Map::is_empty);
    if is_alone && matches!(body, BodyArguments::Json(_)) {
        // K06: arrays stay arrays, and empty ones too
        return as_it_is(body_bytes, limit);
    }
    let mut members = Members::new();
    match beneath {
        // K05
        None => {
            add_fields(&mut members, &query);
            add_body(&mut members, &body)?;
        }
        // H08
        Some(beneath) => {
            members
                .extend(beneath.iter().map(|(name, value)| (Cow::Borrowed(&**name), Member::Setting(value))));
            add_body(&mut members, &body)?;
            add_fields(&mut members, &query);
        }
    }
    json(&members, body_bytes.len(), limit)
}

fn add_fields<'p>(members: &mut Members<'p>, fields: &'p Pairs<'p, Argument<'p>>) {
    let fields = fields.groups();
    members.extend(fields.map(|(name, group)| (Cow::Borrowed(name), Member::Argument(OneOrAll(group)))));
}

fn add_body<'p>(members: &mut Members<'p>, body: &'p BodyArguments<'p>) -> Result<(), ProxyError> {
    let document = match body {
        BodyArguments::Fields(fields) => {
            add_fields(members, fields);
            return Ok(());
        }
        BodyArguments::Json(document) => document,
    };
    if !body.are_named() {
        let cause = "a JSON body that is not an object cannot be merged with the query or the route's `body`";
        return Err(ProxyError::new(ErrorKind::InvalidBody, cause));
    }
    // of members with the same name the last one wins
    let own: BTreeMap<Cow<'p, str>, &'p RawValue> = serde_json::from_str(document.get())
        .map_err(|error| ProxyError::new(ErrorKind::InvalidBody, error))?;
    members.extend(own.into_iter().map(|(name, value)| (name, Member::Json(value))));
    Ok(())
}

#[cfg(test)]
mod tests;
