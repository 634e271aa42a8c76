//! How the commands' results look in a terminal: columns that are aligned, and colours where somebody sees them.
//!
//! `routes.rs`, `explain/text.rs` and `cli.rs` write by it.

use std::{
    env,
    io::{self, IsTerminal as _},
};

/// Blanks between two columns.
const GAP: usize = 2;

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// On a terminal, unless `NO_COLOR` (<https://no-color.org>) or a terminal without any says otherwise.
    pub fn of_output() -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        Self(io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb)
    }

    /// None at all.
    #[cfg(test)]
    pub fn none() -> Self {
        Self(false)
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What is not.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What matters less.
    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// "Select Graphic Rendition" of ECMA-48.
    fn with(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Rows whose columns are as wide as their widest cell; the last has no blanks behind it.
pub fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + GAP - cell.chars().count()));
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        assert_eq!(aligned(&[row(["id", "b", "c"]), row(["é", "bbb", ""])]), ["id  b    c", "é   bbb"]);
        assert_eq!(aligned(&[]), Vec::<String>::new());
    }

    #[test]
    fn without_colours_a_text_stays_as_it_is() {
        assert_eq!(Paint::none().good("a"), "a");
        assert_eq!(Paint(true).good("a"), "\u{1b}[32ma\u{1b}[0m");
    }
}
