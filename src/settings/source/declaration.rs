//! The declaration of a settings key: name, meaning, kind, range, default and secrecy.
//!
//! `section!` makes declarations of the text of a section. Reading, checks, the schema, `/routes`, the tables
//! of settings/README.md and the comments of `default.yaml` follow them.

use std::{ops::RangeInclusive, time::Duration};

use super::secrecy::Secrecy;
use crate::text::{
    header_names::OwnNames,
    units::{duration_text, size_text},
};

/// A key as its section declares it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    doc: &'static str,
    pub kind: Kind,
    pub standard: Standard,
    pub secrecy: Secrecy,
    /// A section without this key is a mistake.
    pub is_required: bool,
}

/// Text that is valid in a header.
pub const VISIBLE: &str = "^[!-~]+$";
/// The id of an access key, but no secret access key (`is_swapped`).
pub const KEY_ID: &str = "^([!-*,-.0-~]{1,39}|[!-*,-.0-~]{41,})$";

/// The default of a key. Durations are in milliseconds, sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// None, or one that depends on other keys, as the key's text describes.
    None,
    Boolean(bool),
    Whole(u64),
    Text(&'static str),
    /// An empty list.
    Nothing,
}

impl Standard {
    pub const fn of(duration: Duration) -> Self {
        Self::Whole(milliseconds(duration))
    }
}

/// The valid values of a key. Durations are in milliseconds, sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    Pattern(&'static str),
    /// A text that matches the first pattern and not the second.
    PatternBut(&'static str, &'static str),
    /// A word of a signature's scope, except these.
    WordBut(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// An IP address, a network, or `unix:`.
    TrustedIp,
    /// The name of a host or an IP address.
    Host,
    /// The name of a server in TLS.
    ServerName,
    /// A host to connect to, with or without a port.
    HostPort,
    /// A text of this form that must not be null: a null proof would send requests without one.
    Proof(&'static str),
    Boolean,
    Number(i64, i64),
    /// From 0 to 1.
    Share,
    Duration(u64, u64),
    /// The range, or 0 or `none` for no limit.
    DurationOrNone(u64, u64),
    Size(u64, u64),
    /// The range, or `none` for no limit.
    SizeOrNone(u64, u64),
    Words(&'static [&'static str]),
    /// `1.0` is a number to YAML.
    Version,
    List(&'static Kind),
    /// A list with at least one item.
    NotEmpty(&'static Kind),
    /// Texts by names that the operator chooses.
    Texts,
    /// Values of headers by their names, except these names.
    HeaderTexts(&'static OwnNames),
    /// The name of a header, except these.
    HeaderName(&'static OwnNames),
    /// A table, or a text with a JSON object.
    Object,
    /// A table of known keys.
    Section(fn() -> &'static [Key]),
    /// A table of known keys that must not be empty or null.
    Filled(fn() -> &'static [Key]),
    /// A table whose keys are in other files.
    Elsewhere,
}

impl Kind {
    /// The least and the most of a quantity.
    pub fn bounds(&self) -> Option<(i128, i128)> {
        match *self {
            Self::Number(least, most) => Some((least.into(), most.into())),
            Self::Duration(least, most)
            | Self::DurationOrNone(least, most)
            | Self::Size(least, most)
            | Self::SizeOrNone(least, most) => Some((least.into(), most.into())),
            _ => None,
        }
    }

    /// The unit of the bounds: of durations in nanoseconds.
    pub const fn unit(&self) -> i128 {
        if matches!(self, Self::Duration(..) | Self::DurationOrNone(..)) { 1_000_000 } else { 1 }
    }

    /// A bound as an operator would write it.
    pub fn text(&self, bound: i128) -> String {
        let whole = u64::try_from(bound).unwrap_or(u64::MAX);
        match self {
            Self::Duration(..) | Self::DurationOrNone(..) => duration_text(Duration::from_millis(whole)),
            Self::Size(..) | Self::SizeOrNone(..) => size_text(whole),
            _ => bound.to_string(),
        }
    }
}

impl Key {
    pub const fn new(name: &'static str, doc: &'static str, kind: Kind) -> Self {
        let secrecy = Secrecy::of_kind(&kind);
        Self { name, doc, kind, standard: Standard::None, secrecy, is_required: false }
    }

    pub const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub const fn described(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// The description.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// The keys of a section.
    pub fn children(&self) -> Option<&'static [Self]> {
        match self.kind {
            Kind::Section(keys) | Kind::Filled(keys) => Some(keys()),
            _ => None,
        }
    }

    pub const fn standard(self, standard: Standard) -> Self {
        Self { standard, ..self }
    }

    pub const fn kind(self, kind: Kind) -> Self {
        Self { kind, secrecy: Secrecy::of_kind(&kind), ..self }
    }

    pub const fn pattern(self, pattern: &'static str) -> Self {
        self.kind(Kind::Pattern(pattern))
    }

    pub const fn within(self, (least, most): (u64, u64)) -> Self {
        let kind = match self.kind {
            Kind::Duration(..) => Kind::Duration(least, most),
            Kind::Size(..) => Kind::Size(least, most),
            Kind::DurationOrNone(..) => Kind::DurationOrNone(least, most),
            Kind::SizeOrNone(..) => Kind::SizeOrNone(least, most),
            _ => Kind::Number(least.cast_signed(), most.cast_signed()),
        };
        Self { kind, ..self }
    }

    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// A written value is shown, the value of a reference is not.
    pub const fn shown_as_written(self) -> Self {
        Self { secrecy: Secrecy::Reference, ..self }
    }

    pub const fn open(self) -> Self {
        Self { secrecy: Secrecy::Open, ..self }
    }

    pub const fn secret(self) -> Self {
        Self { secrecy: Secrecy::Secret, ..self }
    }

    pub const fn secret_query(self) -> Self {
        Self { secrecy: Secrecy::Query, ..self }
    }

    pub const fn secret_unless_path(self) -> Self {
        Self { secrecy: Secrecy::UnlessPath, ..self }
    }
}

/// A value in a declaration, converted by its type.
pub struct Typed<T>(pub T);

impl Typed<bool> {
    pub const fn standard(self) -> Standard {
        Standard::Boolean(self.0)
    }
}

impl Typed<u64> {
    pub const fn standard(self) -> Standard {
        Standard::Whole(self.0)
    }
}

impl Typed<Duration> {
    pub const fn standard(self) -> Standard {
        Standard::of(self.0)
    }
}

impl Typed<&'static str> {
    pub const fn standard(self) -> Standard {
        Standard::Text(self.0)
    }
}

/// The default of a section, whose keys have their own.
impl Typed<()> {
    pub const fn standard(self) -> Standard {
        let Self(()) = self;
        Standard::None
    }
}

impl Typed<[(); 0]> {
    pub const fn standard(self) -> Standard {
        let Self([]) = self;
        Standard::Nothing
    }
}

impl Typed<RangeInclusive<u64>> {
    pub const fn bounds(self) -> (u64, u64) {
        (*self.0.start(), *self.0.end())
    }
}

impl Typed<RangeInclusive<Duration>> {
    pub const fn bounds(self) -> (u64, u64) {
        (milliseconds(*self.0.start()), milliseconds(*self.0.end()))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "no duration of the settings is longer than a day")]
const fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// The key of that name, found at compile time.
pub const fn find(keys: &'static [Key], name: &str) -> &'static Key {
    let mut at = 0;
    // the compiler reports an unknown name as an index out of bounds
    while !is_same(keys[at].name.as_bytes(), name.as_bytes()) {
        at += 1;
    }
    &keys[at]
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}
