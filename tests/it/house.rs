//! The rules of the house that a compiler does not know.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the project with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> = ["src", "tests", "benches"].map(|name| root().join(name)).into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 40, "the project's files are not where they should be");
    found
}

#[test]
fn every_file_opens_with_what_it_is() {
    for (path, text) in sources() {
        let is_tests = path.ends_with("tests.rs");
        assert!(is_tests || text.starts_with("//! "), "{} does not open with //!", path.display());
    }
}

#[test]
fn no_file_is_longer_than_400_lines_without_its_tests() {
    for (path, text) in sources() {
        if path.starts_with("src") && !path.ends_with("tests.rs") {
            let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
            assert!(lines <= 400, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn no_module_is_a_drawer_for_leftovers() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap().to_string_lossy();
        assert!(
            !["utils", "util", "common", "helpers", "misc", "manager"].contains(&&*stem),
            "{} says nothing of what it holds",
            path.display()
        );
    }
}

#[test]
fn connections_are_opened_in_the_client_alone() {
    for (path, text) in sources() {
        let opens = text.contains("TcpStream::connect");
        let allowed = path.starts_with("src/client") || !path.starts_with("src");
        assert!(!opens || allowed, "{} reaches past client.rs", path.display());
    }
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let known = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "benches",
        "k8s",
        "settings",
        "src",
        "target",
        "tests",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || known.contains(&&*name), "{name}");
    }
}

/// A directory of the environment must not be able to make a sidecar panic.
#[test]
#[cfg(not(feature = "fault-points"))]
fn x3_places_where_tests_make_the_process_panic_are_in_no_usual_build() {
    let program = fs::read(env!("CARGO_BIN_EXE_apigw-invoker")).unwrap();
    let has = |text: &str| program.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("APIGW_INVOKER_SETTINGS"), "the search works");
    assert!(!has("APIGW_INVOKER_FAULT_POINTS") && !has("the fault of"));
}
