//! Elements of a flat XML document without attributes, such as an error of Amazon S3.

use std::borrow::Cow;

/// The text of an element, with its entities decoded; `None` without the element.
pub fn element<'x>(xml: &'x str, name: &str) -> Option<Cow<'x, str>> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let text = xml.split_once(&*start)?.1.split_once(&*end)?.0;
    Some(if text.contains('&') { decoded(text).into() } else { text.into() })
}

/// The document without these elements; `None` if the end of one is missing.
pub fn without(xml: &str, names: &[&str]) -> Option<String> {
    let mut rest = xml.to_owned();
    for name in names {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        while let Some(at) = rest.find(&*start) {
            let length = rest[at..].find(&*end)? + end.len();
            rest.replace_range(at..at + length, "");
        }
    }
    Some(rest)
}

/// The five entities of XML and decimal references, such as `&#10;`; others remain.
fn decoded(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let decoded = part.split_once(';').and_then(|(name, rest)| {
            let character = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                number => char::from_u32(number.strip_prefix('#')?.parse().ok()?)?,
            };
            Some((character, rest))
        });
        match decoded {
            Some((character, rest)) => {
                plain.push(character);
                plain.push_str(rest);
            }
            None => plain.extend(["&", part]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ERROR: &str = "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>\
        <Message>a &amp; b&#10;&lt;c&gt; &bogus; &</Message><Token-0>hush</Token-0><Token-0>hush</Token-0>\
        </Error>";

    #[test]
    fn an_element_is_its_decoded_text() {
        assert_eq!(element(ERROR, "Code").as_deref(), Some("AccessDenied"));
        assert_eq!(element(ERROR, "Message").as_deref(), Some("a & b\n<c> &bogus; &"));
        assert_eq!(element(ERROR, "Region"), None);
        assert_eq!(element("<Code>a", "Code"), None);
    }

    #[test]
    fn elements_are_cut_out_each_time_they_occur() {
        let rest = without(ERROR, &["Token-0", "Region"]).unwrap();
        assert!(!rest.contains("hush") && rest.ends_with("</Message></Error>"), "{rest}");
        assert_eq!(without("<Error><Token-0>hush", &["Token-0"]), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), parts in "(<a>|</a>|&#|&lt;|;|9|é){0,12}") {
            for text in [&text, &parts] {
                let _ = (element(text, "a"), without(text, &["a"]), decoded(text));
            }
        }
    }
}
