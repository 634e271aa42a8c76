//! The layout of HTTP/2 frames (RFC 9113, 4.1 and 6.2): frame heads, and blocks of fields in HEADERS frames.

/// Bytes of a frame's head.
pub const HEAD: usize = 9;
/// The default limit of a frame's payload: `http2.rs` sends no `SETTINGS_MAX_FRAME_SIZE`.
pub const MAX_FRAME: usize = 16 << 10;

/// The types of the frames that carry a block.
pub const HEADERS: u8 = 1;
pub const CONTINUATION: u8 = 9;
/// The flags of these frames.
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITY: u8 = 0x20;

/// Bytes of the priority in a HEADERS frame with the flag `PRIORITY`.
const PRIORITY_LENGTH: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl FrameHead {
    /// Parses the head at the beginning of `bytes`; `None` if there are fewer than nine.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[l2, l1, l0, kind, flags, s3, s2, s1, s0] = bytes.first_chunk::<HEAD>()?;
        let length = usize::from(l2) << 16 | usize::from(l1) << 8 | usize::from(l0);
        // the first bit is reserved, and ignored by receivers
        let stream = u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]);
        Some(Self { length, kind, flags, stream })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn bytes(&self) -> [u8; HEAD] {
        let [.., l2, l1, l0] = self.length.to_be_bytes();
        let [s3, s2, s1, s0] = self.stream.to_be_bytes();
        [l2, l1, l0, self.kind, self.flags, s3, s2, s1, s0]
    }
}

/// The part of a HEADERS frame's payload that belongs to the block; `None` if padding or priority does not
/// fit.
pub fn fragment(payload: &[u8], head: FrameHead) -> Option<&[u8]> {
    let mut fragment = payload;
    if head.has(PADDED) {
        let (&padding, behind) = fragment.split_first()?;
        fragment = &behind[..behind.len().checked_sub(padding.into())?];
    }
    if head.has(PRIORITY) { fragment.get(PRIORITY_LENGTH..) } else { Some(fragment) }
}

/// Splits the block in `frames`, which begins behind room for one head, into frames.
pub fn frame_block(frames: &mut Vec<u8>, stream: u32, is_end: bool) {
    let length = frames.len() - HEAD;
    let ending = if is_end { END_STREAM } else { 0 };
    if length <= MAX_FRAME {
        let head = FrameHead { length, kind: HEADERS, flags: END_HEADERS | ending, stream };
        frames[..HEAD].copy_from_slice(&head.bytes());
        return;
    }
    let block = frames.split_off(HEAD);
    frames.clear();
    let mut pieces = block.chunks(MAX_FRAME).peekable();
    let (mut kind, mut flags) = (HEADERS, ending);
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        frames.extend_from_slice(&FrameHead { length: piece.len(), kind, flags, stream }.bytes());
        frames.extend_from_slice(piece);
        (kind, flags) = (CONTINUATION, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_priority_are_removed_and_must_fit() {
        let head = |flags| FrameHead { length: 0, kind: HEADERS, flags, stream: 1 };
        assert_eq!(fragment(b"ab", head(0)), Some(&b"ab"[..]));
        assert_eq!(fragment(b"\x01ab\0", head(PADDED)), Some(&b"ab"[..]));
        assert_eq!(fragment(b"12345ab", head(PRIORITY)), Some(&b"ab"[..]));
        assert_eq!(fragment(b"\x0112345ab\0", head(PADDED | PRIORITY)), Some(&b"ab"[..]));
        assert_eq!(fragment(b"\x02\0\0", head(PADDED)), Some(&b""[..]));
        for (payload, flags) in [
            (&b""[..], PADDED),
            (b"\x01", PADDED),
            (b"1234", PRIORITY),
            (b"\x011234\0", PADDED | PRIORITY),
            (b"\x0112345", PADDED | PRIORITY | END_HEADERS),
        ] {
            // in the last case the fifth byte of the priority would be padding
            assert_eq!(fragment(payload, head(flags)), None, "{payload:?}");
        }
    }

    #[test]
    fn a_block_is_split_into_as_many_frames_as_needed() {
        for (length, kinds) in [
            (0, &[(HEADERS, END_HEADERS | END_STREAM)][..]),
            (MAX_FRAME, &[(HEADERS, END_HEADERS | END_STREAM)]),
            (MAX_FRAME + 1, &[(HEADERS, END_STREAM), (CONTINUATION, END_HEADERS)]),
            (3 * MAX_FRAME, &[(HEADERS, END_STREAM), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]),
        ] {
            let mut frames = vec![7; HEAD + length];
            frame_block(&mut frames, 5, true);
            let (mut rest, mut found, mut total) = (&frames[..], Vec::new(), 0);
            while let Some(head) = FrameHead::read(rest) {
                assert_eq!(head.stream, 5);
                found.push((head.kind, head.flags));
                total += head.length;
                rest = &rest[HEAD + head.length..];
            }
            assert_eq!((&found[..], total, rest.len()), (kinds, length, 0));
        }
    }
}
