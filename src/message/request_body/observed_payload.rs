//! A body that the inspector sees while it is sent.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_http::{Payload, error::PayloadError};
use bytes::Bytes;
use futures_core::Stream;

/// A payload with an observer of its pieces.
pub(super) struct ObservedPayload<F> {
    pub(super) payload: Payload,
    pub(super) see: F,
}

impl<F: FnMut(Option<&[u8]>)> Stream for ObservedPayload<F> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = Pin::new(&mut self.payload).poll_next(context);
        match &piece {
            Poll::Ready(Some(Ok(piece))) => (self.see)(Some(piece)),
            Poll::Ready(None) => (self.see)(None),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        piece
    }
}

impl<F> Unpin for ObservedPayload<F> {}
