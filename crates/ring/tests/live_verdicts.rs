//! Programs for live sockets, run by the kernel on a tap device: received and sent, tagged and not.
//!
//! ```text
//!   device file ──► received ─┐                ┌─► witness: a ring without a filter, tells what the kernel knew of each packet
//!   tap0 ───────────► sent ───┼─► packet taps ─┼─► our program (`Link::Kernel`)   ─┐  per expression a socket each: what arrives there
//!   tap0.7 ─► sent, tagged ───┘                └─► libpcap's (`tcpdump -i tap0`) ──┘  is what our machine selects from the witness
//! ```
//!
//! Behind the last frame comes one that says so, and two sockets without a filter, opened first and last, wait for
//! it: the kernel hands a packet to all sockets in one go, so then every socket has had all of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use gannet_filter::{Link, Names, Options, Program, Skb, Snaplen, compile};
use gannet_packet::PacketType;
use gannet_ring::prelude::reject_all;
use gannet_ring::walk::{FrameHeader, FrameWalk};
use gannet_ring::{PacketSocket, ReceiveRing, RingConfig, Target, TimeSource};
use gannet_testkit::filters::expression::Expressions;
use gannet_testkit::filters::frame::Frames;
use gannet_testkit::filters::oracle::{Answer, compile_live};
use gannet_testkit::filters::shrink::split;
use gannet_testkit::lab::{self, Lab, Side, Tun};
use nix::sys::socket::{MsgFlags, recv, send};

/// Expressions at a time: a socket each.
const SOCKETS: usize = 80;

/// Frames per round; the receive buffer of a socket holds them all.
const FRAMES: usize = 150;

/// Rounds of other expressions and other frames.
const ROUNDS: u64 = 10;

/// Expressions that libpcap compiles too: a process each.
const SHARED_EXPRESSIONS: usize = 200;

/// The last frame: an ethertype for local experiments.
const LAST: [u8; 60] = {
    let mut frame = [0; 60];
    frame[0] = 0x02;
    frame[12] = 0x88;
    frame[13] = 0xb5;
    frame[14] = 0x47;
    frame
};

/// A packet and what the kernel knew of it.
struct Seen {
    header: FrameHeader,
    bytes: Vec<u8>,
}

impl Seen {
    fn skb(&self) -> Skb<'_> {
        Skb {
            bytes: &self.bytes,
            data: 0,
            network: self.header.network,
            len: self.header.orig_len,
            protocol: self.header.protocol,
            packet_type: self.header.packet_type,
            interface_index: self.header.ifindex as u32,
            hardware_type: self.header.hardware_type,
            vlan: self.header.vlan.map(|tag| gannet_filter::bpf::VlanTag { tpid: tag.tpid, tci: tag.tci }),
            ..Skb::default()
        }
    }

    /// What a socket with this program receives of it.
    fn selected(&self, program: &Program) -> Option<&[u8]> {
        let kept = program.run(&self.skb()) as usize;
        (kept > 0).then(|| &self.bytes[..kept.min(self.bytes.len())])
    }
}

/// The device and the ways onto it.
struct Wire<'a> {
    lab: &'a Lab,
    tap: Tun,
    /// Sends on the device itself, and on the VLAN devices above it.
    senders: Vec<PacketSocket>,
}

impl<'a> Wire<'a> {
    fn new(lab: &'a Lab) -> Self {
        let tap = lab.add_tap(Side::Receiver, "tap0").unwrap();
        let mut senders = vec![open(lab, "tap0", &reject_all())];
        for (name, kind) in [("tap0.7", "802.1Q id 7"), ("tap0.9", "802.1ad id 9")] {
            let words = format!("link add link tap0 name {name} type vlan proto {kind}");
            match lab.ip(Side::Receiver, &words) {
                Ok(_) => {
                    lab.ip(Side::Receiver, &format!("link set {name} up")).unwrap();
                    senders.push(open(lab, name, &reject_all()));
                }
                Err(error) if error.to_string().contains("Unknown device type") => {
                    let _ = writeln!(
                        io::stderr(),
                        "SKIPPED: no VLAN devices in this kernel, nothing is sent with a tag in the record"
                    );
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        Self { lab, tap, senders }
    }

    /// Sends two frames of three, then receives the others: at the same time they would arrive in another order at
    /// each socket. What the kernel refuses to send was never there.
    fn put_all(&self, frames: &[Vec<u8>]) {
        for (at, frame) in frames.iter().enumerate().filter(|(at, _)| at % 3 != 0) {
            let sender = &self.senders[at % self.senders.len()];
            let _ = send(sender.as_raw_fd(), frame, MsgFlags::empty());
        }
        for frame in frames.iter().step_by(3) {
            self.tap.receive(frame).unwrap();
        }
    }

    fn open(&self, program: &Program) -> PacketSocket {
        open(self.lab, "tap0", program)
    }
}

fn open(lab: &Lab, interface: &str, program: &Program) -> PacketSocket {
    let target = Target::Named(interface.to_owned());
    let socket = lab.enter(Side::Receiver, || PacketSocket::open(target)).unwrap().unwrap();
    socket.set_filter(program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    socket.bind().unwrap();
    socket
}

/// Everything that waits in a socket.
fn drain(socket: &PacketSocket) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let mut all = Vec::new();
    while let Ok(len) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        all.push(buffer[..len].to_vec());
    }
    all
}

fn wait_for_last(socket: &PacketSocket) {
    let start = Instant::now();
    while !drain(socket).iter().any(|bytes| bytes == &LAST) {
        assert!(start.elapsed() < Duration::from_secs(10), "the last frame does not arrive");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn witness(lab: &Lab) -> ReceiveRing {
    let config = RingConfig {
        ring_bytes: 4 << 20,
        block_bytes: 1 << 18,
        block_timeout: Duration::from_millis(5),
        promiscuous: false,
        time_source: TimeSource::Software,
    };
    let target = Target::Named("tap0".to_owned());
    lab.enter(Side::Receiver, || ReceiveRing::open(target, &config)).unwrap().unwrap()
}

/// What the witness saw, up to the last frame and without it.
fn testimony(ring: &mut ReceiveRing) -> Vec<Seen> {
    let (mut seen, start) = (Vec::new(), Instant::now());
    loop {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the witness has {} frames and no end",
            seen.len()
        );
        let Some(block) = ring.next_block() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let mut walk = FrameWalk::new(&block.descriptor());
        while let Some(header) = walk.next(block.area()) {
            let header = header.unwrap();
            let bytes = header.bytes(block.area()).to_vec();
            if bytes == LAST {
                return seen;
            }
            seen.push(Seen { header, bytes });
        }
    }
}

/// Runs programs in the kernel over frames of that seed: what the witness saw, and what each socket received.
fn run(wire: &Wire<'_>, seed: u64, programs: &[&Program]) -> (Vec<Seen>, Vec<Vec<Vec<u8>>>) {
    let everything = Program::constant(262_144);
    let mut ring = witness(wire.lab);
    let first = wire.open(&everything);
    let sockets: Vec<PacketSocket> = programs.iter().map(|program| wire.open(program)).collect();
    let last = wire.open(&everything);
    ring.open_filter(&everything).unwrap();
    let mut source = Frames::new(seed, Link::Kernel);
    let mut frames: Vec<Vec<u8>> = (0..FRAMES).map(|_| source.next_frame().bytes).collect();
    frames.retain(|bytes| (14..=1_400).contains(&bytes.len()));
    wire.put_all(&frames);
    wire.tap.receive(&LAST).unwrap();
    wait_for_last(&first);
    wait_for_last(&last);
    let mut received: Vec<_> = sockets.iter().map(drain).collect();
    for all in &mut received {
        all.retain(|bytes| !LAST.starts_with(bytes));
    }
    (testimony(&mut ring), received)
}

/// The first packet that a socket and our machine disagree about.
fn disagreement(program: &Program, seen: &[Seen], received: &[Vec<u8>]) -> Option<String> {
    let selected: Vec<(usize, &[u8])> = seen
        .iter()
        .enumerate()
        .filter_map(|(at, seen)| seen.selected(program).map(|bytes| (at, bytes)))
        .filter(|(_, bytes)| !LAST.starts_with(bytes))
        .collect();
    let same = |(&(_, ours), theirs): (&(usize, &[u8]), &Vec<u8>)| ours == theirs.as_slice();
    if selected.len() == received.len() && selected.iter().zip(received).all(same) {
        return None;
    }
    let at = selected
        .iter()
        .zip(received)
        .position(|pair| !same(pair))
        .unwrap_or(selected.len().min(received.len()));
    let packet = selected.get(at).map(|&(index, _)| &seen[index]);
    Some(format!(
        "packet {at} of {} that our machine selects ({} received): {:?}, {:02x?}\nthe kernel has {:02x?}\n{program}",
        selected.len(),
        received.len(),
        packet.map(|seen| seen.header),
        packet.map(|seen| &seen.bytes),
        received.get(at),
    ))
}

fn kernel_program(text: &str, round: u64, optimise: bool) -> Option<Program> {
    let snaplen =
        if round.is_multiple_of(3) { Snaplen::Headers { extra: 5 } } else { Snaplen::Fixed(262_144) };
    let names = Names::default();
    compile(text, &Options { link: Link::Kernel, snaplen, optimise, netmask: 0, names: &names }).ok()
}

#[test]
fn the_kernel_selects_what_our_machine_selects() {
    let Ok(()) = lab::require() else { return };
    let lab = Lab::new().unwrap();
    let wire = Wire::new(&lab);
    let mut expressions = Expressions::new(9, Link::Ethernet);
    let (mut verdicts, mut selected) = (0, 0);
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut programs = Vec::new();
        while programs.len() < SOCKETS {
            let text = expressions.next_expression();
            if let Some(program) = kernel_program(&text, round, round % 4 != 0) {
                programs.push((text, program));
            }
        }
        let all: Vec<&Program> = programs.iter().map(|(_, program)| program).collect();
        let (seen, received) = run(&wire, round, &all);
        for ((text, program), received) in programs.iter().zip(&received) {
            if let Some(detail) = disagreement(program, &seen, received) {
                panic!("round {round}, {text:?}: {detail}");
            }
            verdicts += seen.len();
            selected += received.len();
        }
        for packet in &seen {
            let sent = packet.header.packet_type == PacketType::Outgoing;
            let tag = match (packet.header.vlan, packet.header.protocol) {
                (Some(_), _) => "tag in the record",
                (None, 0x8100 | 0x88a8 | 0x9100) => "tag in the frame",
                _ => "no tag",
            };
            *kinds.entry(format!("{}, {tag}", if sent { "sent" } else { "received" })).or_default() += 1;
        }
    }
    eprintln!("{verdicts} verdicts of the kernel, {selected} packets selected: {kinds:?}");
    assert!(verdicts > 100_000 && selected > verdicts / 20, "{verdicts} verdicts, {selected} selected");
    let mut wanted =
        vec!["received, no tag", "received, tag in the record", "sent, no tag", "sent, tag in the frame"];
    if wire.senders.len() > 1 {
        wanted.push("sent, tag in the record");
    }
    for kind in wanted {
        assert!(kinds.get(kind).is_some_and(|&count| count > 10), "{kind}: {kinds:?}");
    }
}

/// Whether an expression counts bytes from the start of the frame, which a program for any interface refuses.
fn counts_link_bytes(text: &str) -> bool {
    let words = split(text);
    let link = |word: &str| matches!(word, "ether" | "link" | "fddi" | "tr" | "wlan" | "ppp" | "slip");
    words.iter().any(|word| word == "byte") || words.windows(2).any(|pair| link(&pair[0]) && pair[1] == "[")
}

/// Ours and libpcap's on the same packets. What may differ: bytes of a header that an operator's right operand asks
/// for without a test of its protocol (`5 = 1 + udp[7:4]`), in a frame sent with its tag in it. libpcap counts them
/// from the start of the frame, ours from the network header.
#[test]
fn our_live_programs_select_what_those_of_libpcap_select() {
    let Ok(()) = lab::require() else { return };
    let lab = Lab::new().unwrap();
    let wire = Wire::new(&lab);
    let mut expressions = Expressions::new(13, Link::Ethernet);
    let mut programs = Vec::new();
    let (mut ours_alone, mut theirs_alone) = (Vec::new(), Vec::new());
    for _ in 0..SHARED_EXPRESSIONS {
        let text = expressions.next_expression();
        let mut command = lab.command(Side::Receiver, "tcpdump");
        command.args(["-i", "tap0"]);
        let theirs = match compile_live(command, &text) {
            Ok(Answer::Program(foreign)) => foreign.program().cloned(),
            Ok(_) => None,
            Err(error) => panic!("{error}"),
        };
        match (theirs, kernel_program(&text, 1, true)) {
            (Some(theirs), Some(ours)) => programs.push((text, ours, theirs)),
            (Some(_), None) => theirs_alone.push(text),
            (None, Some(_)) => ours_alone.push(text),
            (None, None) => {}
        }
    }
    let (mut packets, mut different) = (0, Vec::new());
    for (round, chunk) in programs.chunks(SOCKETS / 2).enumerate() {
        let both: Vec<&Program> = chunk.iter().flat_map(|(_, ours, theirs)| [ours, theirs]).collect();
        let (seen, received) = run(&wire, 100 + round as u64, &both);
        for ((text, ours, theirs), received) in chunk.iter().zip(received.chunks(2)) {
            for (program, received) in [(ours, &received[0]), (theirs, &received[1])] {
                if let Some(detail) = disagreement(program, &seen, received) {
                    panic!("{text:?}: {detail}");
                }
            }
            packets += seen.len();
            for packet in &seen {
                let (mine, other) = (ours.run(&packet.skb()) != 0, theirs.run(&packet.skb()) != 0);
                if mine != other {
                    let tag_inside = packet.header.vlan.is_none() && packet.header.network > 14;
                    let detail = format!(
                        "{text:?}: ours {mine}, libpcap's {other}: {:?} {:02x?}\nours:\n{ours}\nlibpcap's:\n{theirs}",
                        packet.header, packet.bytes
                    );
                    assert!(tag_inside && text.contains('['), "{detail}");
                    different.push(detail);
                    break;
                }
            }
        }
    }
    eprintln!("{} expressions, {packets} packets, {} expressions differ", programs.len(), different.len());
    eprintln!("libpcap alone: {theirs_alone:#?}\nours alone: {ours_alone:#?}\n{}", different.join("\n\n"));
    assert!(programs.len() > SHARED_EXPRESSIONS / 2, "{} expressions in common", programs.len());
    assert!(different.len() * 50 <= programs.len(), "{} expressions differ", different.len());
    let refused: Vec<_> = theirs_alone.iter().filter(|text| !counts_link_bytes(text)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
