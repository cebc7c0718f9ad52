//! Facts about network interfaces: what can be captured on, its link type, state, addresses and counters.
//!
//! Asked of the kernel over route netlink (`NETLINK_ROUTE`, RFC 3549). A netlink socket keeps the network namespace
//! in which it was opened, so one that [`crate::netns::enter`] made goes on answering for that namespace; `/sys`
//! and `/proc/net` would show whichever namespace they were mounted in.
//!
//! ```text
//!  ask:     nlmsghdr 16 │ ifinfomsg 16 (or ifaddrmsg 8) │ attributes
//!  answer:  nlmsghdr 16 │ ifinfomsg 16 │ rtattr 4 │ value, padded to 4 │ rtattr ... │ nlmsghdr ... │ NLMSG_DONE
//! ```
//!
//! Every length in an answer is checked before it is used; an attribute that is too short for what it should be is
//! left out, as if the kernel had not sent it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use gannet_packet::LinkType;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use crate::error::Error;

/// One network interface at the moment it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it, unique in its namespace.
    pub index: u32,
    /// What it is as a driver names itself (`veth`, `bridge`, `tun`, `vlan`); `None` for most hardware.
    pub kind: Option<String>,
    /// Its `ARPHRD_` type (`include/uapi/linux/if_arp.h`).
    pub hardware_type: u16,
    /// Whether it is switched on (`IFF_UP`).
    pub up: bool,
    /// Whether it has a carrier (`IFF_RUNNING`).
    pub running: bool,
    /// Whether it is a loopback device.
    pub loopback: bool,
    /// Whether somebody has it in promiscuous mode.
    pub promiscuous: bool,
    /// The largest packet it sends, in bytes without the link header.
    pub mtu: u32,
    /// IP addresses with the length of their prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// What its driver has counted since it exists.
    pub counters: Counters,
}

impl Interface {
    /// The link type of frames captured here, `None` if only a cooked header can describe them.
    pub fn link_type(&self) -> Option<LinkType> {
        link_type_of_arphrd(self.hardware_type)
    }
}

/// Counters of a network device (`struct rtnl_link_stats64`, `include/uapi/linux/if_link.h`), since it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received packets that were dropped by driver or kernel before any packet socket could see them.
    pub rx_dropped: u64,
    /// Overruns of the device's receive FIFO.
    pub rx_fifo_errors: u64,
    /// Packets that the device had to drop because the host gave it no buffer.
    pub rx_missed_errors: u64,
}

/// The link type of frames that a packet socket delivers from a device of this `ARPHRD_` type, `None` if there is
/// none and the frames need a cooked header.
///
/// Loopback frames carry an Ethernet header of zeros on Linux. The tunnels in the list deliver packets that begin
/// with the IP header. Types that deliver a header of their own which no `LINKTYPE_` describes are left out.
pub fn link_type_of_arphrd(hardware_type: u16) -> Option<LinkType> {
    match hardware_type {
        arphrd::ETHER | arphrd::LOOPBACK => Some(LinkType::ETHERNET),
        arphrd::NONE | arphrd::RAWIP | arphrd::TUNNEL | arphrd::TUNNEL6 | arphrd::SIT => Some(LinkType::RAW),
        arphrd::IEEE80211 => Some(LINKTYPE_IEEE802_11),
        arphrd::IEEE80211_RADIOTAP => Some(LINKTYPE_IEEE802_11_RADIOTAP),
        _ => None,
    }
}

/// A route netlink socket: asks about the interfaces of the namespace in which it was opened.
#[derive(Debug)]
pub struct Interfaces {
    socket: OwnedFd,
}

impl Interfaces {
    /// Opens the socket in the calling thread's network namespace. Needs no privilege.
    pub fn open() -> Result<Self, Error> {
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
                .map_err(|errno| failed("socket(NETLINK_ROUTE)", "interfaces", errno.into()))?;
        Ok(Self { socket })
    }

    /// Every interface with its addresses, in the order of their indexes.
    pub fn list(&self) -> Result<Vec<Interface>, Error> {
        let failed = |call| move |source| failed(call, "interfaces", source);
        let mut interfaces = Vec::new();
        self.ask(&request(RTM_GETLINK, NLM_F_DUMP, &[0; IFINFOMSG_BYTES]), |kind, body| {
            if kind == RTM_NEWLINK {
                interfaces.extend(parse_link(body));
            }
        })
        .map_err(failed("RTM_GETLINK"))?;
        self.ask(&request(RTM_GETADDR, NLM_F_DUMP, &[0; IFADDRMSG_BYTES]), |kind, body| {
            if kind != RTM_NEWADDR {
                return;
            }
            let Some((index, address)) = parse_address(body) else { return };
            // An interface that appeared between the two questions is in the second answer only.
            if let Some(interface) = interfaces.iter_mut().find(|interface| interface.index == index) {
                interface.addresses.push(address);
            }
        })
        .map_err(failed("RTM_GETADDR"))?;
        interfaces.sort_by_key(|interface| interface.index);
        Ok(interfaces)
    }

    /// The interface of this name, without its addresses. [`Error::NoInterface`] if there is none.
    pub fn by_name(&self, name: &str) -> Result<Interface, Error> {
        let missing = |source| Error::NoInterface { name: name.to_owned(), source };
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Err(missing(io::Error::from_raw_os_error(libc::ENODEV)));
        }
        let mut body = vec![0; IFINFOMSG_BYTES];
        // The kernel takes the name with or without its zero (`nla_strscpy`).
        put_attribute(&mut body, IFLA_IFNAME, name.as_bytes());
        let mut found = None;
        self.ask(&request(RTM_GETLINK, 0, &body), |kind, body| {
            if kind == RTM_NEWLINK {
                found = parse_link(body);
            }
        })
        .map_err(|source| match source.raw_os_error() {
            Some(libc::ENODEV) => missing(source),
            _ => failed("RTM_GETLINK", name, source),
        })?;
        found.ok_or_else(|| missing(io::Error::from_raw_os_error(libc::ENODEV)))
    }

    /// Sends one request and hands every message of the answer to `take`, up to its end.
    fn ask(&self, request: &[u8], mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        sendto(fd, request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let length = match recv(fd, &mut buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            match walk(&buffer[..length.min(buffer.len())], &mut take) {
                Progress::More => {}
                Progress::Done => return Ok(()),
                Progress::Failed(error) => return Err(error),
            }
        }
    }
}

/// How far a datagram of answers brought us.
#[derive(Debug)]
enum Progress {
    More,
    Done,
    Failed(io::Error),
}

/// Takes the messages of one datagram. Ends at the first whose length cannot be.
fn walk(mut datagram: &[u8], take: &mut impl FnMut(u16, &[u8])) -> Progress {
    while let (Some(length), Some(kind), Some(flags)) =
        (u32_at(datagram, 0), u16_at(datagram, 4), u16_at(datagram, 6))
    {
        let length = length as usize;
        let Some(body) = datagram.get(NLMSGHDR_BYTES..length) else { break };
        match kind {
            NLMSG_DONE => return Progress::Done,
            NLMSG_ERROR => {
                // A negative errno, zero for an acknowledgement.
                let code = u32_at(body, 0).unwrap_or(0).cast_signed();
                return match code {
                    0 => Progress::Done,
                    code => Progress::Failed(io::Error::from_raw_os_error(code.saturating_neg())),
                };
            }
            kind => take(kind, body),
        }
        // An answer of one message has no NLMSG_DONE after it.
        if flags & NLM_F_MULTI == 0 {
            return Progress::Done;
        }
        datagram = datagram.get(align4(length)..).unwrap_or_default();
    }
    Progress::More
}

/// An `ifinfomsg` and its attributes.
fn parse_link(body: &[u8]) -> Option<Interface> {
    let flags = u32_at(body, 8)?;
    let flag = |bit: libc::c_int| flags & bit as u32 != 0;
    let mut interface = Interface {
        hardware_type: u16_at(body, 2)?,
        index: u32_at(body, 4)?,
        up: flag(libc::IFF_UP),
        running: flag(libc::IFF_RUNNING),
        loopback: flag(libc::IFF_LOOPBACK),
        promiscuous: flag(libc::IFF_PROMISC),
        ..Interface::default()
    };
    for (kind, value) in attributes(body.get(IFINFOMSG_BYTES..)?) {
        match kind {
            IFLA_IFNAME => interface.name = text(value),
            IFLA_MTU => interface.mtu = u32_at(value, 0).unwrap_or(0),
            // The number of holders; the flag shows only what was set with `ip link set promisc on`.
            IFLA_PROMISCUITY => interface.promiscuous |= u32_at(value, 0).is_some_and(|holders| holders != 0),
            IFLA_LINKINFO => {
                interface.kind =
                    attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND).map(|(_, kind)| text(kind));
            }
            IFLA_STATS64 => interface.counters = parse_counters(value),
            _ => {}
        }
    }
    (!interface.name.is_empty()).then_some(interface)
}

/// The members of `struct rtnl_link_stats64` that are used here, by their index; missing ones read as zero.
fn parse_counters(value: &[u8]) -> Counters {
    let counter = |index: usize| {
        value.get(index * 8..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u64::from_ne_bytes)
    };
    Counters {
        rx_packets: counter(0),
        tx_packets: counter(1),
        rx_bytes: counter(2),
        tx_bytes: counter(3),
        rx_dropped: counter(6),
        rx_fifo_errors: counter(14),
        rx_missed_errors: counter(15),
    }
}

/// An `ifaddrmsg` and its attributes: index of the interface, address, length of the prefix.
fn parse_address(body: &[u8]) -> Option<(u32, (IpAddr, u8))> {
    let prefix = *body.get(1)?;
    let index = u32_at(body, 4)?;
    let mut address = None;
    for (kind, value) in attributes(body.get(IFADDRMSG_BYTES..)?) {
        let ip = match value.len() {
            4 => value.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))),
            16 => value.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets))),
            _ => None,
        };
        match kind {
            // On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL is ours.
            IFA_LOCAL => address = ip,
            IFA_ADDRESS => address = address.or(ip),
            _ => {}
        }
    }
    Some((index, (address?, prefix)))
}

/// The attributes of a message, up to the first whose length cannot be.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & NLA_TYPE_MASK;
        let value = rest.get(RTATTR_BYTES..length)?;
        rest = rest.get(align4(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(NLMSGHDR_BYTES + body.len());
    message.extend_from_slice(&((NLMSGHDR_BYTES + body.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    // Sequence number and port id: one question at a time on a socket of our own needs neither.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    message
}

fn put_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&((RTATTR_BYTES + value.len()) as u16).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(align4(message.len()), 0);
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// Netlink pads messages and attributes to 4 bytes (`NLMSG_ALIGNTO`).
fn align4(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn failed(call: &'static str, target: &str, source: io::Error) -> Error {
    Error::Call { call, target: target.to_owned(), source }
}

/// `ARPHRD_` numbers, `include/uapi/linux/if_arp.h`.
mod arphrd {
    pub(super) const ETHER: u16 = 1;
    pub(super) const RAWIP: u16 = 519;
    pub(super) const TUNNEL: u16 = 768;
    pub(super) const TUNNEL6: u16 = 769;
    pub(super) const LOOPBACK: u16 = 772;
    pub(super) const SIT: u16 = 776;
    pub(super) const IEEE80211: u16 = 801;
    pub(super) const IEEE80211_RADIOTAP: u16 = 803;
    pub(super) const NONE: u16 = 0xfffe;
}

const LINKTYPE_IEEE802_11: LinkType = LinkType(105);
const LINKTYPE_IEEE802_11_RADIOTAP: LinkType = LinkType(127);

const NLMSGHDR_BYTES: usize = 16;
const IFINFOMSG_BYTES: usize = 16;
const IFADDRMSG_BYTES: usize = 8;
const RTATTR_BYTES: usize = 4;

const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;
const NLM_F_REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const NLM_F_MULTI: u16 = libc::NLM_F_MULTI as u16;
const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;
const RTM_NEWLINK: u16 = libc::RTM_NEWLINK;
const RTM_GETLINK: u16 = libc::RTM_GETLINK;
const RTM_NEWADDR: u16 = libc::RTM_NEWADDR;
const RTM_GETADDR: u16 = libc::RTM_GETADDR;
const IFLA_IFNAME: u16 = libc::IFLA_IFNAME;
const IFLA_MTU: u16 = libc::IFLA_MTU;
const IFLA_LINKINFO: u16 = libc::IFLA_LINKINFO;
const IFLA_INFO_KIND: u16 = libc::IFLA_INFO_KIND;
const IFLA_STATS64: u16 = libc::IFLA_STATS64;
const IFLA_PROMISCUITY: u16 = libc::IFLA_PROMISCUITY;
const IFA_ADDRESS: u16 = libc::IFA_ADDRESS;
const IFA_LOCAL: u16 = libc::IFA_LOCAL;
/// Without the bits NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Room for one datagram of a dump: the kernel fills at most 32 KiB (`netlink_dump`, `net/netlink/af_netlink.c`),
/// and a single link message with many virtual functions may be larger.
const RECEIVE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_types() {
        for (hardware_type, link_type) in [
            (1, Some(1)),
            (772, Some(1)),
            (65534, Some(101)),
            (519, Some(101)),
            (768, Some(101)),
            (769, Some(101)),
            (776, Some(101)),
            (801, Some(105)),
            (803, Some(127)),
            // GRE delivers its own header, Netlink monitors and PPP have types of their own: cooked.
            (778, None),
            (824, None),
            (512, None),
        ] {
            assert_eq!(link_type_of_arphrd(hardware_type), link_type.map(LinkType), "{hardware_type}");
        }
    }

    #[test]
    fn loopback_is_listed_and_found() {
        let interfaces = Interfaces::open().unwrap();
        let all = interfaces.list().unwrap();
        let lo = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(lo.loopback && lo.index != 0 && lo.mtu >= 1280, "{lo:?}");
        assert_eq!(lo.link_type(), Some(LinkType::ETHERNET));
        let found = interfaces.by_name("lo").unwrap();
        assert_eq!((found.index, found.mtu, found.up), (lo.index, lo.mtu, lo.up));
        if lo.up {
            assert!(lo.addresses.iter().any(|(ip, _)| ip.is_loopback()), "{lo:?}");
        }
    }

    #[test]
    fn loopback_counts_what_is_sent() {
        let interfaces = Interfaces::open().unwrap();
        if !interfaces.by_name("lo").unwrap().up {
            eprintln!("SKIPPED: loopback is down");
            return;
        }
        let before = interfaces.by_name("lo").unwrap().counters;
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[7; 100], socket.local_addr().unwrap()).unwrap();
        let after = interfaces.by_name("lo").unwrap().counters;
        assert!(after.rx_packets > before.rx_packets && after.tx_packets > before.tx_packets);
        assert!(after.rx_bytes >= before.rx_bytes + 128, "{before:?} {after:?}");
    }

    #[test]
    fn no_such_interface() {
        let interfaces = Interfaces::open().unwrap();
        for name in ["gannet-none0", "", "a-name-longer-than-the-kernel-has"] {
            let error = interfaces.by_name(name).unwrap_err();
            assert!(matches!(error, Error::NoInterface { .. }), "{error}");
        }
        // The socket is still in step after an error.
        assert_eq!(interfaces.by_name("lo").unwrap().name, "lo");
    }

    /// A link message as the kernel builds it.
    fn link_message() -> Vec<u8> {
        let mut body = vec![0; IFINFOMSG_BYTES];
        body[2..4].copy_from_slice(&1u16.to_ne_bytes());
        body[4..8].copy_from_slice(&7u32.to_ne_bytes());
        body[8..12].copy_from_slice(&((libc::IFF_UP | libc::IFF_RUNNING) as u32).to_ne_bytes());
        put_attribute(&mut body, IFLA_IFNAME, b"eth7\0");
        put_attribute(&mut body, IFLA_MTU, &1500u32.to_ne_bytes());
        let mut info = Vec::new();
        put_attribute(&mut info, IFLA_INFO_KIND, b"veth\0");
        put_attribute(&mut body, IFLA_LINKINFO | 0x8000, &info);
        let stats: Vec<u8> = (100u64..124).flat_map(u64::to_ne_bytes).collect();
        put_attribute(&mut body, IFLA_STATS64, &stats);
        body
    }

    #[test]
    fn a_link_message_is_read() {
        let interface = parse_link(&link_message()).unwrap();
        let counters = Counters {
            rx_packets: 100,
            tx_packets: 101,
            rx_bytes: 102,
            tx_bytes: 103,
            rx_dropped: 106,
            rx_fifo_errors: 114,
            rx_missed_errors: 115,
        };
        assert_eq!(
            interface,
            Interface {
                name: "eth7".into(),
                index: 7,
                kind: Some("veth".into()),
                hardware_type: 1,
                up: true,
                running: true,
                mtu: 1500,
                counters,
                ..Interface::default()
            }
        );
    }

    #[test]
    fn damaged_answers_end_quietly() {
        let whole = request(RTM_NEWLINK, NLM_F_MULTI, &link_message());
        for length in 0..=whole.len() {
            let mut seen = 0;
            let mut take = |_, body: &[u8]| {
                seen += 1;
                for cut in 0..=body.len() {
                    parse_link(&body[..cut]);
                    parse_address(&body[..cut]);
                }
            };
            assert!(matches!(walk(&whole[..length], &mut take), Progress::More));
            assert_eq!(seen, usize::from(length == whole.len()), "{length} bytes");
        }
        // A message shorter than its own header must not be walked over for ever.
        let mut short = whole.clone();
        short[..4].copy_from_slice(&3u32.to_ne_bytes());
        assert!(matches!(walk(&short, &mut |_, _| panic!("not a message")), Progress::More));
        // An attribute of length zero likewise.
        assert_eq!(attributes(&[0; 64]).count(), 0);
    }
}
