//! Foreign text made safe for a log line: responses of functions and AWS, names in certificates.
//!
//! Every quoted text of a cause or note is escaped here, and every line of `message/error.rs` once more.

/// The first characters of a text, with line ends and terminal sequences escaped.
pub fn log_safe(text: &str, longest: usize) -> String {
    let mut line = String::with_capacity(text.len().min(longest));
    push_log_safe(&mut line, text, longest);
    line
}

/// Appends the first characters of a text to a line.
pub fn push_log_safe(line: &mut String, text: &str, longest: usize) {
    let mut chars = text.chars();
    for char in chars.by_ref().take(longest) {
        if char.is_control() && char != '\t' {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    if chars.next().is_some() {
        line.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quoted_text_is_short_and_stays_on_its_line() {
        assert_eq!(log_safe("short", 5), "short");
        assert_eq!(log_safe("longer", 5), "longe…");
        assert_eq!(log_safe("a\r\nb\t\u{1b}[2Jé", 100), "a\\r\\nb\t\\u{1b}[2Jé");
    }

    proptest! {
        #[test]
        fn any_text_stays_on_its_line(text in any::<String>(), longest in 0_usize..40) {
            let line = log_safe(&text, longest);
            prop_assert!(line.chars().all(|char| char == '\t' || !char.is_control()), "{line:?}");
            prop_assert_eq!(log_safe(&line, usize::MAX), line.as_str());
            prop_assert_eq!(
                line.ends_with('…') && !text.ends_with('…'),
                text.chars().count() > longest && !text.ends_with('…')
            );
        }
    }
}
