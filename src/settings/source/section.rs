//! Sections of the settings, with one declaration for each key.
//!
//! `section!` makes the struct that is read, the checked struct, the declarations and the JSON for people. A
//! key is one line:
//!
//! ```text
//! /// The description for the schema, settings/README.md and default.yaml.
//! name: Type [range] = default, property() => shown;
//! ```
//!
//! - `name: Type = default;` is a field of the checked struct, with that default.
//! - `name?: Type;` is an optional field of the checked struct.
//! - `name: Type => |checked| …;` is no field: code beside the section makes parts of the checked struct from
//!   it, and the closure returns the shown value. `=> _` leaves it out of the view.
//! - `..name: Section as "prefix", with function;` includes the keys of a shared section, each changed by a
//!   function.
//!
//! Fields that depend on several keys are declared under `made`.

use std::{fmt, marker::PhantomData};

use serde::de::{MapAccess, Visitor};

use super::declaration::Key;

/// The struct into which a section is read.
pub trait Section: Default {
    /// The description of the section in a mistake.
    const EXPECTING: &'static str;
    /// The keys without those of shared sections.
    const OWN: &'static [Key];

    /// All keys.
    fn keys() -> &'static [Key];

    /// Reads the value of a key; `false` for an unknown key.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Reads a table as a section.
pub struct SectionVisitor<S>(pub PhantomData<S>);

impl<'de, S: Section> Visitor<'de> for SectionVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::EXPECTING)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        let mut section = S::default();
        while let Some(name) = map.next_key::<&str>()? {
            if !section.take(name, &mut map)? {
                return Err(serde::de::Error::unknown_field(name, &[]));
            }
        }
        Ok(section)
    }
}

/// A shared section: the prefix of its names, its keys, and a function that changes them.
pub struct SharedSection(pub &'static str, pub &'static [Key], pub fn(Key) -> Key);

/// The keys of a section with those of its shared sections.
pub fn all_keys(own: &[Key], shared: &[SharedSection]) -> Vec<Key> {
    let mut keys = own.to_vec();
    for SharedSection(prefix, section, change) in shared {
        keys.extend(section.iter().map(|key| {
            // leaks once: the keys are static
            let name = if prefix.is_empty() { key.name } else { format!("{prefix}{}", key.name).leak() };
            change(*key).named(name)
        }));
    }
    keys
}

/// The declaration of a key, by its section and name.
macro_rules! declared {
    ($Section:ty, $name:expr) => {
        const {
            $crate::settings::source::declaration::find(
                <$Section as $crate::settings::source::section::Section>::OWN,
                $name,
            )
        }
    };
}

macro_rules! section {
    // each key is sorted into fields, plain keys, shown keys and shared sections
    (@keys $head:tt $fields:tt $plain:tt $shown:tt [$($shared:tt)*]
        .. $name:ident: $Type:ident $(as $prefix:literal)? $(, with $change:path)?; $($rest:tt)*
    ) => {
        section! { @keys $head $fields $plain $shown
            [$($shared)* { $name, $Type, concat!("", $($prefix)?),
                section!(@or $($change,)? std::convert::identity) }] $($rest)* }
    };
    (@keys $head:tt [$($fields:tt)*] [$($plain:tt)*] $shown:tt $shared:tt
        $(#[doc = $doc:literal])* $name:ident $(as $key:literal)?: $Type:ty $([$range:expr])? = $standard:expr
        $(, $property:ident($($argument:expr),*))*; $($rest:tt)*
    ) => {
        section! { @keys $head
            [$($fields)* { $name, section!(@or $($key,)? stringify!($name)), $Type,
                [$($doc)*] [$(.within(Typed($range).bounds()))? .standard(Typed($standard).standard())
                    $(.$property($($argument),*))*] }]
            [$($plain)* { [$(#[doc = $doc])*] $name, section!(@or $($key,)? stringify!($name)),
                [<$Type as $crate::settings::source::key_type::KeyType>::Checked], [settled $Type] }]
            $shown $shared $($rest)* }
    };
    (@keys $head:tt [$($fields:tt)*] [$($plain:tt)*] $shown:tt $shared:tt
        $(#[doc = $doc:literal])* $name:ident?: $Type:ty $([$range:expr])?
        $(, $property:ident($($argument:expr),*))*; $($rest:tt)*
    ) => {
        section! { @keys $head
            [$($fields)* { $name, stringify!($name), $Type,
                [$($doc)*] [$(.within(Typed($range).bounds()))? $(.$property($($argument),*))*] }]
            [$($plain)* { [$(#[doc = $doc])*] $name, stringify!($name),
                [Option<<$Type as $crate::settings::source::key_type::KeyType>::Checked>], [checked $Type] }]
            $shown $shared $($rest)* }
    };
    (@keys $head:tt [$($fields:tt)*] $plain:tt $shown:tt $shared:tt
        $(#[doc = $doc:literal])* $name:ident $(as $key:literal)?: $Type:ty
        $([$range:expr])? $(= $standard:expr)?
        $(, $property:ident($($argument:expr),*))* => _; $($rest:tt)*
    ) => {
        section! { @keys $head
            [$($fields)* { $name, section!(@or $($key,)? stringify!($name)), $Type,
                [$($doc)*] [$(.within(Typed($range).bounds()))? $(.standard(Typed($standard).standard()))?
                    $(.$property($($argument),*))*] }]
            $plain $shown $shared $($rest)* }
    };
    (@keys $head:tt [$($fields:tt)*] $plain:tt [$($shown:tt)*] $shared:tt
        $(#[doc = $doc:literal])* $name:ident $(as $key:literal)?: $Type:ty
        $([$range:expr])? $(= $standard:expr)?
        $(, $property:ident($($argument:expr),*))* => $show:expr; $($rest:tt)*
    ) => {
        section! { @keys $head
            [$($fields)* { $name, section!(@or $($key,)? stringify!($name)), $Type,
                [$($doc)*] [$(.within(Typed($range).bounds()))? $(.standard(Typed($standard).standard()))?
                    $(.$property($($argument),*))*] }]
            $plain [$($shown)* { section!(@or $($key,)? stringify!($name)), $show }] $shared $($rest)* }
    };
    (@or $first:expr $(, $other:expr)*) => { $first };

    // all keys are sorted
    (@keys { $Written:ident, $expecting:literal, $presence:ident, $($checked:tt)* }
        [$($fields:tt)*] $plain:tt $shown:tt
        [$({ $shared:ident, $Shared:ident, $prefix:expr, $change:expr })*]
    ) => {
        section! { @written $Written, $expecting, $presence, [$($fields)*]
            [$({ $shared, $Shared, $prefix, $change })*] }
        section! { @checked $Written, { $($checked)* } $plain $shown [$({ $shared, $prefix })*] }
    };

    (@written $Written:ident, $expecting:literal, $presence:ident,
        [$({ $name:ident, $key:expr, $Type:ty, [$($doc:literal)*] [$($property:tt)*] })*]
        [$({ $shared:ident, $Shared:ident, $prefix:expr, $change:expr })*]
    ) => {
        /// The section as written.
        #[derive(Debug, Default)]
        pub struct $Written {
            $(pub(in crate::settings) $name: Option<$Type>,)*
            $(pub(in crate::settings) $shared: $Shared,)*
        }

        const _: () = {
            use $crate::settings::source::section::parts::*;

            impl Section for $Written {
                const EXPECTING: &'static str = $expecting;
                const OWN: &'static [Key] =
                    &[$(Key::new($key, concat!($($doc),*), <$Type as KeyType>::KIND)$($property)*),*];

                fn keys() -> &'static [Key] {
                    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
                        all_keys($Written::OWN, &[$(SharedSection($prefix, <$Shared>::keys(), $change)),*])
                    });
                    &KEYS
                }

                fn take<'de, A: MapAccess<'de>>(
                    &mut self,
                    name: &str,
                    map: &mut A,
                ) -> Result<bool, A::Error> {
                    $(if name == $key {
                        self.$name = <$Type as KeyType>::read(map)?;
                        return Ok(true);
                    })*
                    $(if let Some(name) = name.strip_prefix($prefix) && self.$shared.take(name, map)? {
                        return Ok(true);
                    })*
                    Ok(false)
                }
            }

            impl<'de> Deserialize<'de> for $Written {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_struct("", &[], SectionVisitor(PhantomData))
                }
            }
        };
    };
    (@kind filled) => { Kind::Filled };
    (@kind $presence:ident) => { Kind::Section };
    // null is the same as a missing key, or as an empty table
    (@read optional $map:ident) => { $map.next_value() };
    (@read $presence:ident $map:ident) => { $map.next_value().map(Some) };

    // tables alone, without a checked struct
    (@checked $Written:ident, { $presence:ident, } $plain:tt $shown:tt $shared:tt) => {
        section! { @key_type $Written, $presence, Self, |key, written, checker| written, Self::default() }
    };
    // a section whose keys do not depend on each other
    (@checked $Written:ident, { $presence:ident, [$(#[$meta:meta])*] $vis:vis struct $Checked:ident, }
        [$({ [$($doc:tt)*] $name:ident, $key:expr, [$Type:ty], [$way:ident $KeyType:ty] })*]
        $shown:tt $shared:tt
    ) => {
        section! { @checked_struct $Written, { [$(#[$meta])*] $vis struct $Checked, }
            [$({ [$($doc)*] $name, $key, [$Type], [$way $KeyType] })*] $shown $shared }
        section! { @key_type $Written, $presence, $Checked, |key, written, checker| {
            let mut written = written;
            written.settled(&mut checker.at(key.name))
        }, $Checked::default() }

        impl $Written {
            /// The values of the keys, or their defaults.
            pub(in crate::settings) fn settled(
                &mut self,
                checker: &mut $crate::settings::source::check::Checker<'_>,
            ) -> $Checked {
                $Checked { $($name: checker.$way(declared!($Written, $key), self.$name.take()),)* }
            }
        }

        impl Default for $Checked {
            fn default() -> Self {
                Self { $($name: section!(@standard $way $KeyType, declared!($Written, $key)),)* }
            }
        }
    };
    // a section with more fields than its keys
    (@checked $Written:ident, { $presence:ident, [$(#[$meta:meta])*] $vis:vis struct $Checked:ident,
            $Made:ident { $($(#[$made_meta:meta])* $made:ident: $made_type:ty,)* } }
        [$({ [$($doc:tt)*] $name:ident, $key:expr, [$Type:ty], [$way:ident $KeyType:ty] })*]
        $shown:tt $shared:tt
    ) => {
        section! { @checked_struct $Written,
            { [$(#[$meta])*] $vis struct $Checked, $($(#[$made_meta])* $made: $made_type,)* }
            [$({ [$($doc)*] $name, $key, [$Type], [$way $KeyType] })*] $shown $shared }
        section! { @key_type $Written, $presence, Self, |key, written, checker| written, Self::default() }

        /// The parts that depend on several keys or the environment.
        pub(in crate::settings) struct $Made {
            $(pub(in crate::settings) $made: $made_type,)*
        }

        impl $Written {
            /// Checks the keys that do not depend on others, and returns a function that adds the other
            /// parts.
            pub(in crate::settings) fn settled(
                &mut self,
                checker: &mut $crate::settings::source::check::Checker<'_>,
            ) -> impl FnOnce($Made) -> $Checked + use<> {
                let _ = &checker;
                $(let $name = checker.$way(declared!($Written, $key), self.$name.take());)*
                move |made| $Checked { $($name,)* $($made: made.$made,)* }
            }
        }
    };
    (@standard settled $Type:ty, $key:expr) => {
        <$Type as $crate::settings::source::key_type::KeyType>::standard($key)
    };
    (@standard checked $Type:ty, $key:expr) => { None };

    (@checked_struct $Written:ident,
        { [$(#[$meta:meta])*] $vis:vis struct $Checked:ident,
            $($(#[$made_meta:meta])* $made:ident: $made_type:ty,)* }
        [$({ [$($doc:tt)*] $name:ident, $key:expr, [$Type:ty], $way:tt })*]
        [$({ $shown_key:expr, $show:expr })*]
        [$({ $shared:ident, $prefix:expr })*]
    ) => {
        $(#[$meta])*
        $vis struct $Checked {
            $($($doc)* pub $name: $Type,)*
            $($(#[$made_meta])* pub $made: $made_type,)*
        }

        const _: () = {
            use $crate::settings::source::section::parts::*;

            impl $Checked {
                /// Adds the keys with their values, without secrets.
                pub(in crate::settings) fn members(&self, prefix: &str, members: &mut Map<String, Value>) {
                    let _ = (prefix, &members);
                    $(put(members, prefix, declared!($Written, $key), &self.$name);)*
                    $(put(members, prefix, declared!($Written, $shown_key), &part(self, $show));)*
                    $(self.$shared.members(&format!("{prefix}{}", $prefix), members);)*
                }
            }

            impl Show for $Checked {
                fn show(&self, _: Secrecy) -> Value {
                    let mut members = Map::new();
                    self.members("", &mut members);
                    Value::Object(members)
                }
            }
        };
    };

    (@key_type $Written:ident, $presence:ident, $Checked:ty,
        |$key:ident, $written:ident, $checker:ident| $value:expr, $standard:expr
    ) => {
        const _: () = {
            use $crate::settings::source::section::parts::*;

            impl KeyType for $Written {
                type Checked = $Checked;
                const KIND: Kind = section!(@kind $presence)(<$Written as Section>::keys);

                fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
                    section!(@read $presence map)
                }

                fn standard(_: &Key) -> $Checked {
                    $standard
                }

                fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<$Checked> {
                    let ($key, $written, $checker) = (key, self, checker);
                    let _ = (&$key, &$checker);
                    Some($value)
                }
            }
        };
    };

    // a section with a checked struct, with or without more fields than its keys
    (
        $(#[$meta:meta])*
        $vis:vis struct $Checked:ident, read as $Written:ident, $presence:ident $expecting:literal;
        made $Made:ident { $($(#[$made_meta:meta])* $made:ident: $made_type:ty,)* }
        $($keys:tt)*
    ) => {
        section! { @keys { $Written, $expecting, $presence, $presence, [$(#[$meta])*] $vis struct $Checked,
            $Made { $($(#[$made_meta])* $made: $made_type,)* } } [] [] [] [] $($keys)* }
    };
    (
        $(#[$meta:meta])*
        $vis:vis struct $Checked:ident, read as $Written:ident, $presence:ident $expecting:literal;
        $($keys:tt)*
    ) => {
        section! { @keys
            { $Written, $expecting, $presence, $presence, [$(#[$meta])*] $vis struct $Checked, }
            [] [] [] [] $($keys)* }
    };
    // tables alone
    (read as $Written:ident, $presence:ident $expecting:literal; $($keys:tt)*) => {
        section! { @keys { $Written, $expecting, $presence, $presence, } [] [] [] [] $($keys)* }
    };
}

/// The names that the macro's code uses.
pub mod parts {
    pub use std::{marker::PhantomData, sync::LazyLock};

    pub use serde::de::{Deserialize, Deserializer, MapAccess};
    pub use serde_json::{Map, Value};

    pub use super::{Section, SectionVisitor, SharedSection, all_keys};
    pub use crate::settings::source::{
        check::Checker,
        declaration::{Key, Kind, Typed},
        key_type::KeyType,
        secrecy::Secrecy,
        shown::{Show, part, put},
    };
}
