//! Compares the tables of `settings/MIGRATING.md` with the differences that `import` reports. With
//! `REWRITE=1` in the environment, the test writes the page.

use apigw_invoker::{
    import::differences::{self, Difference, FLAGS, OTHER_PLUGINS, Replacement},
    settings::foreign::Peer,
};

use super::{read, settings::expect};

const PAGE: &str = "settings/MIGRATING.md";

fn difference_table(peer: Peer, rows: &[Difference]) -> String {
    let rows: String =
        rows.iter().map(|row| format!("| {} | {} | {} |\n", row.topic, row.before, row.here)).collect();
    format!("| | {peer} | here |\n| --- | --- | --- |\n{}", rows.replace("|  |", "| |"))
}

fn replacement_table(heading: &str, rows: &[Replacement]) -> String {
    let rows: String = rows.iter().map(|row| format!("| {} | {} |\n", row.before, row.here)).collect();
    format!("| {heading} | here |\n| --- | --- |\n{rows}")
}

/// Replaces the table between the markers of `name`.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- differences: {name} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn the_tables_of_migrating_are_what_import_reports() {
    let mut tables: Vec<(String, String)> = Peer::ALL
        .iter()
        .map(|peer| (peer.to_string(), difference_table(*peer, differences::of(*peer))))
        .collect();
    tables.push(("flags".to_owned(), replacement_table("aws-sigv4-proxy", FLAGS)));
    tables.push(("plugins".to_owned(), replacement_table("plugin", OTHER_PLUGINS)));
    let page = read(PAGE);
    expect(PAGE, &tables.iter().fold(page, |page, (name, table)| with_table(&page, name, table)));
}
