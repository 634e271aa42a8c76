//! The reading of a settings tree: from files and the environment to values that know where they were written.
//!
//! In the order of reading: `document` finds the files, `yaml` parses each into a `tree` (`bounds` refuses texts that
//! are never built), `overrides` has the environment as another tree, `reference` fills in secrets, `reader` finds
//! mistakes of form, and `check` is the cursor by which `process` and `route` find mistakes of sense.
//!
//! `section` is the form in which those two declare their keys: `declaration` and `key_type` are what a declaration
//! consists of, `secrecy` and `shown` what of a value people see.

#[macro_use]
pub mod key_type;
#[macro_use]
pub mod section;

pub mod bounds;
pub mod check;
pub mod declaration;
pub mod document;
mod foreign_words;
pub mod hidden;
pub mod mistake;
pub mod overrides;
pub mod reader;
pub mod reference;
pub mod secrecy;
pub mod shown;
pub mod shown_key;
pub mod tree;
pub mod yaml;
