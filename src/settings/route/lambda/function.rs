//! The key `function_name`: a name, a partial or a full ARN (Lambda API reference, `Invoke`).

/// A function's name, parsed. Parts that are not written are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// The text as written, which is sent.
    pub text: String,
    /// The ARN's region.
    pub region: Option<String>,
    /// The ARN's account, twelve digits.
    pub account: Option<String>,
    /// The version or alias after the name.
    pub qualifier: Option<String>,
}

impl FunctionName {
    pub(super) const EXPECTED: &'static str =
        "a name, NAME:QUALIFIER, ACCOUNT:function:NAME or arn:aws:lambda:REGION:ACCOUNT:function:NAME";
    /// The most bytes of the whole text.
    const MAX_LENGTH: usize = 256;

    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_LENGTH {
            return None;
        }
        let mut parts: Vec<&str> = text.split(':').collect();
        if parts.first() == Some(&"arn") {
            let [_, partition, "lambda", ..] = parts[..] else { return None };
            if !(partition == "aws" || partition.starts_with("aws-")) {
                return None;
            }
            parts.drain(..3);
            // a full ARN has all parts
            let whole = matches!(parts[..], [_, _, "function", _] | [_, _, "function", _, _]);
            if !whole || !is_region(parts[0]) || !is_account(parts[1]) {
                return None;
            }
        }
        let mut rest = &parts[..];
        let mut take = |fits: fn(&str) -> bool| match rest {
            [first, after @ ..] if !after.is_empty() && fits(first) => {
                rest = after;
                Some((*first).to_owned())
            }
            _ => None,
        };
        let region = take(is_region);
        let account = take(is_account);
        take(|part| part == "function");
        let (name, qualifier) = match rest {
            [name] => (name, None),
            [name, qualifier] => (name, Some(*qualifier)),
            _ => return None,
        };
        let sound = is_name(name) && qualifier.is_none_or(is_qualifier);
        sound.then(|| Self {
            text: text.to_owned(),
            region,
            account,
            qualifier: qualifier.map(str::to_owned),
        })
    }
}

/// `us-east-1`, `us-gov-west-1`, `eusc-de-east-1`: words between hyphens, the last one a number.
fn is_region(text: &str) -> bool {
    let mut words = text.split('-').rev();
    let number =
        words.next().is_some_and(|last| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()));
    let mut count = 0;
    let lower = words.all(|word| {
        count += 1;
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    number && lower && count >= 2
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    (1..=140).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A version, an alias, or `$LATEST`.
pub(super) fn is_qualifier(text: &str) -> bool {
    text == "$LATEST.PUBLISHED"
        || ((1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Option<String>, Option<String>, Option<String>) {
        let name = FunctionName::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(name.text, text);
        (name.region, name.account, name.qualifier)
    }

    #[test]
    fn names_and_arns_are_taken_apart() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("MyLambda"), (None, None, None));
        assert_eq!(parts("my_lambda.v1:live"), (None, None, some("live")));
        assert_eq!(parts("f:$LATEST"), (None, None, some("$LATEST")));
        assert_eq!(parts("123456789012:function:f:7"), (None, some("123456789012"), some("7")));
        assert_eq!(parts("function:f"), (None, None, None));
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            let arn = format!("arn:{partition}:lambda:us-gov-west-1:123456789012:function:f");
            assert_eq!(parts(&arn), (some("us-gov-west-1"), some("123456789012"), None));
            assert_eq!(parts(&format!("{arn}:live")).2, some("live"));
        }
        assert_eq!(
            parts("arn:aws-eusc:lambda:eusc-de-east-1:123456789012:function:f").0,
            some("eusc-de-east-1")
        );
    }

    #[test]
    fn what_lambda_would_refuse_is_refused_here() {
        for text in [
            "",
            ":",
            "a b",
            "a/b",
            "f:",
            "f:a:b",
            "f:!",
            "arn:aws:s3:us-east-1:123456789012:function:f",
            "arn:aws:lambda:us-east-1:123456789012:f",
            "arn:aws:lambda:us-east-1:1234:function:f",
            "arn:aws:lambda:US:123456789012:function:f",
            "arn:aws:lambda",
            "arn",
            &"f".repeat(141),
        ] {
            assert_eq!(FunctionName::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_put_together_is_taken_apart_again(
            name in "[a-zA-Z_.][a-zA-Z0-9_.-]{0,20}",
            account in prop::option::of("[0-9]{12}"),
            qualifier in prop::option::of("[a-zA-Z0-9_$-]{1,10}"),
            region in prop::option::of("[a-z]{2,4}(-[a-z]{2,6}){1,2}-[0-9]{1,2}"),
        ) {
            // only a full ARN has a region
            let region = region.filter(|_| account.is_some());
            let place = match (&region, &account) {
                (Some(region), Some(account)) => format!("arn:aws:lambda:{region}:{account}:function:"),
                (_, Some(account)) => format!("{account}:function:"),
                _ => String::new(),
            };
            let version = qualifier.as_ref().map(|own| format!(":{own}")).unwrap_or_default();
            let text = format!("{place}{name}{version}");
            let expected = FunctionName { text: text.clone(), region, account, qualifier };
            prop_assert_eq!(FunctionName::parse(&text), Some(expected));
        }

        #[test]
        fn no_text_makes_it_panic_and_what_is_taken_is_short_and_plain(text in "(arn:aws|:\
            |lambda|function|us-east-1|1{12}|[a-z$é /]){0,12}") {
            if let Some(name) = FunctionName::parse(&text) {
                prop_assert!(name.text == text && text.is_ascii() && !text.contains([' ', '/']), "{text}");
            }
        }
    }
}
