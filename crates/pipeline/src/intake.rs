//! From captured frames to what flows are made of: tunnels opened, datagrams put together from their fragments.
//!
//! ```text
//!   Frame ─► Packet ─┬─ whole ──────────────────────────────────────────► segment, ICMP error, or neither
//!                    └─ fragment ─► Fragments ─► Datagram ─► Packet ──────┘
//! ```
//!
//! It knows no flow table and no handler. Files with several workers have one intake, in front of all of them, so
//! that every packet of a flow finds the way to the flow's worker; elsewhere each worker has its own.

use gannet_flow::{Datagram, Fragments, Heard, IcmpError, Moment, QuotedSegment, Segment, Taken};
use gannet_packet::{End, FlowKey, Frame, Packet, Surroundings, Timestamp, Transport};

use crate::config::IntakeConfig;
use crate::ledger::{Analysed, AnalysisLedger};

/// What comes in between frames and flows.
#[derive(Debug)]
pub(crate) struct Intake {
    config: IntakeConfig,
    fragments: Fragments,
}

/// What is of use in a packet.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A segment of a flow, and how long its IP packet is.
    Segment(Segment<'a>, u32),
    /// An error about a segment of a flow.
    Error { error: IcmpError, quoted: QuotedSegment, now: Moment },
    /// A part of a conversation without TCP. Only layers that want it are given it.
    Heard(Heard),
    /// Nothing.
    Nothing,
}

/// What of a packet is to be looked at. An ICMP error is of two flows: the one it is about, and its own conversation.
/// Where those are with different workers each gets the packet, and its part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// All there is.
    #[default]
    Whole,
    /// It counts, but what it is about is told elsewhere.
    Conversation,
    /// The error alone; the packet is counted elsewhere.
    Error,
}

impl Intake {
    /// `seed` must not be guessable.
    pub(crate) fn new(config: &IntakeConfig, seed: u64) -> Self {
        Self { config: config.clone(), fragments: Fragments::new(config.fragments, seed) }
    }

    /// The headers of a frame that there is no short way for, or for which it does not matter.
    #[inline]
    pub(crate) fn decode(&self, frame: &Frame<'_>) -> Packet {
        Packet::decode_unusual(frame, &self.config.decap)
    }

    /// The headers of a datagram that another intake put together, or of a frame without its VLAN tag.
    pub(crate) fn decode_inside(&self, frame: &Frame<'_>, around: &Surroundings) -> Packet {
        Packet::decode_inside(frame, &self.config.decap, around)
    }

    /// Takes a fragment, into `ledger`, too. Returns the datagram if it is whole now. That may hold a tunnel with a
    /// fragment, so it is looked into until there is none; the depth of tunnels bounds this.
    #[cold]
    pub(crate) fn fragment(
        &mut self,
        frame: &Frame<'_>,
        packet: Packet,
        position: u64,
        bytes: u64,
        ledger: &mut AnalysisLedger,
    ) -> Option<(Datagram, Packet)> {
        let (mut packet, mut whole) = (packet, None::<Datagram>);
        loop {
            let taken = match &whole {
                None => self.fragments.take(frame, &packet, position),
                Some(datagram) => self.fragments.take(&datagram.frame(), &packet, position),
            };
            let account = match taken {
                // Not even the addresses of one.
                Taken::NotAFragment => Analysed::Cut,
                _ => Analysed::Fragment,
            };
            match whole.take() {
                None => ledger.add(account, 1, bytes),
                Some(datagram) => {
                    ledger.add_datagram(account, datagram.frame().data.len() as u64);
                    self.fragments.recycle(datagram);
                }
            }
            let Taken::Completed(datagram) = taken else { return None };
            packet = datagram.decode(&self.config.decap);
            if packet.end != End::Fragment {
                return Some((datagram, packet));
            }
            whole = Some(datagram);
        }
    }

    /// Takes the memory of a datagram back.
    pub(crate) fn recycle(&mut self, datagram: Datagram) {
        self.fragments.recycle(datagram);
    }

    /// Lets time pass: where the flow table's does.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.fragments.tick(now.time);
    }

    /// The input has ended.
    pub(crate) fn finish(&mut self) {
        self.fragments.finish();
    }

    /// Shows the sums so far.
    pub(crate) fn publish(&self, ledger: &mut AnalysisLedger) {
        ledger.fragments = *self.fragments.counters();
    }
}

impl<'a> Found<'a> {
    /// What is in a packet that is no fragment.
    pub(crate) fn in_packet(frame: &Frame<'a>, packet: &Packet, position: u64) -> Self {
        match packet.transport {
            Transport::Tcp(_) if packet.end == End::Transport => {
                let segment = Segment::new(frame, packet, position);
                segment.map_or(Self::Nothing, |segment| Self::Segment(segment, ip_bytes(packet)))
            }
            Transport::Icmp { .. } => Self::error(frame, packet, position, false),
            Transport::Icmpv6 { .. } => Self::error(frame, packet, position, true),
            _ => Self::Nothing,
        }
    }

    #[cold]
    fn error(frame: &Frame<'a>, packet: &Packet, position: u64, v6: bool) -> Self {
        let message = packet.ip.and_then(|ip| frame.data.get(usize::from(ip.payload_offset)..));
        let now = Moment { time: frame.timestamp, position };
        match message.and_then(|message| IcmpError::decode(message, v6)) {
            Some((error, quoted)) => Self::Error { error, quoted, now },
            None => Self::Nothing,
        }
    }

    /// The TCP flow that it is of.
    #[inline]
    pub(crate) fn key(&self) -> Option<&FlowKey> {
        match self {
            Self::Segment(segment, _) => Some(&segment.key),
            Self::Error { quoted, .. } => Some(&quoted.key),
            Self::Heard(_) | Self::Nothing => None,
        }
    }

    /// When it passed the capture point.
    pub(crate) fn time(&self) -> Timestamp {
        match self {
            Self::Segment(Segment { moment: now, .. }, _) | Self::Error { now, .. } => now.time,
            Self::Heard(heard) => heard.moment().time,
            Self::Nothing => Timestamp::default(),
        }
    }
}

/// How long a packet's innermost IP packet was on the wire.
#[inline]
pub(crate) fn ip_bytes(packet: &Packet) -> u32 {
    let start = packet.ip.map_or(0, |ip| u32::from(ip.offset));
    packet.payload.offset.saturating_sub(start).saturating_add(packet.payload.wire_len)
}

#[cfg(test)]
mod tests {
    use gannet_flow::FragmentLimits;
    use gannet_packet::{Decap, LinkType, PacketType, Timestamp, TunnelKind};
    use gannet_testkit::conversation::{
        Carriage, Dialogue, Identifications, Manner, Packet as Sent, Peer, Setup, Wrap,
    };

    use super::*;

    /// A packet with 1000 bytes.
    fn sent() -> Sent {
        let manner = Manner { segment_bytes: [1_000, 1_000], ..Manner::default() };
        let mut dialogue = Dialogue::new(Setup::default(), manner);
        dialogue.open().say(Peer::Client, 1_000);
        dialogue.finish().packets().iter().find(|packet| !packet.range.is_empty()).unwrap().clone()
    }

    fn intake(decap: Decap) -> Intake {
        Intake::new(&IntakeConfig { decap, fragments: FragmentLimits::default() }, 1)
    }

    fn frame(data: &[u8]) -> Frame<'_> {
        Frame {
            data,
            timestamp: Timestamp(1),
            orig_len: data.len() as u32,
            link_type: LinkType::ETHERNET,
            interface: 0,
            packet_type: PacketType::Host,
        }
    }

    /// In fragments within a tunnel that is in fragments itself: the last frame gives the segment.
    #[test]
    fn fragments_of_fragments_become_a_segment() {
        let sent = sent();
        let wraps = vec![Wrap::Geneve { ipv6: false, vni: 9, option_words: 0, ethernet: true }];
        let carriage = Carriage { wraps, cuts: vec![(0, 800), (1, 200)] };
        let frames = carriage.frames(&sent, &mut Identifications::default());
        let (mut intake, mut ledger) = (intake(Decap::default()), AnalysisLedger::default());
        for (position, data) in frames.iter().enumerate() {
            let (frame, position) = (frame(data), position as u64);
            let packet = intake.decode(&frame);
            assert_eq!(packet.end, End::Fragment);
            let whole = intake.fragment(&frame, packet, position, 7, &mut ledger);
            assert_eq!(whole.is_some(), position as usize + 1 == frames.len());
            let Some((datagram, packet)) = whole else { continue };
            let frame = datagram.frame();
            let found = Found::in_packet(&frame, &packet, position);
            let Found::Segment(segment, ip_bytes) = found else { panic!("{found:?}") };
            assert!(sent.frame.ends_with(segment.payload) && segment.payload.len() == 1_000);
            assert_eq!(ip_bytes as usize, sent.frame.len() - 14);
            assert_eq!(segment.around.tunnel().map(|tunnel| tunnel.id), Some(Some(9)));
        }
        let count = frames.len() as u64;
        let fragments = ledger.account(Analysed::Fragment);
        assert_eq!((fragments.packets, fragments.bytes), (count, 7 * count));
        // The two inner fragments came out of outer ones.
        assert_eq!(ledger.datagrams(Analysed::Fragment).packets, 2);
    }

    #[test]
    fn a_closed_tunnel_holds_nothing_and_is_told() {
        let sent = sent();
        let wraps = vec![Wrap::Vxlan { ipv6: false, vni: 9, port: 4_789 }];
        let carriage = Carriage { wraps, cuts: vec![] };
        let data = carriage.frames(&sent, &mut Identifications::default()).remove(0);
        let frame = frame(&data);
        let open = intake(Decap::default()).decode(&frame);
        assert!(open.unopened.is_none() && Found::in_packet(&frame, &open, 0).key().is_some());
        let closed = intake(Decap { vnis: Some([8].into()), ..Decap::default() }).decode(&frame);
        assert_eq!(closed.unopened, Some(TunnelKind::Vxlan));
        assert!(matches!(Found::in_packet(&frame, &closed, 0), Found::Nothing));
    }
}
