//! Words that expressions and frames have in common.
//!
//! An address drawn at random is in no packet, and a filter that nothing passes proves little. Both generators draw
//! from these short lists instead; each ends with values at the edge of its field.

use crate::random::Random;

/// IPv4 addresses: hosts of one network, of a neighbour, multicast, broadcast.
pub const IPV4: [[u8; 4]; 14] = [
    [10, 0, 0, 1],
    [10, 0, 0, 2],
    [10, 0, 1, 1],
    [192, 168, 1, 7],
    [192, 168, 1, 255],
    [172, 16, 5, 4],
    [8, 8, 8, 8],
    [127, 0, 0, 1],
    [169, 254, 3, 4],
    [224, 0, 0, 5],
    [239, 1, 2, 3],
    [10, 0, 0, 255],
    [255, 255, 255, 255],
    [0, 0, 0, 0],
];

/// IPv6 addresses by their eight groups.
pub const IPV6: [[u16; 8]; 9] = [
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
    [0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x53],
    [0x2001, 0xdb8, 0xffff, 2, 3, 4, 5, 6],
    [0xfe80, 0, 0, 0, 0, 0, 0, 1],
    [0xfe80, 0, 0, 0, 0x219, 0xe3ff, 0xfee7, 0x5d23],
    [0xff02, 0, 0, 0, 0, 0, 0, 0xfb],
    [0, 0, 0, 0, 0, 0xffff, 0x0a00, 1],
    [0, 0, 0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0, 0],
];

/// MAC addresses.
pub const MAC: [[u8; 6]; 9] = [
    [0x02, 0, 0, 0, 0, 1],
    [0x02, 0, 0, 0, 0, 2],
    [0x00, 0x0c, 0x29, 0xaa, 0xbb, 0xcc],
    [0xff; 6],
    [0x01, 0x00, 0x5e, 0, 0, 5],
    [0x33, 0x33, 0, 0, 0, 0xfb],
    [0x01, 0x80, 0xc2, 0, 0, 0],
    [0xaa, 0x00, 0x04, 0x00, 0x05, 0x04],
    [0; 6],
];

/// Ports.
pub const PORTS: [u16; 16] = [80, 443, 53, 22, 25, 67, 68, 123, 179, 8080, 1024, 4789, 6081, 49152, 65535, 0];

/// VLAN ids.
pub const VLANS: [u16; 6] = [100, 7, 200, 1, 4095, 0];

/// MPLS labels.
pub const LABELS: [u32; 6] = [100, 16, 1024, 3, 1_048_575, 0];

/// PPPoE sessions.
pub const SESSIONS: [u16; 4] = [0x27, 1, 65535, 0];

/// Network identifiers of Geneve and VXLAN.
pub const VNIS: [u32; 4] = [7, 0xab_cdef, 0xff_ffff, 0];

/// IP protocols.
pub const IP_PROTOCOLS: [u8; 20] =
    [6, 17, 1, 58, 132, 2, 47, 50, 51, 4, 41, 103, 112, 9, 0, 43, 44, 59, 60, 255];

/// Ethertypes.
pub const ETHERTYPES: [u16; 26] = [
    0x0800, 0x86dd, 0x0806, 0x8035, 0x8100, 0x88a8, 0x9100, 0x8847, 0x8848, 0x8863, 0x8864, 0x809b, 0x80f3,
    0x6001, 0x6002, 0x6003, 0x6004, 0x6007, 0x8137, 0x9000, 0x88cc, 0x6558, 0x0600, 0x05dc, 0x0004, 0x0001,
];

/// Service access points of LLC.
pub const SAPS: [u8; 8] = [0xfe, 0x42, 0xe0, 0xf0, 0xaa, 0x06, 0xff, 0x00];

/// Types of IS-IS packets.
pub const ISIS_TYPES: [u8; 9] = [15, 16, 17, 18, 20, 24, 25, 26, 27];

/// DECnet addresses: area and node.
pub const DECNET: [(u8, u16); 4] = [(1, 5), (2, 1023), (63, 1), (0, 0)];

/// One of a list, each equally often.
pub fn pick<T: Copy, const N: usize>(random: &mut Random, list: &[T; N]) -> T {
    const { assert!(N > 0) };
    // `below` stays below N, which is not 0.
    list[random.below(N as u64) as usize]
}

/// One of a list, the first ones most often.
pub fn pick_early<T: Copy, const N: usize>(random: &mut Random, list: &[T; N]) -> T {
    const { assert!(N > 0) };
    let bound = random.between(1, N as u64);
    list[random.below(bound) as usize]
}
