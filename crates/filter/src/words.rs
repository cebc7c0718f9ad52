//! The words of the language: keywords and named numbers.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::lex::{Kind, Sign};
use crate::tree::Protocol;

/// Keywords that are neither signs nor numbers.
#[allow(missing_docs, reason = "each is its keyword")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Protocol(Protocol),
    Source,
    Destination,
    Host,
    Net,
    Mask,
    Port,
    Portrange,
    Proto,
    Protochain,
    Gateway,
    Less,
    Greater,
    Byte,
    Broadcast,
    Multicast,
    Length,
    Inbound,
    Outbound,
    Ifindex,
    Vlan,
    Mpls,
    Pppoed,
    Pppoes,
    Geneve,
    Llc,
    /// A word about frames that no capture of ours has.
    Foreign(Family),
}

/// Link types with keywords of their own that filters are not made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// 802.11 with radio headers: `type mgt`, `wlan addr1`.
    Wlan,
    /// ATM: `vpi`, `oam`.
    Atm,
    /// SS7 message transfer part: `fisu`, `opc`.
    Mtp,
    /// The log of OpenBSD's packet filter: `on`, `reason`. `rnr` is also a kind of LLC frame.
    Pf,
}

/// What a word stands for, if it is not just a name.
pub(crate) fn lookup(word: &str) -> Option<Kind> {
    static TABLE: OnceLock<HashMap<&'static str, Kind>> = OnceLock::new();
    TABLE.get_or_init(|| all().collect()).get(word).copied()
}

/// Every word of the language with its meaning.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Kind)> {
    let signs = [("and", Sign::AndAlso), ("or", Sign::OrElse), ("not", Sign::Not)];
    let protocols = PROTOCOLS.iter().map(|&(word, protocol)| (word, Kind::Word(Word::Protocol(protocol))));
    let words = WORDS.iter().map(|&(word, meaning)| (word, Kind::Word(meaning)));
    let foreign = FOREIGN.iter().flat_map(|&(family, words)| {
        words.iter().map(move |&word| (word, Kind::Word(Word::Foreign(family))))
    });
    let numbers = NUMBERS.iter().map(|&(word, number)| (word, Kind::Number(number)));
    signs
        .into_iter()
        .map(|(word, sign)| (word, Kind::Sign(sign)))
        .chain(protocols)
        .chain(words)
        .chain(foreign)
        .chain(numbers)
}

/// The first keyword of a protocol.
pub(crate) fn keyword(protocol: Protocol) -> &'static str {
    PROTOCOLS.iter().find(|(_, of)| *of == protocol).map_or("protocol", |(word, _)| word)
}

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("ether", Protocol::Link),
    ("link", Protocol::Link),
    ("ppp", Protocol::Link),
    ("slip", Protocol::Link),
    ("fddi", Protocol::Link),
    ("tr", Protocol::Link),
    ("wlan", Protocol::Link),
    ("arp", Protocol::Arp),
    ("rarp", Protocol::Rarp),
    ("ip", Protocol::Ip),
    ("sctp", Protocol::Sctp),
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("icmp", Protocol::Icmp),
    ("igmp", Protocol::Igmp),
    ("igrp", Protocol::Igrp),
    ("pim", Protocol::Pim),
    ("vrrp", Protocol::Vrrp),
    ("carp", Protocol::Carp),
    ("radio", Protocol::Radio),
    ("ip6", Protocol::Ip6),
    ("icmp6", Protocol::Icmp6),
    ("ah", Protocol::Ah),
    ("esp", Protocol::Esp),
    ("atalk", Protocol::Atalk),
    ("aarp", Protocol::Aarp),
    ("decnet", Protocol::Decnet),
    ("lat", Protocol::Lat),
    ("sca", Protocol::Sca),
    ("moprc", Protocol::Moprc),
    ("mopdl", Protocol::Mopdl),
    ("iso", Protocol::Iso),
    ("esis", Protocol::Esis),
    ("es-is", Protocol::Esis),
    ("isis", Protocol::Isis),
    ("is-is", Protocol::Isis),
    ("l1", Protocol::IsisLevel1),
    ("l2", Protocol::IsisLevel2),
    ("iih", Protocol::IsisHello),
    ("lsp", Protocol::IsisLinkState),
    ("snp", Protocol::IsisSequence),
    ("csnp", Protocol::IsisCompleteSequence),
    ("psnp", Protocol::IsisPartialSequence),
    ("clnp", Protocol::Clnp),
    ("stp", Protocol::Stp),
    ("ipx", Protocol::Ipx),
    ("netbeui", Protocol::Netbeui),
];

const WORDS: &[(&str, Word)] = &[
    ("src", Word::Source),
    ("dst", Word::Destination),
    ("host", Word::Host),
    ("net", Word::Net),
    ("mask", Word::Mask),
    ("port", Word::Port),
    ("portrange", Word::Portrange),
    ("proto", Word::Proto),
    ("protochain", Word::Protochain),
    ("gateway", Word::Gateway),
    ("less", Word::Less),
    ("greater", Word::Greater),
    ("byte", Word::Byte),
    ("broadcast", Word::Broadcast),
    ("multicast", Word::Multicast),
    ("len", Word::Length),
    ("length", Word::Length),
    ("inbound", Word::Inbound),
    ("outbound", Word::Outbound),
    ("ifindex", Word::Ifindex),
    ("vlan", Word::Vlan),
    ("mpls", Word::Mpls),
    ("pppoed", Word::Pppoed),
    ("pppoes", Word::Pppoes),
    ("geneve", Word::Geneve),
    ("llc", Word::Llc),
];

const FOREIGN: &[(Family, &[&str])] = &[
    (
        Family::Wlan,
        &[
            "type",
            "subtype",
            "direction",
            "dir",
            "address1",
            "addr1",
            "address2",
            "addr2",
            "address3",
            "addr3",
            "address4",
            "addr4",
            "ra",
            "ta",
        ],
    ),
    (
        Family::Atm,
        &[
            "lane",
            "metac",
            "bcc",
            "oam",
            "oamf4",
            "oamf4ec",
            "oamf4sc",
            "sc",
            "ilmic",
            "vpi",
            "vci",
            "connectmsg",
            "metaconnect",
        ],
    ),
    (
        Family::Pf,
        &["on", "ifname", "rset", "ruleset", "rnr", "rulenum", "srnr", "subrulenum", "reason", "action"],
    ),
    (
        Family::Mtp,
        &[
            "fisu", "lssu", "lsu", "msu", "hfisu", "hlssu", "hmsu", "sio", "opc", "dpc", "sls", "hsio",
            "hopc", "hdpc", "hsls",
        ],
    ),
];

/// Offsets of fields, types of ICMP and ICMPv6 messages (IANA's registries), and TCP flags (RFC 9293).
const NUMBERS: &[(&str, u32)] = &[
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
];
