//! Writes the inputs that fuzzing starts from: `seeds DIRECTORY` fills `DIRECTORY/<target>/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gannet_fuzzing::PCAP_MAGICS;
use gannet_packet::{LinkType, PacketType, Timestamp};
use gannet_pcap::{classic, ng};
use gannet_testkit::block::{BlockBuilder, BlockFrame};
use gannet_testkit::random::Random;
use gannet_testkit::shape::{Lane, Network, Shape, Tag, Transport};

fn main() -> io::Result<()> {
    let root = PathBuf::from(std::env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?);
    let frames = frames();
    for (index, (frame, network_at)) in frames.iter().enumerate() {
        // In front of a frame are two bytes that choose how it is taken.
        write(&root, "frame", index, &[&[0, 0], &frame[..]].concat())?;
        let protocol = [frame[network_at - 2], frame[network_at - 1]];
        write(&root, "fanout", index, &[&[15, protocol[0], protocol[1]], &frame[*network_at..]].concat())?;
    }
    for (index, magic) in PCAP_MAGICS.iter().enumerate() {
        let file = pcap(&frames, *magic);
        let selector = [(index as u8) << 1];
        write(&root, "pcap", index, &[&selector, &file[4..]].concat())?;
        write(&root, "repair", index, &file)?;
    }
    let file = pcapng(&frames);
    write(&root, "pcapng", 0, &file[4..])?;
    for (index, (reserve, mac_len)) in [(0, 14), (4, 0), (6, 14)].into_iter().enumerate() {
        let block = block(&frames, reserve, mac_len);
        write(&root, "block", index, &block)?;
        write(&root, "inplace", index, &block)?;
    }
    for (index, script) in conversations().iter().enumerate() {
        write(&root, "flow", index, script)?;
    }
    for (index, frame) in tunnels(&frames[0].0).iter().enumerate() {
        write(&root, "frame", frames.len() + index, &[&[0, 0], &frame[..]].concat())?;
    }
    for (index, script) in fragments().iter().enumerate() {
        write(&root, "fragments", index, script)?;
    }
    for (index, hello) in hellos().iter().enumerate() {
        write(&root, "tls", index, &[&[index as u8 * 50], &hello[..]].concat())?;
    }
    for (index, (client, server)) in HTTP.iter().enumerate() {
        let split = (client.len() as u16).to_be_bytes();
        let sizes = [0, 255, 7, 30, 1, 255, 99, 2];
        write(
            &root,
            "http",
            index,
            &[&[0, 0], &split[..], &sizes, client.as_bytes(), server.as_bytes()].concat(),
        )?;
    }
    for (index, expression) in EXPRESSIONS.iter().enumerate() {
        write(&root, "filter", index, expression.as_bytes())?;
    }
    // The body's six bytes, instructions of five, a packet.
    for (index, (frame, _)) in frames.iter().enumerate() {
        let code: Vec<u8> = (0..60).map(|step: u8| step.wrapping_mul(37).wrapping_add(index as u8)).collect();
        write(&root, "machine", index, &[&[12, 0, 14, 40, index as u8, 1], &code[..], frame].concat())?;
    }
    // What a crash leaves: whole, cut in the middle, followed by zeros.
    write(&root, "repair", 10, &file)?;
    write(&root, "repair", 11, &file[..file.len() / 2 + 1])?;
    write(&root, "repair", 12, &[&file[..], &[0; 4_096]].concat())
}

fn write(root: &Path, target: &str, index: usize, bytes: &[u8]) -> io::Result<()> {
    let directory = root.join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(format!("seed-{index:02}")), bytes)
}

/// One frame of each shape, with the offset of its network header.
fn frames() -> Vec<(Vec<u8>, usize)> {
    let tag = |tpid, vid| Tag { tpid, pcp: 5, dei: true, vid };
    let mut frames = Vec::new();
    for tags in [vec![], vec![tag(0x8100, 7)], vec![tag(0x88a8, 7), tag(0x8100, 9)]] {
        for vxlan in [None, Some(42)] {
            for network in [Network::V4, Network::V6] {
                for transport in [Transport::Udp, Transport::Tcp] {
                    let network_at = 14 + 4 * tags.len();
                    let shape = Shape { tags: tags.clone(), vxlan, network, transport, ..Shape::default() };
                    let lane = Lane::new(frames.len() as u32, frames.len() % 2 == 1);
                    let mut template = shape.template(lane, 0, &mut Random::new(1));
                    template.number(frames.len() as u64);
                    frames.push((template.bytes().to_vec(), network_at));
                }
            }
        }
    }
    frames
}

/// A frame in tunnels of other kinds than those of [`Shape`].
fn tunnels(frame: &[u8]) -> Vec<Vec<u8>> {
    let packet = &frame[14..];
    let ethernet =
        |ether_type: u16, payload: &[u8]| [&frame[..12], &ether_type.to_be_bytes(), payload].concat();
    let ip = |protocol: u8, payload: &[&[u8]]| {
        let payload = payload.concat();
        let mut header = [0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        ethernet(0x0800, &[&header[..], &payload].concat())
    };
    let udp = |port: u16, payload: &[&[u8]]| {
        let payload = payload.concat();
        let mut header = [0xc0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&port.to_be_bytes());
        header[4..6].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
        ip(17, &[&header, &payload])
    };
    let [high, low] = (packet.len() as u16).to_be_bytes();
    let [ppp_high, ppp_low] = (2 + packet.len() as u16).to_be_bytes();
    vec![
        ethernet(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64], packet].concat()),
        ethernet(0x8847, &[&[0, 2, 1, 64, 0, 0, 0, 7], frame].concat()),
        ethernet(0x8864, &[&[0x11, 0, 0, 9, ppp_high, ppp_low, 0, 0x21], packet].concat()),
        ip(4, &[packet]),
        ip(97, &[&[0x30, 0], frame]),
        ip(47, &[&[0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1], packet]),
        ip(47, &[&[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 4, 4, 10, 0, 0, 9, 0, 0, 0, 0], packet]),
        ip(47, &[&[0x20, 0, 0x65, 0x58, 0, 0, 5, 1], frame]),
        ip(47, &[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 5, 0, 0, 0, 0], frame]),
        ip(47, &[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0], frame]),
        ip(
            47,
            &[&[0x30, 0x81, 0x88, 0x0b, ppp_high, ppp_low, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x21], packet],
        ),
        udp(4789, &[&[0x0c, 0, 0, 1, 0, 0, 42, 0], packet]),
        udp(6081, &[&[1, 0, 0x65, 0x58, 0, 0, 42, 0, 1, 2, 3, 0], frame]),
        udp(2152, &[&[0x30, 255, high, low, 0, 0, 0, 9], packet]),
        udp(2152, &[&[0x34, 255, high, low.wrapping_add(8), 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 16, 9, 0], packet]),
    ]
}

/// Fragments in the six bytes for each that `gannet_flow::fuzz_fragments` reads, behind its choice of limits: kind, id,
/// offset, length, where the contents are taken from, pace.
fn fragments() -> Vec<Vec<u8>> {
    let script = |limits: [u8; 2], steps: &[[u8; 6]]| [&limits[..], steps.as_flattened()].concat();
    // Kinds: 1 is IPv6, 16 is followed by more, 64 carries IPv4.
    vec![
        script([0xff, 0], &[[0, 1, 4, 16, 0, 1], [0x10, 1, 2, 16, 4, 1], [0x10, 1, 0, 16, 8, 1], [15; 6]]),
        script([0xff, 0], &[[0x11, 1, 0, 24, 0, 1], [1, 1, 3, 9, 4, 1], [0x11, 1, 3, 8, 0, 1]]),
        script([0x0a, 2], &[[0x50, 0, 0, 8, 0, 60], [0x40, 0, 1, 7, 0, 60], [0x12, 2, 1, 8, 0, 0xc1]]),
    ]
}

/// TLS hellos: of a client in one record and in many, of servers of TLS 1.2 and 1.3.
fn hellos() -> Vec<Vec<u8>> {
    let block = |size: usize, bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[4 - size..], bytes].concat();
    let extension = |kind: u16, value: &[u8]| [&kind.to_be_bytes()[..], &block(2, value)].concat();
    let records = |message: &[u8], len: usize| {
        message.chunks(len).flat_map(|part| [&[22, 3, 1][..], &block(2, part)].concat()).collect::<Vec<u8>>()
    };
    let names = block(2, &[&[0][..], &block(2, b"www.example.com")].concat());
    let protocols = block(2, &[block(1, b"h2"), block(1, b"http/1.1")].concat());
    let versions = block(1, &[0x7a, 0x7a, 3, 4, 3, 3]);
    let client =
        [extension(0x0a0a, &[]), extension(0, &names), extension(16, &protocols), extension(43, &versions)];
    let client = [
        &[3, 3][..],
        &[7; 32],
        &block(1, &[9; 32]),
        &block(2, &[0x13, 1, 0x13, 2]),
        &block(1, &[0]),
        &block(2, &client.concat()),
    ];
    let client = [&[1][..], &block(3, &client.concat())].concat();
    let server = |extension: &[u8]| {
        let body = [&[3, 3][..], &[8; 32], &block(1, &[]), &[0x13, 1, 0], &block(2, extension)].concat();
        records(&[&[2][..], &block(3, &body)].concat(), 1 << 14)
    };
    let chosen = extension(16, &block(2, &block(1, b"h2")));
    vec![records(&client, 1 << 14), records(&client, 50), server(&chosen), server(&extension(43, &[3, 4]))]
}

/// Conversations in the eight bytes for each segment that `gannet_flow::fuzz` reads, behind its choice of limits.
fn conversations() -> Vec<Vec<u8>> {
    let (client, server) = (0, 4);
    let (syn, ack, fin, rst) = (2, 16, 17, 20);
    let step = |from: u8, flags: u8, sequence: u8, acknowledges: u8, len: u8| {
        [from, flags, 0, sequence, 0, acknowledges, len, 1]
    };
    let tick = [63, 0, 0, 0, 0, 0, 0, 127];
    let handshake = [
        step(client, syn | 0x80, 0, 0, 0),
        step(server, syn | ack | 0x80, 0, 1, 0),
        step(client, ack, 1, 1, 0),
    ];
    let orderly = [
        step(client, ack, 1, 1, 50),
        step(server, ack, 1, 51, 99),
        step(server, fin, 100, 51, 20),
        step(client, fin, 51, 121, 0),
    ];
    let disorderly = [
        step(server, ack, 101, 1, 99),
        step(client, ack, 11, 200, 30),
        tick,
        step(server, ack, 1, 41, 150),
        step(client, rst, 41, 200, 0),
    ];
    let script =
        |limits: [u8; 2], parts: &[&[[u8; 8]]]| [&limits[..], parts.concat().as_flattened()].concat();
    vec![
        script([7, 1], &[&handshake, &orderly, &[tick], &handshake]),
        script([15, 0], &[&handshake, &disorderly]),
        script([0, 31], &[&disorderly, &orderly]),
    ]
}

fn pcap(frames: &[(Vec<u8>, usize)], magic: u32) -> Vec<u8> {
    let mut file = classic::file_header(classic::Precision::Micro, LinkType::ETHERNET, 65_535).to_vec();
    file[..4].copy_from_slice(&magic.to_le_bytes());
    for (frame, _) in frames.iter().take(4) {
        let at = file.len();
        file.resize(at + 16 + frame.len(), 0);
        let length = frame.len() as u32;
        classic::write_record(&mut file[at..], classic::Precision::Micro, Timestamp(1), length, frame);
    }
    file
}

fn pcapng(frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut file = Vec::new();
    ng::section_header(&mut file, &ng::Section::default());
    ng::interface_description(&mut file, &ng::Interface::new(LinkType::ETHERNET, 65_535));
    for (frame, _) in frames.iter().take(4) {
        let at = file.len();
        file.resize(at + ng::enhanced_packet_len(frame.len(), true), 0);
        let flags = ng::epb_flags(PacketType::Outgoing, true, false, false);
        let length = frame.len() as u32;
        ng::write_enhanced_packet(&mut file[at..], 0, Timestamp(1), length, Some(flags), frame);
    }
    ng::interface_statistics(&mut file, 0, Timestamp(2), &ng::Statistics::default());
    file
}

fn block(frames: &[(Vec<u8>, usize)], reserve: usize, mac_len: usize) -> Vec<u8> {
    let mut builder = BlockBuilder::new(4_096, reserve);
    for (turn, (frame, _)) in frames.iter().enumerate() {
        let vlan = (turn % 3 == 1).then_some((0x8100, 0xb007));
        let data = &frame[14 - mac_len..];
        let arphrd = if mac_len == 0 { 65_534 } else { 1 };
        builder.push(&BlockFrame {
            vlan,
            mac_len,
            hardware_type: arphrd,
            ..BlockFrame::ethernet(data, (1, 2))
        });
    }
    builder.finish(false)
}

/// A client's stream and a server's.
const HTTP: [(&str, &str); 4] = [
    (
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 204 No Content\r\n\r\n",
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: z\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
    ),
    ("GET / HTTP/1.0\nX: a\n b\n\n", "HTTP/1.0 200\n\nup to the end"),
    (
        "CONNECT a:443 HTTP/1.1\r\n\r\n\u{16}\u{3}\u{1}",
        "HTTP/1.1 407 No\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    ),
];

/// Expressions from all corners of the language.
const EXPRESSIONS: [&str; 16] = [
    "tcp port 80 or 443",
    "src net 10.0.0.0/8 and not dst host 10.0.0.1",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "vlan 7 and vlan and ip6 host 2001:db8::1",
    "ether host 02:00:00:00:00:01 or ether multicast",
    "ip[2:2] - ((ip[0] & 0xf) << 2) > (len >> 1) * -3",
    "mpls 1000 and mpls and udp portrange 5000-6000",
    "pppoes 5 and ip6 protochain 6",
    "geneve 9 and icmp[icmptype] = icmp-echo",
    "vxlan and arp src host 10.1.2.3",
    "less 100 || greater 1500 && ! (inbound or ifindex 3)",
    "ip proto \\tcp and ether proto 0x86dd",
    "isis or llc u or decnet src 10.15",
    "ip broadcast or ip6 multicast",
    "net 192.168.1 mask 255.255.255.0 and proto 47",
    "4\n48 0 0 9\n21 0 1 6\n6 0 0 1\n6 0 0 0\n",
];
