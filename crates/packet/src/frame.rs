//! The captured frame and the small types it is made of.

use std::fmt;

/// One captured frame: a borrow of the bytes wherever they are (ring memory, a mapped file, a buffer).
///
/// `data.len()` is the *captured* length (caplen); it is at most `orig_len` except in damaged files.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The captured bytes, starting with the link header that `link_type` names.
    pub data: &'a [u8],
    /// When the frame passed the capture point.
    pub timestamp: Timestamp,
    /// Length of the frame on the wire, in bytes, before it was cut to the snaplen.
    pub orig_len: u32,
    /// What the first bytes of `data` are.
    pub link_type: LinkType,
    /// Index of the interface in the tables of the source (ring or file), not the kernel's ifindex.
    pub interface: u32,
    /// Whom the frame was for, as the capture point saw it.
    pub packet_type: PacketType,
}

/// Nanoseconds since 1970-01-01T00:00:00Z. Runs to the year 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From seconds and nanoseconds as the kernel reports them (`tp_sec`, `tp_nsec`).
    #[inline]
    pub fn from_sec_nsec(sec: u32, nsec: u32) -> Self {
        Self(u64::from(sec) * NANOS_PER_SEC + u64::from(nsec))
    }

    /// Whole seconds since the epoch.
    #[inline]
    pub fn secs(self) -> u64 {
        self.0 / NANOS_PER_SEC
    }

    /// The nanoseconds within the second.
    #[inline]
    pub fn subsec_nanos(self) -> u32 {
        (self.0 % NANOS_PER_SEC) as u32
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.secs(), self.subsec_nanos())
    }
}

/// A LINKTYPE_ value as pcap and pcapng files store it (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet (also Linux's loopback device).
    pub const ETHERNET: Self = Self(1);
    /// PPP, with address and control field of HDLC or without.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing.
    pub const PPP_HDLC: Self = Self(50);
    /// An IPv4 or IPv6 packet without a link header.
    pub const RAW: Self = Self(101);
    /// Cisco's HDLC: address, control, ethertype.
    pub const C_HDLC: Self = Self(104);
    /// IEEE 802.11, as on the air.
    pub const IEEE802_11: Self = Self(105);
    /// OpenBSD loopback: as `NULL` with the family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture v1: a 16-byte header.
    pub const SLL: Self = Self(113);
    /// IEEE 802.11 behind what the radio says of the frame.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// An IPv4 packet without a link header.
    pub const IPV4: Self = Self(228);
    /// An IPv6 packet without a link header.
    pub const IPV6: Self = Self(229);
    /// A packet that a netfilter rule has logged: a list of attributes, one of which is the packet.
    pub const NFLOG: Self = Self(239);
    /// Linux cooked capture v2: a 20-byte header with the interface index.
    pub const SLL2: Self = Self(276);

    /// From the number in a file. Old programs wrote `DLT_RAW` of their system there, 12 or 14, in place of
    /// `LINKTYPE_RAW`; libpcap and Wireshark read it as raw IP, too.
    pub fn of_file(number: u16) -> Self {
        match number {
            12 | 14 => Self::RAW,
            _ => Self(number),
        }
    }
}

/// `sll_pkttype` of a packet socket (`include/uapi/linux/if_packet.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum PacketType {
    /// To this host.
    #[default]
    Host = 0,
    /// Link-layer broadcast.
    Broadcast = 1,
    /// Link-layer multicast.
    Multicast = 2,
    /// To another host, seen because the interface is promiscuous.
    OtherHost = 3,
    /// Sent by this host.
    Outgoing = 4,
}

impl PacketType {
    /// From the kernel's number; the values above 4 never reach user space and read as `OtherHost`.
    #[inline]
    pub fn from_kernel(value: u8) -> Self {
        match value {
            0 => Self::Host,
            1 => Self::Broadcast,
            2 => Self::Multicast,
            4 => Self::Outgoing,
            _ => Self::OtherHost,
        }
    }
}

const NANOS_PER_SEC: u64 = 1_000_000_000;
