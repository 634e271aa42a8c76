//! Joins small pieces of a response's body, so that each DATA frame is large enough.
//!
//! Clients built on `h2` count small DATA frames that wait to be read, and end the connection with
//! `ENHANCE_YOUR_CALM` at 129 of them with the default window. An upstream that writes in small chunks would
//! cause that, so `answer.rs` sends the pieces that are ready in one frame.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::body::MessageBody;
use bytes::{Bytes, BytesMut};

use crate::message::error::ProxyError;

/// A piece of this size is sent without a copy.
const MIN_FRAME: usize = 4 << 10;

/// The result of polling a body.
pub type BodyItem = Option<Result<Bytes, ProxyError>>;

/// Joins the small pieces of one body.
#[derive(Default)]
pub struct Coalescer {
    /// The end or the error behind the pieces that were joined.
    end: Option<BodyItem>,
}

impl Coalescer {
    /// The next piece, joined with those that are ready until it has [`MIN_FRAME`] bytes.
    pub fn poll_next<B: MessageBody<Error = ProxyError>>(
        &mut self,
        mut body: Pin<&mut B>,
        context: &mut Context<'_>,
    ) -> Poll<BodyItem> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(end);
        }
        let first = match ready!(body.as_mut().poll_next(context)) {
            Some(Ok(first)) if first.len() < MIN_FRAME => first,
            other => return Poll::Ready(other),
        };
        let mut gathered = BytesMut::new();
        while first.len().max(gathered.len()) < MIN_FRAME {
            match body.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(next))) => {
                    if gathered.is_empty() {
                        gathered.extend_from_slice(&first);
                    }
                    gathered.extend_from_slice(&next);
                }
                Poll::Ready(end) => {
                    self.end = Some(end);
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(if gathered.is_empty() { first } else { gathered.freeze() })))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use actix_http::body::BodySize;
    use proptest::prelude::*;

    use super::*;

    /// A body of these pieces; `None` is pending.
    struct Script(VecDeque<Option<Bytes>>);

    impl MessageBody for Script {
        type Error = ProxyError;

        fn size(&self) -> BodySize {
            BodySize::Stream
        }

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<BodyItem> {
            match self.get_mut().0.pop_front() {
                None => Poll::Ready(None),
                Some(Some(piece)) => Poll::Ready(Some(Ok(piece))),
                Some(None) => Poll::Pending,
            }
        }
    }

    proptest! {
        #[test]
        fn all_bytes_come_in_order_and_none_waits_for_a_piece_that_is_not_ready(
            lengths in prop::collection::vec(prop::option::weighted(0.8, 1_usize..6000), 0..40),
        ) {
            let piece = |length: usize| Bytes::from(vec![u8::try_from(length % 251).unwrap(); length]);
            let script: VecDeque<_> = lengths.iter().map(|length| length.map(piece)).collect();
            let expected: Vec<u8> = script.iter().flatten().flatten().copied().collect();
            let (mut body, mut pieces) = (Script(script), Coalescer::default());
            let (mut received, mut waits) = (Vec::new(), 0);
            let mut context = Context::from_waker(std::task::Waker::noop());
            loop {
                match pieces.poll_next(Pin::new(&mut body), &mut context) {
                    Poll::Ready(Some(Ok(piece))) => {
                        prop_assert!(!piece.is_empty());
                        received.extend_from_slice(&piece);
                    }
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(Err(error))) => panic!("{error}"),
                    Poll::Pending => waits += 1,
                }
            }
            prop_assert_eq!(received, expected);
            // a pending poll after joined pieces is repeated by the next call
            prop_assert!(waits <= lengths.iter().filter(|length| length.is_none()).count());
        }
    }
}
