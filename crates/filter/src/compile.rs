//! All passes in a row.

use gannet_packet::LinkType;

use crate::bpf::Program;
use crate::error::Error;
use crate::names::Names;
use crate::tree::{Op, Test, Tree};
use crate::{emit, lower, optimise, resolve};

/// What an expression is compiled for.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The frames that the program will see.
    pub link: Link,
    /// What the program returns for a packet that passes.
    pub snaplen: Snaplen,
    /// Whether to make the program shorter. An expression that no packet can pass is refused only then, as in libpcap.
    pub optimise: bool,
    /// The network mask that `ip broadcast` goes by, in host order; 0 where none is known, as tcpdump has it for files.
    pub netmask: u32,
    /// Where names of hosts, networks, ports and protocols come from.
    pub names: &'a Names,
}

/// Where things lie in the frames of a capture, after libpcap's `DLT_` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// `DLT_EN10MB`: Ethernet; VLAN tags are in the frame.
    Ethernet,
    /// `DLT_RAW`: an IPv4 or IPv6 packet and nothing in front of it.
    Raw,
    /// `DLT_LINUX_SLL`: 16 bytes of Linux cooked header.
    Sll,
    /// `DLT_SLL2`: 20 bytes of Linux cooked header, version 2.
    Sll2,
    /// `DLT_NULL`: 4 bytes of address family in the byte order of the machine that captured; here little-endian.
    Null,
    /// `DLT_NULL` captured by a big-endian machine.
    NullBigEndian,
    /// `DLT_LOOP`: 4 bytes of address family in network byte order.
    Loop,
    /// A packet socket on any interface at once: the program runs in the kernel, finds headers through `SKF_NET_OFF`
    /// and `SKF_LL_OFF`, and reads ethertype, VLAN tag, packet type and interface from the kernel's own records.
    Kernel,
}

impl Link {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Ethernet,
        Self::Raw,
        Self::Sll,
        Self::Sll2,
        Self::Null,
        Self::NullBigEndian,
        Self::Loop,
        Self::Kernel,
    ];

    /// For the frames of a capture file; `None` for link types that filters are not made for.
    pub fn of(link_type: LinkType, big_endian: bool) -> Option<Self> {
        Some(match link_type {
            LinkType::ETHERNET => Self::Ethernet,
            LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => Self::Raw,
            LinkType::SLL => Self::Sll,
            LinkType::SLL2 => Self::Sll2,
            LinkType::NULL if big_endian => Self::NullBigEndian,
            LinkType::NULL => Self::Null,
            LinkType::LOOP => Self::Loop,
            _ => return None,
        })
    }
}

/// What a program returns for a packet that passes: how many bytes of it to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snaplen {
    /// So many bytes.
    Fixed(u32),
    /// Up to the end of the layer-4 header, and so many bytes more.
    Headers {
        /// Bytes behind the layer-4 header.
        extra: u32,
    },
}

/// Compiles an expression; the empty one passes everything.
///
/// # Errors
/// The first refusal of any pass.
pub fn compile(text: &str, options: &Options<'_>) -> Result<Program, Error> {
    let tree = resolve::resolve(text, options.names)?;
    let mut graph = lower::lower(&tree, options)?;
    if options.optimise {
        if is_optimised_by_libpcap(&tree) {
            optimise::optimise(&mut graph).map_err(|error| of_all(text, error))?;
        } else {
            optimise::tidy(&mut graph);
        }
    }
    emit::emit(&graph)
}

/// A refusal that has no place of its own is about the whole expression.
fn of_all(text: &str, mut error: Error) -> Error {
    if error.span.is_empty() {
        let start = text.len() - text.trim_start().len();
        error.span = start..text.trim_end().len().max(start);
    }
    error
}

/// Whether libpcap optimises this, and so refuses it if no packet can pass and takes out loads that nobody needs. It
/// does not where a program has loops or moves headers by what it reads.
fn is_optimised_by_libpcap(tree: &Tree) -> bool {
    !tree.steps.iter().any(|step| {
        matches!(step.op, Op::Test(Test::ProtocolChain { .. } | Test::Geneve(_) | Test::Vxlan(_)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::Skb;

    fn options(names: &Names) -> Options<'_> {
        Options { link: Link::Ethernet, snaplen: Snaplen::Fixed(1), optimise: true, netmask: 0, names }
    }

    /// libpcap 1.10.3 says of the first that it rejects all packets, and finds only port 80 by the second.
    #[test]
    fn what_is_said_twice_holds_once() {
        let (names, net) = (Names::default(), "ip src net 0.0.0.0/8");
        let options = options(&names);
        let once = compile(net, &options).unwrap();
        for again in [format!("{net} and {net}"), format!("{net} and ({net} or tcp port 80)")] {
            assert_eq!(compile(&again, &options).as_ref(), Ok(&once), "{again}");
        }
    }

    /// libpcap 1.10.3 lets all of IPv4 pass.
    #[test]
    fn a_mask_of_all_bits_does_not_hide_a_zero() {
        let names = Names::default();
        let program = compile("ip[16:4] & 0xffffffff != 0", &options(&names)).unwrap();
        let mut frame = [0; 34];
        (frame[12], frame[14]) = (8, 0x45);
        assert_eq!(program.run(&Skb::of(&frame)), 0, "{program}");
        frame[33] = 1;
        assert_eq!(program.run(&Skb::of(&frame)), 1, "{program}");
    }

    #[test]
    fn what_excludes_itself_is_marked_whole() {
        let names = Names::default();
        let options = options(&names);
        assert_eq!(compile(" ip and ip6 ", &options).unwrap_err().span, 1..11);
    }
}
