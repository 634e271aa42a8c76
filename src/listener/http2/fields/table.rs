//! The tables of HPACK (RFC 7541, 2.3): the static one, and the dynamic one of a connection.

use std::{collections::VecDeque, rc::Rc};

/// The default size of the dynamic table: `http2.rs` sends no `SETTINGS_HEADER_TABLE_SIZE` (RFC 9113, 6.5.2).
const MAX_TABLE_SIZE: usize = 4096;
/// Bytes that count for an entry beside its name and value (RFC 7541, 4.1), and for a field of a header list
/// (RFC 9113, 6.5.2).
pub const ENTRY_OVERHEAD: usize = 32;

/// RFC 7541, appendix A. The first entry has the index 1.
pub static STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// The part of a field that is in the static table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaticMatch {
    None,
    /// The name of the entry with this index.
    Name(u8),
    /// The whole entry with this index.
    Field(u8),
}

/// A field of a block. Name and value are unchecked.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub in_static: StaticMatch,
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// Bytes of name and value that the block refers to in the dynamic table.
    pub referred: usize,
}

impl<'a> Field<'a> {
    /// A field that no table has.
    pub fn literal(name: &'a [u8], value: &'a [u8]) -> Self {
        Self { in_static: StaticMatch::None, name, value, referred: 0 }
    }
}

/// The name of an entry. Entries share names that the client referred to, so that a block of references to a
/// long name costs no copies.
#[derive(Debug, Clone)]
pub enum EntryName {
    /// The name of the static entry with this index.
    Static(u8),
    Literal(Rc<[u8]>),
}

impl EntryName {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(index) => STATIC[usize::from(*index) - 1].0,
            Self::Literal(bytes) => bytes,
        }
    }

    /// A field with this name, by reference, and a literal value.
    pub fn field<'a>(&'a self, value: &'a [u8]) -> Field<'a> {
        let (in_static, referred) = match self {
            Self::Static(index) => (StaticMatch::Name(*index), 0),
            Self::Literal(bytes) => (StaticMatch::None, bytes.len()),
        };
        Field { in_static, name: self.bytes(), value, referred }
    }
}

#[derive(Debug)]
struct TableEntry {
    name: EntryName,
    value: Box<[u8]>,
}

impl TableEntry {
    fn size(&self) -> usize {
        self.name.bytes().len() + self.value.len() + ENTRY_OVERHEAD
    }

    fn field(&self) -> Field<'_> {
        let field = self.name.field(&self.value);
        Field { referred: field.referred + self.value.len(), ..field }
    }
}

/// The static and the dynamic table of a connection.
#[derive(Debug)]
pub struct HeaderTables {
    /// The dynamic table, its newest entry first.
    entries: VecDeque<TableEntry>,
    size: usize,
    limit: usize,
}

impl HeaderTables {
    pub fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: MAX_TABLE_SIZE }
    }

    /// The field with this index.
    pub fn field(&self, index: usize) -> Option<Field<'_>> {
        let Some(&(name, value)) = STATIC.get(index.checked_sub(1)?) else {
            return self.entries.get(index - STATIC.len() - 1).map(TableEntry::field);
        };
        Some(Field { in_static: StaticMatch::Field(u8::try_from(index).ok()?), name, value, referred: 0 })
    }

    /// The name of the field with this index.
    pub fn name(&self, index: usize) -> Option<EntryName> {
        if (1..=STATIC.len()).contains(&index) {
            return u8::try_from(index).ok().map(EntryName::Static);
        }
        let place = index.checked_sub(STATIC.len() + 1)?;
        self.entries.get(place).map(|entry| entry.name.clone())
    }

    /// Inserts an entry and evicts the oldest ones; an entry larger than the table leaves the table empty.
    pub fn insert(&mut self, name: EntryName, value: &[u8]) {
        let entry = TableEntry { name, value: value.into() };
        let size = entry.size();
        self.evict(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    /// Sets the maximum size that the client chose; `None` if it is above the limit.
    pub fn resize(&mut self, limit: usize) -> Option<()> {
        if limit > MAX_TABLE_SIZE {
            return None;
        }
        self.limit = limit;
        self.evict(limit);
        Some(())
    }

    #[cfg(test)]
    pub fn size(&self) -> usize {
        let size = self.entries.iter().map(TableEntry::size).sum();
        assert_eq!(self.size, size);
        size
    }

    /// Evicts the oldest entries until the others have at most this size.
    fn evict(&mut self, most: usize) {
        while self.size > most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}
