//! From a captured frame back to what the kernel's fanout saw of it.

use gannet_packet::{EtherType, Frame, LinkType, PacketType};

use super::twin::flow_hash;

/// Where a frame's network header is and what it is, as the kernel has it for a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkView {
    /// Offset of the network header in the frame, in bytes.
    pub network: usize,
    /// The ethertype (`skb->protocol`).
    pub protocol: u16,
}

/// Finds the network header as the receive path does: `eth_type_trans` (`net/ethernet/eth.c`) reads the
/// ethertype, `skb_vlan_untag` (`net/core/skbuff.c`) takes the outermost 802.1Q or 802.1ad tag off. Frames in
/// files have that tag put back, and frames without it are unharmed.
///
/// For outgoing packets the kernel's view may differ, the fanout value does not. `None` when the frame was cut
/// within its link header or has a link type that no Linux interface delivers.
pub fn network_view(frame: &Frame<'_>) -> Option<NetworkView> {
    let data = frame.data;
    let (network, protocol) = match frame.link_type {
        LinkType::ETHERNET => (14, ethernet_protocol(data, 12)?),
        LinkType::SLL => (16, half(data, 14)?),
        LinkType::SLL2 => (20, if data.len() < 20 { return None } else { half(data, 0)? }),
        LinkType::RAW => match data.first()? >> 4 {
            6 => (0, EtherType::IPV6.0),
            _ => (0, EtherType::IPV4.0),
        },
        LinkType::IPV4 => (0, EtherType::IPV4.0),
        LinkType::IPV6 => (0, EtherType::IPV6.0),
        _ => return None,
    };
    if EtherType(protocol).is_kernel_vlan() {
        return Some(NetworkView { network: network + 4, protocol: ethernet_protocol(data, network + 2)? });
    }
    Some(NetworkView { network, protocol })
}

/// Which of `members` workers the fanout program with `seed` chooses for a frame.
///
/// `None` when the frame was cut before what the program read, so that the choice cannot be known, and for link
/// types that no Linux interface delivers. `members` of 0 counts as 1.
pub fn worker_for_frame(frame: &Frame<'_>, members: u32, seed: u32) -> Option<u32> {
    let view = network_view(frame)?;
    let net = frame.data.get(view.network..).unwrap_or_default();
    let hash = match flow_hash(net, view.protocol, PacketType::Host, seed) {
        Some(hash) => hash,
        // The program itself ran out of packet.
        None if frame.data.len() as u64 >= u64::from(frame.orig_len) => 0,
        None => return None,
    };
    Some(hash % members.max(1))
}

/// The ethertype at `offset`, or Linux's marks for the frames that have a length there.
fn ethernet_protocol(data: &[u8], offset: usize) -> Option<u16> {
    let value = half(data, offset)?;
    if value >= ETH_P_802_3_MIN {
        return Some(value);
    }
    // Novell's raw IPX shows by its checksum of all ones where LLC would start.
    Some(match half(data, offset + 2) {
        Some(0xffff) => ETH_P_802_3,
        _ => EtherType::LLC.0,
    })
}

fn half(data: &[u8], offset: usize) -> Option<u16> {
    data.get(offset..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// `include/uapi/linux/if_ether.h`: smaller values are lengths.
const ETH_P_802_3_MIN: u16 = 0x0600;
const ETH_P_802_3: u16 = 0x0001;

/// Runs the program and its twin on arbitrary bytes and demands the same number.
#[doc(hidden)]
pub fn fuzz_twin(data: &[u8]) {
    use std::sync::LazyLock;

    use gannet_filter::{Program, Skb};

    const SEED: u32 = 0x5eed_5eed;
    static PROGRAM: LazyLock<Program> = LazyLock::new(|| super::flow_program(SEED));

    let [selector, high, low, bytes @ ..] = data else { return };
    let protocol = match selector & 0x0f {
        0..5 => EtherType::IPV4.0,
        5..9 => EtherType::IPV6.0,
        9..11 => EtherType::VLAN.0,
        11 => EtherType::SERVICE_VLAN.0,
        12 => EtherType::MPLS.0,
        _ => u16::from_be_bytes([*high, *low]),
    };
    let outgoing = selector & 0x10 != 0;
    let network = usize::from(selector >> 5) * 2;
    let packet_type = if outgoing { PacketType::Outgoing } else { PacketType::Host };
    let skb =
        Skb { network, data: if outgoing { 0 } else { network }, protocol, packet_type, ..Skb::of(bytes) };
    let net = bytes.get(network..).unwrap_or_default();
    let twin = flow_hash(net, protocol, packet_type, SEED);
    assert_eq!(PROGRAM.run(&skb), twin.unwrap_or(0), "{protocol:#06x} {packet_type:?}");
}

#[cfg(test)]
mod tests {
    use gannet_packet::Timestamp;

    use super::*;

    fn frame(data: &[u8], link_type: LinkType) -> Frame<'_> {
        Frame {
            data,
            timestamp: Timestamp(0),
            orig_len: data.len() as u32,
            link_type,
            interface: 0,
            packet_type: PacketType::Host,
        }
    }

    fn view(link: &[u8], link_type: LinkType) -> Option<(usize, u16)> {
        let data = [link, &[0x45; 40]].concat();
        network_view(&frame(&data, link_type)).map(|view| (view.network, view.protocol))
    }

    #[test]
    fn one_kernel_tag_is_taken_off() {
        let mac = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let link = |rest: &[u8]| view(&[&mac, rest].concat(), LinkType::ETHERNET);
        assert_eq!(link(&[0x08, 0]), Some((14, 0x0800)));
        assert_eq!(link(&[0x81, 0, 0, 5, 0x08, 0]), Some((18, 0x0800)));
        assert_eq!(link(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x08, 0]), Some((18, 0x8100)));
        // Linux does not know this tag.
        assert_eq!(link(&[0x91, 0, 0, 5, 0x08, 0]), Some((14, 0x9100)));
        assert_eq!(link(&[0, 46]), Some((14, 4)));
        assert_eq!(link(&[0, 46, 0xff, 0xff]), Some((14, 1)));
        assert_eq!(link(&[0x81, 0, 0, 5, 0, 46]), Some((18, 4)));
    }

    #[test]
    fn other_link_types() {
        let mut cooked = [0; 16];
        cooked[14] = 0x86;
        cooked[15] = 0xdd;
        assert_eq!(view(&cooked, LinkType::SLL), Some((16, 0x86dd)));
        let mut cooked = [0; 20];
        cooked[0] = 0x08;
        assert_eq!(view(&cooked, LinkType::SLL2), Some((20, 0x0800)));
        assert_eq!(view(&[], LinkType::RAW), Some((0, 0x0800)));
        assert_eq!(view(&[0x60], LinkType::RAW), Some((0, 0x86dd)));
        assert_eq!(view(&[], LinkType::NULL), None);
    }

    #[test]
    fn a_cut_frame_has_no_worker_and_a_short_one_the_first() {
        let mut data = vec![0; 12];
        data.extend([0x08, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6]);
        let short = frame(&data, LinkType::ETHERNET);
        assert_eq!(worker_for_frame(&short, 4, 1), Some(0));
        assert_eq!(worker_for_frame(&Frame { orig_len: 60, ..short }, 4, 1), None);
        assert_eq!(worker_for_frame(&frame(&data[..13], LinkType::ETHERNET), 4, 1), None);
    }
}
