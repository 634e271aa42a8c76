//! Links between the documents, paths in them, and the length of README.md.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::read;

/// All Markdown pages, by path relative to the root.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut directories) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_made = path.ends_with("target") || path.ends_with(".git");
            if path.is_dir() && !is_made {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert!(found.len() > 8, "the pages are not where they should be: {found:?}");
    found
}

fn text_of(page: &Path) -> String {
    read(page.to_str().unwrap())
}

/// The lines of a page outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The headings of a page.
fn headings(text: &str) -> impl Iterator<Item = &str> {
    prose(text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim())
}

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Destinations of the links in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::ParentDir => assert!(normal.pop(), "{} leaves the repository", path.display()),
            Component::CurDir => {}
            other => normal.push(other),
        }
        normal
    })
}

/// Relative link to the only heading with this text, on any page.
pub fn link_to(heading: &str, from: &str) -> String {
    let has_it = |page: &PathBuf| headings(&text_of(page)).any(|known| known == heading);
    let found: Vec<PathBuf> = pages().into_iter().filter(has_it).collect();
    let [page] = &found[..] else {
        panic!("{heading:?} is a heading of {found:?}, and must be one of one page")
    };
    let anchor = anchor(heading);
    if page == Path::new(from) {
        return format!("#{anchor}");
    }
    let up = "../".repeat(Path::new(from).components().count() - 1);
    format!("{up}{}#{anchor}", page.display())
}

#[test]
fn every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let (mut dangling, mut followed) = (Vec::new(), 0);
    for page in pages() {
        let text = text_of(&page);
        for link in prose(&text).flat_map(links).filter(|link| !link.contains("://")) {
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { page.clone() } else { normal(&page.parent().unwrap().join(path)) };
            let is_there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists();
            let has_anchor =
                || fragment.is_empty() || headings(&text_of(&target)).any(|known| anchor(known) == fragment);
            if !is_there || !has_anchor() {
                dangling.push(format!("{}: {link}", page.display()));
            }
            followed += 1;
        }
    }
    assert!(dangling.is_empty(), "links to nowhere: {dangling:#?}");
    assert!(followed > 50, "{followed} links");
}

/// A row names a test as `tests/it/FILE.rs`: `name`.
#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = read("README.md");
    let mut found = 0;
    for line in readme.lines().filter(|line| line.contains("`tests/it/")) {
        let codes: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let at = codes.iter().position(|code| code.starts_with("tests/it/")).unwrap();
        assert!(read(codes[at]).contains(&format!("fn {}()", codes[at + 1])), "{line}");
        found += 1;
    }
    assert_eq!(found, 4);
}

#[test]
fn the_readme_has_at_most_250_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 250, "{lines} lines: what is not for everybody has a page of its own");
}

#[test]
fn the_version_of_rust_is_that_of_cargo_toml() {
    for page in ["README.md", ".github/CONTRIBUTING.md"] {
        let wanted = format!("Rust {} or later", env!("CARGO_PKG_RUST_VERSION"));
        assert!(read(page).contains(&wanted), "{page} does not say: {wanted}");
    }
}

#[test]
fn every_page_with_more_than_three_sections_begins_with_its_index() {
    for page in pages() {
        let text = text_of(&page);
        let sections: Vec<&str> = prose(&text).filter_map(|line| line.strip_prefix("## ")).collect();
        let (index, _) = text.split_once("\n## ").unwrap_or((&text, ""));
        let is_missing = |section: &&&str| !index.contains(&format!("](#{})", anchor(section)));
        let missing: Vec<_> = sections.iter().filter(is_missing).collect();
        assert!(missing.is_empty() || sections.len() <= 3, "{}: no link to {missing:?}", page.display());
    }
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(anchor("`api_gateway`"), "api_gateway");
    assert_eq!(anchor("Signatures that AWS refuses"), "signatures-that-aws-refuses");
    assert_eq!(anchor("0.1.0"), "010");
}
