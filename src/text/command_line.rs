//! A command in one text, split into words as a shell does: with quotes and backslashes, without variables,
//! wildcards and operators.

/// Splits a command.
///
/// # Errors
/// A sentence about what is wrong.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            char if char.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == char => break,
                        Some('\\') if char == '"' => word.extend(chars.next()),
                        Some(inside) => word.push(inside),
                        None => return Err(format!("the command has no closing {char}")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    if words.is_empty() { Err("the command is empty".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_is_split_as_by_a_shell() {
        for (text, words) in [
            ("python -m awslambdaric app.handler", &["python", "-m", "awslambdaric", "app.handler"][..]),
            ("  ./a\t'b c' \"d \\\" e\" f\\ g", &["./a", "b c", "d \" e", "f g"]),
            ("a'b'\"c\"d ''", &["abcd", ""]),
            ("a $HOME > b", &["a", "$HOME", ">", "b"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        assert!(split("  ").unwrap_err().contains("empty"));
        assert!(split("a 'b").unwrap_err().contains("no closing '"));
    }

    proptest! {
        #[test]
        fn a_quoted_word_stays_as_it_is(words in prop::collection::vec("[^']{0,8}", 1..4)) {
            let text: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split(&text.join(" ")).unwrap(), words);
        }
    }
}
