//! What becomes of a request, by its number: both sides of the sidecar come to the same result without a word.

/// What may go wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is reset in the middle of the body.
    ResetInBody,
    /// It is closed there.
    CutInBody,
    /// The body is shorter than announced.
    TooShort,
    /// There is no answer.
    Stall,
    /// The body does not go on.
    StallInBody,
    /// The answer is not HTTP.
    Garbage,
    /// The answer is 503.
    Unavailable,
    /// The answer comes in pieces; it is right.
    Slow,
    /// Something comes after the answer, which is right.
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

/// How a right answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Sized,
    Chunked,
    UntilClose,
}

/// Which share of the answers goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of a hundred.
    pub faults: u64,
}

impl Plan {
    /// What goes wrong with this request's answer.
    pub fn fault(self, number: u64) -> Option<Fault> {
        let dice = scatter(number);
        let which = usize::try_from(dice / 100 % FAULTS.len() as u64).unwrap_or_default();
        (dice % 100 < self.faults).then(|| FAULTS[which])
    }

    /// How its answer is framed.
    pub fn framing(number: u64) -> Framing {
        match scatter(number ^ 0xff) % 20 {
            0 => Framing::UntilClose,
            1..10 => Framing::Chunked,
            _ => Framing::Sized,
        }
    }
}

/// The body of a right answer: it names the request, what was received of its body, and fills `size` bytes more.
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

/// What a request's body holds besides its number.
pub fn padding(number: u64, size: usize) -> String {
    format!("{:x}.", scatter(number)).chars().cycle().take(size).collect()
}

/// Neighbouring numbers far apart (the finalizer of `SplitMix64`).
fn scatter(number: u64) -> u64 {
    let mut value = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
