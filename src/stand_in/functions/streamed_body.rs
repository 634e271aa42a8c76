//! A body that a function writes in pieces, for responses that are passed on as they arrive.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::web::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc::{self, error::SendError};

/// The reader's end.
#[derive(Debug)]
pub struct StreamedBody(mpsc::Receiver<Bytes>);

impl StreamedBody {
    /// Runs `function`, whose next write fails once the reader is dropped.
    pub fn by<F>(function: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Self
    where
        F: Future<Output = Result<(), SendError<Bytes>>> + 'static,
    {
        let (sender, receiver) = mpsc::channel(1);
        let running = function(sender);
        actix_rt::spawn(async move {
            let _ = running.await;
        });
        Self(receiver)
    }

    /// A sentence, word by word.
    pub fn sentence(pause: Duration) -> Self {
        Self::words("These words arrive one by one, as the function writes them.\n", pause)
    }

    /// A text, word by word, each with the space after it.
    pub fn words(text: &'static str, pause: Duration) -> Self {
        Self::by(async move |writer| {
            for (index, word) in text.split_inclusive(' ').enumerate() {
                if index > 0 {
                    tokio::time::sleep(pause).await;
                }
                writer.send(word.into()).await?;
            }
            Ok(())
        })
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    pub async fn whole(mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await {
            whole.extend_from_slice(&piece);
        }
        whole
    }
}

impl Stream for StreamedBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn words_arrive_one_by_one() {
        let mut body = StreamedBody::sentence(Duration::ZERO);
        assert_eq!(body.next().await.as_deref(), Some(&b"These "[..]));
        let rest = body.whole().await;
        assert_eq!(rest, b"words arrive one by one, as the function writes them.\n");
    }

    #[actix_rt::test]
    async fn a_write_fails_once_the_reader_is_dropped() {
        let (sender, failed) = tokio::sync::oneshot::channel();
        let body = StreamedBody::by(async move |writer| {
            let result = loop {
                if let Err(error) = writer.send("word ".into()).await {
                    break Err(error);
                }
            };
            let _ = sender.send(result.is_err());
            result
        });
        drop(body);
        assert_eq!(failed.await, Ok(true));
    }
}
