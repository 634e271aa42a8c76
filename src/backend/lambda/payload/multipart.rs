//! The fields of a `multipart/form-data` body, read by the `multer` crate.
//!
//! The crate reads streams; the body is at hand (`body_arguments.rs` gives it), so the reading never waits.

use std::{
    borrow::Cow,
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use multer::{Constraints, Field, Multipart, SizeLimit};

use super::{arguments::Argument, no_arguments::NoArguments, pairs::Pairs};
use crate::error::{ErrorKind, ProxyError};

/// Parts cost far more than their bytes, and no form has as many.
const MOST_PARTS: usize = 1000;

/// Reads the fields of a body.
///
/// # Errors
/// It is malformed, has too many parts, or one that cannot stand in JSON.
pub fn fields(content_type: &[u8], body: &Bytes) -> Result<Pairs<'static, Argument<'static>>, NoArguments> {
    let content_type = str::from_utf8(content_type).map_err(malformed)?;
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let reading = pin!(read(body.clone(), boundary));
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(fields) => fields,
        // the stream below ends, so there is nothing that could be waited for
        Poll::Pending => Err(malformed("the multipart body does not end")),
    }
}

async fn read(body: Bytes, boundary: String) -> Result<Pairs<'static, Argument<'static>>, NoArguments> {
    let limit = SizeLimit::new().whole_stream(body.len() as u64);
    let constraints = Constraints::new().size_limit(limit);
    let mut multipart = Multipart::with_constraints(AtHand(Some(body)), boundary, constraints);
    let mut fields = Vec::new();
    while let Some(part) = multipart.next_field().await.map_err(malformed)? {
        if fields.len() == MOST_PARTS {
            return Err(NoArguments::too_many("parts", MOST_PARTS));
        }
        fields.push(field(part).await?);
    }
    Ok(fields.into_iter().collect())
}

async fn field(part: Field<'_>) -> Result<(Cow<'static, str>, Argument<'static>), NoArguments> {
    let Some(name) = part.name().map(str::to_owned) else {
        return Err(malformed("a part of the multipart body has no name"));
    };
    let bytes = part.bytes().await.map_err(malformed)?;
    match String::from_utf8(bytes.into()) {
        Ok(text) => Ok((Cow::Owned(name), Argument::Text(Cow::Owned(text)))),
        Err(_) => Err(malformed(format!("the part {name:?} of the multipart body is not UTF-8 text"))),
    }
}

fn malformed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> NoArguments {
    NoArguments::Unreadable(ProxyError::new(ErrorKind::InvalidBody, cause))
}

/// A stream of the one chunk that is there.
struct AtHand(Option<Bytes>);

impl Stream for AtHand {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const TYPE: &[u8] = b"multipart/form-data; boundary=\"x-y\"";

    fn json(body: &[u8]) -> Result<String, String> {
        let fields = fields(TYPE, &Bytes::copy_from_slice(body));
        let fields = fields.map_err(|why| ProxyError::from(why).to_string())?;
        Ok(serde_json::to_string(&fields).unwrap())
    }

    fn part(name: &str, value: &str) -> String {
        format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn h01_multipart_fields_become_arguments() {
        let body = part("b", "1") + &part("a", "line\r\nline") + &part("b", "") + "--x-y--\r\n";
        assert_eq!(json(body.as_bytes()).unwrap(), r#"{"a":"line\r\nline","b":["1",""]}"#);
        assert_eq!(json(b"--x-y--").unwrap(), "{}");
    }

    #[test]
    fn a_text_file_is_a_field_and_a_binary_one_is_refused() {
        let head = "--x-y\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.bin\"\r\n\
                    Content-Type: application/octet-stream\r\n\r\n";
        let body = |content: &[u8]| [head.as_bytes(), content, b"\r\n--x-y--\r\n"].concat();
        assert_eq!(json(&body("grün".as_bytes())).unwrap(), r#"{"f":"grün"}"#);
        let error = json(&body(b"\xFF\x00")).unwrap_err();
        assert!(error.ends_with("the part \"f\" of the multipart body is not UTF-8 text"), "{error}");
    }

    #[test]
    fn what_is_malformed_or_too_much_is_refused_with_its_cause() {
        let many = part("a", "1").repeat(MOST_PARTS);
        assert!(json(format!("{many}--x-y--").as_bytes()).is_ok());
        for (body, cause) in [
            (format!("{many}{}--x-y--", part("a", "1")), "more than 1000 parts"),
            (part("a", "1"), "incomplete data"),
            ("no boundary".to_owned(), "incomplete multipart stream"),
            ("--x-y\r\nContent-Type: text/plain\r\n\r\n1\r\n--x-y--".to_owned(), "has no name"),
        ] {
            let error = json(body.as_bytes()).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
        let nameless = fields(b"multipart/form-data", &Bytes::from_static(b"--x--"));
        let nameless = ProxyError::from(nameless.unwrap_err());
        assert!(nameless.to_string().contains("boundary not found"), "{nameless}");
        assert_eq!(nameless.kind, ErrorKind::InvalidBody);
    }

    proptest! {
        #[test]
        fn no_body_panics_or_waits(pieces in vec(select(&[
            "--x-y", "--", "\r\n", "\r", "-", " ", "é", "Content-Disposition: form-data; name=\"a\\", "\"",
            ":", "; name=",
        ][..]), 0..24)) {
            if let Err(error) = json(pieces.concat().as_bytes()) {
                prop_assert!(!error.contains("does not end"), "{}", error);
            }
        }

        #[test]
        fn fields_that_were_written_are_read(
            written in vec(("[a-z]{1,3}", "[a-z\r\n\t é-]{0,12}"), 0..8),
        ) {
            let body: String = written.iter().map(|(name, value)| part(name, value)).collect();
            let all = fields(TYPE, &Bytes::from(body + "--x-y--\r\n")).map_err(|why| ProxyError::from(why).to_string());
            let expected: Pairs<Argument> = written
                .iter()
                .map(|(name, value)| (name.as_str().into(), Argument::from(Some(value.as_str().into()))))
                .collect();
            prop_assert_eq!(serde_json::to_string(&all.unwrap()).unwrap(), serde_json::to_string(&expected).unwrap());
        }

        #[test]
        fn no_bytes_and_no_type_make_it_panic(kind in vec(any::<u8>(), 0..40), body in vec(any::<u8>(), 0..80)) {
            let kind = [b"multipart/form-data; boundary=", &kind[..]].concat();
            let _ = fields(&kind, &Bytes::from(body));
        }
    }
}
