//! How much of a passing packet to keep: a number, or as far as its headers reach.
//!
//! ```text
//!   link ─► tags, PPPoE, labels ─► IPv4 ─────────────────────┐
//!                    │        └──► IPv6 ─► extension headers ─┴─► TCP, UDP, SCTP, ICMP ─► return end + extra
//!                    └ anything else: return what is known so far + extra
//! ```
//!
//! A load outside the packet would reject a packet that has passed, so the length is asked before each header, and a
//! packet that ends within one is kept whole. The length is that of the packet as it was: in frames that an earlier
//! capture has cut, loads behind the cut do end the program with 0, which is why files are filtered by two programs
//! (`Machine::of_cut_frames`).
//!
//! | what | kept |
//! | --- | --- |
//! | TCP, first fragments too | its header with options |
//! | UDP, ICMP, ICMPv6 | 8 bytes of them |
//! | SCTP | 12 bytes |
//! | another protocol, a later fragment, a chain of more than 4 extension headers | up to the end of the headers before that |
//! | ARP, RARP | 28 bytes |
//! | no IP, 802.2, more than 2 tags or 4 labels | the link-level header with what was recognised behind it |
//! | live, interface without Ethernet headers | what the kernel's dissector says; 64 bytes if it does not know the packet |

use super::headers::statement;
use super::predicate::{Builder, Open, Way, constant, with_x};
use super::{ethertype, ip};
use crate::bpf::Instruction;
use crate::bpf::insn::*;
use crate::compile::{Link, Snaplen};
use crate::ir::{BlockId, Comparison, End};

/// Appends the end of the program for packets that pass and returns its first block.
pub(super) fn keep(graph: &mut Builder, link: Link, snaplen: Snaplen) -> BlockId {
    match snaplen {
        Snaplen::Fixed(bytes) => graph.end(Vec::new(), End::Return(bytes)),
        Snaplen::Headers { extra } => {
            let base = if link == Link::Kernel { SKF_LL_OFF } else { 0 };
            Keeper { graph, base, extra: extra.min(MOST_EXTRA) }.link(link)
        }
    }
}

/// Makes blocks from the end of the program to its start. In all of them X or the word [`AT`] holds an offset from
/// the start of the frame.
struct Keeper<'a> {
    graph: &'a mut Builder,
    /// Where loads count from.
    base: u32,
    extra: u32,
}

impl Keeper<'_> {
    fn link(&mut self, link: Link) -> BlockId {
        let network = self.network();
        match link {
            Link::Ethernet => self.typed(12, 14, MOST_TAGS, network),
            Link::Sll => self.typed(14, 16, MOST_TAGS, network),
            Link::Sll2 => self.typed(0, 20, MOST_TAGS, network),
            Link::Raw => self.by_version(0, network),
            Link::Null | Link::NullBigEndian | Link::Loop => self.by_version(4, network),
            Link::Kernel => {
                let ethernet = self.typed(12, 14, MOST_TAGS, network);
                let unknown = self.graph.end(Vec::new(), End::Return(UNKNOWN + self.extra));
                let known = self.ends(vec![], 0);
                let load = vec![statement(LD | ABS | W, Ancillary::PayloadOffset.offset())];
                let dissected = self.branch(load, Comparison::Equal, 0, unknown, known);
                let loopback =
                    self.branch(Vec::new(), Comparison::Equal, HARDWARE_LOOPBACK, ethernet, dissected);
                let load = vec![statement(LD | ABS | W, Ancillary::HardwareType.offset())];
                self.branch(load, Comparison::Equal, HARDWARE_ETHERNET, ethernet, loopback)
            }
        }
    }

    /// A type field, and what follows it at `payload`; with `tags` more VLAN tags.
    fn typed(&mut self, type_field: u32, payload: u32, tags: u32, network: Entries) -> BlockId {
        let unknown = self.known_until(payload);
        let mut next = unknown;
        for (number, target) in [
            (ethertype::ARP, self.known_until(payload + ARP_LEN)),
            (ethertype::RARP, self.known_until(payload + ARP_LEN)),
            (ethertype::PPPOE_SESSION, self.pppoe(payload, network)),
            (ethertype::MPLS, self.at(payload, network.labels)),
        ] {
            next = self.branch(Vec::new(), Comparison::Equal, number, target, next);
        }
        if tags > 0 {
            // A tag's own type field is 2 bytes into it; Linux cooked headers have theirs elsewhere, but the tag is
            // the same.
            let tagged = self.typed(payload + 2, payload + 4, tags - 1, network);
            for number in [ethertype::VLAN, ethertype::SERVICE_VLAN, ethertype::OLD_QINQ] {
                next = self.branch(Vec::new(), Comparison::Equal, number, tagged, next);
            }
        }
        for (number, target) in [(ethertype::IPV6, network.v6), (ethertype::IPV4, network.v4)] {
            let target = self.at(payload, target);
            next = self.branch(Vec::new(), Comparison::Equal, number, target, next);
        }
        let load = self.graph.goto(vec![statement(LD | H | ABS, self.base.wrapping_add(type_field))], next);
        self.if_there(payload, load)
    }

    /// A PPPoE header of 6 bytes and PPP's protocol number.
    fn pppoe(&mut self, payload: u32, network: Entries) -> BlockId {
        let mut next = self.known_until(payload + 8);
        for (number, target) in [(PPP_IPV6, network.v6), (PPP_IPV4, network.v4)] {
            let target = self.at(payload + 8, target);
            next = self.branch(Vec::new(), Comparison::Equal, number, target, next);
        }
        let load = self.graph.goto(vec![statement(LD | H | ABS, self.base.wrapping_add(payload + 6))], next);
        self.if_there(payload + 8, load)
    }

    /// No type field: the version of the IP header at `payload`.
    fn by_version(&mut self, payload: u32, network: Entries) -> BlockId {
        let mut next = self.known_until(payload);
        for (version, target) in [(0x60, network.v6), (0x40, network.v4)] {
            let target = self.at(payload, target);
            next = self.branch(Vec::new(), Comparison::Equal, version, target, next);
        }
        let load =
            vec![statement(LD | B | ABS, self.base.wrapping_add(payload)), statement(ALU | AND | K, 0xf0)];
        let load = self.graph.goto(load, next);
        self.if_there(payload + 1, load)
    }

    /// What can follow link-level headers, entered with its offset in [`AT`].
    fn network(&mut self) -> Entries {
        let transport = self.transport();
        let (v4, v6) = (self.ipv4(transport), self.ipv6(transport));
        let labels = self.labels(v4, v6);
        Entries { v4, v6, labels }
    }

    fn ipv4(&mut self, transport: BlockId) -> BlockId {
        let load = vec![self.load(B, 9), statement(LDX | MEM, NEXT)];
        let unfragmented = self.graph.goto(load, transport);
        let later = self.ends(vec![statement(LD | MEM, NEXT)], 0);
        let load = vec![statement(ALU | ADD | X, 0), statement(ST, NEXT), self.load(H, 6)];
        let measured = self.branch(load, Comparison::AnyBit, 0x1fff, later, unfragmented);
        // A header that says it is shorter than the shortest.
        let malformed = self.ends(vec![statement(LD | MEM, AT)], IPV4_LEN);
        let load = vec![
            statement(LDX | MEM, AT),
            self.load(B, 0),
            statement(ALU | AND | K, 0xf),
            statement(ALU | LSH | K, 2),
        ];
        let header = self.branch(load, Comparison::GreaterOrEqual, IPV4_LEN, measured, malformed);
        self.if_reaches(vec![statement(LD | MEM, AT)], IPV4_LEN, 0, header)
    }

    fn ipv6(&mut self, transport: BlockId) -> BlockId {
        let mut following = transport;
        for _ in 0..MOST_EXTENSIONS {
            following = self.extension(transport, following);
        }
        let load = vec![
            statement(LDX | MEM, AT),
            self.load(B, 6),
            statement(ST, NEXT),
            statement(MISC | TXA, 0),
            statement(ALU | ADD | K, super::headers::IPV6_LEN),
            statement(MISC | TAX, 0),
            statement(LD | MEM, NEXT),
        ];
        let header = self.graph.goto(load, following);
        self.if_reaches(vec![statement(LD | MEM, AT)], super::headers::IPV6_LEN, 0, header)
    }

    /// With a protocol in A and the offset of its header in X: over it if it is an extension header.
    fn extension(&mut self, transport: BlockId, following: BlockId) -> BlockId {
        let mut step = |add: u32, shift: u32| {
            let load = vec![
                self.load(B, 0),
                statement(ST, NEXT),
                self.load(B, 1),
                statement(ALU | ADD | K, add),
                statement(ALU | LSH | K, shift),
                statement(ALU | ADD | X, 0),
                statement(MISC | TAX, 0),
                statement(LD | MEM, NEXT),
            ];
            self.graph.goto(load, following)
        };
        let (options, ah) = (step(1, 3), step(2, 2));
        let later = self.ends(vec![statement(MISC | TXA, 0)], 8);
        let fragment = self.branch(vec![self.load(H, 2)], Comparison::AnyBit, 0xfff8, later, options);
        let other = self.branch(Vec::new(), Comparison::Equal, ip::AH, ah, options);
        let kind = vec![statement(LDX | MEM, AT), statement(LD | MEM, NEXT)];
        let kind = self.branch(kind, Comparison::Equal, ip::FRAGMENT, fragment, other);
        let start = vec![statement(ST, NEXT), statement(STX, AT), statement(MISC | TXA, 0)];
        let there = self.if_reaches(start, 8, 0, kind);
        let mut next = transport;
        for protocol in [ip::AH, ip::FRAGMENT, 60, 43, 0] {
            next = self.branch(Vec::new(), Comparison::Equal, protocol, there, next);
        }
        next
    }

    /// With a protocol in A and the offset of its header in X.
    fn transport(&mut self) -> BlockId {
        let mut next = self.ends(vec![statement(MISC | TXA, 0)], 0);
        for (protocol, len) in [(ip::SCTP, 12), (ip::ICMPV6, 8), (ip::ICMP, 8), (ip::UDP, 8)] {
            let end = self.ends(vec![statement(MISC | TXA, 0)], len);
            next = self.branch(Vec::new(), Comparison::Equal, protocol, end, next);
        }
        let options = vec![
            statement(LDX | MEM, AT),
            self.load(B, 12),
            statement(ALU | AND | K, 0xf0),
            statement(ALU | RSH | K, 2),
            statement(ALU | ADD | X, 0),
        ];
        let options = self.ends(options, 0);
        let start = vec![statement(STX, AT), statement(MISC | TXA, 0)];
        let tcp = self.if_reaches(start, 13, TCP_LEN - 13, options);
        self.branch(Vec::new(), Comparison::Equal, ip::TCP, tcp, next)
    }

    /// MPLS labels, the first one at [`AT`], and the version of what follows the last.
    fn labels(&mut self, v4: BlockId, v6: BlockId) -> BlockId {
        let mut next = self.ends(vec![statement(LD | MEM, AT)], 0);
        for (version, target) in [(0x60, v6), (0x40, v4)] {
            next = self.branch(Vec::new(), Comparison::Equal, version, target, next);
        }
        let load = vec![statement(LDX | MEM, AT), self.load(B, 0), statement(ALU | AND | K, 0xf0)];
        let bottom = self.graph.goto(load, next);
        let bottom = self.if_reaches(vec![statement(LD | MEM, AT)], 1, u32::MAX, bottom);
        let mut following = self.ends(vec![statement(LD | MEM, AT)], 0);
        for _ in 0..MOST_LABELS {
            let load = vec![
                statement(LDX | MEM, AT),
                statement(MISC | TXA, 0),
                statement(ALU | ADD | K, 4),
                statement(ST, AT),
                self.load(B, 2),
            ];
            let label = self.branch(load, Comparison::AnyBit, 1, bottom, following);
            following = self.if_reaches(vec![statement(LD | MEM, AT)], 4, 0, label);
        }
        following
    }

    /// A load at X.
    fn load(&self, width: u16, offset: u32) -> Instruction {
        statement(LD | IND | width, self.base.wrapping_add(offset))
    }

    /// Goes on at `target` with `offset` in [`AT`].
    fn at(&mut self, offset: u32, target: BlockId) -> BlockId {
        self.graph.goto(vec![statement(LD | IMM, offset), statement(ST, AT)], target)
    }

    /// Goes on if the packet has `bytes` bytes; one that has not is kept whole.
    fn if_there(&mut self, bytes: u32, then: BlockId) -> BlockId {
        let short = self.known_until(bytes);
        self.branch(vec![statement(LD | LEN, 0)], Comparison::GreaterOrEqual, bytes, then, short)
    }

    /// Goes on if the packet has `bytes` bytes behind the offset that `offset` leaves in A; otherwise keeps that and
    /// `more`.
    fn if_reaches(&mut self, mut offset: Vec<Instruction>, bytes: u32, more: u32, then: BlockId) -> BlockId {
        let short = self.ends(Vec::new(), more);
        offset.extend([statement(ALU | ADD | K, bytes), statement(LDX | W | LEN, 0)]);
        let (then, short) = (Way::To(then), Way::To(short));
        self.graph.branch(offset, with_x(Comparison::Greater), short, then, &mut Open::default())
    }

    /// Keeps a fixed number of bytes and the extra ones; one at least, as 0 would reject.
    fn known_until(&mut self, bytes: u32) -> BlockId {
        self.graph.end(Vec::new(), End::Return((bytes + self.extra).max(1)))
    }

    /// Keeps the number of bytes that `statements` leave in A, `more`, and the extra ones.
    fn ends(&mut self, mut statements: Vec<Instruction>, more: u32) -> BlockId {
        statements.push(statement(ALU | ADD | K, self.extra.wrapping_add(more)));
        self.graph.end(statements, End::ReturnA)
    }

    fn branch(
        &mut self,
        statements: Vec<Instruction>,
        test: Comparison,
        value: u32,
        then: BlockId,
        otherwise: BlockId,
    ) -> BlockId {
        let condition = constant(test, value);
        self.graph.branch(statements, condition, Way::To(then), Way::To(otherwise), &mut Open::default())
    }
}

/// Where to go on with a header that starts at [`AT`].
#[derive(Clone, Copy)]
struct Entries {
    v4: BlockId,
    v6: BlockId,
    labels: BlockId,
}

// Scratch words. The expression is done with its own.
/// The offset of the header at hand.
const AT: u32 = 0;
/// What comes next: its protocol or its offset.
const NEXT: u32 = 1;

/// More than any packet has, and small enough that sums do not wrap round.
const MOST_EXTRA: u32 = 1 << 24;
const MOST_TAGS: u32 = 2;
const MOST_LABELS: usize = 4;
const MOST_EXTENSIONS: usize = 4;
/// Kept of what nobody can tell the headers of.
const UNKNOWN: u32 = 64;
/// An ARP packet of Ethernet and IPv4.
const ARP_LEN: u32 = 28;
const IPV4_LEN: u32 = 20;
const TCP_LEN: u32 = 20;
const PPP_IPV4: u32 = 0x21;
const PPP_IPV6: u32 = 0x57;
/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`.
const HARDWARE_ETHERNET: u32 = 1;
const HARDWARE_LOOPBACK: u32 = 772;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::bpf::{Program, Skb};
    use crate::compile::{Link, Options, Snaplen, compile};
    use crate::names::Names;

    fn headers(expression: &str, link: Link, extra: u32) -> Program {
        let names = Names::default();
        let snaplen = Snaplen::Headers { extra };
        compile(expression, &Options { link, snaplen, optimise: false, netmask: 0, names: &names }).unwrap()
    }

    /// A frame, and where its headers end.
    #[derive(Clone, Debug)]
    struct Built {
        bytes: Vec<u8>,
        end: usize,
    }

    fn link_header(link: Link) -> BoxedStrategy<(Vec<u8>, bool)> {
        let families = |little: bool| {
            any::<bool>().prop_map(move |v6| {
                let family: u32 = if v6 { 24 } else { 2 };
                (if little { family.to_le_bytes() } else { family.to_be_bytes() }.to_vec(), v6)
            })
        };
        let behind = |address: Vec<u8>, rest: Vec<u8>| {
            (
                prop_oneof![Just(vec![]), Just(vec![0x8100]), Just(vec![0x88a8, 0x8100])],
                0..4_u8,
                any::<bool>(),
            )
                .prop_map(move |(tags, inside, v6)| {
                    let mut bytes = address.clone();
                    let mut follow = Vec::new();
                    for tag in tags {
                        follow.extend(u16::to_be_bytes(tag));
                        follow.extend([0, 7]);
                    }
                    let ip: u16 = if v6 { 0x86dd } else { 0x0800 };
                    match inside {
                        0 => {
                            follow.extend(0x8864_u16.to_be_bytes());
                            follow.extend([0x11, 0, 0, 1, 0, 60, 0, if v6 { 0x57 } else { 0x21 }]);
                        }
                        1 => {
                            follow.extend(0x8847_u16.to_be_bytes());
                            follow.extend([0, 1, 0x20, 64, 0, 1, 0x31, 64]);
                        }
                        _ => follow.extend(ip.to_be_bytes()),
                    }
                    // What stands between the type field and the payload, for SLL2.
                    bytes.extend(&follow[..2]);
                    bytes.extend(&rest);
                    bytes.extend(&follow[2..]);
                    (bytes, v6)
                })
        };
        match link {
            Link::Sll => behind(vec![0; 14], vec![]).boxed(),
            Link::Sll2 => behind(vec![], vec![0; 18]).boxed(),
            Link::Raw => any::<bool>().prop_map(|v6| (vec![], v6)).boxed(),
            Link::Null => families(true).boxed(),
            Link::NullBigEndian | Link::Loop => families(false).boxed(),
            Link::Ethernet | Link::Kernel => behind(vec![2; 12], vec![]).boxed(),
        }
    }

    /// Protocol and header of a transport.
    fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
        prop_oneof![
            (5..16_u8).prop_map(|words| {
                let mut header = vec![0; usize::from(words) * 4];
                header[12] = words << 4;
                (6, header)
            }),
            Just((17, vec![0; 8])),
            Just((132, vec![0; 12])),
            Just((1, vec![0; 8])),
            Just((58, vec![0; 8])),
            Just((47, vec![])),
        ]
    }

    fn frame(link: Link) -> impl Strategy<Value = Built> {
        let extensions = proptest::collection::vec((0..5_usize, 0..4_u8), 0..=4);
        let payload = proptest::collection::vec(any::<u8>(), 0..80);
        (link_header(link), transport(), 5..16_u8, any::<bool>(), extensions, payload).prop_map(
            |((mut bytes, v6), (protocol, header), words, fragment, extensions, payload)| {
                let mut whole = true;
                if v6 {
                    let mut chain = Vec::new();
                    let mut kinds = Vec::new();
                    for (kind, units) in extensions {
                        let kind = [0_u8, 43, 60, 51, 44][kind];
                        let len = match kind {
                            44 => 8,
                            51 => 12 + 4 * usize::from(units),
                            _ => 8 + 8 * usize::from(units),
                        };
                        let mut extension = vec![0; len];
                        extension[1] = match kind {
                            44 => 0,
                            51 => units + 1,
                            _ => units,
                        };
                        kinds.push(kind);
                        let later = kind == 44 && fragment;
                        if later {
                            extension[3] = 8;
                        }
                        chain.push(extension);
                        if later {
                            whole = false;
                            break;
                        }
                    }
                    kinds.push(protocol);
                    bytes.push(0x60);
                    bytes.extend([0; 5]);
                    bytes.push(kinds[0]);
                    bytes.extend([0; 33]);
                    for (extension, next) in chain.iter_mut().zip(&kinds[1..]) {
                        extension[0] = *next;
                        bytes.extend(&*extension);
                    }
                } else {
                    let mut ip = vec![0; usize::from(words) * 4];
                    ip[0] = 0x40 | words;
                    ip[9] = protocol;
                    if fragment {
                        ip[7] = 9;
                        whole = false;
                    }
                    bytes.extend(ip);
                }
                if whole {
                    bytes.extend(&header);
                }
                let end = bytes.len();
                bytes.extend(payload);
                Built { bytes, end }
            },
        )
    }

    const LINKS: [Link; 7] =
        [Link::Ethernet, Link::Raw, Link::Sll, Link::Sll2, Link::Null, Link::NullBigEndian, Link::Loop];

    fn any_frame() -> impl Strategy<Value = (Link, Built)> {
        (0..LINKS.len()).prop_flat_map(|link| (Just(LINKS[link]), frame(LINKS[link])))
    }

    proptest! {
        #[test]
        fn headers_are_kept_to_their_end((link, built) in any_frame(), extra in 0..100_u32) {
            let kept = headers("", link, extra).run(&Skb::of(&built.bytes));
            prop_assert_eq!(kept, built.end as u32 + extra);
            let live = Skb { hardware_type: 1, ..Skb::of(&built.bytes) };
            if link == Link::Ethernet {
                prop_assert_eq!(headers("", Link::Kernel, extra).run(&live), kept);
            }
        }

        /// A short packet loses nothing, and no packet that passes is rejected for its length.
        #[test]
        fn short_packets_pass_whole((link, built) in any_frame(), len: prop::sample::Index) {
            let bytes = &built.bytes[..len.index(built.bytes.len() + 1)];
            let kept = headers("", link, 0).run(&Skb::of(bytes));
            prop_assert!(kept as usize >= bytes.len().min(built.end) && kept > 0, "{} of {}", kept, bytes.len());
        }

        #[test]
        fn whatever_passes_is_kept(link in 0..LINKS.len(), bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(headers("", LINKS[link], 0).run(&Skb::of(&bytes)) > 0);
        }
    }

    #[test]
    fn what_is_no_ip() {
        let mut arp = vec![0; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(headers("arp", Link::Ethernet, 3).run(&Skb::of(&arp)), 14 + 28 + 3);
        assert_eq!(headers("ip", Link::Ethernet, 3).run(&Skb::of(&arp)), 0);
        assert_eq!(headers("stp", Link::Sll, 0).run(&Skb::of(&[0; 60])), 0);
        let tunnel = Skb { hardware_type: 65534, payload_offset: 48, ..Skb::of(&arp) };
        assert_eq!(headers("", Link::Kernel, 3).run(&tunnel), 51);
        assert_eq!(headers("", Link::Kernel, 3).run(&Skb { payload_offset: 0, ..tunnel }), 67);
    }
}
