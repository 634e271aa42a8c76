//! The reading of a settings tree: from files and the environment to values that know where they were written.
//!
//! In the order of reading: `document` finds the files, `tree` merges them with the environment by the `config` crate
//! (`lines` knows where each key stands, `bounds` which texts are never built), `reference` fills in secrets, `reader`
//! finds mistakes of form, and `check` is the cursor by which `process` and `route` find mistakes of sense.
//!
//! `section` is the form in which those two declare their keys: `declaration` and `key_type` are what a declaration
//! consists of, `secrecy` and `shown` what of a value people see.

#[macro_use]
pub mod key_type;
#[macro_use]
pub mod section;

mod bounds;
pub mod check;
pub mod declaration;
pub mod document;
mod foreign_words;
pub mod hidden;
mod lines;
pub mod mistake;
pub mod reader;
pub mod reference;
pub mod secrecy;
pub mod shown;
pub mod shown_key;
mod sources;
pub mod tree;
