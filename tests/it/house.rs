//! House rules that the compiler cannot check.

use std::{
    fs,
    path::{Path, PathBuf},
};

mod references;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files with their text.
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
fn every_file_opens_with_a_doc_comment() {
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

/// The width of `.rustfmt.toml`, which rustfmt does not apply to comments and literals.
#[test]
fn no_line_of_rust_is_wider_than_110_columns() {
    let configured = fs::read_to_string(root().join(".rustfmt.toml")).unwrap();
    assert!(configured.contains("max_width = 110\n"), "{configured}");
    let mut wide = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > 110);
        let lines = lines.filter(|(_, line)| !is_a_single_url(line));
        wide.extend(lines.map(|(at, line)| format!("{}:{}: {line}", path.display(), at + 1)));
    }
    assert!(wide.is_empty(), "{} lines: {wide:#?}", wide.len());
}

/// True if a line is a comment or literal with a URL and nothing else, which cannot be broken.
fn is_a_single_url(line: &str) -> bool {
    let marks = |char: char| char.is_whitespace() || "/!\"<>(),;".contains(char);
    let word = line.trim_matches(marks);
    word.starts_with("https://") && !word.contains(char::is_whitespace)
}

#[test]
fn no_module_has_a_catch_all_name() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap().to_string_lossy();
        assert!(
            !["utils", "util", "common", "helpers", "misc", "manager"].contains(&&*stem),
            "{} says nothing of what it holds",
            path.display()
        );
    }
}

/// CONTRIBUTING.md promises that `PROPTEST_CASES` sets the number of inputs of every property.
#[test]
fn no_property_sets_its_number_of_inputs_itself() {
    for (path, text) in sources() {
        let sets =
            text.contains(concat!("ProptestConfig { ", "cases")) || text.contains(concat!("with_", "cases("));
        assert!(!sets, "{} overrides PROPTEST_CASES", path.display());
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

/// The rooms of each floor in the picture of `src/lib.rs`, top to bottom.
fn floors() -> Vec<Vec<String>> {
    let picture = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (_, floors) = picture.split_once("The floors, the highest first").unwrap();
    let (_, floors) = floors.split_once("```text\n").unwrap();
    let (floors, _) = floors.split_once("//! ```").unwrap();
    let rooms = |line: &str| -> Vec<String> {
        let (rooms, _) = line.trim_start_matches("//! ").split_once("  ").unwrap();
        rooms.split(' ').map(str::to_owned).collect()
    };
    // a line without a room continues the previous one
    floors.lines().filter(|line| !line.starts_with("//!  ")).map(rooms).collect()
}

/// A line without its comment. `//` inside a URL does not start a comment.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| line[..*at].trim_end().len() < *at || *at == 0);
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Names after `crate::`, and after a `super::` that leaves the room, outside of comments and tests.
fn rooms_used(text: &str, depth: usize) -> Vec<String> {
    const UP: &str = "super::";
    let code = text.lines().map(without_comment).collect::<Vec<_>>().join("\n");
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    for (at, way) in code.match_indices("crate::") {
        if !code[..at].ends_with("r_") {
            found.extend(first_names(&code[at + way.len()..]));
        }
    }
    for (at, _) in code.match_indices(UP).filter(|(at, _)| !code[..*at].ends_with(UP)) {
        let rest = code[at..].trim_start_matches(UP);
        let levels = (code.len() - at - rest.len()) / UP.len() + levels_of_group(&code[..at]);
        if levels == depth {
            found.extend(first_names(rest).into_iter().filter(|name| name != "super"));
        }
    }
    // an alias would hide uses of other rooms
    found.extend(code.match_indices("use crate as").map(|(_, way)| way.to_owned()));
    found
}

/// Number of `super::` in the groups around a path of a `use`.
fn levels_of_group(before: &str) -> usize {
    let statement = &before[before.rfind(';').map_or(0, |end| end + 1)..];
    let mut closed = 0_usize;
    for (at, char) in statement.char_indices().rev() {
        match char {
            '}' => closed += 1,
            '{' if closed == 0 => {
                let outer = &statement[..at];
                let path = outer.trim_end_matches("super::");
                return (outer.len() - path.len()) / "super::".len() + levels_of_group(path);
            }
            '{' => closed -= 1,
            _ => {}
        }
    }
    0
}

/// The first name of each path: of a single one, or of all in a group.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names, mut begins) = (0_usize, Vec::new(), true);
    for (at, char) in group.char_indices() {
        if begins && !char.is_whitespace() && char != '}' {
            names.push(name(&group[at..]));
            begins = false;
        }
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ => {}
        }
    }
    names
}

#[test]
fn rooms_use_rooms_of_lower_floors_alone_and_the_picture_has_all_of_them() {
    let floors = floors();
    let floor = |room: &str| floors.iter().position(|rooms| rooms.iter().any(|known| known == room));
    let (mut wrong, mut seen) = (Vec::new(), Vec::new());
    for (path, text) in sources() {
        let Ok(inside) = path.strip_prefix("src") else { continue };
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let room = parts[0].trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&&*room) || parts.iter().any(|part| part.starts_with("tests")) {
            continue;
        }
        let own = floor(&room).unwrap_or_else(|| panic!("{room} is in no floor of src/lib.rs"));
        for used in rooms_used(&text, parts.len()) {
            let is_lower = floor(&used).is_some_and(|used| used > own);
            if used != room && !is_lower {
                wrong.push(format!("{}: {room} -> {used}", path.display()));
            }
        }
        seen.push(room);
    }
    let unknown: Vec<_> = floors.iter().flatten().filter(|room| !seen.contains(room)).collect();
    assert!(wrong.is_empty() && unknown.is_empty(), "upwards: {wrong:#?}, rooms that are gone: {unknown:?}");
    assert!(floors.iter().flatten().count() <= 26, "the top level has no more than 26 rooms");
}

#[test]
fn a_use_is_found_in_every_spelling() {
    let text = "use crate::{\n    admin::{a, b},\n    text,\n};\n\
        fn f() { super::super::state::g(super::h()) }\n// crate::no\n";
    assert_eq!(rooms_used(text, 2), ["admin", "text", "state"]);
    let inline = "fn f() { g(\"http://h\", crate::proxy::h()); } // crate::no\n";
    assert_eq!(rooms_used(inline, 2), ["proxy"]);
    for group in
        ["super::{a::{b}, super::proxy::h}", "super::{super::{proxy::{self}}}", "super::super::{proxy}"]
    {
        assert_eq!(rooms_used(&format!("use super::a;\nuse {group};\n"), 2), ["proxy"], "{group}");
    }
    assert_eq!(rooms_used("use super::{a::{b}, super::c};\n", 3), [""; 0]);
    assert_eq!(rooms_used("use crate as all;\n", 2), ["use crate as"]);
}

/// Phrases that are hard to understand or that operators would not search for. The program must not print
/// them.
const RIDDLES: [&str; 22] = [
    "are as they were",
    "broken off",
    "calling again",
    "cannot be had",
    "for want of",
    "gives no others",
    "in force",
    "is none inside",
    "is none of",
    "is there too",
    "is told of",
    "leads nowhere",
    "left as it came",
    "nobody",
    "none of the known",
    "serves on",
    "somebody",
    "stands here",
    "takes most of",
    "that is none",
    "took nothing",
    "whose doing",
];

/// Phrases of this kind that must not be anywhere in src.
const NOWHERE: [&str; 5] = ["are told of", "is none inside", "somebody's", "stands here", "whose doing"];

/// Phrases that comments must not contain.
const COMMENT_RIDDLES: [&str; 16] = [
    "are told of",
    "as it is told",
    "calling again",
    "cannot be had",
    "is none inside",
    "is none of",
    "is told of",
    "leads nowhere",
    "one's own",
    "stands here",
    "takes most of",
    "to be told of",
    "whose doing",
    "whose keys they are",
    "wants to know",
    "worth gold",
];

/// Words that no comment begins with: its subject is the component or the type.
const OPENINGS: [&str; 7] = ["it", "itself", "that", "what", "whether", "who", "whose"];

/// The comments of a file: contiguous lines with the same marks, joined.
fn comments(text: &str) -> Vec<String> {
    let mut found: Vec<(&str, String)> = Vec::new();
    let mut continues = false;
    for line in text.lines() {
        let code = without_comment(line);
        let comment = &line[code.len()..];
        let words = comment.trim_start_matches(['/', '!']);
        let marks = &comment[..comment.len() - words.len()];
        let open_comment =
            found.last_mut().filter(|(before, _)| continues && code.trim().is_empty() && *before == marks);
        match open_comment {
            _ if marks.is_empty() => {}
            Some((_, joined)) => joined.extend([" ", words.trim()]),
            None => found.push((marks, words.trim().to_owned())),
        }
        continues = !marks.is_empty() && code.trim().is_empty();
    }
    found.into_iter().map(|(_, comment)| comment).collect()
}

/// String literals outside of tests and comments; a literal over several lines is joined.
fn literals(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).fold(
        String::new(),
        |joined, line| match joined.strip_suffix('\\') {
            Some(joined) => format!("{joined}{}", line.trim_start()),
            None => format!("{joined}\n{line}"),
        },
    );
    let quoted = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    code.lines().flat_map(quoted).collect()
}

#[test]
fn texts_are_in_plain_technical_english() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if !path.starts_with("src") || path.iter().any(|part| part.to_string_lossy().starts_with("tests")) {
            continue;
        }
        let text_in_lower_case = text.to_lowercase();
        let riddles = NOWHERE.iter().filter(|riddle| text_in_lower_case.contains(*riddle));
        found.extend(riddles.map(|riddle| format!("{}: `{riddle}`", path.display())));
        for literal in literals(&text) {
            let riddles = RIDDLES.iter().filter(|riddle| literal.to_lowercase().contains(*riddle));
            found.extend(riddles.map(|riddle| format!("{}: `{riddle}` in {literal:?}", path.display())));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn comments_are_in_plain_technical_english() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        // has the phrases themselves
        if path.ends_with("tests/it/house.rs") {
            continue;
        }
        for comment in comments(&text) {
            let lower = comment.to_lowercase();
            let first = lower.split(|char: char| !char.is_alphanumeric()).next().unwrap_or_default();
            let riddle = COMMENT_RIDDLES.iter().find(|riddle| lower.contains(*riddle));
            if let Some(wrong) = riddle.or_else(|| OPENINGS.iter().find(|word| **word == first)) {
                found.push(format!("{}: `{wrong}`: {comment}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{} comments: {found:#?}", found.len());
}

#[test]
fn comments_are_joined_over_their_lines() {
    let text = "//! a\n//! b\n\n/// What\n/// c\nfn f() {} // d \"e\"\n// f\nlet u = \"http://h\";\n";
    assert_eq!(comments(text), ["a b", "What c", "d \"e\"", "f"]);
}

#[test]
fn a_literal_over_several_lines_is_read_in_one_piece() {
    let text = "// \"no\"\nlet a = \"one \\\n    two\"; // that\nlet b = (\"three\", 4);\n#[cfg(test)]\n\
        mod tests {\"no\"}";
    assert_eq!(literals(text), ["one two", "three"]);
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let known = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "benches",
        "deny.toml",
        "justfile",
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

/// The steps of `.ci/run`, and the recipes of the justfile that call them.
#[test]
fn every_step_of_ci_has_a_recipe_of_its_name() {
    let [run, justfile] = [".ci/run", "justfile"].map(|name| fs::read_to_string(root().join(name)).unwrap());
    let (_, steps) = run.split_once("\nsteps='").unwrap();
    let (steps, _) = steps.split_once('\'').unwrap();
    let called: Vec<&str> = justfile.lines().filter_map(|line| line.strip_prefix("    .ci/run ")).collect();
    assert_eq!(steps.split(' ').collect::<Vec<_>>(), called);
    for step in called {
        assert!(run.contains(&format!("\n{step}() {{\n")), "{step} is no function of .ci/run");
        assert!(justfile.contains(&format!("\n{step}:\n    .ci/run {step}\n")), "{step} is no recipe");
    }
    let workflow = fs::read_to_string(root().join(".github/workflows/ci.yaml")).unwrap();
    for script in [".ci/run", ".ci/k8s/run"] {
        assert!(workflow.contains(script), "CI does not call {script}");
    }
}

/// The process environment must not be able to make a sidecar panic.
#[test]
#[cfg(not(feature = "fault-points"))]
fn x3_places_where_tests_make_the_process_panic_are_in_no_usual_build() {
    let program = fs::read(env!("CARGO_BIN_EXE_apigw-invoker")).unwrap();
    let has = |text: &str| program.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("APIGW_INVOKER_SETTINGS"), "the search works");
    assert!(!has("APIGW_INVOKER_FAULT_POINTS") && !has("the fault of"));
}

#[test]
fn a_comment_with_a_url_alone_may_be_wider() {
    assert!(is_a_single_url("    /// <https://h/a>") && !is_a_single_url("/// see https://h/a"));
}
