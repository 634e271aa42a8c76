//! `Expect: 100-continue` (RFC 9110, 10.1.1): a client that waits for `100 Continue` before it sends its
//! body.

/// True if the values of a request's `Expect` lines contain `100-continue`. Other members of the list are
/// ignored, as the RFC permits: a client that waits for an interim response must get it.
pub fn asks_for_continue<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let is_continue = |member: &[u8]| member.trim_ascii().eq_ignore_ascii_case(b"100-continue");
    values.into_iter().any(|value| value.split(|byte| *byte == b',').any(is_continue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x15_a_list_that_contains_the_expectation_asks_for_it() {
        for value in ["100-continue", "100-Continue", "100-continue, x", "x ,\t100-CONTINUE"] {
            assert!(asks_for_continue([value.as_bytes()]), "{value}");
        }
        assert!(asks_for_continue([&b"x"[..], b"100-continue"]));
        assert!(!asks_for_continue([&b"100-continue;q=1"[..], b"", b"x"]));
        assert!(!asks_for_continue([]));
    }
}
