//! Parser of the event stream encoding of AWS's SDKs, as `InvokeWithResponseStream` uses it.

/// The function's output, and how its stream ends.
#[derive(Debug, Default)]
pub struct Events {
    pub payload: Vec<u8>,
    pub end: EventsEnd,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum EventsEnd {
    /// `InvokeComplete` reports success, and nothing follows.
    Good,
    /// `InvokeComplete` reports a failure of the function.
    Failed,
    /// The input ends before `InvokeComplete`.
    #[default]
    Incomplete,
    /// An invalid message, an exception, or a message after the end.
    Broken,
}

/// Parses all messages in `bytes`.
pub fn read(bytes: &[u8]) -> Events {
    let (mut events, mut at) = (Events::default(), 0);
    while at < bytes.len() {
        let message = match message(&bytes[at..]) {
            Ok(Some(message)) => message,
            Ok(None) => return events,
            Err(()) => {
                events.end = EventsEnd::Broken;
                return events;
            }
        };
        at += message.length;
        match (message.text(":message-type"), message.text(":event-type")) {
            (Some("event"), Some("PayloadChunk")) => events.payload.extend_from_slice(message.payload),
            (Some("event"), Some("InvokeComplete")) => {
                events.end = completion(message.payload, &bytes[at..]);
                return events;
            }
            (Some("event"), Some(_)) => {}
            _ => {
                events.end = EventsEnd::Broken;
                return events;
            }
        }
    }
    events
}

fn completion(payload: &[u8], behind: &[u8]) -> EventsEnd {
    let Ok(complete) = serde_json::from_slice::<serde_json::Value>(payload) else { return EventsEnd::Broken };
    if !behind.is_empty() || !complete.is_object() {
        return EventsEnd::Broken;
    }
    let is_there = |name: &str| match complete.get(name) {
        None | Some(serde_json::Value::Null) => false,
        Some(value) => value.as_str() != Some(""),
    };
    if is_there("ErrorCode") || is_there("ErrorDetails") { EventsEnd::Failed } else { EventsEnd::Good }
}

/// Name and value of a header.
type Header<'a> = (&'a [u8], &'a [u8]);

struct Message<'a> {
    length: usize,
    headers: Vec<Header<'a>>,
    payload: &'a [u8],
}

impl Message<'_> {
    /// Value of the first header of this name, if it is a string.
    fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| *own == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }
}

/// The first message; `None` if it is incomplete.
fn message(bytes: &[u8]) -> Result<Option<Message<'_>>, ()> {
    let Some(prelude) = bytes.get(..12) else { return Ok(None) };
    let number =
        |at: usize| u32::from_be_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]]);
    let (length, headers) = (number(0) as usize, number(4) as usize);
    if crc32fast::hash(&prelude[..8]) != number(8) || length < headers.saturating_add(16) {
        return Err(());
    }
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    let (checked, sum) = whole.split_at(length - 4);
    if crc32fast::hash(checked).to_be_bytes() != sum {
        return Err(());
    }
    let message = Message {
        length,
        headers: header_list(&checked[12..12 + headers])?,
        payload: &checked[12 + headers..],
    };
    Ok(Some(message))
}

fn header_list(mut bytes: &[u8]) -> Result<Vec<Header<'_>>, ()> {
    let mut headers = Vec::new();
    while let [length, rest @ ..] = bytes {
        let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or(())?;
        let [kind, rest @ ..] = rest else { return Err(()) };
        let (size, is_text, rest) = match (kind, rest) {
            (0 | 1, rest) => (0, false, rest),
            (2, rest) => (1, false, rest),
            (3, rest) => (2, false, rest),
            (4, rest) => (4, false, rest),
            (5 | 8, rest) => (8, false, rest),
            (6 | 7, [high, low, rest @ ..]) => {
                (usize::from(*high) << 8 | usize::from(*low), *kind == 7, rest)
            }
            (9, rest) => (16, false, rest),
            _ => return Err(()),
        };
        let (value, rest) = rest.split_at_checked(size).ok_or(())?;
        // invalid UTF-8 never equals a text that is searched for
        headers.push((name, if is_text { value } else { b"\xff" }));
        bytes = rest;
    }
    Ok(headers)
}
