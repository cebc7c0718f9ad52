//! Header decoding against tshark: every frame of the shared captures, layer by layer.
//!
//! The captures are not part of this repository. They are looked for in `$GANNET_CORPUS`, else beside the
//! repository; without them the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use gannet_packet::{
    End, Frame, LayerKind, LinkType, Packet, PacketType, Side, Timestamp, Transport, TunnelKind,
};
use pcap_parser::{
    Block, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader, traits::PcapReaderIterator,
};

#[test]
fn every_frame_as_tshark_decodes_it() {
    let Some(corpus) = corpus() else {
        eprintln!(
            "SKIPPED: no captures at $GANNET_CORPUS or ../shared/data; header decoding was not compared"
        );
        return;
    };
    let mut tables = Vec::new();
    find_tables(&corpus.join("expected/decode"), &mut tables);
    tables.sort();
    let (mut frames, mut failures) = (0, Vec::new());
    for table in &tables {
        let name = table.strip_prefix(corpus.join("expected/decode")).unwrap().with_extension("");
        let capture = read_capture(&fs::read(corpus.join("pcaps").join(&name)).unwrap());
        let rows = read_table(&fs::read_to_string(table).unwrap());
        assert_eq!(capture.len(), rows.len(), "{}: frames", name.display());
        for (captured, row) in capture.iter().zip(&rows) {
            frames += 1;
            if let Err(what) = compare(captured, row) {
                failures.push(format!("{} frame {}: {what}", name.display(), row["frame.number"]));
            }
        }
    }
    assert!(frames > 100, "only {frames} frames in {}", corpus.display());
    assert!(failures.is_empty(), "{} of {frames} frames differ:\n{}", failures.len(), failures.join("\n"));
    eprintln!("{frames} frames of {} captures agree with tshark", tables.len());
}

/// A row of a table by column name.
type Row = HashMap<String, String>;

struct Captured {
    data: Vec<u8>,
    orig_len: u32,
    link_type: LinkType,
}

fn compare(captured: &Captured, row: &Row) -> Result<(), String> {
    let frame = Frame {
        data: &captured.data,
        timestamp: Timestamp(0),
        orig_len: captured.orig_len,
        link_type: captured.link_type,
        interface: 0,
        packet_type: PacketType::Host,
    };
    let packet = Packet::decode(&frame);
    same("frame.len", &captured.orig_len.to_string(), &row["frame.len"])?;
    same("frame.cap_len", &captured.data.len().to_string(), &row["frame.cap_len"])?;

    let ours: Vec<&str> = packet.layers().iter().filter_map(|layer| token(layer.kind)).collect();
    let theirs = followed(&row["frame.protocols"], &packet);
    same("layers", &ours.join(":"), &theirs.join(":"))?;
    if let Some(reason) = packet.malformed() {
        return Err(format!("malformed: {reason:?}"));
    }

    let data = &captured.data;
    let ipv4: Vec<usize> = offsets(&packet, LayerKind::Ipv4);
    let ipv6: Vec<usize> = offsets(&packet, LayerKind::Ipv6);
    let v4 = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&data[at..at + 4]).unwrap()).to_string();
    let v6 = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&data[at..at + 16]).unwrap());
    listed("ip.src", ipv4.iter().map(|at| v4(at + 12)), row)?;
    listed("ip.dst", ipv4.iter().map(|at| v4(at + 16)), row)?;
    listed("ip.proto", ipv4.iter().map(|at| data[at + 9].to_string()), row)?;
    // tshark writes addresses with embedded zeros its own way: compare what they mean.
    for (column, offset) in [("ipv6.src", 8), ("ipv6.dst", 24)] {
        let expected = row[column].split('|').filter_map(|text| text.parse::<Ipv6Addr>().ok());
        let ours = ipv6.iter().map(|at| v6(at + offset));
        if let Some((a, b)) = ours.zip(expected).find(|(a, b)| a != b) {
            return Err(format!("{column}: {a}, tshark {b}"));
        }
    }
    // The tags that are 802.1Q: tshark lists the id of an 802.1ad tag elsewhere.
    let vlans = offsets(&packet, LayerKind::Vlan).into_iter().filter(|at| data[at - 2..*at] != [0x88, 0xa8]);
    compare_tunnel(&packet, row)?;
    let id = |at: usize| u16::from_be_bytes([data[at] & 0xf, data[at + 1]]);
    listed("vlan.id", vlans.map(|at| id(at).to_string()), row)?;

    compare_transport(&packet, row)
}

/// The number of the innermost tunnel, in whichever column it is.
fn compare_tunnel(packet: &Packet, row: &Row) -> Result<(), String> {
    // tshark shows the datagram's behind the fragment that completes it.
    if packet.end == End::Fragment {
        return Ok(());
    }
    let Some(tunnel) = packet.tunnel else {
        // Where no tunnel was opened there is none, but around packets that are not followed: PPP's own, ARP.
        let columns = ["vxlan.vni", "geneve.vni", "gtp.teid"];
        return columns.iter().try_for_each(|column| same(column, "", &row[*column]));
    };
    let column = match tunnel.kind {
        TunnelKind::Vxlan => "vxlan.vni",
        TunnelKind::Geneve => "geneve.vni",
        TunnelKind::Gtpu => "gtp.teid",
        TunnelKind::Pppoe => "pppoe.session_id",
        TunnelKind::Mpls => "mpls.label",
        _ => return Ok(()),
    };
    let theirs = last(&row[column]);
    let theirs = match theirs.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => theirs.parse().ok(),
    };
    same(column, &format!("{:?}", tunnel.id), &format!("{theirs:?}"))
}

fn compare_transport(packet: &Packet, row: &Row) -> Result<(), String> {
    let fragment = packet.ip.and_then(|ip| ip.fragment);
    if offsets(packet, LayerKind::Ipv6).is_empty() && packet.ip.is_some() {
        let number = packet.tunnels as usize;
        let (offset, more) = fragment.map_or((0, false), |f| (f.offset / 8, f.more));
        same("ip.frag_offset", &offset.to_string(), nth(&row["ip.frag_offset"], number))?;
        same("ip.flags.mf", &u8::from(more).to_string(), nth(&row["ip.flags.mf"], number))?;
    }
    let ports = packet.flow.map(|(key, side)| {
        let (from, to) = (key.endpoint(side), key.endpoint(Side::opposite(side)));
        (from.port.to_string(), to.port.to_string())
    });
    match packet.transport {
        Transport::Tcp(tcp) => {
            let (from, to) = ports.ok_or("TCP without a flow")?;
            same("tcp.srcport", &from, last(&row["tcp.srcport"]))?;
            same("tcp.dstport", &to, last(&row["tcp.dstport"]))?;
            same("tcp.seq_raw", &tcp.sequence.to_string(), last(&row["tcp.seq_raw"]))?;
            let flags = u16::from_str_radix(last(&row["tcp.flags"]).trim_start_matches("0x"), 16).unwrap();
            same("tcp.flags", &u16::from(tcp.flags.0).to_string(), &(flags & 0xff).to_string())?;
            same("tcp.len", &packet.payload.wire_len.to_string(), last(&row["tcp.len"]))
        }
        // Inside UDP tshark goes on to what is not followed here; ours is then not the last one.
        Transport::Udp => {
            let (from, to) = ports.ok_or("UDP without a flow")?;
            let number = offsets(packet, LayerKind::Udp).len() - 1;
            same("udp.srcport", &from, nth(&row["udp.srcport"], number))?;
            same("udp.dstport", &to, nth(&row["udp.dstport"], number))
        }
        Transport::Icmp { kind, .. } => same("icmp.type", &kind.to_string(), nth(&row["icmp.type"], 0)),
        Transport::Icmpv6 { kind, .. } => same("icmpv6.type", &kind.to_string(), nth(&row["icmpv6.type"], 0)),
        _ => Ok(()),
    }
}

fn offsets(packet: &Packet, kind: LayerKind) -> Vec<usize> {
    packet.layers().iter().filter(|layer| layer.kind == kind).map(|layer| usize::from(layer.offset)).collect()
}

/// tshark's layers as far as they are followed here.
fn followed<'a>(protocols: &'a str, packet: &Packet) -> Vec<&'a str> {
    let mut layers = Vec::new();
    for token in protocols.split(':') {
        match token {
            // Not layers of their own.
            "ethertype" => {}
            "ieee8021ad" => layers.push("vlan"),
            token if TOKENS.contains(&token) => {
                // The frame that completes a datagram shows the datagram's layers behind the fragment's.
                if packet.end == End::Fragment
                    && !matches!(token, "eth" | "vlan" | "ip" | "ipv6" | "ipv6.fraghdr")
                {
                    break;
                }
                layers.push(token);
                // What is behind these is data of theirs, such as the packet that an ICMP error quotes.
                if matches!(token, "icmp" | "icmpv6" | "tcp" | "arp") {
                    break;
                }
            }
            _ => {}
        }
    }
    layers
}

fn token(kind: LayerKind) -> Option<&'static str> {
    Some(match kind {
        LayerKind::Ethernet => "eth",
        LayerKind::LinuxCooked | LayerKind::LinuxCooked2 => "sll",
        LayerKind::Null => "null",
        LayerKind::Vlan => "vlan",
        LayerKind::Mpls => "mpls",
        LayerKind::Arp => "arp",
        LayerKind::Ipv4 => "ip",
        LayerKind::Ipv6 => "ipv6",
        LayerKind::HopByHop => "ipv6.hopopts",
        LayerKind::Routing => "ipv6.routing",
        LayerKind::FragmentHeader => "ipv6.fraghdr",
        LayerKind::DestinationOptions => "ipv6.dstopts",
        LayerKind::Authentication => "ah",
        LayerKind::Gre => "gre",
        LayerKind::Vxlan => "vxlan",
        LayerKind::Geneve => "geneve",
        LayerKind::Gtpu => "gtp",
        LayerKind::Pppoe => "pppoes",
        LayerKind::Ppp => "ppp",
        LayerKind::Tcp => "tcp",
        LayerKind::Udp => "udp",
        LayerKind::Sctp => "sctp",
        LayerKind::Icmp => "icmp",
        LayerKind::Icmpv6 => "icmpv6",
        _ => return None,
    })
}

const TOKENS: [&str; 23] = [
    "eth",
    "sll",
    "null",
    "vlan",
    "mpls",
    "arp",
    "ip",
    "ipv6",
    "ipv6.hopopts",
    "ipv6.routing",
    "ipv6.fraghdr",
    "ipv6.dstopts",
    "ah",
    "gre",
    "vxlan",
    "geneve",
    "gtp",
    "pppoes",
    "ppp",
    "tcp",
    "udp",
    "icmp",
    "icmpv6",
];

fn same(what: &str, ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: {ours:?}, tshark {theirs:?}")) }
}

/// Compares our values with as many of tshark's; tshark may list more, from layers that are not followed.
fn listed(column: &str, ours: impl Iterator<Item = String>, row: &Row) -> Result<(), String> {
    let theirs: Vec<&str> = row[column].split('|').collect();
    for (number, value) in ours.enumerate() {
        same(column, &value, theirs.get(number).copied().unwrap_or_default())?;
    }
    Ok(())
}

fn nth(joined: &str, number: usize) -> &str {
    joined.split('|').nth(number).unwrap_or_default()
}

fn last(joined: &str) -> &str {
    joined.rsplit('|').next().unwrap_or_default()
}

fn corpus() -> Option<PathBuf> {
    let root = match std::env::var_os("GANNET_CORPUS") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    root.join("expected/decode").is_dir().then_some(root)
}

fn find_tables(folder: &Path, tables: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_tables(&path, tables);
        } else if path.extension().is_some_and(|extension| extension == "tsv") {
            tables.push(path);
        }
    }
}

fn read_table(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| {
            let values = line.split('\t').map(str::to_owned).chain(std::iter::repeat(String::new()));
            header.iter().map(|name| (*name).to_owned()).zip(values).collect()
        })
        .collect()
}

/// Reads a capture with a reader that is not ours.
fn read_capture(bytes: &[u8]) -> Vec<Captured> {
    let mut frames = Vec::new();
    let mut interfaces: Vec<LinkType> = Vec::new();
    let link = |interfaces: &[LinkType], number: u32| interfaces[number as usize];
    let mut reader: Box<dyn PcapReaderIterator> = match bytes.get(..4) {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => Box::new(PcapNGReader::new(1 << 20, bytes).unwrap()),
        _ => Box::new(LegacyPcapReader::new(1 << 20, bytes).unwrap()),
    };
    loop {
        let used = match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        interfaces = vec![LinkType(header.network.0 as u16)];
                    }
                    PcapBlockOwned::Legacy(record) => frames.push(Captured {
                        data: record.data.to_vec(),
                        orig_len: record.origlen,
                        link_type: link(&interfaces, 0),
                    }),
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        interfaces.push(LinkType(interface.linktype.0 as u16));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(record)) => frames.push(Captured {
                        data: record.data[..record.caplen as usize].to_vec(),
                        orig_len: record.origlen,
                        link_type: link(&interfaces, record.if_id),
                    }),
                    PcapBlockOwned::NG(Block::SimplePacket(record)) => frames.push(Captured {
                        data: record.data[..record.data.len().min(record.origlen as usize)].to_vec(),
                        orig_len: record.origlen,
                        link_type: link(&interfaces, 0),
                    }),
                    PcapBlockOwned::NG(_) => {}
                }
                used
            }
            Err(PcapError::Eof) => return frames,
            Err(PcapError::Incomplete(_)) => {
                reader.refill().unwrap();
                continue;
            }
            Err(error) => panic!("cannot read the capture: {error:?}"),
        };
        reader.consume(used);
    }
}
