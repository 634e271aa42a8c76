//! The mistake about a file of another program in the place of a settings file.

use std::path::Path;

use super::recognise_text;
use crate::{
    settings::source::mistake::{Mistake, Place},
    system::regular_file,
};

/// The mistake about a text; `None` for one that no known program has.
pub fn of_text(source: &str, text: &str) -> Option<Mistake> {
    let peer = recognise_text(text)?;
    let problem = format!("this looks like {}", peer.file());
    let expected = format!("a settings file: try `apigw-invoker import {source} --to DIR`");
    Some(Mistake::new(Place::file(source), "", problem).expected(expected))
}

/// The mistake about a file that is not read otherwise.
pub fn of_file(path: &Path) -> Option<Mistake> {
    of_text(&path.display().to_string(), &regular_file::read_foreign(path).ok()?)
}
