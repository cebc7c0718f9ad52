//! Filters in the kernel: interfaces of several link types at once, tags, lists of opcodes, commands while a capture
//! runs.
//!
//! The judge is tcpdump on the same interface at the same time.

use std::io::{BufRead, BufReader, Read};
use std::num::{NonZeroU32, NonZeroU64};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use etherparse::{PacketBuilder, VlanId};
use gannet_filter::Names;
use gannet_packet::LinkType;
use gannet_pipeline::config::{CaptureConfig, Filter, Output, RecordConfig, RunConfig};
use gannet_pipeline::control::{Command as Order, Control, Event};
use gannet_ring::transmit::TransmitSocket;
use gannet_testkit::generator::Spec;
use gannet_testkit::lab::Side;
use gannet_testkit::shape::{Shape, Transport};
use nix::sys::signal::{Signal, kill};

use super::commands::{input, start};
use super::recorded::{packets, tally};
use super::support::{Bench, settle, wait_for};
use super::tools;
use crate::util::Dir;

/// The issue's own example: frames with and without link headers, asked the same question by one program.
#[test]
fn one_filter_for_veth_loopback_and_tun() {
    if !tools::have(&["socat"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    for words in ["--writer zero-copy", "--writer copy --workers 2"] {
        let words = format!("-i any --ring-size 16MiB -w out.pcapng {words} port 80");
        let run = bench.capture_on(Side::Receiver, &words);
        let tun = bench.lab.add_tun(Side::Receiver, "tun0").unwrap();
        let frames = untagged();
        let mut loopback = bench.lab.enter(Side::Receiver, || TransmitSocket::open("lo")).unwrap().unwrap();
        let mut veth = bench.sender();
        let mut tunnelled = 0;
        for frame in &frames {
            while veth.send(&[frame]).unwrap() == 0 {}
            while loopback.send(&[frame]).unwrap() == 0 {}
            if [0x0800_u16, 0x86dd].map(u16::to_be_bytes).iter().any(|kind| frame[12..14] == *kind) {
                tun.receive(&frame[14..]).unwrap();
                tunnelled += 1;
            }
        }
        wait_for("the tunnel's packets", || {
            bench.lab.counters(Side::Receiver, "tun0").unwrap().rx_packets == tunnelled
        });
        settle();
        let (outcome, ledger) = run.interrupt();
        drop(tun);
        assert!(outcome.stderr.contains(", filter: port 80\n"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("\nfilter: port 80"), "{}", outcome.stderr);

        let expected = frames.iter().filter(|frame| has_port(frame, 80)).cloned().collect::<Vec<_>>();
        assert!(expected.len() > 3 && expected.len() < frames.len() / 2);
        let twice = expected.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
        assert_eq!(recorded(&bench.dir, "out.pcapng"), sorted(twice), "veth and loopback");
        let raw = expected.iter().map(|frame| frame[14..].to_vec()).collect();
        assert_eq!(recorded(&bench.dir, "out.raw.pcapng"), sorted(raw), "tun");
        ledger.is_lossless(3 * expected.len() as u64);
        let read = packets(bench.dir.join("out.raw.pcapng"));
        assert!(read.iter().all(|packet| packet.link_type == LinkType::RAW));
        if tools::have(&["capinfos"]) {
            // The recording says how it came about.
            let facts = Command::new("capinfos").arg(bench.dir.join("out.pcapng")).output().unwrap();
            let facts = String::from_utf8_lossy(&facts.stdout).into_owned();
            assert!(facts.contains("port 80"), "{facts}");
        }
        for file in ["out.pcapng", "out.raw.pcapng"] {
            std::fs::remove_file(bench.dir.join(file)).unwrap();
        }
    }
}

/// Tags included: received ones are beside the frame when the kernel asks the filter, sent ones are in it.
#[test]
fn the_same_packets_as_tcpdump() {
    if !tools::have(&["tcpdump"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let all = [untagged(), tagged()].concat();
    let frames: Vec<_> = all.iter().map(Vec::as_slice).collect();
    for expressions in EXPRESSIONS.chunks(6) {
        let captures: Vec<_> = expressions
            .iter()
            .enumerate()
            .map(|(number, expression)| {
                let theirs = Tcpdump::start(&bench, &format!("theirs-{number}.pcap"), expression);
                let words = format!("record -i rx0 --ring-size 4MiB -w ours-{number}.pcapng -- {expression}");
                (theirs, bench.gannet(Side::Receiver, &words).capture())
            })
            .collect();
        for _ in 0..2 {
            let mut sender = bench.sender();
            for frame in &frames {
                while sender.send(&[frame]).unwrap() == 0 {}
            }
            settle();
            bench.send_visibly(Side::Receiver, frames.iter().copied());
        }
        // tcpdump does not take what the kernel still has for it when it is told to end.
        std::thread::sleep(Duration::from_millis(500));
        for (number, (expression, (theirs, ours))) in expressions.iter().zip(captures).enumerate() {
            theirs.stop();
            ours.signal(Signal::SIGINT);
            ours.end().exits(0);
            let [ours, theirs] = [format!("ours-{number}.pcapng"), format!("theirs-{number}.pcap")]
                .map(|file| recorded(&bench.dir, &file));
            // libpcap filters its first packets again in user space, where it cannot tell the direction: one is lost.
            let forgiven = usize::from(expression.contains("bound"));
            let few = theirs.len();
            assert!(
                (few..=few + forgiven).contains(&ours.len()),
                "'{expression}': {} packets, not {few}",
                ours.len()
            );
            for (name, one, other) in [("ours", &ours, &theirs), ("tcpdump's", &theirs, &ours)] {
                let alone = one.iter().find(|frame| !other.contains(frame));
                assert!(alone.is_none(), "'{expression}': only in {name}: {alone:02x?}");
            }
            std::fs::remove_file(bench.dir.join(&format!("ours-{number}.pcapng"))).unwrap();
        }
    }
}

/// A list of opcodes for Ethernet is run on frames from the link header on, as tcpdump would.
#[test]
fn opcodes_from_tcpdump() {
    if !tools::have(&["tcpdump"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let list =
        bench.lab.command(Side::Receiver, "tcpdump").args(["-i", "rx0", "-ddd", "tcp port 80"]).output();
    bench.dir.write("list", &list.unwrap().stdout);
    bench.dir.write("short", b"6,48 0 0 23,21 0 2 6,48 0 0 0,6 0 0 70,6 0 0 0,6 0 0 0,");
    let frames = untagged();
    let tcp = |frame: &&Vec<u8>| match frame[12..14] {
        [8, 0] => frame[23] == 6,
        _ => frame[12..14] == [0x86, 0xdd] && frame[20] == 6,
    };
    for (words, expected) in [
        ("-F list", frames.iter().filter(|frame| tcp(frame) && has_port(frame, 80)).cloned().collect()),
        // IPv4 alone, as the list looks at one place; its own length of 70 bytes, and the smaller of two.
        ("-F short", frames.iter().filter(|frame| frame[23] == 6).map(|frame| cut(frame, 70)).collect()),
        (
            "-F short -s 50",
            frames.iter().filter(|frame| frame[23] == 6).map(|frame| cut(frame, 50)).collect(),
        ),
    ] {
        let expected: Vec<Vec<u8>> = expected;
        let run = bench.capture(&format!("--ring-size 4MiB -w out.pcapng {words}"));
        let mut sender = bench.sender();
        for frame in &frames {
            while sender.send(&[frame]).unwrap() == 0 {}
        }
        settle();
        run.interrupt().1.is_lossless(expected.len() as u64);
        assert!(expected.len() > 2, "{words}");
        assert_eq!(recorded(&bench.dir, "out.pcapng"), sorted(expected), "{words}");
    }
}

/// A new snapshot length, a new direction and a new file leave the filter where it is.
#[test]
fn commands_keep_the_filter() {
    const EACH: u64 = 50;
    let Some(bench) = Bench::new() else { return };
    let control = Control::new().unwrap();
    let events = Mutex::new(Vec::new());
    let directory = bench.dir.join("out");
    std::fs::create_dir(&directory).unwrap();
    let record = RecordConfig { output: Output::Path(directory), ..RecordConfig::default() };
    let capture = CaptureConfig {
        ring_bytes: NonZeroU64::new(16 << 20),
        filter: Some(Filter::expression("udp", Names::default()).unwrap()),
        ..CaptureConfig::new(input(&bench))
    };
    let config = RunConfig { capture, record: Some(record), http: None, stats: None };
    let mut rounds = 0;
    let mut send = || {
        // A command is obeyed at the next turn of the worker's loop, a tenth of a second away when it is idle.
        std::thread::sleep(Duration::from_millis(400));
        for transport in [Transport::Udp, Transport::Tcp] {
            let shape = Shape { transport, ..Shape::default() };
            bench.send(&Spec { first: rounds * EACH, shape, ..Spec::default() }, EACH, None);
            rounds += 1;
        }
        // What is still in the ring when a shorter snapshot length comes is cut to that, too.
        std::thread::sleep(Duration::from_millis(400));
    };
    let report = std::thread::scope(|scope| {
        let running = start(scope, &config, &control, &events);
        send();
        control.send(Order::Snaplen(NonZeroU32::new(100).unwrap()));
        send();
        control.send(Order::Rotate);
        control.send(Order::Direction(gannet_pipeline::config::Direction::Out));
        send();
        control.send(Order::Direction(gannet_pipeline::config::Direction::In));
        send();
        running.stop()
    });
    assert!(report.ledger.check().is_empty());
    assert_eq!(report.ledger.filtered, None, "the kernel does not count what a filter keeps out");
    assert_eq!((report.ledger.received, report.ledger.lost()), (3 * EACH, 0));
    assert_eq!(report.filter.as_deref(), Some("udp"));
    let files: Vec<_> = report.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(files.len(), 2);
    for (round, (expected, cut)) in
        [(EACH, 0), (0, 0), (EACH, EACH), (0, 0), (0, 0), (0, 0), (EACH, EACH), (0, 0)]
            .into_iter()
            .enumerate()
    {
        let report = tally(&files, round as u64 * EACH, EACH);
        assert_eq!(EACH - report.missing, expected, "round {round}: {report:?}");
        let of_round = files.iter().flat_map(packets).filter(|packet| packet.data.len() == 100).count();
        assert!(cut == 0 || of_round as u64 == 2 * EACH, "{of_round} packets of 100 bytes");
    }
    let warnings = |event: &&Event| matches!(event, Event::Warning(_));
    assert_eq!(events.into_inner().unwrap().iter().filter(warnings).count(), 0);
}

/// The end of the headers is found in the kernel and in the file alike.
#[test]
fn headers_live_and_from_a_file() {
    let Some(bench) = Bench::new() else { return };
    let frames = [untagged(), tagged()].concat();
    for (snaplen, words) in [("headers", ""), ("headers+20", "port 80 or vlan"), ("headers+4", "--workers 2")]
    {
        let whole = bench.gannet(Side::Receiver, "record -i rx0 --ring-size 4MiB -w whole.pcapng").capture();
        let run = bench.capture(&format!("--ring-size 4MiB -w live.pcapng -s {snaplen} {words}"));
        let mut sender = bench.sender();
        for frame in &frames {
            while sender.send(&[frame]).unwrap() == 0 {}
        }
        settle();
        let ledger = run.interrupt().1;
        whole.signal(Signal::SIGINT);
        whole.end().exits(0);
        let filter = words.strip_prefix("--workers 2").unwrap_or(words);
        let words = format!("record -r whole.pcapng -w file.pcapng -s {snaplen} {filter}");
        bench.dir.gannet(&words).run().exits(0);
        let (live, file) = (recorded(&bench.dir, "live.pcapng"), recorded(&bench.dir, "file.pcapng"));
        assert_eq!(live, file, "-s {snaplen} {words}");
        assert_eq!(ledger.packets("written"), live.len() as u64);
        assert!(live.iter().any(|data| data.len() < 100), "nothing was cut");
        assert_eq!(ledger.bytes("written"), live.iter().map(|data| data.len() as u64).sum::<u64>());
        // A file says the longest that its packets may have, which a computed length does not bound.
        assert_eq!(snaplen_of(&bench.dir.read("live.pcapng")), 262_144);
    }
}

/// tcpdump on `rx0` that writes what a filter lets through.
struct Tcpdump(Child);

impl Tcpdump {
    fn start(bench: &Bench, file: &str, expression: &str) -> Self {
        let mut command = bench.lab.command(Side::Receiver, "tcpdump");
        command.args(["-i", "rx0", "-Z", "root", "-U", "--immediate-mode", "-w"]).arg(bench.dir.join(file));
        let mut child = command.arg(expression).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "tcpdump '{expression}': {said}");
        }
        // What it says at its end must not stop it.
        std::thread::spawn(move || lines.read_to_string(&mut String::new()));
        Self(child)
    }

    fn stop(mut self) {
        kill(nix::unistd::Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The frames of a recording, in an order that has nothing to do with time.
fn recorded(dir: &Dir, file: &str) -> Vec<Vec<u8>> {
    sorted(packets(dir.join(file)).into_iter().map(|packet| packet.data).collect())
}

fn sorted(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.sort();
    frames
}

fn cut(frame: &[u8], len: usize) -> Vec<u8> {
    frame[..frame.len().min(len)].to_vec()
}

/// The snapshot length of the first interface of a pcapng file, which has no options before it.
fn snaplen_of(file: &[u8]) -> u32 {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let mut at = 0;
    while word(at) != 1 {
        at += word(at + 4) as usize;
    }
    word(at + 12)
}

/// Whether an untagged frame of [`untagged`] has this port, read by other means than the filter's.
fn has_port(frame: &[u8], port: u16) -> bool {
    let at = match (&frame[12..14], frame.len()) {
        ([8, 0], _) if [6, 17, 132].contains(&frame[23]) && frame[20] & 0x1f == 0 && frame[21] == 0 => {
            14 + usize::from(frame[14] & 15) * 4
        }
        ([0x86, 0xdd], _) if [6, 17, 132].contains(&frame[20]) => 54,
        _ => return false,
    };
    [at, at + 2].iter().any(|&at| frame[at..at + 2] == port.to_be_bytes())
}

/// TCP, UDP, ICMP and ARP, with and without port 80, over IPv4 and IPv6, and a later fragment that looks like port 80.
fn untagged() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (number, (client, server)) in
        [(40_000, 80), (80, 40_001), (40_002, 8080), (53, 53), (40_003, 443)].into_iter().enumerate()
    {
        let payload = vec![number as u8; 150];
        let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], Side::Receiver.mac());
        let v4 = || ethernet().ipv4([198, 18, 0, 1], [198, 18, 0, 2], 64);
        let v6 = || ethernet().ipv6([0xfd; 16], [0xfe; 16], 64);
        let mut push = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            frames.push(bytes);
        };
        push(&|to| v4().tcp(client, server, 1, 1000).syn().write(to, &payload).unwrap());
        push(&|to| v4().tcp(client, server, 2, 1000).ack(3).write(to, &payload).unwrap());
        push(&|to| v4().udp(client, server).write(to, &payload).unwrap());
        push(&|to| v6().tcp(client, server, 1, 1000).write(to, &payload).unwrap());
        push(&|to| v6().udp(client, server).write(to, &payload).unwrap());
        push(&|to| v4().icmpv4_echo_request(1, client).write(to, &payload).unwrap());
    }
    let mut fragment = frames[0].clone();
    fragment[20..22].copy_from_slice(&100_u16.to_be_bytes());
    frames.push(fragment);
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.resize(60, 0);
    frames.push(arp);
    frames
}

/// The same behind one tag, and some behind two.
fn tagged() -> Vec<Vec<u8>> {
    let tag = |frame: &[u8], tpid: u16, id: u16| {
        let id = VlanId::try_new(id).unwrap().value();
        [&frame[..12], &tpid.to_be_bytes(), &id.to_be_bytes(), &frame[12..]].concat()
    };
    let mut frames = Vec::new();
    for (number, frame) in untagged().iter().enumerate() {
        let one = tag(frame, 0x8100, 100 + (number % 2) as u16);
        if number % 3 == 0 {
            frames.push(tag(&one, 0x88a8, 7));
        }
        frames.push(one);
    }
    frames
}

/// What is compared with tcpdump.
const EXPRESSIONS: [&str; 24] = [
    "port 80",
    "tcp and not port 80",
    "vlan",
    "vlan 100",
    "vlan and port 80",
    "vlan 101 and ip6",
    "not vlan",
    "port 80 or vlan 100",
    "vlan and vlan",
    "vlan 7 and vlan 100 and tcp",
    "tcp[tcpflags] & tcp-syn != 0",
    "ip6",
    "ip6 and udp port 53",
    "arp or icmp",
    "host 198.18.0.1 and udp",
    "src net 198.18.0.0/15",
    "ether src 02:00:00:00:00:01 and tcp",
    "ether broadcast",
    "len > 210",
    "ip[6:2] & 0x1fff != 0",
    "inbound and port 80",
    "outbound and port 80",
    "portrange 50-500",
    "! ( tcp or udp ) and ip",
];
