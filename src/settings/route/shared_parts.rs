//! Equal parts of routes, which are in memory once: most of thousands of routes have the same upstream settings and
//! credentials.

use std::sync::Arc;

use super::{key_source::CredentialSettings, upstream::UpstreamSettings};

/// Parts that are compared with each new one.
const MOST_REMEMBERED: usize = 16;

/// The last distinct parts of the routes so far.
#[derive(Default)]
pub struct SharedParts {
    upstreams: Vec<Arc<UpstreamSettings>>,
    sources: Vec<Arc<CredentialSettings>>,
}

impl SharedParts {
    pub(super) fn share_upstream(&mut self, upstream: &mut Arc<UpstreamSettings>) {
        share(&mut self.upstreams, upstream);
    }

    pub(super) fn share_source(&mut self, source: &mut Arc<CredentialSettings>) {
        share(&mut self.sources, source);
    }
}

/// Replaces a part by an equal earlier one, or remembers it in place of the oldest.
fn share<T: PartialEq>(remembered: &mut Vec<Arc<T>>, part: &mut Arc<T>) {
    if let Some(same) = remembered.iter().rev().find(|remembered| *remembered == part) {
        *part = Arc::clone(same);
        return;
    }
    if remembered.len() == MOST_REMEMBERED {
        remembered.remove(0);
    }
    remembered.push(Arc::clone(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_are_the_same_and_no_more_than_a_few_are_compared() {
        let mut remembered = Vec::new();
        let mut shared = |number: usize| {
            let mut part = Arc::new(number);
            share(&mut remembered, &mut part);
            (part, remembered.len())
        };
        let (first, _) = shared(0);
        assert!(Arc::ptr_eq(&first, &shared(0).0));
        for number in 1..100 {
            assert!(shared(number).1 <= MOST_REMEMBERED);
        }
        assert!(!Arc::ptr_eq(&first, &shared(0).0));
        assert!(Arc::ptr_eq(&shared(99).0, &shared(99).0));
    }
}
