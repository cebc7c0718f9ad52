//! The common case of copying: one frame after the other, straight from the block into the open buffer.
//!
//! ```text
//!   block   │ A │ A │ A │ B │ A │ x │ A │ A │          A, B: of the lane's link type, from interfaces it knows
//!           └── run ────────────┘   └─ run ┘          x: anything else, or no room: the caller's business
//! ```
//!
//! What does not change from frame to frame is looked up once: the buffer, and while frames come from the same
//! interface its number and its link type. The counts are kept here and booked when the run, or the interface's
//! part of it, is over.

use std::sync::atomic::Ordering;

use gannet_ring::walk::{FrameHeader, FrameWalk, VlanTag};

use crate::compact::Filling;
use crate::engine::Engine;
use crate::file::InterfaceKey;
use crate::inplace::takes_vlan_tag;
use crate::lane::{Known, Lane};
use crate::packet::{Facts, Outgoing, link_type_of};
use crate::writer::Recorded;

impl Lane {
    /// Copies frames of a block into the open buffer, at most `most`, until one comes that is not of the common kind:
    /// that one is what the walk returns next.
    #[inline(never)]
    pub(crate) fn push_run(
        &mut self,
        engine: &mut Engine,
        walk: &mut FrameWalk,
        area: &[u8],
        source: u32,
        most: u64,
    ) -> Recorded {
        let Some(open) = &mut self.open else { return Recorded::default() };
        let mut run = Run { filling: open.fill(), snaplen: engine.plan.snaplen, truncated: 0 };
        let mut sender: Option<Sender<'_>> = None;
        let mut booked = 0;
        let mut at = walk.clone();
        while run.packets() < most {
            let mut ahead = at.clone();
            let Some(Ok(header)) = ahead.next(area) else { break };
            let number = match &sender {
                Some(sender) if sender.sent(&header) => sender.known.number,
                _ => {
                    // The lane of cooked frames has a link type that no frame has.
                    if link_type_of(&header) != Some(self.link_type) || engine.plan.cooked {
                        break;
                    }
                    let key = InterfaceKey { source, ifindex: header.ifindex };
                    let Some(known) = self.interfaces.iter().find(|known| known.key == key) else { break };
                    if let Some(before) = sender {
                        before.book(run.packets() - booked);
                        booked = run.packets();
                    }
                    sender =
                        Some(Sender { ifindex: header.ifindex, hardware_type: header.hardware_type, known });
                    known.number
                }
            };
            if !run.push(&header, area, number) {
                break;
            }
            at = ahead;
        }
        *walk = at;
        let truncated = run.truncated;
        let filled = run.filling.end();
        open.book(&filled);
        if let Some(sender) = sender {
            sender.book(filled.packets - booked);
        }
        if filled.packets > 0 {
            self.visible = false;
        }
        engine.tally.truncated += truncated;
        Recorded::of(filled.packets, filled.packet_bytes)
    }
}

/// The interface that frames come from.
struct Sender<'a> {
    ifindex: i32,
    hardware_type: u16,
    known: &'a Known,
}

impl Sender<'_> {
    #[inline]
    fn sent(&self, header: &FrameHeader) -> bool {
        self.ifindex == header.ifindex && self.hardware_type == header.hardware_type
    }

    fn book(&self, count: u64) {
        if let Some(packets) = &self.known.packets {
            packets.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// A run of frames: where they go.
struct Run<'a> {
    filling: Filling<'a>,
    snaplen: usize,
    truncated: u64,
}

impl Run<'_> {
    #[inline]
    fn packets(&self) -> u64 {
        self.filling.filled().packets
    }

    /// Copies a frame. False if there is no room: nothing has changed then.
    #[inline(always)]
    fn push(&mut self, header: &FrameHeader, area: &[u8], interface: u32) -> bool {
        let bytes = header.bytes(area);
        let facts = Facts::from_ring(header, interface);
        match header.vlan {
            Some(tag) if takes_vlan_tag(header) => self.push_tagged(facts, tag, bytes),
            _ => {
                let data = &bytes[..bytes.len().min(self.snaplen)];
                let pushed = self.filling.push_whole(&facts, data);
                self.truncated += u64::from(pushed && (data.len() as u64) < u64::from(facts.orig_len));
                pushed
            }
        }
    }

    /// Copies a frame whose VLAN tag goes back in.
    #[inline(never)]
    fn push_tagged(&mut self, facts: Facts, tag: VlanTag, bytes: &[u8]) -> bool {
        let outgoing = Outgoing::tagged(&facts, tag, bytes, self.snaplen);
        let pushed = self.filling.push(&outgoing);
        self.truncated += u64::from(pushed && outgoing.is_truncated());
        pushed
    }
}
