//! The size of YAML, counted before a value is built and behind each alias again: a few bytes of nested
//! aliases fill the memory.

/// Values and bytes of text, of a value with all that is below it or of a limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeSize {
    pub values: u64,
    pub bytes: u64,
}

/// The part of a size that exceeds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    Values,
    Bytes,
}

impl NodeSize {
    /// A list or table without its content.
    pub const EMPTY: Self = Self { values: 1, bytes: 0 };

    pub fn of_text(text: &str) -> Self {
        Self { values: 1, bytes: text.len() as u64 }
    }

    /// Adds a size.
    ///
    /// # Errors
    /// The sum exceeds `limit`.
    pub fn add(&mut self, size: Self, limit: Self) -> Result<(), Excess> {
        self.values = self.values.saturating_add(size.values);
        self.bytes = self.bytes.saturating_add(size.bytes);
        if self.values > limit.values {
            return Err(Excess::Values);
        }
        if self.bytes > limit.bytes {
            return Err(Excess::Bytes);
        }
        Ok(())
    }

    /// The size that was added after `before`.
    pub fn since(self, before: Self) -> Self {
        Self { values: self.values - before.values, bytes: self.bytes - before.bytes }
    }
}
