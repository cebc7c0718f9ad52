//! The rare blocks, appended to a vector: section header, interface description, interface statistics.

use gannet_packet::{LinkType, Timestamp};

use super::{BYTE_ORDER_MAGIC, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, SECTION_HEADER, option};

/// What a Section Header Block tells of the capture. An empty string is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Section<'a> {
    /// The hardware captured on (`shb_hardware`).
    pub hardware: &'a str,
    /// The operating system (`shb_os`).
    pub os: &'a str,
    /// The program that writes the file (`shb_userappl`).
    pub application: &'a str,
    /// Anything else (`opt_comment`).
    pub comment: &'a str,
}

/// What an Interface Description Block tells of an interface. An empty string or a zero speed is left out.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// What the packets of this interface start with.
    pub link_type: LinkType,
    /// The longest captured length in bytes; 0 = no limit.
    pub snaplen: u32,
    /// The system's name for it (`if_name`), such as `eth0`.
    pub name: &'a str,
    /// A description (`if_description`).
    pub description: &'a str,
    /// The filter expression in force (`if_filter`).
    pub filter: &'a str,
    /// The operating system of the capturing host (`if_os`).
    pub os: &'a str,
    /// Anything else (`opt_comment`).
    pub comment: &'a str,
    /// Bits per second (`if_speed`).
    pub speed: u64,
}

impl Interface<'_> {
    /// An interface of which nothing but link type and snaplen is told.
    #[must_use]
    pub fn new(link_type: LinkType, snaplen: u32) -> Self {
        Self { link_type, snaplen, name: "", description: "", filter: "", os: "", comment: "", speed: 0 }
    }
}

/// What an Interface Statistics Block counts, all since the start of the capture. `None` is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// When the capture began (`isb_starttime`).
    pub start: Option<Timestamp>,
    /// When it ended (`isb_endtime`).
    pub end: Option<Timestamp>,
    /// Packets that reached the interface (`isb_ifrecv`).
    pub received: Option<u64>,
    /// Packets the interface lost for want of resources (`isb_ifdrop`).
    pub dropped: Option<u64>,
    /// Packets the filter let pass (`isb_filteraccept`).
    pub filter_accepted: Option<u64>,
    /// Packets the operating system lost (`isb_osdrop`).
    pub os_dropped: Option<u64>,
    /// Packets that came to the capturing program (`isb_usrdeliv`).
    pub delivered: Option<u64>,
}

/// Appends a Section Header Block (draft section 4.1): little endian, version 1.0, section length not told,
/// since a file may end by a crash.
pub fn section_header(out: &mut Vec<u8>, section: &Section<'_>) {
    block(out, SECTION_HEADER, |out| {
        out.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        out.extend_from_slice(&1_u16.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(&u64::MAX.to_le_bytes());
        let mut options = Options::new(out);
        options.text(option::SHB_HARDWARE, section.hardware);
        options.text(option::SHB_OS, section.os);
        options.text(option::SHB_USERAPPL, section.application);
        options.text(option::COMMENT, section.comment);
        options.end();
    });
}

/// Appends an Interface Description Block (draft section 4.2), always with `if_tsresol` 9: nanoseconds.
pub fn interface_description(out: &mut Vec<u8>, interface: &Interface<'_>) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend_from_slice(&interface.link_type.0.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(&interface.snaplen.to_le_bytes());
        let mut options = Options::new(out);
        options.text(option::IF_NAME, interface.name);
        options.text(option::IF_DESCRIPTION, interface.description);
        if interface.speed != 0 {
            options.raw(option::IF_SPEED, &interface.speed.to_le_bytes());
        }
        options.raw(option::IF_TSRESOL, &[9]);
        if !interface.filter.is_empty() {
            // "The first octet of the Option Data keeps a code of the filter used": 0 = a libpcap expression.
            let mut filter = vec![0];
            filter.extend_from_slice(cut(interface.filter, MAX_OPTION - 1).as_bytes());
            options.raw(option::IF_FILTER, &filter);
        }
        options.text(option::IF_OS, interface.os);
        options.text(option::COMMENT, interface.comment);
        options.end();
    });
}

/// Appends an Interface Statistics Block (draft section 4.6) for the section's interface number `interface`,
/// counted up to `timestamp`.
pub fn interface_statistics(
    out: &mut Vec<u8>,
    interface: u32,
    timestamp: Timestamp,
    statistics: &Statistics,
) {
    block(out, INTERFACE_STATISTICS, |out| {
        out.extend_from_slice(&interface.to_le_bytes());
        out.extend_from_slice(&time_words(timestamp));
        let mut options = Options::new(out);
        for (code, time) in [(option::ISB_STARTTIME, statistics.start), (option::ISB_ENDTIME, statistics.end)]
        {
            if let Some(time) = time {
                options.raw(code, &time_words(time));
            }
        }
        for (code, count) in [
            (option::ISB_IFRECV, statistics.received),
            (option::ISB_IFDROP, statistics.dropped),
            (option::ISB_FILTERACCEPT, statistics.filter_accepted),
            (option::ISB_OSDROP, statistics.os_dropped),
            (option::ISB_USRDELIV, statistics.delivered),
        ] {
            if let Some(count) = count {
                options.raw(code, &count.to_le_bytes());
            }
        }
        options.end();
    });
}

/// Appends type, length, what `body` appends, and the length again.
fn block(out: &mut Vec<u8>, block_type: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&block_type.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    // A body is at most a dozen options of 64 KiB each.
    let total = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
}

/// Option writer: code, length, value, padding to 4.
struct Options<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

impl<'a> Options<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, any: false }
    }

    fn text(&mut self, code: u16, text: &str) {
        if !text.is_empty() {
            self.raw(code, cut(text, MAX_OPTION).as_bytes());
        }
    }

    /// `value` is at most [`MAX_OPTION`] bytes.
    fn raw(&mut self, code: u16, value: &[u8]) {
        self.out.extend_from_slice(&code.to_le_bytes());
        self.out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.out.extend_from_slice(value);
        self.out.resize(self.out.len() + value.len().next_multiple_of(4) - value.len(), 0);
        self.any = true;
    }

    /// The end of options is written only after options.
    fn end(self) {
        if self.any {
            self.out.extend_from_slice(&u32::from(option::END).to_le_bytes());
        }
    }
}

/// The longest start of `text` of at most `max` bytes that is whole characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// A time stamp as blocks hold it: the upper 32 bits first, each word little endian.
fn time_words(timestamp: Timestamp) -> [u8; 8] {
    timestamp.0.rotate_left(32).to_le_bytes()
}

/// The longest option value: its length is 16 bits and counts no padding.
const MAX_OPTION: usize = u16::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_bytes() {
        let mut out = Vec::new();
        section_header(&mut out, &Section { application: "gannet", ..Section::default() });
        #[rustfmt::skip]
        let expected = [
            0x0a, 0x0d, 0x0d, 0x0a, 44, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            4, 0, 6, 0, b'g', b'a', b'n', b'n', b'e', b't', 0, 0, 0, 0, 0, 0, 44, 0, 0, 0,
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn no_options_no_end_of_options() {
        let mut out = Vec::new();
        interface_statistics(&mut out, 7, Timestamp(0x1_0000_0002), &Statistics::default());
        assert_eq!(out, [5, 0, 0, 0, 24, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 24, 0, 0, 0]);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let long = "ä".repeat(40_000);
        let mut out = Vec::new();
        section_header(&mut out, &Section { comment: &long, ..Section::default() });
        assert_eq!(out[24..28], [1, 0, 0xfe, 0xff], "65534 bytes: the odd one would be half a character");
        assert_eq!(out.len() % 4, 0);
        assert_eq!(u32::from_le_bytes(out[4..8].try_into().unwrap()) as usize, out.len());
    }
}
