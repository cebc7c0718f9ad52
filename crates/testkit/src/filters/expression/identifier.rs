//! What qualifiers stand before: addresses, networks, ports, numbers and names of protocols, in every way of writing
//! them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Expressions, Inherited};
use crate::filters::vocabulary::{ETHERTYPES, IP_PROTOCOLS, IPV4, IPV6, MAC, PORTS, SAPS, pick, pick_early};

impl Expressions {
    /// An address, port or number for qualifiers of that kind.
    pub(super) fn id(&mut self, kind: Inherited) {
        match kind {
            Inherited::Host if self.one_in(12) => self.id(Inherited::Host6),
            Inherited::Host => {
                let address = Ipv4Addr::from(pick_early(&mut self.random, &IPV4));
                let _ = write!(self.text, "{address}");
            }
            Inherited::Host6 => self.ipv6_text(),
            Inherited::Net => self.net_id(),
            Inherited::LinkHost => self.mac(),
            Inherited::Port => self.port_id(),
            Inherited::PortRange => self.port_range_id(),
            Inherited::IpProtocol => self.ip_protocol_id(),
            Inherited::EtherProtocol => self.ether_protocol_id(),
        }
        self.inherited = Some(kind);
    }

    pub(super) fn net_id(&mut self) {
        let [a, b, c, d] = pick_early(&mut self.random, &IPV4);
        match self.random.below(10) {
            0 => {
                let _ = write!(self.text, "{a}");
            }
            1 => {
                let _ = write!(self.text, "{a}.{b}");
            }
            2 => {
                let _ = write!(self.text, "{a}.{b}.{c}");
            }
            3 => {
                let _ = write!(self.text, "{a}.{b}.{c}.{d}");
            }
            4 => {
                // Masks, with holes too.
                let mask = pick(
                    &mut self.random,
                    &[0xff00_0000, 0xffff_0000, 0xffff_ff00, 0xffff_fff8, 0xff00_ff00, u32::MAX, 0],
                );
                let address = u32::from_be_bytes([a, b, c, d]) & if self.one_in(8) { u32::MAX } else { mask };
                let _ = write!(self.text, "{} mask {}", Ipv4Addr::from(address), Ipv4Addr::from(mask));
            }
            5 => {
                let _ = write!(self.text, "{a}.{b}/16");
            }
            _ => {
                let prefix = self.prefix(32);
                let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
                let address =
                    u32::from_be_bytes([a, b, c, d]) & if self.one_in(12) { u32::MAX } else { mask };
                let _ = write!(self.text, "{}/{prefix}", Ipv4Addr::from(address));
            }
        }
    }

    pub(super) fn port_id(&mut self) {
        match self.random.below(12) {
            0 => self.put_one(&SERVICES),
            1 => {
                let service = pick(&mut self.random, &SERVICES);
                let _ = write!(self.text, "\\{service}");
            }
            2 if self.one_in(8) => self.put("65536"),
            _ => {
                let port = pick_early(&mut self.random, &PORTS);
                self.number(u32::from(port));
            }
        }
    }

    pub(super) fn port_range_id(&mut self) {
        let low = pick(&mut self.random, &PORTS);
        let high = pick(&mut self.random, &PORTS);
        match self.random.below(16) {
            0 => self.put_one(&[
                "ftp-data-ssh",
                "http-https",
                "80",
                "http",
                "1-65536",
                "22-domain",
                "0x10-0x20",
                "1-",
                "-80",
            ]),
            1 => {
                let _ = write!(self.text, "{low}-{high}");
            }
            _ => {
                let _ = write!(self.text, "{}-{}", low.min(high), low.max(high));
            }
        }
    }

    pub(super) fn ip_protocol_id(&mut self) {
        if self.one_in(4) {
            self.put_one(&[
                r"\tcp",
                r"\udp",
                r"\icmp",
                r"\igmp",
                r"\sctp",
                r"\ah",
                r"\esp",
                r"\pim",
                r"\vrrp",
                "gre",
                "ospf",
                "ipv6-icmp",
                r"\icmp6",
                "ipip",
                "tcp",
                r"\ip",
                "ipv6",
            ]);
        } else {
            let number = pick_early(&mut self.random, &IP_PROTOCOLS);
            let number = if self.one_in(60) { 256 } else { u32::from(number) };
            self.number(number);
        }
    }

    pub(super) fn ether_protocol_id(&mut self) {
        match self.random.below(8) {
            0..=2 => self.put_one(&[
                r"\ip",
                r"\ip6",
                r"\arp",
                r"\rarp",
                r"\atalk",
                r"\aarp",
                r"\decnet",
                r"\sca",
                r"\lat",
                r"\mopdl",
                r"\moprc",
                r"\iso",
                r"\stp",
                r"\ipx",
                r"\netbeui",
                "loopback",
            ]),
            3 => {
                let sap = pick(&mut self.random, &SAPS);
                self.number(u32::from(sap));
            }
            _ => {
                let ethertype = pick_early(&mut self.random, &ETHERTYPES);
                let _ = write!(self.text, "{ethertype:#x}");
            }
        }
    }

    pub(super) fn mac(&mut self) {
        let [a, b, c, d, e, f] = pick_early(&mut self.random, &MAC);
        let _ = match self.random.below(12) {
            0 => write!(self.text, "{a:02x}-{b:02x}-{c:02x}-{d:02x}-{e:02x}-{f:02x}"),
            1 => write!(self.text, "{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}"),
            2 => write!(self.text, "{a:02x}.{b:02x}.{c:02x}.{d:02x}.{e:02x}.{f:02x}"),
            3 => write!(self.text, "{a:02x}{b:02x}.{c:02x}{d:02x}.{e:02x}{f:02x}"),
            4 => write!(self.text, "{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}"),
            5 => write!(self.text, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{f:02X}"),
            _ => write!(self.text, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        };
    }

    pub(super) fn ipv6(&mut self) -> Ipv6Addr {
        Ipv6Addr::from(pick_early(&mut self.random, &IPV6))
    }

    pub(super) fn ipv6_text(&mut self) {
        let address = self.ipv6();
        let _ = match self.random.below(6) {
            0 => {
                let [a, b, c, d, e, f, g, h] = address.segments();
                write!(self.text, "{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}")
            }
            1 => write!(self.text, "{}/128", address),
            _ => write!(self.text, "{address}"),
        };
    }

    /// Bits of a prefix, now and then one too many.
    pub(super) fn prefix(&mut self, bits: u32) -> u32 {
        match self.random.below(30) {
            0 => bits + 1,
            1..=9 => pick(&mut self.random, &[bits, bits / 2, bits / 4, 0, 10, 4]),
            _ => self.random.between(1, u64::from(bits)) as u32,
        }
    }

    pub(super) fn tag_number(&mut self, number: u32) {
        if self.one_in(12) {
            let _ = write!(self.text, " ({number})");
        } else {
            self.put(" ");
            self.number(number);
        }
    }
}

pub(super) fn masked6(address: Ipv6Addr, prefix: u32) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
    Ipv6Addr::from(u128::from(address) & mask)
}

pub(super) const SERVICES: [&str; 12] = [
    "http", "https", "ssh", "domain", "ntp", "bootps", "bootpc", "smtp", "bgp", "ftp-data", "http-alt",
    "telnet",
];
