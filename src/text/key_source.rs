//! The names of credential sources in the log, `/ready`, `check --credentials`, `explain` and `routes`.

use std::fmt;

/// A credential source: `profile work as role arn:…`.
#[derive(Clone, Copy)]
pub struct KeySource<'a> {
    /// The source of the first keys.
    pub origin: KeyOrigin<'a>,
    /// The ARN of the role that is assumed with them.
    pub role: Option<&'a str>,
}

/// The source of first keys.
#[derive(Clone, Copy)]
pub enum KeyOrigin<'a> {
    /// Keys in the settings.
    Settings,
    /// Keys in files that the settings name.
    Files,
    /// A certificate that the settings name.
    RolesAnywhere,
    /// A profile of the shared files.
    Profile(&'a str),
    /// The chain before it has been resolved.
    Chain,
    /// A source of the chain, by name.
    OfChain(&'a str),
}

impl fmt::Display for KeySource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Some(role) => write!(f, "{} as role {role}", self.origin),
            None => self.origin.fmt(f),
        }
    }
}

impl fmt::Display for KeyOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("settings"),
            Self::Files => f.write_str("files of the settings"),
            Self::RolesAnywhere => f.write_str("IAM Roles Anywhere"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Chain => f.write_str("credential chain"),
            Self::OfChain(source) => f.write_str(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_by_its_origin_and_the_role() {
        let told = |origin, role| KeySource { origin, role }.to_string();
        assert_eq!(told(KeyOrigin::Settings, None), "settings");
        assert_eq!(told(KeyOrigin::Profile("work"), Some("arn:r")), "profile work as role arn:r");
        assert_eq!(told(KeyOrigin::OfChain("IRSA"), Some("arn:r")), "IRSA as role arn:r");
    }
}
