//! The state that the Runtime API of one process shares with the task that gives it events.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::web::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::Event;

/// An event on its way to a function's process.
#[derive(Debug)]
pub struct Delivery {
    pub event: Event,
    /// The time at which the process is killed.
    pub deadline: SystemTime,
}

impl Delivery {
    /// `Lambda-Runtime-Deadline-Ms`.
    pub fn deadline_ms(&self) -> u128 {
        self.deadline.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()
    }
}

/// A process's answer to an event.
#[derive(Debug)]
pub enum Reply {
    Returned(Bytes),
    /// With the error object that the process posted.
    Failed(Bytes),
    /// `Lambda-Runtime-Function-Response-Mode: streaming`.
    Streamed {
        content_type: Option<String>,
        /// Ends with [`Piece::End`], unless the process died.
        body: mpsc::Receiver<Piece>,
    },
}

/// A piece of a streamed response.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    /// The end, with the error object of a function that failed in the middle.
    End(Option<Bytes>),
}

/// The reason why the Runtime API refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No event with this id was given to this process.
    InvalidRequestId,
    /// The event with this id was answered before.
    AnsweredBefore,
}

/// The state of one process.
#[derive(Debug, Default)]
pub struct Slot {
    /// The waiting request for the next event.
    next: RefCell<Option<oneshot::Sender<Delivery>>>,
    next_arrived: Notify,
    current: RefCell<Option<Current>>,
    /// The error object that the process posted instead of its first `next`.
    init_error: RefCell<Option<Bytes>>,
    /// The process has asked for an event.
    has_asked: Cell<bool>,
}

#[derive(Debug)]
struct Current {
    id: String,
    /// `None` once it is answered.
    reply: Option<oneshot::Sender<Reply>>,
}

impl Slot {
    /// Forgets the process before.
    pub fn clear(&self) {
        self.next.take();
        self.current.take();
        self.init_error.take();
        self.has_asked.set(false);
    }

    /// Waits until the process asks for an event.
    pub async fn asked(&self) {
        while self.next.borrow().as_ref().is_none_or(oneshot::Sender::is_closed) {
            self.next_arrived.notified().await;
        }
    }

    /// [`Self::asked`] without a borrow.
    pub async fn asked_by_owner(self: Rc<Self>) {
        self.asked().await;
    }

    /// Gives the event to the waiting request, and returns where the reply arrives. Without a waiting request
    /// the event comes back.
    pub fn deliver(&self, delivery: Delivery) -> Result<oneshot::Receiver<Reply>, Box<Delivery>> {
        let Some(next) = self.next.take() else { return Err(Box::new(delivery)) };
        let (reply, receiver) = oneshot::channel();
        let id = delivery.event.request_id.clone();
        next.send(delivery).map_err(Box::new)?;
        *self.current.borrow_mut() = Some(Current { id, reply: Some(reply) });
        Ok(receiver)
    }

    /// The request for the next event: where the event arrives.
    pub fn ask(&self) -> oneshot::Receiver<Delivery> {
        let (sender, receiver) = oneshot::channel();
        *self.next.borrow_mut() = Some(sender);
        self.has_asked.set(true);
        self.next_arrived.notify_one();
        receiver
    }

    /// The place for the reply to the event with this id.
    ///
    /// # Errors
    /// The id is not that of the running call, or the call has a reply.
    pub fn answer(&self, id: &str) -> Result<oneshot::Sender<Reply>, Refused> {
        let mut current = self.current.borrow_mut();
        let current = current.as_mut().filter(|current| current.id == id);
        let current = current.ok_or(Refused::InvalidRequestId)?;
        current.reply.take().ok_or(Refused::AnsweredBefore)
    }

    /// `init/error`; false after the process has asked for an event.
    pub fn fail_init(&self, error: Bytes) -> bool {
        let is_early = !self.has_asked.get();
        if is_early {
            *self.init_error.borrow_mut() = Some(error);
        }
        is_early
    }

    pub fn init_error(&self) -> Option<Bytes> {
        self.init_error.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(id: &str) -> Delivery {
        Delivery { event: Event::of("f", id, "{}"), deadline: UNIX_EPOCH }
    }

    #[actix_rt::test]
    async fn an_event_is_answered_once_by_its_id() {
        let slot = Slot::default();
        assert!(slot.deliver(delivery("1")).is_err(), "nothing waits");
        let asked = slot.ask();
        let mut reply = slot.deliver(delivery("1")).unwrap();
        assert_eq!(asked.await.unwrap().event.request_id, "1");
        assert_eq!(slot.answer("2").unwrap_err(), Refused::InvalidRequestId);
        slot.answer("1").unwrap().send(Reply::Returned(Bytes::new())).unwrap();
        assert_eq!(slot.answer("1").unwrap_err(), Refused::AnsweredBefore);
        assert!(matches!(reply.try_recv(), Ok(Reply::Returned(_))));
    }

    #[actix_rt::test]
    async fn an_init_error_comes_before_the_first_event() {
        let slot = Slot::default();
        assert!(slot.fail_init(Bytes::from_static(b"{}")));
        assert_eq!(slot.init_error().as_deref(), Some(&b"{}"[..]));
        let _asked = slot.ask();
        assert!(!slot.fail_init(Bytes::new()));
    }

    #[actix_rt::test]
    async fn a_process_that_hung_up_gets_no_event() {
        let slot = Slot::default();
        drop(slot.ask());
        assert!(slot.deliver(delivery("1")).is_err());
        let _asked = slot.ask();
        slot.asked().await;
        assert!(slot.deliver(delivery("1")).is_ok());
    }
}
