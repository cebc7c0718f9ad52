//! What happened on a flow, in the letters and states of Zeek's `conn.log`.
//!
//! ```text
//!   S SYN   H SYN+ACK   A acknowledgement without payload   D payload   F FIN   R RST
//!                       each once for a direction, in the order of their first time
//!   G gap   T payload sent again   W zero window
//!                       at the 1st, 10th, 100th ... time
//!   capitals: the originator; small letters: the responder; ^ in front: the first segment was the responder's
//! ```

use std::fmt::{self, Write};
use std::num::NonZero;

use gannet_packet::TcpFlags;

use crate::Peer;

/// The letters of a flow that has had no disorder, in the space of a word.
///
/// ```text
///   bits 0..12    which letters there are: six of the originator, six of the responder
///   bits 12..16   flags
///   bits 16..64   twelve digits of four bits: the letters in order, one more than their number; 0 at the end
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History(u64);

/// The letters that each direction has once, numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Letter {
    Syn,
    SynAck,
    Ack,
    Data,
    Fin,
    Reset,
}

impl History {
    /// Whether a segment of `from` that acknowledges, and has payload if `data`, adds no letter.
    #[inline]
    pub(crate) fn knows(self, from: Peer, data: bool) -> bool {
        let letter = if data { Letter::Data } else { Letter::Ack };
        self.has(from, letter)
    }

    #[inline]
    pub(crate) fn has(self, from: Peer, letter: Letter) -> bool {
        self.0 & 1 << number(from, letter) != 0
    }

    /// Adds a letter unless it is there.
    pub(crate) fn add(&mut self, from: Peer, letter: Letter) {
        if self.has(from, letter) {
            return;
        }
        let number = number(from, letter);
        let place = DIGITS + DIGIT * self.len();
        self.0 |= 1 << number | (number + 1) << place;
    }

    /// The letters of a segment.
    pub(crate) fn add_segment(&mut self, from: Peer, flags: TcpFlags, has_payload: bool) {
        let has = |flag: TcpFlags| flags.0 & flag.0 != 0;
        let letter = match (has(TcpFlags::SYN), has(TcpFlags::ACK)) {
            (true, true) => Some(Letter::SynAck),
            (true, false) => Some(Letter::Syn),
            (false, true) if !has_payload && !has(TcpFlags::FIN) && !has(TcpFlags::RST) => Some(Letter::Ack),
            _ => None,
        };
        let others = [
            (has_payload, Letter::Data),
            (has(TcpFlags::FIN), Letter::Fin),
            (has(TcpFlags::RST), Letter::Reset),
        ];
        let others = others.into_iter().filter_map(|(there, letter)| there.then_some(letter));
        for letter in letter.into_iter().chain(others) {
            self.add(from, letter);
        }
    }

    /// The first segment was the responder's.
    pub(crate) fn set_turned(&mut self) {
        self.0 |= TURNED;
    }

    /// How many letters there are.
    pub(crate) fn len(self) -> u64 {
        u64::from((self.0 & ((1 << DIGITS) - 1) & !FLAGS).count_ones())
    }

    /// Writes the letters, `rare` ones among them.
    pub(crate) fn write(
        self,
        rare: impl Iterator<Item = RareLetter> + Clone,
        out: &mut impl Write,
    ) -> fmt::Result {
        if self.0 & TURNED != 0 {
            out.write_char('^')?;
        }
        for at in 0..=self.len() {
            for letter in rare.clone().filter(|letter| u64::from(letter.after) == at) {
                out.write_char(char::from(letter.letter()))?;
            }
            if at == self.len() {
                break;
            }
            let number = (self.0 >> (DIGITS + DIGIT * at) & 0xf).saturating_sub(1);
            let letter = LETTERS[(number % 6) as usize];
            out.write_char(if number < 6 { letter } else { letter.to_ascii_lowercase() })?;
        }
        Ok(())
    }

    /// What became of the connection.
    pub(crate) fn state(self) -> ConnectionState {
        use Letter::{Fin, Reset, Syn, SynAck};
        use Peer::{Originator, Responder};
        let has = |from, letter| self.has(from, letter);
        let opened = has(Originator, Syn) || has(Originator, SynAck);
        let answered = has(Responder, SynAck) || has(Responder, Syn);
        let is_silent = |from: Peer| self.0 >> (6 * from as u64) & 0x3f == 0;
        let reset = match (self.place(Originator, Reset), self.place(Responder, Reset)) {
            (Some(one), Some(other)) if one < other => Some(Originator),
            (Some(_), None) => Some(Originator),
            (_, Some(_)) => Some(Responder),
            (None, None) => None,
        };
        match (has(Originator, Fin), has(Responder, Fin), reset) {
            (true, true, _) => ConnectionState::Sf,
            (_, _, Some(Originator)) if !is_silent(Responder) => ConnectionState::Rsto,
            (_, _, Some(Originator)) if opened => ConnectionState::Rstos0,
            (_, _, Some(Responder)) if is_silent(Originator) => ConnectionState::Rstrh,
            (_, _, Some(Responder)) if opened && !answered => ConnectionState::Rej,
            (_, _, Some(Responder)) => ConnectionState::Rstr,
            (true, _, None) if is_silent(Responder) => ConnectionState::Sh,
            (true, _, None) => ConnectionState::S2,
            (_, true, None) if is_silent(Originator) => ConnectionState::Shr,
            (_, true, None) => ConnectionState::S3,
            _ if opened && is_silent(Responder) => ConnectionState::S0,
            _ if answered && !is_silent(Originator) => ConnectionState::S1,
            _ => ConnectionState::Oth,
        }
    }

    /// Where a letter stands.
    fn place(self, from: Peer, letter: Letter) -> Option<u64> {
        (0..self.len()).find(|at| self.0 >> (DIGITS + DIGIT * at) & 0xf == number(from, letter) + 1)
    }
}

/// A letter that comes with disorder, and behind how many of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RareLetter {
    after: u8,
    letter: NonZero<u8>,
}

impl RareLetter {
    /// `None` for the letter 0.
    pub(crate) fn new(after: u8, letter: u8) -> Option<Self> {
        Some(Self { after, letter: NonZero::new(letter)? })
    }

    pub(crate) fn letter(self) -> u8 {
        self.letter.get()
    }
}

/// What became of a connection, as Zeek's `conn_state` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Connection attempt seen, no reply.
    S0,
    /// Established, not ended.
    S1,
    /// Established and ended by both.
    Sf,
    /// Attempt rejected.
    Rej,
    /// Established, and the originator has ended its direction alone.
    S2,
    /// Established, and the responder has ended its direction alone.
    S3,
    /// Established, and the originator aborted.
    Rsto,
    /// The responder aborted.
    Rstr,
    /// The originator sent a SYN and then a RST; no SYN+ACK was seen.
    Rstos0,
    /// The responder sent a SYN+ACK and then a RST; no SYN was seen.
    Rstrh,
    /// The originator sent a SYN and then a FIN; no SYN+ACK was seen.
    Sh,
    /// The responder sent a SYN+ACK and then a FIN; no SYN was seen.
    Shr,
    /// No SYN: midstream traffic.
    Oth,
}

impl ConnectionState {
    /// As in `conn.log`.
    pub fn name(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }
}

/// Whether what happened for the `count`th time is worth a letter: 1, 10, 100 ...
pub(crate) fn is_threshold(count: u64) -> bool {
    count != 0 && 10_u64.checked_pow(count.ilog10()) == Some(count)
}

fn number(from: Peer, letter: Letter) -> u64 {
    letter as u64 + 6 * from as u64
}

const LETTERS: [char; 6] = ['S', 'H', 'A', 'D', 'F', 'R'];
const FLAGS: u64 = 0xf << 12;
const TURNED: u64 = 1 << 12;
/// Where the digits begin.
const DIGITS: u64 = 16;
const DIGIT: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// The history of letters as `conn.log` has them.
    fn history(text: &str) -> History {
        let mut history = History::default();
        for letter in text.chars() {
            let from = if letter.is_ascii_uppercase() { Peer::Originator } else { Peer::Responder };
            let flags = |flags: &[TcpFlags]| TcpFlags(flags.iter().fold(0, |all, flag| all | flag.0));
            let (flags, data) = match letter.to_ascii_uppercase() {
                'S' => (flags(&[TcpFlags::SYN]), false),
                'H' => (flags(&[TcpFlags::SYN, TcpFlags::ACK]), false),
                'A' => (flags(&[TcpFlags::ACK]), false),
                'D' => (flags(&[TcpFlags::ACK]), true),
                'F' => (flags(&[TcpFlags::FIN, TcpFlags::ACK]), false),
                'R' => (flags(&[TcpFlags::RST]), false),
                '^' => {
                    history.set_turned();
                    continue;
                }
                other => panic!("{other}"),
            };
            history.add_segment(from, flags, data);
        }
        history
    }

    fn text(history: History, rare: &[RareLetter]) -> String {
        let mut text = String::new();
        history.write(rare.iter().copied(), &mut text).unwrap();
        text
    }

    #[test]
    fn letters_come_once_and_in_order() {
        for given in ["ShADadFf", "", "^hADafFR", "SHADFRshadfr", "Dd"] {
            assert_eq!(text(history(given), &[]), given);
        }
        assert_eq!(text(history("ShAADaDdAaF"), &[]), "ShADadF");
        assert!(history("D").knows(Peer::Originator, true) && !history("D").knows(Peer::Originator, false));
        assert!(!history("D").knows(Peer::Responder, true));
    }

    #[test]
    fn rare_letters_stand_where_they_came() {
        let rare = [(0, b'w'), (3, b'T'), (3, b'g'), (4, b't')]
            .map(|(after, letter)| RareLetter::new(after, letter).unwrap());
        assert_eq!(text(history("ShAD"), &rare), "wShATgDt");
        let thresholds: Vec<u64> = (0..2_000).filter(|&count| is_threshold(count)).collect();
        assert_eq!(thresholds, [1, 10, 100, 1_000]);
    }

    #[test]
    fn states_are_those_of_zeek() {
        let states = [
            ("S", "S0"),
            ("ShA", "S1"),
            ("ShADadFf", "SF"),
            ("ShADadfF", "SF"),
            ("Sr", "REJ"),
            ("ShADadF", "S2"),
            ("ShADadf", "S3"),
            ("ShADadR", "RSTO"),
            ("ShADadFR", "RSTO"),
            ("ShADadr", "RSTR"),
            ("ShADadFfR", "SF"),
            ("SR", "RSTOS0"),
            ("^hr", "RSTRH"),
            ("SF", "SH"),
            ("^hf", "SHR"),
            ("^hADdFaf", "SF"),
            ("DadAFf", "SF"),
            ("DadAr", "RSTR"),
            ("DadA", "OTH"),
            ("^h", "OTH"),
            ("R", "OTH"),
            ("", "OTH"),
        ];
        for (letters, state) in states {
            assert_eq!(history(letters).state().name(), state, "{letters}");
        }
    }
}
