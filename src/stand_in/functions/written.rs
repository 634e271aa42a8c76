//! What a function writes as time goes by, for answers that are passed on as they come.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::web::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

/// The reader had enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Where a function writes to.
#[derive(Debug)]
pub struct Writer(mpsc::Sender<Bytes>);

impl Writer {
    /// Hands bytes on; waits while the reader is slow.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(bytes.into()).await.map_err(|_| Gone)
    }
}

/// The reader's end.
#[derive(Debug)]
pub struct Written(mpsc::Receiver<Bytes>);

impl Written {
    /// Runs `function` beside its reader.
    pub fn by<F>(function: impl FnOnce(Writer) -> F) -> Self
    where
        F: Future<Output = Result<(), Gone>> + 'static,
    {
        let (sender, receiver) = mpsc::channel(1);
        let running = function(Writer(sender));
        // one that nobody reads ends at its next word
        actix_rt::spawn(async move {
            let _ = running.await;
        });
        Self(receiver)
    }

    /// A sentence, word by word.
    pub fn sentence(pause: Duration) -> Self {
        Self::words("These words arrive one by one, as the function writes them.\n", pause)
    }

    /// A text, word by word, each with the blank behind it.
    pub fn words(text: &'static str, pause: Duration) -> Self {
        Self::by(async move |writer| {
            for (index, word) in text.split_inclusive(' ').enumerate() {
                if index > 0 {
                    tokio::time::sleep(pause).await;
                }
                writer.write(word).await?;
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

impl Stream for Written {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn words_come_one_by_one_and_are_the_text() {
        let mut written = Written::sentence(Duration::ZERO);
        assert_eq!(written.next().await.as_deref(), Some(&b"These "[..]));
        let rest = written.whole().await;
        assert_eq!(rest, b"words arrive one by one, as the function writes them.\n");
    }

    #[actix_rt::test]
    async fn who_writes_learns_that_nobody_reads() {
        let (sender, told) = tokio::sync::oneshot::channel();
        let written = Written::by(async move |writer| {
            let result = loop {
                if let Err(gone) = writer.write("word ").await {
                    break Err(gone);
                }
            };
            let _ = sender.send(result);
            result
        });
        drop(written);
        assert_eq!(told.await, Ok(Err(Gone)));
    }
}
