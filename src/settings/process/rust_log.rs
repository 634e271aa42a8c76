//! `RUST_LOG` sets the log level where `log.level` is not set.
//!
//! Of the syntax of `env_logger` (`LEVEL`, `TARGET=LEVEL`, `TARGET`, `/FILTER`) only a level for everything
//! or for `apigw_invoker` applies: other targets are libraries, which log headers, and so secrets, at finer
//! levels.

use log::LevelFilter;

pub const NAME: &str = "RUST_LOG";
const OWN_TARGET: &str = "apigw_invoker";

/// The value of the variable, parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct RustLog<'a> {
    /// No finer than debug.
    pub level: Option<LevelFilter>,
    /// The parts without an effect.
    pub ignored: Vec<&'a str>,
}

impl<'a> RustLog<'a> {
    /// Parses a value. Directives that cannot be parsed are ignored like those for other targets.
    pub fn read(value: &'a str) -> Self {
        let (directives, filter) =
            value.split_once('/').map_or((value, None), |(all, filter)| (all, Some(filter)));
        let (mut general, mut own) = (None, None);
        let mut ignored: Vec<&str> = Vec::new();
        for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let (target, level) = directive.split_once('=').unwrap_or(("", directive));
            match (target.trim(), level.trim().parse::<LevelFilter>()) {
                ("", Ok(level)) => general = Some(level),
                (OWN_TARGET, Ok(level)) => own = Some(level),
                // a target without a level enables all levels
                ("", Err(_)) if directive == OWN_TARGET => own = Some(LevelFilter::Trace),
                _ => ignored.push(directive),
            }
        }
        ignored.extend(filter);
        let level = own.or(general);
        Self { level: level.map(|level| level.min(LevelFilter::Debug)), ignored }
    }

    /// The warning about directives without an effect, if there are any; `effective` is the level of the log.
    pub fn warning(&self, effective: LevelFilter) -> Option<String> {
        if let Some(level) = self.level.filter(|level| *level != effective) {
            return Some(format!(
                "{NAME} asks for level {}, but log.level is set and takes precedence: {}",
                level.as_str().to_ascii_lowercase(),
                effective.as_str().to_ascii_lowercase()
            ));
        }
        let ignored = self.ignored.join("`, `");
        (!ignored.is_empty()).then(|| {
            format!("{NAME}: `{ignored}` has no effect; only a level for everything or for {OWN_TARGET} has")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn k13_a_level_for_everything_or_for_the_sidecar_counts_and_the_rest_is_named() {
        for (value, level, ignored) in [
            ("debug", Some(LevelFilter::Debug), &[][..]),
            (" WARN ", Some(LevelFilter::Warn), &[]),
            ("off", Some(LevelFilter::Off), &[]),
            ("trace", Some(LevelFilter::Debug), &[]),
            ("apigw_invoker", Some(LevelFilter::Debug), &[]),
            ("error,apigw_invoker=info,hyper=trace", Some(LevelFilter::Info), &["hyper=trace"]),
            ("rustls=debug,h2", None, &["rustls=debug", "h2"]),
            ("info/request", Some(LevelFilter::Info), &["request"]),
            ("apigw_invoker=loud", None, &["apigw_invoker=loud"]),
            ("", None, &[]),
        ] {
            assert_eq!(RustLog::read(value), RustLog { level, ignored: ignored.to_vec() }, "{value}");
        }
    }

    #[test]
    fn k13_what_has_no_effect_is_warned_of() {
        let warning = |value: &str| RustLog::read(value).warning(LevelFilter::Info).unwrap_or_default();
        assert_eq!(warning("info"), "");
        assert!(warning("debug").contains("asks for level debug, but log.level is set"));
        assert!(warning("info,h2=trace").starts_with("RUST_LOG: `h2=trace` has no effect"));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic_and_no_level_is_finer_than_debug(value in "[a-z_=,/ ]{0,40}") {
            prop_assert!(RustLog::read(&value).level.is_none_or(|level| level <= LevelFilter::Debug));
        }
    }
}
