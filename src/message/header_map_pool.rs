//! Per-thread free list of `HeaderMap`s: each allocates a few kilobytes, and a request needs two.
//!
//! One map goes from a client's request (`inbound.rs`) to the end of its call (`proxy/call.rs`), the other
//! from the head of AWS's response (`client/framing.rs`) to the client's response (`proxy/reply.rs`).

use std::cell::RefCell;

use actix_http::header::HeaderMap;

/// Limit of idle maps per thread; maps in use do not count.
const MAX_IDLE: usize = 32;
/// Capacity of a pooled map; a map that an unusual request has made large is dropped.
const POOLED_CAPACITY: std::ops::RangeInclusive<usize> = 1..=64;

thread_local! {
    static IDLE_MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

pub fn take() -> HeaderMap {
    IDLE_MAPS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Clears a map and returns it to the free list.
pub fn give_back(mut map: HeaderMap) {
    IDLE_MAPS.with_borrow_mut(|idle| {
        if idle.len() < MAX_IDLE && POOLED_CAPACITY.contains(&map.capacity()) {
            map.clear();
            idle.push(map);
        }
    });
}

#[cfg(test)]
mod tests {
    use actix_http::header::{self, HeaderValue};

    use super::*;

    #[test]
    fn a_reused_map_is_empty_and_a_large_one_is_dropped() {
        IDLE_MAPS.with_borrow_mut(Vec::clear);
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
        assert_eq!(IDLE_MAPS.with_borrow(Vec::len), MAX_IDLE);
    }
}
