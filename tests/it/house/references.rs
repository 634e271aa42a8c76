//! Paths in comments and documents: each must exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{root, without_comment};

/// Directories whose paths are written from the root.
const DIRECTORIES: [&str; 8] = ["src", "tests", "benches", "settings", "k8s", "packages", ".ci", ".github"];

/// Every file of the repository, by path from the root.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> = DIRECTORIES.map(|name| root().join(name)).into();
    for entry in fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        found.extend(entry.is_file().then_some(entry));
    }
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { directories.push(path) } else { found.push(path) }
        }
    }
    found.into_iter().map(|path| path.strip_prefix(root()).unwrap().to_owned()).collect()
}

/// Paths in a text: words below one of [`DIRECTORIES`], and names of Rust files and pages. Upper-case letters
/// are placeholders.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split_whitespace().filter(|word| !word.contains("://"));
    let words =
        words.flat_map(|word| word.split(|char: char| !char.is_alphanumeric() && !"/._-".contains(char)));
    words.map(|word| word.trim_end_matches(['.', '/', '-'])).filter(|word| {
        let (first, rest) = word.split_once('/').unwrap_or((word, ""));
        let is_placeholder = ["NAME", "FILE"].iter().any(|name| word.contains(name));
        let is_path = DIRECTORIES.contains(&first) && !rest.is_empty();
        let is_named = [".rs", ".md"]
            .iter()
            .any(|ending| word.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()));
        !is_placeholder && (is_path || is_named)
    })
}

/// True if a path exists: from the root, or for a Rust file or page as the end of a path.
fn exists(path: &str, files: &[PathBuf]) -> bool {
    let path = path.trim_start_matches("../").trim_start_matches("./");
    let is_named = [".rs", ".md"].iter().any(|ending| path.ends_with(ending));
    root().join(path).exists() || is_named && files.iter().any(|file| file.ends_with(path))
}

/// The comment of a line of YAML, TOML or a script.
fn hash_comment(line: &str) -> &str {
    let at = line.match_indices('#').find(|(at, _)| *at == 0 || line[..*at].ends_with(' '));
    at.map_or("", |(at, _)| &line[at..])
}

/// The code spans of a page outside of code blocks.
fn code_spans(page: &str) -> String {
    let prose = page.split("\n```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2)).collect::<Vec<_>>().join("\n")
}

/// The text of a file that may contain references.
fn described(path: &Path) -> Option<String> {
    let text = fs::read_to_string(root().join(path)).ok()?;
    let comments = |comment: fn(&str) -> &str| text.lines().map(comment).collect::<Vec<_>>().join("\n");
    Some(match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => comments(|line| &line[without_comment(line).len()..]),
        // old entries name files that are gone
        Some("md") if path != Path::new("CHANGELOG.md") => code_spans(&text),
        Some("json" | "md" | "lock") => return None,
        _ => comments(hash_comment),
    })
}

#[test]
fn every_path_in_a_comment_or_document_exists() {
    let files = files();
    let (mut dangling, mut checked) = (Vec::new(), 0);
    for file in &files {
        let Some(text) = described(file) else { continue };
        for path in paths(&text) {
            checked += 1;
            if !exists(path, &files) {
                dangling.push(format!("{}: {path}", file.display()));
            }
        }
    }
    assert!(dangling.is_empty(), "{dangling:#?}");
    assert!(checked > 300, "{checked} references");
}

#[test]
fn references_are_found_in_every_form() {
    let text = "see `src/lib.rs`, (tests/it/no.rs:12) and `a/b.rs`; \
        not https://h/src/c.rs, `src/NAME.rs` or and/or.";
    assert_eq!(paths(text).collect::<Vec<_>>(), ["src/lib.rs", "tests/it/no.rs", "a/b.rs"]);
    let files = [PathBuf::from("src/a/b.rs")];
    assert_eq!(["b.rs", "a/b.rs", "c/b.rs"].map(|path| exists(path, &files)), [true, true, false]);
    assert_eq!(hash_comment("a: 'x#y' # see"), "# see");
    assert_eq!(code_spans("`a`\n```sh\n`b`\n```\nand `c`"), "a\nc");
}
