//! What a captured frame is, and what its headers say.
//!
//! The vocabulary every other crate shares: a [`Frame`] (captured bytes with their [`Timestamp`], lengths,
//! [`LinkType`] and direction), the [`Packet`] found in it (which headers, where, which flow), and the
//! [`FlowKey`] with its direction-free hash. Nothing here knows a socket or a file: live rings and capture
//! files meet in [`Frame`]. Nothing here allocates but an [`Audit`] that has found something, and no bytes make it
//! panic.
#![forbid(unsafe_code)]

mod counters;
mod decode;
mod flow;
mod frame;
mod packet;
mod protocol;
mod tunnel;

pub use counters::{Audit, Violation};
pub use decode::Surroundings;
pub use flow::{Endpoint, FlowKey, Side};
pub use frame::{Frame, LinkType, PacketType, Timestamp};
pub use packet::{
    End, Fragment, Ip, Layer, LayerKind, Malformed, Packet, Payload, TcpFlags, TcpHeader, Transport,
};
pub use protocol::{EtherType, IpProtocol};
pub use tunnel::{Decap, Tunnel, TunnelKind, TunnelKinds, UnknownTunnel, Vlans, WrongDecap, is_vxlan_port};

/// How far headers are followed. The fanout program of `gannet-ring` keeps the same bounds but that for tunnels, where
/// its own is lower.
pub mod bounds {
    /// VLAN tags in a row. Two are usual (QinQ); frames with more than this are counted as malformed.
    pub const VLAN_TAGS: usize = 4;
    /// Labels of an MPLS stack.
    pub const MPLS_LABELS: usize = 8;
    /// IPv6 extension headers of one packet. RFC 8200 recommends each of its kinds once, destination options
    /// twice: six that can be skipped.
    pub const IPV6_EXTENSIONS: usize = 8;
    /// Tunnels inside one another. A mirror's VXLAN around an overlay's Geneve around IP in IP is 3.
    pub const TUNNELS: usize = 4;
    /// Extension headers of GTP-U. TS 29.281 defines a handful, of which a packet has one or two.
    pub const GTPU_EXTENSIONS: usize = 8;
    /// Entries of a source route in GRE (RFC 1701).
    pub const GRE_ROUTES: usize = 8;
    /// Attributes in front of a packet that netfilter logged; the kernel knows some twenty.
    pub const NFLOG_ATTRIBUTES: usize = 32;
    /// Headers of a frame altogether.
    pub const LAYERS: usize = 24;
}

/// Entry points of the fuzz targets in `tools/fuzz`; each panics when an invariant is broken.
#[doc(hidden)]
pub mod fuzz {
    pub use crate::decode::fuzz_decode as decode;
}
