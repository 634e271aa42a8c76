//! The names of a function in a call: `name`, `name:qualifier`, a partial and a full ARN ("Invoke",
//! URI request parameters, Lambda API reference).

use percent_encoding::percent_decode_str;

use super::answers::LambdaError;
use crate::stand_in::{functions::by_event::Function, issued::ACCOUNT, runtime::Functions};

/// "Length Constraints: Minimum length of 1. Maximum length of 256."
const MAX_NAME: usize = 256;
/// The one alias of each function.
const ALIAS: &str = "live";

/// The function of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callee {
    BuiltIn(Function),
    /// A function that runs on this machine, by its name.
    Local(String),
    /// A function of the user's own settings that does not run here: the event is its answer.
    Absent,
}

/// The functions that a call may name.
#[derive(Debug, Clone, Copy)]
pub struct KnownFunctions<'a> {
    pub region: &'a str,
    pub local: Option<&'a Functions>,
    /// The calls come from the user's own settings, so that every function of any account exists.
    pub has_all: bool,
}

/// An existing function in an existing version.
#[derive(Debug, PartialEq, Eq)]
pub struct FunctionTarget {
    pub callee: Callee,
    /// The ARN with the qualifier of the call.
    pub arn: String,
    /// The version behind the qualifier.
    pub version: &'static str,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct FunctionName<'a> {
    region: Option<&'a str>,
    account: Option<&'a str>,
    function: &'a str,
    qualifier: Option<&'a str>,
}

impl FunctionTarget {
    /// Finds a function by a path segment and the query's `Qualifier`.
    ///
    /// # Errors
    /// The name is invalid, or the function, version or alias does not exist.
    pub fn find(
        segment: &str,
        qualifier: Option<&str>,
        known: KnownFunctions<'_>,
    ) -> Result<Self, LambdaError> {
        let region = known.region;
        let text = percent_decode_str(segment).decode_utf8_lossy();
        let name =
            FunctionName::parse(&text).ok_or_else(|| LambdaError::constraint(&text, "functionName"))?;
        if let Some(elsewhere) = name.region.filter(|own| *own != region) {
            return Err(LambdaError::FunctionNotFound(format!(
                "Functions from '{elsewhere}' are not reachable in this region ('{region}')"
            )));
        }
        if name.qualifier.is_some() && qualifier.is_some() && name.qualifier != qualifier {
            return Err(LambdaError::InvalidParameterValue(
                "The derived qualifier from the function name does not match the specified qualifier.".into(),
            ));
        }
        let qualifier = name.qualifier.or(qualifier);
        let account = name.account.unwrap_or(ACCOUNT);
        let mut arn = format!("arn:aws:lambda:{region}:{account}:function:{}", name.function);
        if let Some(qualifier) = qualifier {
            arn.extend([":", qualifier]);
        }
        if account != ACCOUNT && !known.has_all {
            return Err(LambdaError::AccessDenied(arn));
        }
        let version = version(qualifier).or_else(|| known.has_all.then_some("$LATEST"));
        match (known.callee(name.function), version) {
            (Some(callee), Some(version)) => Ok(Self { callee, arn, version }),
            _ => Err(LambdaError::FunctionNotFound(format!("Function not found: {arn}"))),
        }
    }
}

impl KnownFunctions<'_> {
    fn callee(self, name: &str) -> Option<Callee> {
        if self.local.is_some_and(|functions| functions.has(name)) {
            return Some(Callee::Local(name.to_owned()));
        }
        if self.has_all { Some(Callee::Absent) } else { Function::named(name).map(Callee::BuiltIn) }
    }
}

/// The version behind a qualifier.
fn version(qualifier: Option<&str>) -> Option<&'static str> {
    match qualifier {
        None | Some("$LATEST") => Some("$LATEST"),
        Some(ALIAS | "1") => Some("1"),
        Some(_) => None,
    }
}

impl<'a> FunctionName<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (mut name, rest) = match &parts[..] {
            ["arn", partition, "lambda", region, account, "function", rest @ ..]
                if partition.starts_with("aws") && is_account(account) =>
            {
                (Self { region: Some(*region), account: Some(*account), ..Self::default() }, rest)
            }
            [account, "function", rest @ ..] if is_account(account) => {
                (Self { account: Some(*account), ..Self::default() }, rest)
            }
            rest => (Self::default(), rest),
        };
        match rest {
            [function] => name.function = function,
            [function, qualifier] => (name.function, name.qualifier) = (function, Some(*qualifier)),
            _ => return None,
        }
        let is_valid = text.len() <= MAX_NAME
            && is_word(name.function, "-_.")
            && name.qualifier.is_none_or(|qualifier| is_word(qualifier, "-_$."));
        is_valid.then_some(name)
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(text: &str, besides: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|character| character.is_ascii_alphanumeric() || besides.contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELLO: &str = "arn:aws:lambda:us-east-1:123456789012:function:hello";

    fn find(segment: &str, qualifier: Option<&str>) -> Result<FunctionTarget, LambdaError> {
        let known = KnownFunctions { region: "us-east-1", local: None, has_all: false };
        FunctionTarget::find(segment, qualifier, known)
    }

    #[test]
    fn every_form_of_a_name_leads_to_the_function() {
        for (segment, qualifier, arn, version) in [
            ("hello", None, HELLO.to_owned(), "$LATEST"),
            ("hello", Some("live"), format!("{HELLO}:live"), "1"),
            ("hello:live", None, format!("{HELLO}:live"), "1"),
            ("hello%3Alive", Some("live"), format!("{HELLO}:live"), "1"),
            ("hello%3A%24LATEST", None, format!("{HELLO}:$LATEST"), "$LATEST"),
            ("hello:1", None, format!("{HELLO}:1"), "1"),
            ("123456789012:function:hello", None, HELLO.to_owned(), "$LATEST"),
            ("123456789012%3Afunction%3ahello%3Alive", None, format!("{HELLO}:live"), "1"),
            (HELLO, None, HELLO.to_owned(), "$LATEST"),
            (&HELLO.replace(':', "%3A"), Some("1"), format!("{HELLO}:1"), "1"),
        ] {
            let expected = FunctionTarget { callee: Callee::BuiltIn(Function::Hello), arn, version };
            assert_eq!(find(segment, qualifier), Ok(expected), "{segment}");
        }
    }

    #[test]
    fn an_unknown_function_or_version_is_named_by_its_arn() {
        for (segment, arn) in [
            ("nobody", "nobody"),
            ("Hello", "Hello"),
            ("hello:dead", "hello:dead"),
            ("hello:2", "hello:2"),
            ("123456789012:function:nobody:live", "nobody:live"),
        ] {
            let expected =
                format!("Function not found: arn:aws:lambda:us-east-1:123456789012:function:{arn}");
            assert_eq!(find(segment, None), Err(LambdaError::FunctionNotFound(expected)));
        }
    }

    #[test]
    fn functions_of_other_regions_and_accounts_are_refused() {
        assert_eq!(
            find(&HELLO.replace("us-east-1", "eu-west-1"), None),
            Err(LambdaError::FunctionNotFound(
                "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')".into()
            ))
        );
        let theirs = HELLO.replace("123456789012", "210987654321");
        assert_eq!(find(&theirs, None), Err(LambdaError::AccessDenied(theirs)));
    }

    #[test]
    fn invalid_names_are_refused() {
        let long = "a".repeat(257);
        for segment in
            ["a b", "hello:", "%FF", "a:b:c", "arn:aws:lambda:us-east-1:1:function:hello", "é", &long]
        {
            assert!(matches!(find(segment, None), Err(LambdaError::Validation(_))), "{segment}");
        }
        assert!(matches!(find("hello:live", Some("1")), Err(LambdaError::InvalidParameterValue(_))));
    }

    proptest! {
        #[test]
        fn no_segment_causes_a_panic(
            segment in "(arn:aws:lambda|:|%3A|us-east-1|1{12}|function|hello|live|%|é|[a-z$]){0,10}",
            qualifier in prop::option::of("[a-z$1]{0,4}"),
        ) {
            if let Ok(target) = find(&segment, qualifier.as_deref()) {
                // the ARN leads to the same function
                prop_assert_eq!(find(&target.arn, None), Ok(target));
            }
        }
    }
}
