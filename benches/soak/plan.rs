//! The planned outcome of a request. Client and upstream derive it from the request's number, without
//! communication.

/// Faults of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The connection is reset before the response.
    Reset,
    /// The connection is reset inside the body.
    ResetInBody,
    /// The connection is closed inside the body.
    CutInBody,
    /// The body is shorter than `Content-Length`.
    TooShort,
    /// No response is sent.
    Stall,
    /// The body stops halfway.
    StallInBody,
    /// The response is not HTTP.
    Garbage,
    /// The response is a 503.
    Unavailable,
    /// A correct response, sent in small pieces.
    Slow,
    /// A correct response, followed by surplus bytes.
    Surplus,
}

const FAULTS: [Fault; 10] = [
    Fault::Reset,
    Fault::ResetInBody,
    Fault::CutInBody,
    Fault::TooShort,
    Fault::Stall,
    Fault::StallInBody,
    Fault::Garbage,
    Fault::Unavailable,
    Fault::Slow,
    Fault::Surplus,
];

/// Framing of a correct response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Sized,
    Chunked,
    UntilClose,
}

/// How often faults occur.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Percentage of faulty responses.
    pub faults: u64,
}

impl Plan {
    /// The fault of this request's response.
    pub fn fault(self, number: u64) -> Option<Fault> {
        let dice = scatter(number);
        let which = usize::try_from(dice / 100 % FAULTS.len() as u64).unwrap_or_default();
        (dice % 100 < self.faults).then(|| FAULTS[which])
    }

    /// The framing of this request's response.
    pub fn framing(number: u64) -> Framing {
        match scatter(number ^ 0xff) % 20 {
            0 => Framing::UntilClose,
            1..10 => Framing::Chunked,
            _ => Framing::Sized,
        }
    }
}

/// The body of a correct response: the request's number, the length of the body that was received, and `size`
/// filler bytes.
pub fn body(number: u64, received: u32, size: usize) -> Vec<u8> {
    let mut body = format!("number={number} received={received:08x}\n").into_bytes();
    let end = body.len() + size;
    let filling = format!("{number:016x}|");
    while body.len() < end {
        body.extend_from_slice(filling.as_bytes());
    }
    body.truncate(end);
    body
}

/// The body of a 503.
pub fn unavailable(number: u64) -> String {
    format!("number={number} is unavailable\n")
}

/// Filler of a request's body after its number.
pub fn padding(number: u64, size: usize) -> String {
    format!("{:x}.", scatter(number)).chars().cycle().take(size).collect()
}

/// Hash of a number (the finalizer of `SplitMix64`).
fn scatter(number: u64) -> u64 {
    let mut value = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
