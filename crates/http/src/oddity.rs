//! What a message does that it should not, and that was understood all the same.

/// A set of oddities. None of them stops framing; each is said, so that nothing is guessed silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Oddities(u32);

macro_rules! oddities {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal, $about:literal;)*) => {
        impl Oddities {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, $text)),*];

            /// The names of all that there are, and what they mean, for users.
            pub const MEANINGS: &'static [(&'static str, &'static str)] = &[$(($text, $about)),*];
        }
    };
}

oddities! {
    /// A line of the head ends in LF alone ("a recipient MAY recognize a single LF as a line terminator", RFC 9112,
    /// 2.2).
    BARE_LF = 0, "bare-lf",
        "a line of the head ends in LF alone";
    /// Empty lines came before the start line.
    BLANK_LINES = 1, "blank-lines",
        "empty lines came before the start line";
    /// A field was continued on further lines (obs-fold).
    FOLDED = 2, "folded",
        "a field goes on over further lines (obs-fold)";
    /// There are blanks between a field's name and its colon: some take it for another field than others do.
    SPACE_BEFORE_COLON = 3, "space-before-colon",
        "blanks between a field's name and its colon: readers differ on which field it is";
    /// A line of the head is no field.
    NO_COLON = 4, "no-colon",
        "a line of the head is no field";
    /// Content-Length is stated more than once, always the same.
    DUPLICATE_LENGTH = 5, "duplicate-length",
        "Content-Length is stated more than once, always the same";
    /// Content-Length is stated with different values, or with one that is no number. The first number counts.
    CONFLICTING_LENGTH = 6, "conflicting-length",
        "Content-Length is stated with different values, or with one that is no number; the first number counts. A sign of request smuggling";
    /// Content-Length beside Transfer-Encoding, which counts.
    LENGTH_AND_CODING = 7, "length-and-coding",
        "Content-Length beside Transfer-Encoding, which counts. A sign of request smuggling";
    /// Transfer-Encoding in a message of HTTP/1.0, whose peers need not know it.
    CODING_IN_1_0 = 8, "coding-in-1.0",
        "Transfer-Encoding in a message of HTTP/1.0";
    /// Transfer-Encoding that does not end in `chunked`, has it twice, or has `identity`.
    ODD_CODING = 9, "odd-coding",
        "Transfer-Encoding does not end in chunked, has it twice, or has identity";
    /// A chunk has extensions.
    CHUNK_EXTENSIONS = 10, "chunk-extensions",
        "a chunk has extensions";
    /// A status outside of 100 to 599, or what is no number of three digits: then there is none.
    ODD_STATUS = 11, "odd-status",
        "the status is outside of 100 to 599, or no number of three digits";
    /// Blanks in the request target.
    BLANKS_IN_TARGET = 12, "blanks-in-target",
        "blanks in the request target";
    /// What follows the message is no message: its length was stated wrong. Seen within one segment; where the length
    /// is stated with different values, also in the next one.
    LENGTH_REFUTED = 13, "length-refuted",
        "what follows the message is no message: its length was stated wrong";
    /// `101 Switching Protocols` for a request that did not ask for it. The connection is taken to stay HTTP/1.
    UNASKED_SWITCH = 14, "unasked-switch",
        "101 Switching Protocols for a request that did not ask for it; the connection is read as HTTP/1 on";
    /// A length other than 0, or a coding, is stated for a response that cannot have a body (101, 204).
    LENGTH_WITHOUT_BODY = 15, "length-without-body",
        "a length other than 0, or a coding, in a response that cannot have a body (101, 204)";
    /// The chunk framing was broken.
    BAD_CHUNK = 16, "bad-chunk",
        "the framing of chunks is broken: the body ends there";
    /// More than one `100 Continue` came before it.
    REPEATED_CONTINUE = 17, "repeated-continue",
        "more than one 100 Continue came before it";
    /// A version other than `HTTP/1.0` and `HTTP/1.1` in a start line. The message is read like one of HTTP/1.1.
    ODD_VERSION = 18, "odd-version",
        "a version other than HTTP/1.0 and HTTP/1.1; read like HTTP/1.1";
    /// The parts of the start line are separated by more than a blank, or by something else, or there are blanks behind
    /// them.
    ODD_BLANKS = 19, "odd-blanks",
        "the parts of the start line are separated by more than one blank or by something else, or blanks follow them";
    /// Of a request that asked whether to send its body (`Expect: 100-continue`): it was answered without that, and did
    /// not send it.
    BODY_NOT_SENT = 20, "body-not-sent",
        "the request asked whether to send its body (Expect: 100-continue), was answered without that, and did not send it";
}

impl Oddities {
    /// Those that make the length of the message a matter of opinion.
    pub(crate) const OF_LENGTH: Self = Self(
        Self::DUPLICATE_LENGTH.0
            | Self::CONFLICTING_LENGTH.0
            | Self::LENGTH_AND_CODING.0
            | Self::CODING_IN_1_0.0
            | Self::ODD_CODING.0,
    );

    /// Those in it and those in `others`.
    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Adds those in `others`.
    #[inline]
    pub fn add(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Adds those in `others` if `applies`.
    #[inline]
    pub(crate) fn add_if(&mut self, applies: bool, others: Self) {
        self.0 |= if applies { others.0 } else { 0 };
    }

    /// True if one of `others` is in it.
    #[inline]
    pub fn has(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// True if there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names in records.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(one, _)| self.has(*one)).map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_bit_and_a_name_of_its_own() {
        let mut all = Oddities::default();
        for (one, name) in Oddities::NAMES {
            assert!(!all.has(*one), "{name}");
            all.add(*one);
            assert_eq!(one.names().collect::<Vec<_>>(), [*name]);
        }
        assert_eq!(all.names().count(), Oddities::NAMES.len());
        assert!(Oddities::default().is_empty() && !all.is_empty());
    }
}
