//! Expressions in words: what was understood, with everything written out that the language lets one leave away.

use std::fmt::Write as _;

use super::words;
use crate::tree::{
    Arith, Arithmetic, ByteOperation, Direction, Llc, Network, Op, Ports, Protocol, Relation, Test,
    Transport, Tree, Value,
};

/// The expression as an indented list: a line for each primitive, and for each "all of", "any of" and "not" above them.
pub fn tree(tree: &Tree) -> String {
    let mut arena = Arena::default();
    // What the steps have left so far, as in a run of the postfix.
    let mut stack: Vec<usize> = Vec::new();
    for step in &tree.steps {
        let node = match &step.op {
            Op::Test(test) => arena.add(Kind::Test(describe(test)), Vec::new()),
            Op::Not => {
                let operand = stack.pop();
                arena.add(Kind::Not, operand.into_iter().collect())
            }
            joining => {
                let (right, left) = (stack.pop(), stack.pop());
                let kind = if *joining == Op::And { Kind::All } else { Kind::Any };
                arena.join(kind, left.into_iter().chain(right))
            }
        };
        stack.push(node);
    }
    match stack.pop() {
        Some(root) => arena.print(root),
        None => "every packet\n".to_owned(),
    }
}

/// The nodes of a tree; children are numbers, so nothing recurses however deep it is.
#[derive(Default)]
struct Arena {
    nodes: Vec<(Kind, Vec<usize>)>,
}

#[derive(PartialEq)]
enum Kind {
    Test(String),
    Not,
    All,
    Any,
}

impl Arena {
    fn add(&mut self, kind: Kind, children: Vec<usize>) -> usize {
        self.nodes.push((kind, children));
        self.nodes.len() - 1
    }

    /// `a and b and c` is one list of three.
    fn join(&mut self, kind: Kind, operands: impl Iterator<Item = usize>) -> usize {
        let mut children = Vec::new();
        for operand in operands {
            match self.nodes.get_mut(operand) {
                Some((same, of_operand)) if *same == kind && children.is_empty() => {
                    children = std::mem::take(of_operand);
                }
                Some((same, of_operand)) if *same == kind => children.append(of_operand),
                _ => children.push(operand),
            }
        }
        self.add(kind, children)
    }

    fn print(&self, root: usize) -> String {
        let mut out = String::new();
        let mut todo = vec![(0, root)];
        while let Some((depth, node)) = todo.pop() {
            let Some((kind, children)) = self.nodes.get(node) else { continue };
            let line = match kind {
                Kind::Test(text) => text,
                Kind::Not => "not:",
                Kind::All => "all of:",
                Kind::Any => "any of:",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:1$}{line}", "", 2 * DEEPEST.min(depth));
            todo.extend(children.iter().rev().map(|&child| (depth + 1, child)));
        }
        out
    }
}

fn describe(test: &Test) -> String {
    match test {
        Test::Protocol(protocol) => name(*protocol).to_owned(),
        Test::ProtocolNumber { within, number } => protocol_number(*within, *number),
        Test::ProtocolChain { within, number } => {
            let layer = within.map_or("IPv4 or IPv6", name);
            format!("{layer} whose chain of headers has {}", words::protocol(*number))
        }
        Test::Address { within, direction, networks } => {
            let addresses: Vec<_> = networks.iter().map(network).collect();
            let layer = within.map_or_else(|| layers_of(networks), name);
            format!("{layer} with {} {}", end(*direction, "address"), addresses.join(" or "))
        }
        Test::LinkAddress { direction, address } => {
            format!("frame with {} {}", end(*direction, "MAC address"), words::mac(address))
        }
        Test::DecnetAddress { direction, address } => {
            format!("DECnet with {} {}.{}", end(*direction, "address"), address >> 10, address & 0x3ff)
        }
        Test::Gateway { within, link_address, addresses } => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            format!(
                "{} through the machine with MAC address {}, neither from nor to {}",
                within.map_or("IPv4, ARP or RARP", name),
                words::mac(link_address),
                addresses.join(" or ")
            )
        }
        Test::Port { transport, direction, ports } => {
            let transport = match transport {
                None => "TCP, UDP or SCTP",
                Some(Transport::Tcp) => "TCP",
                Some(Transport::Udp) => "UDP",
                Some(Transport::Sctp) => "SCTP",
            };
            let ports = match ports {
                Ports::One(port) => format!("{port}"),
                Ports::Range(low, high) => format!("from {low} to {high}"),
            };
            format!("{transport} over IPv4 or IPv6 with {} {ports}", end(*direction, "port"))
        }
        Test::Broadcast(within) => format!("{} broadcast", within.map_or("link-layer", name)),
        Test::Multicast(within) => format!("{} multicast", within.map_or("link-layer", name)),
        Test::Less(length) => format!("at most {length} bytes long"),
        Test::Greater(length) => format!("at least {length} bytes long"),
        Test::Byte { offset, operation, value } => {
            format!("byte {offset} of the frame {} {value}", byte_operation(*operation))
        }
        Test::Inbound => "received by this machine".to_owned(),
        Test::Outbound => "sent by this machine".to_owned(),
        Test::InterfaceIndex(index) => format!("on the interface with index {index}"),
        Test::Vlan(id) => inside(&numbered("VLAN tag", "id", *id)),
        Test::Mpls(label) => inside(&numbered("MPLS label", "value", *label)),
        Test::PppoeDiscovery => "PPPoE discovery".to_owned(),
        Test::PppoeSession(id) => inside(&numbered("PPPoE session", "id", *id)),
        Test::Geneve(vni) => inside(&numbered("Geneve (UDP port 6081)", "VNI", *vni)),
        Test::Vxlan(vni) => inside(&numbered("VXLAN (UDP port 4789)", "VNI", *vni)),
        Test::Llc(kind) => llc(*kind),
        Test::Relation { relation, left, right } => {
            format!("{} {} {}", arithmetic(left), sign(*relation), arithmetic(right))
        }
    }
}

/// In which headers such addresses stand.
fn layers_of(networks: &[Network]) -> &'static str {
    let is_v4 = |network: &Network| matches!(network, Network::V4 { .. });
    if networks.iter().all(is_v4) {
        "IPv4, ARP or RARP"
    } else if networks.iter().any(is_v4) {
        "IPv4, IPv6, ARP or RARP"
    } else {
        "IPv6"
    }
}

fn byte_operation(operation: ByteOperation) -> &'static str {
    match operation {
        ByteOperation::Equal => "is",
        ByteOperation::Less => "is less than",
        ByteOperation::Greater => "is greater than",
        ByteOperation::And => "has one of the bits of",
        ByteOperation::Or => "is not 0 when joined with",
    }
}

fn llc(kind: Option<Llc>) -> String {
    match kind {
        None => "LLC frame".to_owned(),
        Some(Llc::Information) => "LLC information frame".to_owned(),
        Some(Llc::Supervisory) => "LLC supervisory frame".to_owned(),
        Some(Llc::Unnumbered) => "LLC unnumbered frame".to_owned(),
        Some(Llc::SupervisoryKind(control)) => format!("LLC supervisory frame of kind {control:#04x}"),
        Some(Llc::UnnumberedKind(control)) => format!("LLC unnumbered frame of kind {control:#04x}"),
    }
}

fn sign(relation: Relation) -> &'static str {
    match relation {
        Relation::Greater => ">",
        Relation::GreaterOrEqual => ">=",
        Relation::Equal => "=",
        Relation::NotEqual => "!=",
        Relation::Less => "<",
        Relation::LessOrEqual => "<=",
    }
}

fn numbered(what: &str, field: &str, number: Option<impl Into<u32>>) -> String {
    match number {
        None => what.to_owned(),
        Some(number) => format!("{what} with {field} {}", number.into()),
    }
}

/// These change what the words behind them mean.
fn inside(primitive: &str) -> String {
    format!("{primitive} (whatever is said behind it is about what is inside)")
}

fn protocol_number(within: Option<Protocol>, number: u32) -> String {
    match within {
        None => format!("IPv4 or IPv6 carrying {}", words::protocol(number)),
        Some(Protocol::Link) => format!("frame carrying {}", words::ethertype(number)),
        Some(layer @ (Protocol::Ip | Protocol::Ip6)) => {
            format!("{} carrying {}", name(layer), words::protocol(number))
        }
        Some(layer) => format!("{} of type {number:#x}", name(layer)),
    }
}

fn end(direction: Direction, what: &str) -> String {
    match direction {
        Direction::Source => format!("source {what}"),
        Direction::Destination => format!("destination {what}"),
        Direction::Either => format!("source or destination {what}"),
        Direction::Both => format!("source and destination {what}"),
    }
}

fn network(network: &Network) -> String {
    match *network {
        Network::V4 { address, mask } => {
            let bits = mask.to_bits();
            match (bits.leading_ones(), bits.count_ones()) {
                (32, _) => address.to_string(),
                (leading, all) if leading == all => format!("{address}/{leading}"),
                _ => format!("{address} mask {mask}"),
            }
        }
        Network::V6 { address, prefix: 128 } => address.to_string(),
        Network::V6 { address, prefix } => format!("{address}/{prefix}"),
    }
}

/// Arithmetic as one would write it, in brackets where it joins.
fn arithmetic(arithmetic: &Arithmetic) -> String {
    let mut stack: Vec<String> = Vec::new();
    for (index, step) in arithmetic.steps.iter().enumerate() {
        let value = match step {
            Value::Number(number) if *number > 0xffff => format!("{number:#x}"),
            Value::Number(number) => number.to_string(),
            Value::Length => "length of the packet".to_owned(),
            Value::Load { protocol, size, .. } => {
                let offset = stack.pop().unwrap_or_default();
                let end = match (offset.parse::<u32>(), size) {
                    (Ok(_), 1) => format!("byte {offset}"),
                    (Ok(first), size) => {
                        format!("bytes {first} to {}", u64::from(first) + u64::from(*size).saturating_sub(1))
                    }
                    (Err(_), size) => format!("the {size} bytes at {offset}"),
                };
                format!("{end} of {}", name(*protocol))
            }
            Value::Negate => format!("-({})", stack.pop().unwrap_or_default()),
            Value::Binary(operator) => {
                let (right, left) = (stack.pop().unwrap_or_default(), stack.pop().unwrap_or_default());
                let sign = match operator {
                    Arith::Add => "+",
                    Arith::Sub => "-",
                    Arith::Mul => "*",
                    Arith::Div => "/",
                    Arith::Mod => "%",
                    Arith::And => "&",
                    Arith::Or => "|",
                    Arith::Xor => "^",
                    Arith::ShiftLeft => "<<",
                    Arith::ShiftRight => ">>",
                };
                let last = index + 1 == arithmetic.steps.len();
                if last { format!("{left} {sign} {right}") } else { format!("({left} {sign} {right})") }
            }
        };
        // Nobody reads a line longer than this, and joining would take time with the square of the expression.
        let shown = if value.len() > LONGEST { "...".to_owned() } else { value };
        stack.push(shown);
    }
    stack.pop().unwrap_or_default()
}

/// How a sentence calls a protocol.
fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Link => "the link layer",
        Protocol::Ip => "IPv4",
        Protocol::Ip6 => "IPv6",
        Protocol::Arp => "ARP",
        Protocol::Rarp => "RARP",
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
        Protocol::Icmp => "ICMP",
        Protocol::Icmp6 => "ICMPv6",
        Protocol::Igmp => "IGMP",
        Protocol::Igrp => "IGRP",
        Protocol::Pim => "PIM",
        Protocol::Vrrp => "VRRP",
        Protocol::Carp => "CARP",
        Protocol::Ah => "AH",
        Protocol::Esp => "ESP",
        Protocol::Atalk => "AppleTalk",
        Protocol::Aarp => "AppleTalk ARP",
        Protocol::Decnet => "DECnet",
        Protocol::Lat => "DEC LAT",
        Protocol::Sca => "DEC SCA",
        Protocol::Moprc => "DEC MOP remote console",
        Protocol::Mopdl => "DEC MOP dump and load",
        Protocol::Iso => "OSI",
        Protocol::Esis => "ES-IS",
        Protocol::Isis => "IS-IS",
        Protocol::IsisLevel1 => "IS-IS level 1",
        Protocol::IsisLevel2 => "IS-IS level 2",
        Protocol::IsisHello => "IS-IS hello",
        Protocol::IsisLinkState => "IS-IS link state",
        Protocol::IsisSequence => "IS-IS sequence numbers",
        Protocol::IsisCompleteSequence => "IS-IS complete sequence numbers",
        Protocol::IsisPartialSequence => "IS-IS partial sequence numbers",
        Protocol::Clnp => "CLNP",
        Protocol::Stp => "spanning tree",
        Protocol::Ipx => "IPX",
        Protocol::Netbeui => "NetBEUI",
        Protocol::Radio => "radio header",
    }
}

/// Levels that are indented; deeper ones stay at the last.
const DEEPEST: usize = 40;
/// Bytes of arithmetic that are shown.
const LONGEST: usize = 400;
