//! JSON that a function or AWS wrote, read where it lies: values are slices of the document.
//!
//! An answer may be several megabytes and is not trusted to have a useful shape. `serde_json` unescapes a text into a
//! buffer that doubles as it grows and keeps a byte for each level of nesting; here nothing is copied until a caller
//! asks for a text, and nesting costs a bit a level. `backend/lambda/answer` reads functions' answers with it, and
//! all who read an error of AWS take its members from here.

mod scanner;
#[cfg(test)]
mod tests;
mod text;

use self::scanner::Scanner;
pub use self::{
    scanner::{MalformedJson, plain_run},
    text::JsonText,
};

/// A value of a document, known to be sound JSON, without blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

impl<'a> Json<'a> {
    /// Reads a document to its end and hands each member of the object that it is to `visit`; false if it is no object.
    ///
    /// # Errors
    /// The document is not JSON.
    pub fn visit(
        document: &'a str,
        mut visit: impl FnMut(JsonText<'a>, Self),
    ) -> Result<bool, MalformedJson> {
        let mut scanner = Scanner::of(document);
        let is_object = scanner.enter(b'{');
        if is_object {
            while let Some((name, value)) = scanner.member() {
                visit(name, value);
            }
        } else {
            scanner.value();
        }
        scanner.end().map(|()| is_object)
    }

    /// The members of this name in a document that is an object, in the order of `names`; of a name that is there twice
    /// the last counts. All are `None` in a document that is something else.
    pub fn members<const COUNT: usize>(document: &'a str, names: [&str; COUNT]) -> [Option<Self>; COUNT] {
        let mut found = [None; COUNT];
        let read = Self::visit(document, |name, value| {
            if let Some(index) = names.iter().position(|wanted| name.is(wanted)) {
                found[index] = Some(value);
            }
        });
        if read.is_ok() { found } else { [None; COUNT] }
    }

    /// The members of an object in their order; of another value there are none.
    pub fn each_member(self) -> impl Iterator<Item = (JsonText<'a>, Self)> {
        let mut scanner = Scanner::of_value(self);
        let mut is_over = !scanner.enter(b'{');
        std::iter::from_fn(move || {
            let member = if is_over { None } else { scanner.member() };
            is_over = member.is_none();
            member
        })
    }

    /// The elements of an array; of another value there are none.
    pub fn each_element(self) -> impl Iterator<Item = Self> {
        let mut scanner = Scanner::of_value(self);
        let mut is_over = !scanner.enter(b'[');
        std::iter::from_fn(move || {
            let element = if is_over { None } else { scanner.element() };
            is_over = element.is_none();
            element
        })
    }

    pub fn written(self) -> &'a str {
        self.0
    }

    /// Its kind, which its first byte tells.
    pub fn kind(self) -> JsonKind {
        match self.0.as_bytes().first() {
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b'"') => JsonKind::Text,
            Some(b't' | b'f') => JsonKind::Boolean,
            Some(b'n') => JsonKind::Null,
            _ => JsonKind::Number,
        }
    }

    pub fn text(self) -> Option<JsonText<'a>> {
        self.0.strip_prefix('"')?.strip_suffix('"').map(JsonText::of_written)
    }

    pub fn boolean(self) -> Option<bool> {
        (self.kind() == JsonKind::Boolean).then_some(self.0 == "true")
    }
}
