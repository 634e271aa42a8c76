//! Reading of a settings tree: from files and the environment to checked values with their places.
//!
//! In the order of reading: `document` finds the files, `yaml` parses each into a `tree`, `overrides` has the
//! environment as another tree, `reference` resolves references (`remote_secret` has those to AWS), `reader`
//! reports mistakes of form, and `check` is the cursor by which `process` and `route` check values.
//!
//! `section` is the form of those two's declarations: `declaration` and `key_type` are their parts, `secrecy`
//! and `shown` decide how much of a value is shown.

#[macro_use]
pub mod key_type;
#[macro_use]
pub mod section;

pub mod check;
pub mod declaration;
pub mod document;
pub mod foreign;
mod foreign_words;
pub mod hidden;
pub mod mistake;
pub mod overrides;
pub mod reader;
pub mod reference;
pub mod remote_secret;
pub mod secrecy;
pub mod shown;
pub mod shown_key;
pub mod tree;
pub mod yaml;
