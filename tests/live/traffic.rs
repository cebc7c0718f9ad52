//! Ordinary traffic at a moderate rate: all of it is there, as it was sent, and every tool can read it.

use gannet_testkit::generator::{Sizes, Spec};
use gannet_testkit::lab::Side;

use super::recorded::{assert_perfect, packets};
use super::support::Bench;
use super::tools;

#[test]
fn frames_of_all_sizes_arrive_intact() {
    let Some(bench) = Bench::new() else { return };
    let mut files = Vec::new();
    for (name, sizes) in [
        ("full", Sizes::Fixed(1_514)),
        ("small", Sizes::Fixed(60)),
        ("mix", Sizes::Imix),
        ("any", Sizes::Range(60, 1_514)),
    ] {
        let file = bench.dir.join(&format!("{name}.pcapng"));
        let run = bench.capture(&format!("--ring-size 64MiB -w {name}.pcapng"));
        bench.send(&Spec { sizes, flows: 50, ..Spec::default() }, COUNT, 20_000.0);
        let (outcome, ledger) = run.stop();
        ledger.is_lossless(COUNT);
        assert_eq!(ledger.files(&bench.dir), [file.as_path()], "{}", outcome.stderr);
        assert_perfect([&file], COUNT);
        tools::all_count(&file, COUNT);
        files.push(file);
    }
    let files: Vec<_> = files.iter().map(|file| file.as_path()).collect();
    tools::can_be_copied(&files, COUNT * files.len() as u64);
}

/// Times rise, lie within the capture, and are in nanoseconds; the statistics at the file's end agree with the
/// ledger.
#[test]
fn times_and_statistics() {
    let Some(bench) = Bench::new() else { return };
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let run = bench.capture("-w out.pcapng --ring-size 16MiB");
    let begun = now();
    bench.send(&Spec::default(), 2_000, 10_000.0);
    let ended = now();
    run.stop().1.is_lossless(2_000);
    let times: Vec<u64> = packets(bench.dir.join("out.pcapng")).iter().map(|packet| packet.time).collect();
    assert!(times.is_sorted(), "times go back");
    assert!(begun <= times[0] && times[times.len() - 1] <= ended, "{begun} {times:?} {ended}");
    assert!(times.iter().any(|time| time % 1_000 != 0), "microseconds at best");
    if tools::have(&["capinfos"]) {
        let output =
            std::process::Command::new("capinfos").arg(bench.dir.join("out.pcapng")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for words in ["Name = rx0", "Number of packets = 2000", "Time precision = nanoseconds"] {
            assert!(text.contains(words), "no '{words}' in {text}");
        }
    }
}

/// As fast as the generator can: what is missing from the file is in the ledger, packet by packet.
#[test]
fn at_full_speed_every_packet_is_accounted_for() {
    const COUNT: u64 = 300_000;
    let Some(bench) = Bench::new() else { return };
    for words in ["--ring-size 64MiB", "--ring-size 1MiB --block-size 128KiB", "--ring-size 8MiB --workers 2"]
    {
        let run = bench.capture(&format!("-w out.pcapng {words}"));
        bench.send(&Spec { sizes: Sizes::Imix, flows: 200, ..Spec::default() }, COUNT, None);
        let (_, ledger) = run.stop();
        let report = super::recorded::tally([bench.dir.join("out.pcapng")], 0, COUNT);
        assert_eq!(report.frames, ledger.packets("written"), "{words}");
        assert_eq!(report.missing, ledger.packets("dropped") + ledger.packets("disk_shed"), "{words}");
        assert_eq!((report.intact, report.out_of_order), (report.frames, 0), "{words}: {report:?}");
    }
}

/// Frames larger than the interface's MTU, as offloads make them, and larger than 64 KiB.
#[test]
fn merged_frames_are_kept_whole() {
    const COUNT: usize = 3 << 20;
    let Some(bench) = Bench::new() else { return };
    for side in Side::BOTH {
        let interface = side.interface();
        let mut ethtool = bench.lab.command(side, "ethtool");
        let done =
            ethtool.args(["-K", interface, "gso", "on", "tso", "on", "gro", "on", "tx", "on", "rx", "on"]);
        assert!(done.status().unwrap().success());
        // Above 64 KiB ("BIG TCP") where the kernel knows it.
        let _ = bench
            .lab
            .ip(side, &format!("link set {interface} gso_ipv4_max_size 185000 gro_ipv4_max_size 185000"));
        let _ = bench.lab.ip(side, &format!("link set {interface} gso_max_size 185000 gro_max_size 185000"));
    }
    let run = bench.capture("-w out.pcapng --ring-size 64MiB");
    let listener =
        bench.lab.enter(Side::Receiver, || std::net::TcpListener::bind("0.0.0.0:0").unwrap()).unwrap();
    let address = (Side::Receiver.address(), listener.local_addr().unwrap().port());
    let stream = bench.lab.enter(Side::Sender, || std::net::TcpStream::connect(address).unwrap()).unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let data: Vec<u8> = (0..COUNT).map(|at| (at ^ at >> 8) as u8).collect();
        (&stream).write_all(&data).unwrap();
    });
    let mut received = Vec::new();
    std::io::Read::read_to_end(&mut listener.accept().unwrap().0, &mut received).unwrap();
    writer.join().unwrap();
    super::support::settle();
    let (_, ledger) = run.interrupt();
    assert_eq!((received.len(), ledger.packets("dropped")), (COUNT, 0));
    // The stream can be put together from the frames, whatever their sizes.
    let mut longest = 0;
    let mut stream = vec![0u8; COUNT];
    let mut first = None;
    for packet in packets(bench.dir.join("out.pcapng")) {
        assert_eq!(packet.data.len(), packet.orig_len as usize);
        longest = longest.max(packet.data.len());
        let Some(ip) = packet.data.get(14..34).filter(|ip| ip[0] == 0x45 && ip[12..16] == [10, 99, 0, 1])
        else {
            continue;
        };
        let tcp = &packet.data[34..];
        let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
        // BIG TCP leaves the IPv4 length 0; padding of short frames is in no packet otherwise.
        let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let payload =
            if length == 0 { payload } else { &payload[..length - 20 - usize::from(tcp[12] >> 4) * 4] };
        // The SYN has the number before the first byte.
        let first = *first.get_or_insert(sequence.wrapping_add(1));
        let at = sequence.wrapping_sub(first) as usize;
        if !payload.is_empty() {
            stream[at..at + payload.len()].copy_from_slice(payload);
        }
    }
    assert!(stream == received, "the stream differs");
    assert!(longest > 20_000, "nothing was merged: {longest}");
    tools::all_count(&bench.dir.join("out.pcapng"), ledger.packets("written"));
}

const COUNT: u64 = 12_000;
