//! Output of commands on a terminal: aligned columns, and colours.

use std::{
    env,
    io::{self, IsTerminal},
};

/// Blanks between two columns.
const GAP: usize = 2;
/// The width of a table without a terminal and `COLUMNS`.
const DEFAULT_WIDTH: usize = 120;
/// The minimum width of a column.
const MIN_COLUMN: usize = 6;

/// Colours, on or off.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    pub fn of_output() -> Self {
        Self::of(&io::stdout())
    }

    pub fn of_errors() -> Self {
        Self::of(&io::stderr())
    }

    /// On for a terminal, unless `NO_COLOR` (<https://no-color.org>) is set or `TERM` is `dumb`.
    fn of(stream: &impl IsTerminal) -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        Self(stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb)
    }

    pub fn is_on(self) -> bool {
        self.0
    }

    #[cfg(test)]
    pub fn none() -> Self {
        Self(false)
    }

    pub fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn warning(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// `code` is a parameter of Select Graphic Rendition (ECMA-48).
    fn with(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Aligns rows: each column is as wide as its widest cell. Lines have no trailing blanks.
pub fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let widths = widest(rows);
    rows.iter().map(|row| line(row.iter().map(String::as_str), &widths)).collect()
}

/// The width of each column's widest cell.
fn widest(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    (0..columns).map(width).collect()
}

/// Joins cells in columns of these widths.
fn line<'c>(cells: impl Iterator<Item = &'c str>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width + GAP - cell.chars().count()));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The width of a table: `COLUMNS`, or the width of the terminal.
pub fn width_of_output() -> usize {
    let set = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let of_terminal = || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    set.or_else(of_terminal).unwrap_or(DEFAULT_WIDTH)
}

/// Aligns rows within this width, each as one or more lines: a cell that is longer than its column continues
/// on the next line.
pub fn wrapped(rows: &[Vec<String>], width: usize) -> Vec<Vec<String>> {
    let widths = fitting(rows, width);
    let lines = |row: &Vec<String>| {
        let cells: Vec<Vec<String>> =
            row.iter().zip(&widths).map(|(cell, width)| pieces(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        let part = |at: usize| cells.iter().map(move |pieces| pieces.get(at).map_or("", String::as_str));
        (0..height).map(|at| line(part(at), &widths)).collect()
    };
    rows.iter().map(lines).collect()
}

/// The widths of columns that fit into this width, or [`MIN_COLUMN`] for each.
fn fitting(rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let mut widths = widest(rows);
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(column) = widths.iter_mut().filter(|width| **width > MIN_COLUMN).max() else { break };
        *column -= 1;
    }
    widths
}

/// Splits a text into pieces of at most this many characters, after punctuation if possible.
fn pieces(text: &str, width: usize) -> Vec<String> {
    let mut rest: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    while rest.len() > width.max(1) {
        let line = &rest[..width.max(1)];
        let end = line.iter().rposition(|char| matches!(char, ' ' | ',' | '/' | '.' | '-' | '+' | ':'));
        let end = end.filter(|at| at * 2 >= width).map_or(line.len(), |at| at + 1);
        pieces.push(rest.drain(..end).collect::<String>().trim_end().to_owned());
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn k13_a_wrapped_row_fits_the_width_and_loses_nothing(
            cells in prop::collection::vec("[a-z/,.:é]{0,60}", 1..6),
            width in 60_usize..140,
        ) {
            let rows = [cells.clone(), vec!["x".to_owned(); cells.len()]];
            let lines = &wrapped(&rows, width)[0];
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            let count = |text: &str| text.chars().filter(|char| !char.is_whitespace()).count();
            let before = cells.iter().map(|cell| count(cell)).sum::<usize>();
            let after = lines.iter().map(|line| count(line)).sum::<usize>();
            prop_assert_eq!(before, after);
        }
    }

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
