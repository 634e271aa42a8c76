//! Header maps that have been used, kept to be used again: each is a few kilobytes, and a request needs two.
//!
//! One goes from a client's request (`inbound.rs`) to the end of its call (`proxy/call.rs`), the other from the head
//! of AWS's answer (`client/framing.rs`) to the client's (`proxy/reply.rs`). Each thread has its own, and a few are
//! enough: what is busy is not here.

use std::cell::RefCell;

use actix_http::header::HeaderMap;

/// Maps that are kept in a thread.
const MOST_KEPT: usize = 32;
/// Room for headers in a map that is worth keeping; one that an unusual request has made large is not.
const ROOM: std::ops::RangeInclusive<usize> = 1..=64;

thread_local! {
    static KEPT: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

pub fn take() -> HeaderMap {
    KEPT.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps a map for another time, and nothing of what was in it.
pub fn give_back(mut map: HeaderMap) {
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < MOST_KEPT && ROOM.contains(&map.capacity()) {
            map.clear();
            kept.push(map);
        }
    });
}

#[cfg(test)]
mod tests {
    use actix_http::header::{self, HeaderValue};

    use super::*;

    #[test]
    fn a_map_comes_back_empty_and_a_large_one_not_at_all() {
        KEPT.with_borrow_mut(Vec::clear);
        let mut map = HeaderMap::with_capacity(20);
        map.insert(header::AUTHORIZATION, HeaderValue::from_static("hush"));
        let room = map.capacity();
        give_back(map);
        let again = take();
        assert_eq!((again.len(), again.capacity()), (0, room));
        give_back(HeaderMap::with_capacity(1000));
        give_back(HeaderMap::new());
        assert_eq!(take().capacity(), 0);
        (0..100).for_each(|_| give_back(HeaderMap::with_capacity(20)));
        assert_eq!(KEPT.with_borrow(Vec::len), MOST_KEPT);
    }
}
