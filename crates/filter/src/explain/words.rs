//! Numbers of protocols in words.

use std::fmt::Write as _;

/// An IP protocol number.
pub(super) fn protocol(number: u32) -> String {
    let name = match number {
        0 => "hop-by-hop options",
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4 in IP",
        6 => "TCP",
        8 => "EGP",
        9 => "IGRP",
        17 => "UDP",
        33 => "DCCP",
        41 => "IPv6 in IP",
        43 => "a routing header",
        44 => "a fragment header",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        59 => "no next header",
        60 => "destination options",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP or CARP",
        132 => "SCTP",
        _ => return format!("protocol {number}"),
    };
    format!("{name} ({number})")
}

/// An ethertype, or what else stands in its place.
pub(super) fn ethertype(number: u32) -> String {
    let name = match number {
        0x0004 => "LLC",
        0x0800 => "IPv4",
        0x0806 => "ARP",
        0x6001 => "DEC MOP dump and load",
        0x6002 => "DEC MOP remote console",
        0x6003 => "DECnet",
        0x6004 => "DEC LAT",
        0x6007 => "DEC SCA",
        0x8035 => "RARP",
        0x809b => "AppleTalk",
        0x80f3 => "AppleTalk ARP",
        0x8100 => "VLAN tag",
        0x8137 => "IPX",
        0x86dd => "IPv6",
        0x8847 => "MPLS",
        0x8848 => "MPLS multicast",
        0x8863 => "PPPoE discovery",
        0x8864 => "PPPoE session",
        0x88a8 => "service VLAN tag",
        0x9100 => "old QinQ tag",
        _ => return format!("{number:#06x}"),
    };
    format!("{name} ({number:#06x})")
}

/// The protocol field of PPP.
pub(super) fn ppp(number: u32) -> String {
    match number {
        0x0021 => "IPv4 (0x0021)".to_owned(),
        0x0057 => "IPv6 (0x0057)".to_owned(),
        _ => format!("{number:#06x}"),
    }
}

/// The bits of the byte of TCP flags.
pub(super) fn tcp_flags(bits: u32) -> String {
    const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set: Vec<_> =
        (0..8).filter(|bit| bits & 1 << bit != 0).filter_map(|bit: usize| NAMES.get(bit)).copied().collect();
    if set.is_empty() || bits > 0xff { format!("{bits:#x}") } else { set.join("+") }
}

pub(super) fn mac(address: &[u8]) -> String {
    let mut out = String::new();
    for (index, byte) in address.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{byte:02x}", if index == 0 { "" } else { ":" });
    }
    out
}
