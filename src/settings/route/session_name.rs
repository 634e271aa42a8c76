//! Makes a valid session name for STS of any text, such as a pod's name.

/// The session name if none is set.
pub const DEFAULT: &str = "apigw-invoker";
/// `RoleSessionName` of <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>.
const MIN_LENGTH: usize = 2;
const MAX_LENGTH: usize = 64;

/// The nearest name that STS accepts: `[\w+=,.@-]{2,64}`, where `\w` is ASCII. Other characters become `-`,
/// so that `namespace/pod` stays readable in AWS's logs.
pub fn session_name(text: &str) -> String {
    if text.is_empty() {
        return DEFAULT.to_owned();
    }
    let allowed = text.chars().map(|char| if is_allowed(char) { char } else { '-' });
    let mut name: String = allowed.take(MAX_LENGTH).collect();
    while name.len() < MIN_LENGTH {
        name.push('-');
    }
    name
}

fn is_allowed(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_+=,.@-".contains(char)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_sts_refuses_becomes_a_dash() {
        assert_eq!(session_name("kong"), "kong");
        assert_eq!(session_name("a+b=c,d.e@f-g_H9"), "a+b=c,d.e@f-g_H9");
        assert_eq!(session_name("shop/orders:7d9 é"), "shop-orders-7d9--");
        assert_eq!(session_name("x"), "x-");
        assert_eq!(session_name(""), DEFAULT);
        assert_eq!(session_name(&"n".repeat(65)), "n".repeat(64));
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_name_that_sts_takes(text in any::<String>()) {
            let name = session_name(&text);
            prop_assert!((2..=64).contains(&name.len()), "{name}");
            prop_assert!(name.chars().all(is_allowed), "{name}");
            prop_assert_eq!(session_name(&name), name);
        }
    }
}
