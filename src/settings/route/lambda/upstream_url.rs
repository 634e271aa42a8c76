//! `upstream_url: aws-lambda://REGION/FUNCTION`, as in the early prototype of Kong's plugin (Kong/kong#1190).

use std::fmt;

use serde::{
    Deserialize,
    de::value::{self, StrDeserializer},
};
use serde_json::{Map, Value};

use super::{InvocationType, LogType};

/// The URL, parsed.
#[derive(PartialEq)]
pub(super) struct UpstreamUrl {
    pub(super) region: String,
    pub(super) function: String,
    pub(super) qualifier: Option<String>,
    pub(super) invocation_type: Option<InvocationType>,
    pub(super) log_type: Option<LogType>,
    /// A secret, as the key `client_context` is.
    pub(super) client_context: Option<Map<String, Value>>,
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, function, .. } = self;
        f.debug_struct("UpstreamUrl")
            .field("region", region)
            .field("function", function)
            .finish_non_exhaustive()
    }
}

impl UpstreamUrl {
    pub(super) const EXPECTED: &'static str = "aws-lambda://REGION/FUNCTION, and at most qualifier, \
         invocation_type, log_type and client_context (a JSON object) in its query";

    /// Parses a URL; an unknown query argument makes it invalid.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("aws-lambda://")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (region, function) = path.split_once('/')?;
        if region.is_empty() || function.is_empty() {
            return None;
        }
        let mut url = Self {
            region: region.to_owned(),
            function: function.to_owned(),
            qualifier: None,
            invocation_type: None,
            log_type: None,
            client_context: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name.to_ascii_lowercase() {
                "qualifier" => url.qualifier = Some(value.into_owned()),
                "invocation_type" | "invocationtype" => url.invocation_type = Some(word(&value)?),
                "log_type" | "logtype" => url.log_type = Some(word(&value)?),
                "client_context" | "clientcontext" => {
                    url.client_context = Some(serde_json::from_str(&value).ok()?);
                }
                _ => return None,
            }
        }
        Some(url)
    }
}

fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<value::Error>::new(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn h06_region_and_function_are_in_the_url_and_more_in_its_query() {
        let url = UpstreamUrl::parse("aws-lambda://us-east-1/MyLambda?qualifier=live&log_type=None").unwrap();
        assert_eq!((&*url.region, &*url.function), ("us-east-1", "MyLambda"));
        assert_eq!((url.qualifier.as_deref(), url.log_type), (Some("live"), Some(LogType::None)));
        let url = UpstreamUrl::parse("aws-lambda://eu-west-1/f?invocation_type=Event").unwrap();
        assert_eq!(url.invocation_type, Some(InvocationType::Event));
    }

    #[test]
    fn client_context_is_percent_encoded_json_and_debug_does_not_show_it() {
        let text =
            "aws-lambda://us-east-1/f?client_context=%7B%22custom%22%3A%7B%22a%22%3A%22hush+%26%22%7D%7D";
        let url = UpstreamUrl::parse(text).unwrap();
        assert_eq!(url.client_context.as_ref().unwrap()["custom"]["a"], "hush &");
        assert!(!format!("{url:?}").contains("hush"), "{url:?}");
    }

    #[test]
    fn h04_any_other_url_is_refused() {
        for text in [
            "",
            "http://us-east-1/f",
            "aws-lambda:us-east-1/f",
            "aws-lambda://us-east-1",
            "aws-lambda://us-east-1/",
            "aws-lambda:///f",
            "aws-lambda://us-east-1/f?verbose=1",
            "aws-lambda://us-east-1/f?log_type=All",
            "aws-lambda://us-east-1/f?client_context=%7B",
            "aws-lambda://us-east-1/f?client_context=1",
        ] {
            assert_eq!(UpstreamUrl::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_url_put_together_is_taken_apart_again(
            region in "[a-z0-9-]{1,12}",
            function in "[a-zA-Z0-9_:.-]{1,20}",
            qualifier in prop::option::of(any::<String>()),
        ) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(qualifier) = &qualifier {
                query.append_pair("qualifier", qualifier);
            }
            let text = format!("aws-lambda://{region}/{function}?{}&invocation_type=Event", query.finish());
            let invocation_type = Some(InvocationType::Event);
            let expected = UpstreamUrl {
                region,
                function,
                qualifier,
                invocation_type,
                log_type: None,
                client_context: None,
            };
            prop_assert_eq!(UpstreamUrl::parse(&text), Some(expected));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = (UpstreamUrl::parse(&text), UpstreamUrl::parse(&format!("aws-lambda://r/f?{text}")));
        }
    }
}
