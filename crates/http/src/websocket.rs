//! Frames of a WebSocket connection, counted (RFC 6455, section 5.2).
//!
//! ```text
//!   FIN RSV opcode │ MASK len │ len 16 or 64 │ masking key │ payload ...
//!   ├── header: 2 to 14 bytes, looked at ────────────────┤├ skipped ┤
//! ```

use std::ops::Index;

/// How many frames of each kind one end sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebSocketFrames {
    counts: [u64; KINDS],
    /// Bytes of payload in all of them.
    pub payload_bytes: u64,
    /// Messages that ended: data frames with FIN.
    pub messages: u64,
    /// Frames with RSV1, which permessage-deflate sets on compressed messages.
    pub compressed: u64,
    /// The status code of the first Close frame; 1005 if it has none.
    pub close_code: Option<u16>,
    /// Frames could not be told apart from here on: bytes of a header are missing, or it is no frame.
    pub lost: bool,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 6455")]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
    /// A reserved one.
    Other,
}

impl Opcode {
    /// All, in the order of their numbers.
    pub const ALL: [Self; KINDS] =
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong, Self::Other];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Other => "other",
        }
    }

    fn of(bits: u8) -> Self {
        match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => Self::Other,
        }
    }
}

impl Index<Opcode> for WebSocketFrames {
    type Output = u64;

    fn index(&self, opcode: Opcode) -> &u64 {
        &self.counts[opcode as usize]
    }
}

impl WebSocketFrames {
    /// Frames of all kinds.
    pub fn frames(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// One direction of a WebSocket connection.
#[derive(Debug, Default)]
pub(crate) struct FrameCounter {
    pub(crate) frames: WebSocketFrames,
    header: [u8; HEADER_MAX],
    header_len: usize,
    /// Bytes of payload still to come.
    left: u64,
    /// The code of a Close frame, which is the first two bytes of its payload.
    close: Option<Close>,
}

#[derive(Debug)]
struct Close {
    mask: [u8; 2],
    bytes: [u8; 2],
    len: usize,
}

impl FrameCounter {
    /// Takes the next bytes. False once frames cannot be told apart any more.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !self.frames.lost {
            if self.left > 0 {
                let taken = self.left.min(bytes.len() as u64);
                self.close_code(&bytes[..taken as usize]);
                self.left -= taken;
                bytes = &bytes[taken as usize..];
            }
            let Some((&byte, behind)) = bytes.split_first() else { break };
            bytes = behind;
            self.header[self.header_len] = byte;
            self.header_len += 1;
            if self.header_len >= 2 && self.header_len == header_len(self.header[1]) {
                self.begin();
                self.header_len = 0;
            }
        }
        !self.frames.lost
    }

    /// Takes a hole of `len` bytes.
    pub(crate) fn gap(&mut self, len: u64) -> bool {
        match self.left.checked_sub(len) {
            Some(left) if self.left > 0 => {
                self.left = left;
                self.close = None;
            }
            _ => self.frames.lost = true,
        }
        !self.frames.lost
    }

    /// A header is whole.
    fn begin(&mut self) {
        let [first, second, ..] = self.header;
        let (len, mask_at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([self.header[2], self.header[3]])), 4),
            127 => {
                let [_, _, len @ .., _, _, _, _] = self.header;
                (u64::from_be_bytes(len), 10)
            }
            short => (u64::from(short), 2),
        };
        let opcode = Opcode::of(first & 0x0f);
        // "the most significant bit MUST be 0"; "All control frames MUST have a payload length of 125 bytes or less and
        // MUST NOT be fragmented": what breaks that is no frame.
        let control = first & 0x08 != 0;
        if len >> 63 != 0 || control && (len > 125 || first & 0x80 == 0) {
            self.frames.lost = true;
            return;
        }
        let frames = &mut self.frames;
        frames.counts[opcode as usize] += 1;
        frames.payload_bytes = frames.payload_bytes.saturating_add(len);
        frames.messages += u64::from(!control && first & 0x80 != 0);
        frames.compressed += u64::from(first & 0x40 != 0);
        if opcode == Opcode::Close && frames.close_code.is_none() {
            frames.close_code = Some(NO_CODE);
            let mask =
                if second & 0x80 != 0 { [self.header[mask_at], self.header[mask_at + 1]] } else { [0; 2] };
            self.close = (len >= 2).then_some(Close { mask, bytes: [0; 2], len: 0 });
        }
        self.left = len;
    }

    fn close_code(&mut self, payload: &[u8]) {
        let Some(close) = &mut self.close else { return };
        for byte in payload.iter().take(2 - close.len) {
            close.bytes[close.len] = byte ^ close.mask[close.len];
            close.len += 1;
        }
        if close.len == 2 {
            self.frames.close_code = Some(u16::from_be_bytes(close.bytes));
            self.close = None;
        }
    }
}

/// Length of a header whose second byte is `second`.
fn header_len(second: u8) -> usize {
    let len = match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    len + if second & 0x80 != 0 { 4 } else { 0 }
}

const KINDS: usize = 7;
const HEADER_MAX: usize = 14;
/// "If this Close control frame contains no status code, The WebSocket Connection Close Code is considered to be 1005".
const NO_CODE: u16 = 1005;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(mask_bit | len as u8),
            len @ 126..=0xffff => {
                out.push(mask_bit | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(mask_bit | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        let key = [0x37, 0xfa, 0x21, 0x3d];
        if masked {
            out.extend(key);
        }
        out.extend(
            payload.iter().zip(key.iter().cycle()).map(|(byte, key)| if masked { byte ^ key } else { *byte }),
        );
        out
    }

    #[test]
    fn a_conversation() {
        let mut bytes = frame(0x81, true, b"Hello");
        bytes.extend(frame(0x02, false, &[7; 300]));
        bytes.extend(frame(0x89, false, b""));
        bytes.extend(frame(0x80, true, &[7; 70_000]));
        bytes.extend(frame(0xc1, false, b"deflated"));
        bytes.extend(frame(0x8a, false, b"x"));
        bytes.extend(frame(0x88, true, &[&1001_u16.to_be_bytes()[..], b"bye"].concat()));
        for size in [1, 2, 3, 7, 1_000, 100_000] {
            let mut counter = FrameCounter::default();
            assert!(bytes.chunks(size).all(|piece| counter.take(piece)));
            let frames = counter.frames;
            assert_eq!(frames.frames(), 7);
            assert_eq!(Opcode::ALL.map(|opcode| frames[opcode]), [1, 2, 1, 1, 1, 1, 0]);
            assert_eq!((frames.messages, frames.compressed, frames.close_code), (3, 1, Some(1001)));
            assert_eq!(frames.payload_bytes, 5 + 300 + 70_000 + 8 + 1 + 5);
            assert!(!frames.lost);
        }
    }

    #[test]
    fn a_close_without_a_code() {
        let mut counter = FrameCounter::default();
        counter.take(&frame(0x88, false, b""));
        assert_eq!(counter.frames.close_code, Some(1005));
    }

    #[test]
    fn holes() {
        let bytes = [frame(0x82, false, &[1; 200]), frame(0x81, false, b"the end")].concat();
        let mut counter = FrameCounter::default();
        assert!(counter.take(&bytes[..50]) && counter.gap(100) && counter.take(&bytes[150..]));
        assert_eq!(counter.frames.frames(), 2);
        let mut counter = FrameCounter::default();
        assert!(counter.take(&bytes[..50]) && !counter.gap(160) && !counter.take(&bytes[210..]));
        assert!(counter.frames.lost);
        assert_eq!(counter.frames.frames(), 1);
        let mut counter = FrameCounter::default();
        assert!(!counter.gap(1));
    }

    #[test]
    fn what_is_no_frame() {
        for bytes in [&[0x09, 0][..], &[0x89, 126, 0, 126], &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]] {
            let mut counter = FrameCounter::default();
            assert!(!counter.take(bytes), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            frames in prop::collection::vec((any::<u8>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
            sizes in prop::collection::vec(1_usize..400, 1..20),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(first, masked, payload)| frame(*first, *masked, payload)).collect();
            let mut whole = FrameCounter::default();
            whole.take(&bytes);
            let (mut cut, mut rest, mut sizes) = (FrameCounter::default(), &bytes[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                cut.take(piece);
                rest = behind;
            }
            prop_assert_eq!(whole.frames, cut.frames);
            let broken = |(first, _, payload): &(u8, bool, Vec<u8>)| {
                first & 0x08 != 0 && (payload.len() > 125 || first & 0x80 == 0)
            };
            let good = frames.iter().take_while(|frame| !broken(frame)).count();
            prop_assert_eq!(whole.frames.frames(), good as u64);
        }
    }
}
