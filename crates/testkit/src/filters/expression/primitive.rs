//! Primitives: keywords and qualifiers, and what the link types have beyond them.

use std::fmt::Write as _;

use gannet_filter::Link;

use super::identifier::masked6;
use super::{Expressions, Inherited};
use crate::filters::vocabulary::{DECNET, IPV4, ISIS_TYPES, LABELS, SESSIONS, VLANS, VNIS, pick, pick_early};

impl Expressions {
    pub(super) fn protocol(&mut self) {
        let common = ["tcp", "udp", "ip", "ip6", "icmp", "arp", "icmp6"];
        let word = match self.random.below(10) {
            0..=6 => pick(&mut self.random, &common),
            _ => pick(&mut self.random, &PROTOCOLS),
        };
        self.put(word);
    }

    pub(super) fn direction(&mut self) {
        if self.one_in(2) {
            let rare =
                ["src or dst ", "dst or src ", "src and dst ", "dst and src ", "src || dst ", "src && dst "];
            match self.random.below(6) {
                0..=1 => self.put("src "),
                2..=3 => self.put("dst "),
                _ => self.put_one(&rare),
            }
        }
    }

    pub(super) fn host(&mut self) {
        let directed = self.text.len();
        self.put_one(&["", "", "", "ip ", "arp ", "rarp "]);
        if self.one_in(40) {
            // Protocols that have no hosts are refused.
            let word = pick(&mut self.random, &PROTOCOLS);
            let _ = write!(self.text, "{word} ");
        }
        let before = self.text.len();
        self.direction();
        // `host` may be left out where another qualifier stands.
        if self.text.len() == directed || self.text.len() == before || !self.one_in(3) {
            self.put("host ");
        }
        self.id(Inherited::Host);
    }

    pub(super) fn host6(&mut self) {
        self.put_one(&["", "ip6 ", "ip6 "]);
        self.direction();
        self.put("host ");
        self.id(Inherited::Host6);
    }

    pub(super) fn net(&mut self) {
        self.put_one(&["", "", "", "ip ", "arp ", "rarp ", "ip6 "]);
        self.direction();
        self.put("net ");
        self.id(Inherited::Net);
    }

    pub(super) fn net6(&mut self) {
        self.put_one(&["", "ip6 ", "ip6 "]);
        self.direction();
        self.put("net ");
        let address = self.ipv6();
        let prefix = self.prefix(128);
        let _ = write!(self.text, "{}/{prefix}", masked6(address, prefix));
        self.inherited = Some(Inherited::Net);
    }

    pub(super) fn port(&mut self) {
        self.put_one(&["", "tcp ", "udp ", "sctp ", "", "tcp ", "udp ", "ip ", "ip6 "][..7]);
        if self.one_in(60) {
            self.put_one(&["ip ", "ip6 ", "arp ", "icmp "]);
        }
        self.direction();
        self.put("port ");
        self.id(Inherited::Port);
    }

    pub(super) fn port_range(&mut self) {
        self.put_one(&["", "tcp ", "udp ", "sctp "]);
        self.direction();
        self.put("portrange ");
        self.id(Inherited::PortRange);
    }

    pub(super) fn ip_protocol(&mut self) {
        self.put_one(&["ip ", "ip6 ", "", "ip ", "ip6 "]);
        self.put("proto ");
        self.id(Inherited::IpProtocol);
    }

    pub(super) fn ether_protocol(&mut self) {
        self.put_one(&["ether ", "ether ", "link "]);
        self.put("proto ");
        self.id(Inherited::EtherProtocol);
    }

    pub(super) fn isis_protocol(&mut self) {
        self.put("isis proto ");
        let number = pick(&mut self.random, &ISIS_TYPES);
        self.number(u32::from(number));
    }

    pub(super) fn iso_protocol(&mut self) {
        self.put("iso proto ");
        self.put_one(&[r"\clnp", r"\esis", r"\isis", "0x81", "0x82", "131"]);
    }

    pub(super) fn protocol_chain(&mut self) {
        self.put_one(&["", "ip ", "ip6 ", "ip6 "]);
        self.put("protochain ");
        self.id(Inherited::IpProtocol);
        // The number alone would be another chain, as in libpcap.
        if self.one_in(2) {
            self.inherited = None;
        }
    }

    pub(super) fn link_host(&mut self) {
        self.put_one(&["ether ", "ether ", "ether ", "link ", "fddi ", "tr ", "wlan ", ""]);
        self.direction();
        if self.text.ends_with("src ") || self.text.ends_with("dst ") {
            self.put_one(&["", "host "]);
        } else {
            self.put("host ");
        }
        self.id(Inherited::LinkHost);
    }

    pub(super) fn decnet_host(&mut self) {
        self.put("decnet ");
        self.direction();
        self.put("host ");
        let (area, node) = pick(&mut self.random, &DECNET);
        let _ = write!(self.text, "{area}.{node}");
    }

    pub(super) fn gateway(&mut self) {
        self.put_one(&[
            "gateway localhost",
            "ip gateway localhost",
            "gateway 10.0.0.1",
            "tcp gateway localhost",
        ]);
    }

    pub(super) fn broadcast_or_multicast(&mut self) {
        if self.link == Link::Ethernet {
            self.put_one(&["", "ether ", "ip ", "ip ", "link "]);
        } else {
            self.put_one(&["ip ", "ip ", "ip ", "ip ", ""]);
        }
        match self.random.below(12) {
            0..=5 => self.put("broadcast"),
            6..=10 => self.put("multicast"),
            _ => {
                self.put_one(&["ip6 multicast", "ip6 broadcast", "tcp multicast", "arp broadcast"]);
            }
        }
    }

    pub(super) fn less_or_greater(&mut self) {
        self.put_one(&["less ", "greater "]);
        let number = pick(&mut self.random, &LENGTHS);
        self.number(number);
    }

    pub(super) fn byte(&mut self) {
        let offset = self.random.below(40) as u32;
        let value = self.random.below(256) as u32;
        self.put("byte ");
        self.number(offset);
        self.put_one(&[" = ", " < ", " > ", " & ", " | "]);
        self.number(value);
    }

    pub(super) fn inbound_or_outbound(&mut self) {
        self.put_one(&["inbound", "outbound"]);
    }

    pub(super) fn interface_index(&mut self) {
        let index = self.random.below(4);
        let _ = write!(self.text, "ifindex {index}");
    }

    pub(super) fn vlan(&mut self) {
        self.put("vlan");
        if !self.one_in(3) {
            let id = pick_early(&mut self.random, &VLANS);
            let id = if self.one_in(60) { 4096 } else { u32::from(id) };
            self.tag_number(id);
        }
    }

    pub(super) fn mpls(&mut self) {
        self.put("mpls");
        if self.one_in(2) {
            let label = pick_early(&mut self.random, &LABELS);
            let label = if self.one_in(60) { 1 << 20 } else { label };
            self.tag_number(label);
        }
    }

    pub(super) fn pppoe(&mut self) {
        if self.one_in(5) {
            return self.put("pppoed");
        }
        self.put("pppoes");
        if self.one_in(3) {
            let session = pick_early(&mut self.random, &SESSIONS);
            let session = if self.one_in(60) { 65536 } else { u32::from(session) };
            self.tag_number(session);
        }
    }

    pub(super) fn geneve(&mut self) {
        self.put("geneve");
        if self.one_in(3) {
            let vni = pick_early(&mut self.random, &VNIS);
            let vni = if self.one_in(60) { 1 << 24 } else { vni };
            self.tag_number(vni);
        }
    }

    pub(super) fn llc(&mut self) {
        self.put("llc");
        if !self.one_in(4) {
            self.put_one(&LLC_KINDS);
        }
    }

    pub(super) fn numeric_host(&mut self) {
        self.put_one(&["host ", "src host ", "ip host ", "net ", "port (", "ip proto ("]);
        if self.text.ends_with('(') {
            let number = pick(&mut self.random, &[6, 17, 80, 53]);
            let _ = write!(self.text, "{number})");
        } else {
            let address = u32::from_be_bytes(pick(&mut self.random, &IPV4));
            self.number(address);
        }
    }

    /// Services of the wrong protocol, and of none.
    pub(super) fn service_elsewhere(&mut self) {
        self.put_one(&[
            "udp port bootps",
            "tcp port bootps",
            "sctp port http",
            "tcp port tftp",
            "udp port http",
            "port nosuchservice",
        ]);
    }

    pub(super) fn named_host(&mut self) {
        self.put_one(&[
            "host localhost",
            "src localhost",
            "ip host localhost",
            "ip6 host localhost",
            "host nosuch.invalid",
        ]);
    }

    pub(super) fn named_net(&mut self) {
        self.put_one(&["net loopback", "net link-local", "src net link-local", "net nosuch"]);
    }

    /// Of other link types: libpcap knows the words and refuses them here.
    pub(super) fn foreign_link(&mut self) {
        self.put_one(&[
            "type mgt",
            "wlan type data subtype qos-data",
            "dir tods",
            "wlan addr1 02:00:00:00:00:01",
            "vpi 3",
            "vci 5",
            "oam",
            "lane",
            "fisu",
            "opc 7",
            "on eth0",
            "action pass",
            "reason match",
            "rulenum 3",
            "rset x",
            "radio",
            "wlan ra 02:00:00:00:00:01",
            "metac",
            "subtype beacon",
        ]);
    }

    pub(super) fn arcnet(&mut self) {
        self.put_one(&["link host $1f", "host $1f", "link src $a"]);
    }

    pub(super) fn unknown_word(&mut self) {
        self.put_one(&[
            "foo",
            "prot 80",
            "tcpp",
            "tcp-syn",
            "hots 10.0.0.1",
            "TCP",
            "Host 10.0.0.1",
            "ether proto \\foo",
            "ip proto nosuch",
        ]);
    }

    /// `host (10.0.0.1 or 10.0.0.2)`, the qualifiers once for all.
    pub(super) fn bracketed_ids(&mut self) {
        let (words, kind) = pick(
            &mut self.random,
            &[
                ("host ", Inherited::Host),
                ("dst net ", Inherited::Net),
                ("tcp dst port ", Inherited::Port),
                ("udp portrange ", Inherited::PortRange),
                ("ether src host ", Inherited::LinkHost),
                ("ip proto ", Inherited::IpProtocol),
                ("ether proto ", Inherited::EtherProtocol),
            ],
        );
        self.put(words);
        self.put("(");
        self.id(kind);
        for _ in 0..self.random.between(1, 3) {
            self.put_one(&[" or ", " or ", " and "]);
            self.inherited_id(1);
        }
        self.put(")");
        self.inherited = Some(kind);
    }
}

pub(super) const PROTOCOLS: [&str; 42] = [
    "ip", "arp", "rarp", "sctp", "tcp", "udp", "icmp", "igmp", "igrp", "pim", "vrrp", "carp", "atalk",
    "aarp", "decnet", "lat", "sca", "moprc", "mopdl", "ip6", "icmp6", "ah", "esp", "iso", "esis", "es-is",
    "isis", "is-is", "l1", "l2", "iih", "lsp", "snp", "csnp", "psnp", "clnp", "stp", "ipx", "netbeui",
    "radio", "ether", "link",
];

pub(super) const LENGTHS: [u32; 10] = [60, 64, 42, 100, 14, 128, 1500, 0, 54, 74];

const LLC_KINDS: [&str; 13] =
    [" i", " s", " u", " rr", " rnr", " rej", " ui", " ua", " disc", " test", " sabme", " xid", " frmr"];
