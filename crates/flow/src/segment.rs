//! What the table takes.

use gannet_packet::{FlowKey, Frame, Packet, Side, Surroundings, TcpHeader, Timestamp, Transport};

/// When and where something was seen: the time of a packet and its place in the run.
///
/// Positions order all events of a run: the number of the packet in a file run, counted over all files in merged order;
/// live, the number of the packet within its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The packet's time stamp.
    pub time: Timestamp,
    /// The packet's place in the run.
    pub position: u64,
}

/// One captured TCP segment: a borrow of its frame.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Segment<'a> {
    /// The flow it belongs to.
    pub key: FlowKey,
    /// The end that sent it.
    pub side: Side,
    /// The header fields.
    pub tcp: TcpHeader,
    /// The option bytes of the header.
    pub options: &'a [u8],
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
    /// Length of the payload on the wire, at least `payload.len()`.
    pub wire_len: u32,
    /// Its time and place.
    pub moment: Moment,
    /// Index of the interface in the tables of the run.
    pub interface: u32,
    /// Identification field of the IPv4 header; 0 for IPv6. Tells a packet captured twice from one sent twice.
    pub ip_id: u16,
    /// The tunnel and the VLANs that it came in.
    pub around: Surroundings,
}

impl<'a> Segment<'a> {
    /// The segment in `frame`, of which `packet` is the decoding; `None` unless it has a whole TCP header and is not
    /// a fragment.
    #[inline]
    pub fn new(frame: &Frame<'a>, packet: &Packet, position: u64) -> Option<Self> {
        let Transport::Tcp(tcp) = packet.transport else { return None };
        let (key, side) = packet.flow?;
        let ip = packet.ip?;
        let data = frame.data;
        // The version is in the first nibble: only IPv4 has an identification in every packet.
        let header = data.get(usize::from(ip.offset)..)?;
        let ip_id = match header {
            [first, _, _, _, high, low, ..] if first >> 4 == 4 => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        Some(Self {
            key,
            side,
            tcp,
            options: data.get(tcp.options())?,
            payload: data.get(packet.payload.range())?,
            wire_len: packet.payload.wire_len,
            moment: Moment { time: frame.timestamp, position },
            interface: frame.interface,
            ip_id,
            around: packet.surroundings(),
        })
    }
}
