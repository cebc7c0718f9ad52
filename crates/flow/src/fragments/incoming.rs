//! A fragment as its frame has it.

use gannet_packet::{FlowKey, Frame, IpProtocol, LayerKind, Packet, Side, Surroundings};

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The addresses, without ports; the protocol in IPv4 only (RFC 8200, section 4.5: "Next Header values in the
    /// Fragment headers of different fragments \[...\] may differ").
    pub(super) addresses: FlowKey,
    pub(super) side: Side,
    pub(super) id: u32,
    pub(super) around: Surroundings,
}

/// One fragment: a borrow of its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) key: Key,
    pub(super) is_ipv6: bool,
    /// Of its contents, in those of the datagram.
    pub(super) offset: usize,
    /// Of its contents, on the wire.
    pub(super) len: usize,
    pub(super) more: bool,
    /// Its contents, as far as captured.
    pub(super) bytes: &'a [u8],
    /// What goes in front of the datagram's contents, if this is its first fragment.
    pub(super) header: Option<Header<'a>>,
    /// How long that is in this fragment.
    header_len: usize,
    protocol: IpProtocol,
}

/// A header in which a few fields are to be changed for the datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    pub(super) bytes: &'a [u8],
    /// Where IPv6 has the type of the fragment header, and what to put there instead.
    pub(super) next_header: Option<(usize, IpProtocol)>,
}

impl Header<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl<'a> Incoming<'a> {
    /// The fragment in `frame`; `None` if there is none.
    pub(super) fn new(frame: &Frame<'a>, packet: &Packet) -> Option<Self> {
        let ip = packet.ip?;
        let fragment = ip.fragment?;
        let (flow, side) = packet.flow?;
        let bytes = frame.data.get(packet.payload.range())?;
        let start = usize::from(ip.offset);
        let is_ipv6 = frame.data.get(start)? >> 4 == 6;
        // Where the header ends, and in IPv6 where the type of the fragment header stands.
        let (end, next_header) = match packet.layers() {
            [.., before, last] if is_ipv6 && last.kind == LayerKind::FragmentHeader => {
                let at = usize::from(before.offset) + if before.kind == LayerKind::Ipv6 { 6 } else { 0 };
                (usize::from(last.offset), Some((at.checked_sub(start)?, ip.protocol)))
            }
            _ => (packet.payload.range().start, None),
        };
        let header = frame.data.get(start..end)?;
        // Fragments have no ports.
        let (addresses, side) = match is_ipv6 {
            true => FlowKey::new(flow.endpoint(side), flow.endpoint(side.opposite()), IpProtocol(0)),
            false => (flow, side),
        };
        Some(Self {
            key: Key { addresses, side, id: fragment.id, around: packet.surroundings() },
            is_ipv6,
            offset: fragment.offset as usize,
            len: packet.payload.wire_len as usize,
            more: fragment.more,
            bytes,
            header: (fragment.offset == 0).then_some(Header { bytes: header, next_header }),
            header_len: header.len(),
            protocol: ip.protocol,
        })
    }

    /// Where its contents end in those of the datagram.
    pub(super) fn end(&self) -> usize {
        self.offset + self.len
    }

    /// Whether its lengths can be those of a fragment.
    pub(super) fn is_possible(&self) -> bool {
        // The length field counts the header in IPv4; in IPv6 what follows its first 40 bytes.
        let counted = if self.is_ipv6 { self.header_len.saturating_sub(IPV6_LEN) } else { self.header_len };
        self.len != 0 && (!self.more || self.len.is_multiple_of(UNIT)) && counted + self.end() <= LONGEST
    }

    /// Whether it is the first fragment and too short for the transport header.
    pub(super) fn is_tiny_first(&self) -> bool {
        let header = match self.protocol {
            IpProtocol::TCP => 20,
            _ => UNIT,
        };
        self.offset == 0 && self.len < header
    }
}

/// Fragments but the last are multiples of this long.
const UNIT: usize = 8;
const IPV6_LEN: usize = 40;
/// What the length field of either version can say.
const LONGEST: usize = 65_535;
