//! Kong's default event: the arguments of query and body in one JSON object.
//!
//! A body that cannot be merged is refused; Kong ignores it (`peers.md` K08).

use std::{borrow::Cow, hash::RandomState};

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value, value::RawValue};

use super::{
    arguments::{Argument, Arguments},
    body_arguments::BodyArguments,
    groups::{Groups, HashedNames, Named, NamedValues, OneOrAll},
    multipart::FormParts,
    object::Object,
    writer::{copy_body, json},
};
use crate::message::{
    error::{ErrorKind, ProxyError},
    inbound::InboundRequest,
};

/// Builds the event. `beneath` is the route's `body`, whose members the request's override.
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
        // K06: a JSON body is forwarded byte for byte
        return copy_body(body_bytes, limit);
    }
    let body = Layer::of_body(body)?;
    let query = Layer::Arguments(query);
    let layers = match beneath {
        // K05
        None => vec![query, body],
        // H08
        Some(beneath) => vec![Layer::Settings(beneath.iter().collect()), body, query],
    };
    // `a=1&` becomes `"a":"1",`
    let quotes =
        layers.iter().map(|members| if members.are_json() { 0 } else { members.count() * 5 }).sum::<usize>();
    json(&Merged::new(layers), body_bytes.len() + quotes, limit)
}

/// Layer from one part of the request or from the settings.
#[derive(Debug)]
enum Layer<'a> {
    /// From a query or a form.
    Arguments(Arguments<'a>),
    Parts(FormParts<'a>),
    Object(Object<'a>),
    Settings(Vec<(&'a String, &'a Value)>),
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum LayerValue<'a> {
    /// From a query or a form.
    Argument(Argument<'a>),
    /// From a JSON body; numbers keep their digits.
    Json(&'a RawValue),
    Setting(&'a Value),
}

impl<'a> Layer<'a> {
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

    fn are_json(&self) -> bool {
        matches!(self, Self::Object(_))
    }
}

impl Named for Layer<'_> {
    fn name(&self, position: u32) -> Cow<'_, str> {
        match self {
            Self::Arguments(arguments) => arguments.name(position),
            Self::Parts(parts) => parts.name(position),
            Self::Object(object) => object.name(position),
            Self::Settings(settings) => Cow::Borrowed(settings[position as usize].0),
        }
    }
}

impl<'a> NamedValues for Layer<'a> {
    type Value = LayerValue<'a>;

    fn value(&self, position: u32) -> LayerValue<'a> {
        match self {
            Self::Arguments(arguments) => LayerValue::Argument(arguments.value(position)),
            Self::Parts(parts) => LayerValue::Argument(parts.value(position)),
            Self::Object(object) => LayerValue::Json(object.value(position)),
            Self::Settings(settings) => LayerValue::Setting(settings[position as usize].1),
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
            Self::Settings(settings) => {
                (0..).zip(settings).for_each(|(position, (name, _))| call(position, name));
            }
        }
    }
}

/// Layers of members in one object. A layer overrides those before it.
#[derive(Debug)]
struct Merged<'a>(Vec<(Layer<'a>, Groups)>);

impl<'a> Merged<'a> {
    fn new(layers: Vec<Layer<'a>>) -> Self {
        let state = RandomState::new();
        let mut hashed: Vec<HashedNames> =
            layers.iter().map(|members| HashedNames::new(members, &state)).collect();
        for (position, members) in layers.iter().enumerate() {
            let (lower, higher) = hashed.split_at_mut(position + 1);
            for (others, other_members) in higher.iter().zip(&layers[position + 1..]) {
                lower[position].leave_out(members, others, other_members);
            }
        }
        let grouped = layers.into_iter().zip(hashed).map(|(members, hashed)| {
            let mut groups = hashed.group(&members);
            if members.are_json() {
                // the last of duplicate members wins
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
            for positions in groups.iter() {
                let mut values = positions.iter().map(|position| members.value(position));
                object.serialize_key(&members.name(positions.first()))?;
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
