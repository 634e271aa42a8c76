//! Lists of names in sentences, shortened to the first few.

const MAX_NAMED: usize = 5;

/// `a, b`: all of them.
pub fn joined<I: ToString>(items: &[I]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `a, b`, or `a, b, c, d, e and 2 more`.
pub fn listed<N: AsRef<str>>(names: &[N]) -> String {
    let first: Vec<&str> = names.iter().take(MAX_NAMED).map(AsRef::as_ref).collect();
    let first = first.join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// `route a`, or `routes a, b`.
pub fn routes<I: AsRef<str>>(ids: &[I]) -> String {
    format!("route{} {}", if ids.len() == 1 { "" } else { "s" }, listed(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k3_of_many_routes_some_are_named() {
        assert_eq!(routes(&["a"]), "route a");
        assert_eq!(routes(&["a", "b", "c", "d", "e", "f", "g"]), "routes a, b, c, d, e and 2 more");
    }
}
