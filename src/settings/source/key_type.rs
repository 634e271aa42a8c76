//! The types of settings keys: their reading, valid values and checked value.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use secrecy::SecretString;
use serde::de::{Deserialize, MapAccess};

use super::{
    check::Checker,
    declaration::{Key, Kind, Standard, VISIBLE},
};
use crate::text::units::{OrNone, WrittenDuration, WrittenShare, WrittenSize, duration_text, size_text};

/// The longest duration of the settings: the sum of two cannot overflow.
pub const DAY: Duration = Duration::from_hours(24);
/// The description of an address in a mistake.
pub const ADDRESS_EXPECTED: &str = "an IP address with a port, such as 127.0.0.1:9080";

/// The type of a key.
pub trait KeyType: Sized + for<'de> Deserialize<'de> {
    /// The value that the program uses.
    type Checked;
    /// The valid values.
    const KIND: Kind;

    /// Reads the next value of a table. Null is the same as a missing key.
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value()
    }

    /// The default of a key.
    fn standard(key: &Key) -> Self::Checked;

    /// The checked value, or `None` after a mistake has been reported.
    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<Self::Checked>;
}

/// A secret that must not be null: requests would go without the proof.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct Proof(pub SecretString);

/// An IP address and a port as text.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct Address(String);

/// A type whose values need no check.
macro_rules! as_read {
    ($($Type:ty, $kind:expr, $standard:expr;)*) => { const _: () = {
        use $crate::settings::source::{check::Checker, declaration, key_type::KeyType};

        $(impl KeyType for $Type {
            type Checked = Self;
            const KIND: declaration::Kind = $kind;

            fn standard(key: &declaration::Key) -> Self {
                $standard(key)
            }

            fn checked(self, _: &declaration::Key, _: &mut Checker<'_>) -> Option<Self> {
                Some(self)
            }
        })*
    }; };
}

as_read! {
    bool, Kind::Boolean, |key: &Key| key.standard == Standard::Boolean(true);
    String, Kind::Text, |key| text(key).to_owned();
    SecretString, Kind::Text, |_| Self::default();
    Vec<String>, Kind::List(&Kind::Text), |_| Self::new();
    BTreeMap<String, String>, Kind::Texts, |_| Self::new();
    BTreeMap<String, SecretString>, Kind::Texts, |_| Self::new();
}

impl<T: KeyType<Checked = T> + Word> KeyType for Vec<T> {
    type Checked = Self;
    const KIND: Kind = Kind::List(&Kind::Words(T::WORDS));

    fn standard(_: &Key) -> Self {
        Self::new()
    }

    fn checked(self, _: &Key, _: &mut Checker<'_>) -> Option<Self> {
        Some(self)
    }
}

/// Whole numbers.
macro_rules! numbers {
    ($($Type:ident, $least:literal, $most:literal;)*) => { $(
        impl KeyType for $Type {
            type Checked = Self;
            const KIND: Kind = Kind::Number($least, $most);

            fn standard(key: &Key) -> Self {
                Self::try_from(whole(key)).unwrap_or(Self::MAX)
            }

            fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<Self> {
                checker.is_within(key, self.into(), || self.to_string()).then_some(self)
            }
        }
    )* };
}

numbers! {
    u16, 0, 65_535;
    u32, 0, 4_294_967_295;
    i32, -2_147_483_648, 2_147_483_647;
}

impl KeyType for WrittenDuration {
    type Checked = Duration;
    const KIND: Kind = Kind::Duration(0, 86_400_000);

    fn standard(key: &Key) -> Duration {
        Duration::from_millis(whole(key))
    }

    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<Duration> {
        let nanoseconds = i128::try_from(self.0.as_nanos()).unwrap_or(i128::MAX);
        checker.is_within(key, nanoseconds, || duration_text(self.0)).then_some(self.0)
    }
}

impl KeyType for WrittenSize {
    type Checked = u64;
    const KIND: Kind = Kind::Size(0, u64::MAX);

    fn standard(key: &Key) -> u64 {
        whole(key)
    }

    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<u64> {
        checker.is_within(key, self.0.into(), || size_text(self.0)).then_some(self.0)
    }
}

impl KeyType for OrNone<WrittenDuration> {
    /// `None` is no limit.
    type Checked = Option<Duration>;
    const KIND: Kind = Kind::DurationOrNone(0, 86_400_000);

    fn standard(key: &Key) -> Option<Duration> {
        (key.standard != Standard::None).then(|| Duration::from_millis(whole(key)))
    }

    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<Option<Duration>> {
        match self.0.filter(|WrittenDuration(limit)| !limit.is_zero()) {
            Some(limit) => limit.checked(key, checker).map(Some),
            None => Some(None),
        }
    }
}

impl KeyType for OrNone<WrittenSize> {
    type Checked = OrNone<u64>;
    const KIND: Kind = Kind::SizeOrNone(0, u64::MAX);

    fn standard(key: &Key) -> OrNone<u64> {
        OrNone(Some(whole(key)))
    }

    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<OrNone<u64>> {
        match self.0 {
            Some(size) => size.checked(key, checker).map(|size| OrNone(Some(size))),
            None => Some(OrNone(None)),
        }
    }
}

impl KeyType for WrittenShare {
    type Checked = f64;
    const KIND: Kind = Kind::Share;

    fn standard(_: &Key) -> f64 {
        0.0
    }

    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<f64> {
        let is_share = (0.0..=1.0).contains(&self.0);
        if !is_share {
            checker.out_of_range(key, &self.0.to_string(), "0 to 1");
        }
        is_share.then_some(self.0)
    }
}

impl KeyType for Proof {
    type Checked = SecretString;
    const KIND: Kind = Kind::Proof(VISIBLE);

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value().map(Some)
    }

    fn standard(_: &Key) -> SecretString {
        SecretString::default()
    }

    fn checked(self, _: &Key, _: &mut Checker<'_>) -> Option<SecretString> {
        Some(self.0)
    }
}

impl KeyType for Address {
    type Checked = SocketAddr;
    const KIND: Kind = Kind::Address;

    fn standard(key: &Key) -> SocketAddr {
        text(key).parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<SocketAddr> {
        checker.parsed(key.name, &self.0, ADDRESS_EXPECTED, |text| text.parse().ok())
    }
}

fn whole(key: &Key) -> u64 {
    if let Standard::Whole(number) = key.standard { number } else { 0 }
}

fn text(key: &Key) -> &'static str {
    if let Standard::Text(text) = key.standard { text } else { "" }
}

/// One of a few words.
pub trait Word: Copy + 'static {
    /// All of them.
    const WORDS: &'static [&'static str];
}

/// A key that takes one of a few words.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $Words:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
        $vis enum $Words {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)*
        }

        const _: () = {
            use $crate::settings::source::{
                check::Checker,
                declaration::{Key, Kind, Standard, Typed},
                key_type::{KeyType, Word},
                secrecy::Secrecy,
                shown::Show,
            };

            impl $Words {
                const fn spelling(self) -> &'static str {
                    match self { $(Self::$variant => $word,)* }
                }
            }

            impl Word for $Words {
                const WORDS: &'static [&'static str] = &[$($word),*];
            }

            impl Show for $Words {
                fn show(&self, _: Secrecy) -> serde_json::Value {
                    self.spelling().into()
                }
            }

            impl Typed<$Words> {
                pub const fn standard(self) -> Standard {
                    Standard::Text(self.0.spelling())
                }
            }

            // a key need not have a default
            const _: fn(Typed<$Words>) -> Standard = Typed::<$Words>::standard;

            impl KeyType for $Words {
                type Checked = Self;
                const KIND: Kind = Kind::Words(Self::WORDS);

                fn standard(key: &Key) -> Self {
                    let all = [$(Self::$variant),*];
                    let is_standard = |word: &&Self| Standard::Text(word.spelling()) == key.standard;
                    *all.iter().find(is_standard).unwrap_or(&all[0])
                }

                fn checked(self, _: &Key, _: &mut Checker<'_>) -> Option<Self> {
                    Some(self)
                }
            }
        };
    };
}
