//! An answer's body in pieces that are worth a frame each.
//!
//! `stream.rs` asks for them. Clients built on `h2` count small DATA frames that wait to be read, and end the
//! connection with `ENHANCE_YOUR_CALM` at 129 of them with the default window. An upstream that writes in small
//! chunks would cause that, so the pieces that are at hand go out in one frame.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::body::MessageBody;
use bytes::{Bytes, BytesMut};

/// A piece of this size is sent as it is.
const ENOUGH: usize = 4 << 10;

/// The end of a body: an error, or none.
type End<E> = Option<Result<Bytes, E>>;

/// The pieces of a body that was begun.
pub struct Pieces<E> {
    /// The end that was met while pieces were gathered.
    end: Option<End<E>>,
}

impl<E> Default for Pieces<E> {
    fn default() -> Self {
        Self { end: None }
    }
}

impl<E> Pieces<E> {
    /// The next piece, with the further ones that are at hand as long as they are small together.
    pub fn poll_next<B: MessageBody<Error = E>>(
        &mut self,
        mut body: Pin<&mut B>,
        context: &mut Context<'_>,
    ) -> Poll<End<E>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(end);
        }
        let first = match ready!(body.as_mut().poll_next(context)) {
            Some(Ok(first)) if first.len() < ENOUGH => first,
            other => return Poll::Ready(other),
        };
        let mut gathered = BytesMut::new();
        while first.len().max(gathered.len()) < ENOUGH {
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
    use std::{collections::VecDeque, convert::Infallible};

    use actix_http::body::BodySize;
    use proptest::prelude::*;

    use super::*;

    /// A body of these pieces; it is not ready where there is none.
    struct Script(VecDeque<Option<Bytes>>);

    impl MessageBody for Script {
        type Error = Infallible;

        fn size(&self) -> BodySize {
            BodySize::Stream
        }

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
            match self.get_mut().0.pop_front() {
                None => Poll::Ready(None),
                Some(Some(piece)) => Poll::Ready(Some(Ok(piece))),
                Some(None) => Poll::Pending,
            }
        }
    }

    proptest! {
        #[test]
        fn all_bytes_come_in_order_and_none_waits_for_a_piece_that_is_not_at_hand(
            lengths in prop::collection::vec(prop::option::weighted(0.8, 1_usize..6000), 0..40),
        ) {
            let piece = |length: usize| Bytes::from(vec![u8::try_from(length % 251).unwrap(); length]);
            let script: VecDeque<_> = lengths.iter().map(|length| length.map(piece)).collect();
            let expected: Vec<u8> = script.iter().flatten().flatten().copied().collect();
            let (mut body, mut pieces) = (Script(script), Pieces::default());
            let (mut received, mut waits) = (Vec::new(), 0);
            let mut context = Context::from_waker(std::task::Waker::noop());
            loop {
                match pieces.poll_next(Pin::new(&mut body), &mut context) {
                    Poll::Ready(Some(Ok(piece))) => {
                        prop_assert!(!piece.is_empty());
                        received.extend_from_slice(&piece);
                    }
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(Err(never))) => match never {},
                    Poll::Pending => waits += 1,
                }
            }
            prop_assert_eq!(received, expected);
            // a wait behind gathered pieces is asked for again by the next call
            prop_assert!(waits <= lengths.iter().filter(|length| length.is_none()).count());
        }
    }
}
