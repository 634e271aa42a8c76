//! Parses a `multipart/form-data` body (RFC 7578) without copying its values.
//!
//! The body is already buffered. The `multer` crate reads streams and copies every value; the tests compare
//! the results with it.

use std::borrow::Cow;

use memchr::memmem::{self, Finder};

use super::{
    arguments::Argument,
    body_arguments::NoArguments,
    groups::{Named, NamedValues},
};
use crate::message::error::{ErrorKind, ProxyError};

/// Bounds the memory of the index; no real form has as many parts.
const MAX_PARTS: usize = 1000;
/// Headers of a part; forms have two or three.
const MAX_HEADERS: usize = 32;

#[derive(Debug)]
pub struct FormParts<'a>(Vec<FormPart<'a>>);

#[derive(Debug)]
struct FormPart<'a> {
    name: Cow<'a, str>,
    value: &'a str,
}

/// # Errors
/// The body is malformed, has too many parts, or a part is not UTF-8.
pub fn parts<'a>(content_type: &[u8], body: &'a [u8]) -> Result<FormParts<'a>, NoArguments> {
    let Some(boundary) = boundary(content_type) else {
        return Err(malformed("multipart boundary not found in the content type"));
    };
    let delimiter = [b"\r\n--", &*boundary].concat();
    let mut reader = PartReader { rest: body, delimiter: Finder::new(&delimiter) };
    let mut parts = Vec::new();
    // the first boundary needs no line break before it
    let Some(first) = memmem::find(body, &delimiter[2..]) else {
        return Err(malformed("incomplete multipart stream: no boundary"));
    };
    reader.rest = &body[first + delimiter.len() - 2..];
    while reader.next_part_begins()? {
        if parts.len() == MAX_PARTS {
            return Err(NoArguments::too_many("parts", MAX_PARTS));
        }
        if parts.is_empty() {
            let count = reader.delimiter.find_iter(reader.rest).count();
            parts.reserve_exact(count.min(MAX_PARTS));
        }
        parts.push(reader.part()?);
    }
    Ok(FormParts(parts))
}

struct PartReader<'a, 'd> {
    rest: &'a [u8],
    delimiter: Finder<'d>,
}

impl<'a> PartReader<'a, '_> {
    /// Skips the rest of a boundary line; false after the last boundary.
    fn next_part_begins(&mut self) -> Result<bool, NoArguments> {
        if self.rest.starts_with(b"--") {
            return Ok(false);
        }
        // RFC 2046, 5.1.1: a gateway may add blanks
        let padding = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match self.rest[padding..].strip_prefix(b"\r\n") {
            Some(rest) => self.rest = rest,
            None => return Err(malformed("incomplete multipart stream: a boundary without an end of line")),
        }
        Ok(true)
    }

    fn part(&mut self) -> Result<FormPart<'a>, NoArguments> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = memmem::find(self.rest, END) else {
            return Err(malformed("incomplete headers of a part of the multipart body"));
        };
        let (head, content) = self.rest.split_at(end + END.len());
        let Some(name) = name(head)? else {
            return Err(malformed("a part of the multipart body has no name"));
        };
        let Some(end) = self.delimiter.find(content) else {
            return Err(malformed(format!("incomplete data of the part {name:?} of the multipart body")));
        };
        self.rest = &content[end + self.delimiter.needle().len()..];
        match str::from_utf8(&content[..end]) {
            Ok(value) => Ok(FormPart { name, value }),
            Err(_) => Err(malformed(format!("the part {name:?} of the multipart body is not UTF-8 text"))),
        }
    }
}

/// The name of a part, from its last `Content-Disposition`.
fn name(head: &[u8]) -> Result<Option<Cow<'_, str>>, NoArguments> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let headers = match httparse::parse_headers(head, &mut headers) {
        Ok(httparse::Status::Complete((_, headers))) => headers,
        Ok(httparse::Status::Partial) => return Err(malformed("incomplete headers of a part")),
        Err(error) => return Err(malformed(error)),
    };
    let disposition = headers.iter().rfind(|header| header.name.eq_ignore_ascii_case("content-disposition"));
    Ok(disposition
        .and_then(|header| str::from_utf8(header.value).ok())
        .and_then(|value| parameter(value, "name")))
}

fn boundary(content_type: &[u8]) -> Option<Cow<'_, [u8]>> {
    let value = str::from_utf8(content_type).ok()?;
    let boundary = parameter(value, "boundary").filter(|boundary| !boundary.is_empty())?;
    Some(match boundary {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// A parameter of a header's value (RFC 9110, 5.6.6). Only `\"` is unescaped: browsers write a quotation mark
/// in a name as `%22` or `\"`, and do not escape a backslash (WHATWG, "multipart/form-data").
fn parameter<'a>(value: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let (_, mut rest) = value.split_once(';')?;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_ascii_start();
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => {
                let end = end_of_quoted(quoted)?;
                (unescaped(&quoted[..end]), &quoted[end + 1..])
            }
            None => {
                let end = behind.find([';', ' ']).unwrap_or(behind.len());
                (Cow::Borrowed(&behind[..end]), &behind[end..])
            }
        };
        // skips a parameter without a value: `a; b=1`
        let name = name.rsplit(';').next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

fn end_of_quoted(quoted: &str) -> Option<usize> {
    let mark = |(at, _): &(usize, &str)| *at == 0 || quoted.as_bytes()[at - 1] != b'\\';
    quoted.match_indices('"').find(mark).map(|(at, _)| at)
}

fn unescaped(quoted: &str) -> Cow<'_, str> {
    if quoted.contains("\\\"") { Cow::Owned(quoted.replace("\\\"", "\"")) } else { Cow::Borrowed(quoted) }
}

fn malformed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> NoArguments {
    NoArguments::Unreadable(ProxyError::new(ErrorKind::InvalidBody, cause))
}

impl<'a> FormParts<'a> {
    fn at(&self, position: u32) -> Option<&FormPart<'a>> {
        usize::try_from(position).ok().and_then(|position| self.0.get(position))
    }
}

impl Named for FormParts<'_> {
    fn name(&self, position: u32) -> Cow<'_, str> {
        self.at(position).map(|part| Cow::Borrowed(&*part.name)).unwrap_or_default()
    }
}

impl<'a> NamedValues for FormParts<'a> {
    type Value = Argument<'a>;

    fn value(&self, position: u32) -> Argument<'a> {
        Argument::Text(Cow::Borrowed(self.at(position).map_or("", |part| part.value)))
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn each(&self, mut call: impl FnMut(u32, &str)) {
        (0..).zip(&self.0).for_each(|(position, part)| call(position, &part.name));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::Future,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{super::groups::Indexed, *};

    /// A stream of one chunk.
    struct OneChunk(Option<Bytes>);

    impl futures_core::Stream for OneChunk {
        type Item = Result<Bytes, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take().map(Ok))
        }
    }

    const TYPE: &[u8] = b"multipart/form-data; boundary=\"x-y\"";

    fn json(body: &[u8]) -> Result<String, String> {
        let parts = parts(TYPE, body).map_err(|why| ProxyError::from(why).to_string())?;
        Ok(serde_json::to_string(&Indexed::new(parts)).unwrap())
    }

    /// Names and values as `multer` reads them; `None` if it refuses the body or a value is not text.
    fn by_multer(content_type: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
        let boundary = multer::parse_boundary(content_type).ok()?;
        let body = Bytes::copy_from_slice(body);
        let reading = pin!(async {
            let stream = OneChunk(Some(body));
            let mut multipart = multer::Multipart::new(stream, boundary);
            let mut fields = Vec::new();
            while let Some(field) = multipart.next_field().await.ok()? {
                let name = field.name()?.to_owned();
                fields.push((name, String::from_utf8(field.bytes().await.ok()?.into()).ok()?));
            }
            Some(fields)
        });
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(fields) => fields,
            Poll::Pending => None,
        }
    }

    fn ours(content_type: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
        let FormParts(parts) = parts(content_type.as_bytes(), body).ok()?;
        Some(parts.into_iter().map(|part| (part.name.into_owned(), part.value.to_owned())).collect())
    }

    fn part(name: &str, value: &str) -> String {
        format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn h01_multipart_fields_become_arguments() {
        let body = part("b", "1") + &part("a", "line\r\nline") + &part("b", "") + "--x-y--\r\n";
        assert_eq!(json(body.as_bytes()).unwrap(), r#"{"b":["1",""],"a":"line\r\nline"}"#);
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
        let many = part("a", "1").repeat(MAX_PARTS);
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
        let nameless = parts(b"multipart/form-data", b"--x--");
        let nameless = ProxyError::from(nameless.unwrap_err());
        assert!(nameless.to_string().contains("boundary not found"), "{nameless}");
        assert_eq!(nameless.kind, ErrorKind::InvalidBody);
    }

    proptest! {
        #[test]
        fn any_pieces_are_read_as_multer_reads_them(pieces in vec(select(&[
            "--x-y", "--", "\r\n", "\r", "-", " ", "é", "Content-Disposition: form-data; name=\"a\\", "\"",
            ":", "; name=", "\r\n--x-y\r\nContent-Disposition: form-data; name=", "\r\n\r\n", "b", "--x-y--",
        ][..]), 0..24)) {
            let body = pieces.concat();
            let kind = str::from_utf8(TYPE).unwrap();
            prop_assert_eq!(ours(kind, body.as_bytes()), by_multer(kind, body.as_bytes()));
        }

        #[test]
        fn fields_that_were_written_are_read(
            written in vec(("[a-z\\\\;=ö ]{1,6}", "[a-z\r\n\t é-]{0,12}"), 0..8),
            padding in "[ \t]{0,2}",
        ) {
            let body: String = written.iter().map(|(name, value)| part(&format!("{name}x"), value)).collect();
            let body = body.replace("--x-y\r\n", &format!("--x-y{padding}\r\n")) + "--x-y--\r\n";
            let kind = str::from_utf8(TYPE).unwrap();
            let expected = written.into_iter().map(|(name, value)| (format!("{name}x"), value)).collect();
            prop_assert_eq!(ours(kind, body.as_bytes()), Some(expected));
            prop_assert_eq!(ours(kind, body.as_bytes()), by_multer(kind, body.as_bytes()));
        }

        #[test]
        fn boundaries_are_found_where_multer_finds_them(
            kind in "multipart/form-data(; ?(boundary|charset|Boundary)=(\"[a-z0-9' ()+_,./:=?-]{0,5}[a-z]\"|[a-z0-9'+_.-]{1,6})){0,3}",
        ) {
            let ours = boundary(kind.as_bytes()).map(|boundary| String::from_utf8(boundary.into_owned()).unwrap());
            prop_assert_eq!(ours, multer::parse_boundary(&kind).ok());
        }

        #[test]
        fn no_bytes_and_no_type_make_it_panic(kind in vec(any::<u8>(), 0..40), body in vec(any::<u8>(), 0..80)) {
            let kind = [b"multipart/form-data; boundary=", &kind[..]].concat();
            let _ = parts(&kind, &body);
        }
    }
}
