//! Names of the files that are written: safe in any directory, and each once.

use std::collections::HashMap;

/// As for `id` of a route.
const MAX_LENGTH: usize = 64;
/// Of a secret's file: two names.
const MAX_FILE_LENGTH: usize = 2 * MAX_LENGTH + 1;

/// The names that are taken, in lower case, since some file systems ignore it, each with the number to try
/// next.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, u32>);

impl Names {
    /// A free name near `wish`.
    pub fn allocate(&mut self, wish: &str) -> String {
        self.free(sanitised(wish), MAX_LENGTH)
    }

    /// A free name `ROUTE.KIND` for a route whose name is one of these.
    pub fn allocate_file(&mut self, route: &str, kind: &str) -> String {
        self.free(format!("{route}.{}", sanitised(kind)), MAX_FILE_LENGTH)
    }

    fn free(&mut self, name: String, longest: usize) -> String {
        let key = name.to_lowercase();
        let Some(mut number) = self.0.get(&key).copied() else {
            self.0.insert(key, 2);
            return name;
        };
        let candidate = loop {
            let suffix = format!("-{number}");
            number += 1;
            let kept = name.len().min(longest - suffix.len());
            let candidate = format!("{}{suffix}", &name[..kept]);
            if !self.0.contains_key(&candidate.to_lowercase()) {
                break candidate;
            }
        };
        self.0.insert(key, number);
        self.0.insert(candidate.to_lowercase(), 2);
        candidate
    }
}

/// Letters, digits, `-`, `_` and `.`, none of them `.` at the beginning; other characters become one `-`.
fn sanitised(wish: &str) -> String {
    let mut name = String::new();
    for char in wish.chars().take(4 * MAX_LENGTH) {
        if char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-') {
            name.push(char);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_start_matches(['.', '-']).trim_end_matches(['.', '-']);
    // ASCII alone, so that every index is a boundary
    let name = name[..name.len().min(MAX_LENGTH)].trim_end_matches(['.', '-']);
    if name.is_empty() { "route".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_cannot_leave_their_directory_and_stay_apart() {
        let mut names = Names::default();
        for (wish, name) in [
            ("orders", "orders"),
            ("Orders", "Orders-2"),
            ("../../etc/passwd", "etc-passwd"),
            ("..", "route"),
            ("", "route-2"),
            ("a\0b", "a-b"),
            ("/orders/{id}", "orders-id"),
            ("größe", "gr-e"),
            (".hidden", "hidden"),
            ("x~", "x"),
        ] {
            assert_eq!(names.allocate(wish), name, "{wish:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_a_valid_id_and_none_comes_twice(
            wishes in prop::collection::vec(any::<String>(), 1..9),
        ) {
            let (mut names, mut seen) = (Names::default(), HashSet::new());
            for wish in wishes.iter().chain(&wishes) {
                let name = names.allocate(wish);
                prop_assert!((1..=MAX_LENGTH).contains(&name.len()) && name != "-");
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)));
                prop_assert!(!name.starts_with(['.', '#']) && !name.ends_with('~'));
                prop_assert!(seen.insert(name.to_lowercase()));
            }
        }
    }
}
