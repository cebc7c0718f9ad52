//! From captured frames to what flows are made of: tunnels opened, datagrams put together from their fragments.
//!
//! ```text
//!   Frame ─► Packet ─┬─ whole ──────────────────────────────────────────► segment, ICMP error, or neither
//!                    └─ fragment ─► Fragments ─► Datagram ─► Packet ──────┘
//! ```
//!
//! It knows no flow table and no handler. Files with several workers have one intake, in front of all of them, so that every
//! packet of a flow finds the way to the flow's worker; elsewhere each worker has its own.

use gannet_flow::{Datagram, Fragments, IcmpError, Moment, QuotedSegment, Segment, Taken};
use gannet_packet::{End, FlowKey, Frame, Packet, Surroundings, Transport};

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
    /// Nothing.
    Nothing,
}

impl Intake {
    /// `seed` must not be guessable.
    pub(crate) fn new(config: &IntakeConfig, seed: u64) -> Self {
        Self { config: config.clone(), fragments: Fragments::new(config.fragments, seed) }
    }

    /// The headers of a frame.
    #[inline(always)]
    pub(crate) fn decode(&self, frame: &Frame<'_>) -> Packet {
        Packet::decode_with(frame, &self.config.decap)
    }

    /// The headers of a datagram that another intake put together.
    pub(crate) fn decode_inside(&self, frame: &Frame<'_>, around: &Surroundings) -> Packet {
        Packet::decode_inside(frame, &self.config.decap, around)
    }

    /// Takes a fragment, into `ledger`, too. Returns the datagram if it is whole now. That may hold a tunnel with a fragment, so it
    /// is looked into until there is none; the depth of tunnels bounds this.
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

    /// The flow that it is of.
    #[inline]
    pub(crate) fn key(&self) -> Option<&FlowKey> {
        match self {
            Self::Segment(segment, _) => Some(&segment.key),
            Self::Error { quoted, .. } => Some(&quoted.key),
            Self::Nothing => None,
        }
    }
}

/// How long a packet's innermost IP packet was on the wire.
#[inline]
pub(crate) fn ip_bytes(packet: &Packet) -> u32 {
    let start = packet.ip.map_or(0, |ip| u32::from(ip.offset));
    packet.payload.offset.saturating_sub(start).saturating_add(packet.payload.wire_len)
}
