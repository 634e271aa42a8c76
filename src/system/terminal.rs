//! How the commands' results look in a terminal: columns that are aligned, and colours where somebody sees
//! them.
//!
//! `cli.rs`, `cli/routes.rs`, `cli/check.rs`, `cli/explanation.rs`, `process.rs` and `logging.rs` write by it.

use std::{
    env,
    io::{self, IsTerminal},
};

/// Blanks between two columns.
const GAP: usize = 2;
/// Columns of a table where nobody says how many there are.
const USUAL_WIDTH: usize = 120;
/// A column is not made narrower than this.
const NARROWEST: usize = 6;

#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// For standard output.
    pub fn of_output() -> Self {
        Self::of(&io::stdout())
    }

    pub fn of_errors() -> Self {
        Self::of(&io::stderr())
    }

    /// On a terminal, unless `NO_COLOR` (<https://no-color.org>) or a terminal without any says otherwise.
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

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What is allowed and should be looked at.
    pub fn warning(self, text: &str) -> String {
        self.with("33", text)
    }

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

/// Cells in columns of these widths.
fn line<'c>(cells: impl Iterator<Item = &'c str>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width + GAP - cell.chars().count()));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The columns that a table may take: those of the terminal, or of `COLUMNS`.
pub fn width_of_output() -> usize {
    let told = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let of_terminal = || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    told.or_else(of_terminal).unwrap_or(USUAL_WIDTH)
}

/// Rows in columns that fit into this width, each as one or more lines: a cell too long for its column goes
/// on below.
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

/// The widths of columns that are together no wider than this, unless each is as narrow as may be.
fn fitting(rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let mut widths = widest(rows);
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(column) = widths.iter_mut().filter(|width| **width > NARROWEST).max() else { break };
        *column -= 1;
    }
    widths
}

/// A text in pieces of at most this many characters, cut behind punctuation where there is some.
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
        fn k13_a_wrapped_row_is_no_wider_than_told_and_loses_nothing(
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
