//! Kong's default event: query and body as one JSON object.
//!
//! Unlike Kong, which then ignores the body (`peers.md` K08), a body that cannot be merged is refused.

use std::{borrow::Cow, hash::RandomState};

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value, value::RawValue};

use super::{
    arguments::{Argument, Arguments},
    body_arguments::BodyArguments,
    groups::{Groups, Hashed, Named, OneOrAll, Source},
    multipart::Parts,
    object::Object,
    writer::{as_it_is, json},
};
use crate::message::{
    error::{ErrorKind, ProxyError},
    inbound::InboundRequest,
};

/// Makes the event of a request. `beneath` is the object of Kong's prototype.
///
/// # Errors
/// The body cannot be merged, or the event is too large.
pub fn event(
    beneath: Option<&Map<String, Value>>,
    inbound: &InboundRequest,
    limit: u64,
) -> Result<Vec<u8>, ProxyError> {
    let query = Arguments(inbound.uri.query().unwrap_or_default().as_bytes());
    let body = BodyArguments::read(inbound).map_err(|why| why.of_body(&inbound.headers))?;
    let body_bytes = inbound.body.bytes();
    let is_alone = query.count() == 0 && beneath.is_none_or(Map::is_empty);
    if is_alone && matches!(body, BodyArguments::Json(_)) {
        // K06: arrays stay arrays, and empty ones too
        return as_it_is(body_bytes, limit);
    }
    let body = Members::of_body(body)?;
    let query = Members::Arguments(query);
    let layers = match beneath {
        // K05
        None => vec![query, body],
        // H08
        Some(beneath) => vec![Members::Settings(beneath.iter().collect()), body, query],
    };
    // `a=1&` becomes `"a":"1",`
    let quotes =
        layers.iter().map(|members| if members.are_json() { 0 } else { members.count() * 5 }).sum::<usize>();
    json(&Merged::new(layers), body_bytes.len() + quotes, limit)
}

/// Members that come from one place.
#[derive(Debug)]
enum Members<'a> {
    /// Of a query or a form.
    Arguments(Arguments<'a>),
    Parts(Parts<'a>),
    Object(Object<'a>),
    Settings(Vec<(&'a String, &'a Value)>),
}

/// The value of a member.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Member<'a> {
    /// From a query or a form.
    Argument(Argument<'a>),
    /// From a JSON body, digit for digit.
    Json(&'a RawValue),
    Setting(&'a Value),
}

impl<'a> Members<'a> {
    fn of_body(body: BodyArguments<'a>) -> Result<Self, ProxyError> {
        match body {
            BodyArguments::Form(fields) => Ok(Self::Arguments(fields)),
            BodyArguments::Parts(parts) => Ok(Self::Parts(parts)),
            BodyArguments::Json(document) if body.are_named() => Ok(Self::Object(Object::read(document)?)),
            BodyArguments::Json(_) => {
                let cause =
                    "a JSON body that is not an object cannot be merged with the query or the route's `body`";
                Err(ProxyError::new(ErrorKind::InvalidBody, cause))
            }
        }
    }

    /// Whether they are written as they stand in the body.
    fn are_json(&self) -> bool {
        matches!(self, Self::Object(_))
    }
}

impl Named for Members<'_> {
    fn name(&self, place: u32) -> Cow<'_, str> {
        match self {
            Self::Arguments(arguments) => arguments.name(place),
            Self::Parts(parts) => parts.name(place),
            Self::Object(object) => object.name(place),
            Self::Settings(settings) => Cow::Borrowed(settings[place as usize].0),
        }
    }
}

impl<'a> Source for Members<'a> {
    type Value = Member<'a>;

    fn value(&self, place: u32) -> Member<'a> {
        match self {
            Self::Arguments(arguments) => Member::Argument(arguments.value(place)),
            Self::Parts(parts) => Member::Argument(parts.value(place)),
            Self::Object(object) => Member::Json(object.value(place)),
            Self::Settings(settings) => Member::Setting(settings[place as usize].1),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Arguments(arguments) => arguments.count(),
            Self::Parts(parts) => parts.count(),
            Self::Object(object) => object.count(),
            Self::Settings(settings) => settings.len(),
        }
    }

    fn each(&self, mut call: impl FnMut(u32, &str)) {
        match self {
            Self::Arguments(arguments) => arguments.each(call),
            Self::Parts(parts) => parts.each(call),
            Self::Object(object) => object.each(call),
            Self::Settings(settings) => (0..).zip(settings).for_each(|(place, (name, _))| call(place, name)),
        }
    }
}

/// Members of several places in one object. Each place wins over those before it.
#[derive(Debug)]
struct Merged<'a>(Vec<(Members<'a>, Groups)>);

impl<'a> Merged<'a> {
    fn new(layers: Vec<Members<'a>>) -> Self {
        let state = RandomState::new();
        let mut hashed: Vec<Hashed> = layers.iter().map(|members| Hashed::new(members, &state)).collect();
        for (place, members) in layers.iter().enumerate() {
            let (lower, higher) = hashed.split_at_mut(place + 1);
            for (others, other_members) in higher.iter().zip(&layers[place + 1..]) {
                lower[place].leave_out(members, others, other_members);
            }
        }
        let grouped = layers.into_iter().zip(hashed).map(|(members, hashed)| {
            let mut groups = hashed.group(&members);
            if members.are_json() {
                // of members with the same name the last one wins
                groups.keep_last();
            }
            (members, groups)
        });
        Self(grouped.collect())
    }
}

impl Serialize for Merged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (members, groups) in &self.0 {
            for places in groups.iter() {
                let mut values = places.iter().map(|place| members.value(place));
                object.serialize_key(&members.name(places.first()))?;
                if members.are_json() {
                    object.serialize_value(&values.next_back())?;
                } else {
                    object.serialize_value(&OneOrAll(values))?;
                }
            }
        }
        object.end()
    }
}

#[cfg(test)]
mod tests;
