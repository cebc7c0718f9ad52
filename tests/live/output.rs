//! Where packets go: formats, writers, pipes and devices, and what becomes of whoever reads them.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

use gannet_pcap::StreamReader;
use gannet_testkit::generator::{Sizes, Spec};
use gannet_testkit::lab::Side;
use nix::sys::signal::Signal;

use super::recorded::{assert_perfect, packets, tally};
use super::support::{Bench, Ledger};
use super::tools;
use crate::util::NOBODY;

const COUNT: u64 = 10_000;

fn mix() -> Spec {
    Spec { sizes: Sizes::Imix, flows: 100, ..Spec::default() }
}

#[test]
fn every_writer_and_format_keeps_everything() {
    let Some(bench) = Bench::new() else { return };
    for (file, words) in [
        ("auto.pcapng", "--writer auto"),
        ("zero.pcapng", "--writer zero-copy"),
        ("zero-small.pcapng", "--writer zero-copy --block-size 64KiB"),
        ("zero-large.pcapng", "--writer zero-copy --block-size 4MiB"),
        ("copy.pcapng", "--writer copy"),
        ("shared.pcapng", "--workers 2"),
        ("shared-zero.pcapng", "--workers 2 --writer zero-copy --block-size 64KiB"),
        ("shared-copy.pcapng", "--workers 2 --writer copy"),
        ("at-once.pcapng", "-U"),
        ("quick.pcapng", "--block-timeout 5ms"),
        ("micro.pcap", "--format pcap"),
        ("nano.pcap", "--format pcap-ns"),
        ("nano-at-once.pcap", "--format pcap-ns -U"),
    ] {
        let run = bench.capture(&format!("--ring-size 32MiB -w {file} {words}"));
        bench.send(&mix(), COUNT, 40_000.0);
        let (outcome, ledger) = run.stop();
        ledger.is_lossless(COUNT);
        let path = bench.dir.join(file);
        assert_perfect([&path], COUNT);
        if tools::have(&["tcpdump", "capinfos"]) {
            assert_eq!(
                (tools::tcpdump_count(&path), tools::capinfos_count(&[&path])),
                (COUNT, COUNT),
                "{words}"
            );
        }
        let facts = std::fs::metadata(&path).unwrap();
        assert_eq!(facts.permissions().mode() & 0o777, 0o600, "{words}");
        // Preallocated space is given back.
        assert!(facts.blocks() * 512 <= facts.len() + (1 << 20), "{words}: {facts:?}");
        if words.contains("zero-copy") {
            assert_eq!(ledger.blocks().0, 0, "{words}: blocks copied");
        }
        if words.contains("writer copy") {
            assert_eq!(ledger.blocks().1, 0, "{words}: blocks not copied");
        }
        if words.contains("workers 2") {
            assert!(
                ledger.by_worker().iter().all(|&packets| packets > COUNT / 5),
                "{:?}",
                ledger.by_worker()
            );
            assert!(
                outcome.stderr.contains("order"),
                "that the order is each worker's only: {}",
                outcome.stderr
            );
        }
    }
    let micros = packets(bench.dir.join("micro.pcap"));
    assert!(micros.iter().all(|packet| packet.time % 1_000 == 0));
    let nanos = packets(bench.dir.join("nano.pcap"));
    assert!(nanos.iter().any(|packet| packet.time % 1_000 != 0));
}

/// A burst that finds the ring's blocks in a queue is not copied; traffic in which there is time to spare is.
#[test]
fn auto_copies_small_frames_while_there_is_time() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.capture("--ring-size 32MiB --writer auto -w out.pcapng");
    let spec = Spec { sizes: Sizes::Fixed(60), ..Spec::default() };
    bench.send(&spec, COUNT, 20_000.0);
    let (_, ledger) = run.stop();
    ledger.is_lossless(COUNT);
    // A machine that is busy with other things may let the ring fill up once.
    let (copied, in_place) = ledger.blocks();
    assert!(in_place * 10 <= copied, "{copied} blocks copied, {in_place} written in place");
    let size = std::fs::metadata(bench.dir.join("out.pcapng")).unwrap().len();
    // 60 bytes of frame in an Enhanced Packet Block with flags: 104. Blocks in place have the ring's gaps between them.
    assert!(size < COUNT * 110 + 100_000 + in_place * (1 << 20), "{size} bytes");
}

#[test]
fn a_device_is_written_as_it_is() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.capture("--ring-size 32MiB -w /dev/null");
    bench.send(&mix(), COUNT, 40_000.0);
    run.stop().1.is_lossless(COUNT);
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_fifo_gets_a_stream() {
    let Some(bench) = Bench::new() else { return };
    let fifo = bench.dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for words in ["", "--format pcap", "--workers 2"] {
        let copy = bench.dir.join("copy");
        let reader = {
            let (fifo, copy) = (fifo.clone(), copy.clone());
            std::thread::spawn(move || {
                std::io::copy(&mut File::open(fifo).unwrap(), &mut File::create(copy).unwrap()).unwrap()
            })
        };
        let run = bench.capture(&format!("--ring-size 32MiB -w fifo {words}"));
        bench.send(&mix(), COUNT, 40_000.0);
        let (_, ledger) = run.stop();
        reader.join().unwrap();
        ledger.is_lossless(COUNT);
        assert_perfect([&copy], COUNT);
        tools::all_count(&copy, COUNT);
        assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());
    }
}

#[test]
fn standard_output_into_tcpdump() {
    if !tools::have(&["tcpdump"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    for words in ["", "--format pcap", "--format pcap-ns"] {
        let script = format!(
            "set -o pipefail; $gannet record -i rx0 --ring-size 32MiB --stats-json ledger.json {words} \
             -c {COUNT} -w - | tcpdump -Z root -tnnqr - >lines 2>/dev/null"
        );
        let capture = bench.script(Side::Receiver, &script).capture();
        bench.send(&mix(), COUNT, 40_000.0);
        let outcome = capture.end().exits(0);
        assert_eq!(outcome.stdout, b"", "data on a standard output that was redirected");
        bench.ledger().is_lossless(COUNT);
        assert_eq!(String::from_utf8(bench.dir.read("lines")).unwrap().lines().count() as u64, COUNT);
    }
}

/// A reader that has seen enough ends the capture: status 0, and what it did not take is in the ledger as shed.
#[test]
fn a_reader_that_leaves_is_a_normal_end() {
    let Some(bench) = Bench::new() else { return };
    for words in ["", "--format pcap", "--workers 2"] {
        let script = format!(
            "{{ $gannet record -i rx0 --ring-size 16MiB --stats-json ledger.json {words} -w -; echo $? >status; }} \
             | head -c 100000 >taken"
        );
        let capture = bench.script(Side::Receiver, &script).capture();
        bench.send(&mix(), COUNT, 40_000.0);
        let outcome = capture.end().exits(0);
        assert_eq!(bench.dir.read("status"), b"0\n", "{}", outcome.stderr);
        assert_eq!(bench.dir.read("taken").len(), 100_000);
        let ledger = bench.ledger();
        assert_eq!(ledger.packets("dropped"), 0);
        assert!(ledger.packets("disk_shed") > 0 || ledger.packets("received") < COUNT);
    }
}

/// On a link where nothing happens nothing is written that would tell that the reader has gone.
#[test]
fn a_reader_that_leaves_an_idle_link_is_a_normal_end() {
    let Some(bench) = Bench::new() else { return };
    for words in ["http -i rx0 -o jsonl", "http -i rx0 -o none -o text:fifo", "record -i rx0 -w -"] {
        let fifo = bench.dir.join("fifo");
        let _ = std::fs::remove_file(&fifo);
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (leave, left) = std::sync::mpsc::channel::<()>();
        let reader = std::thread::spawn(move || {
            let file = words.contains("fifo").then(|| File::open(fifo).unwrap());
            let _ = left.recv();
            drop(file);
        });
        let mut capture = bench.gannet(Side::Receiver, words).capture();
        std::thread::sleep(Duration::from_millis(500));
        assert!(!capture.has_ended(), "{words}");
        if !words.contains("fifo") {
            drop(capture.take_stdout());
        }
        drop(leave);
        capture.end().exits(0);
        reader.join().unwrap();
    }
}

/// With -U a packet is with the reader as soon as the kernel has handed over its block, and not only when a buffer
/// is a second old.
#[test]
fn packets_reach_a_reader_at_once_if_asked() {
    let Some(bench) = Bench::new() else { return };
    let fifo = bench.dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for words in ["-U", "-U --format pcap", "-U --writer zero-copy"] {
        let (times, arrivals) = std::sync::mpsc::channel();
        let reader = {
            let fifo = fifo.clone();
            std::thread::spawn(move || {
                let mut reader = StreamReader::new(File::open(fifo).unwrap()).unwrap();
                while reader.next_packet().unwrap().is_some() {
                    times.send(Instant::now()).unwrap();
                }
            })
        };
        let run = bench
            .capture(&format!("--ring-size 4MiB --block-size 64KiB --block-timeout 20ms -w fifo {words}"));
        // The best of several: the machine may be busy.
        let mut best = Duration::MAX;
        for first in 0..5 {
            let sent = Instant::now();
            bench.send(&Spec { first, ..Spec::default() }, 1, None);
            let arrived =
                arrivals.recv_timeout(Duration::from_secs(5)).expect("a packet within five seconds");
            best = best.min(arrived - sent);
        }
        run.stop().1.is_lossless(5);
        reader.join().unwrap();
        assert!(best < Duration::from_millis(300), "{words}: {best:?}");
    }
}

/// A file grows visibly: within a second of its arrival a packet can be read in it.
#[test]
fn a_file_that_is_being_written_can_be_read() {
    let Some(bench) = Bench::new() else { return };
    for (file, words) in [("a.pcapng", ""), ("b.pcapng", "--writer zero-copy"), ("c.pcap", "--format pcap")] {
        let run = bench.capture(&format!("--ring-size 16MiB --block-size 256KiB -w {file} {words}"));
        for round in 1..=3 {
            bench.send(&Spec { first: (round - 1) * 100, ..mix() }, 100, None);
            let sent = Instant::now();
            let path = bench.dir.join(file);
            loop {
                let mut found = 0;
                if let Ok(mut reader) = StreamReader::new(File::open(&path).unwrap()) {
                    // What is behind the packets written so far is not looked at.
                    while found < round * 100 && matches!(reader.next_packet(), Ok(Some(_))) {
                        found += 1;
                    }
                }
                if found == round * 100 {
                    break;
                }
                assert!(sent.elapsed() < Duration::from_secs(3), "{file}: {found} packets in round {round}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        run.stop().1.is_lossless(300);
        assert_perfect([bench.dir.join(file)], 300);
    }
}

#[test]
fn it_ends_after_its_time() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.capture("--ring-size 16MiB -w out.pcapng --duration 700ms");
    bench.send(&mix(), 1_000, None);
    let (_, ledger) = run.end();
    ledger.is_lossless(1_000);
    let took = ledger.duration();
    assert!((Duration::from_millis(700)..Duration::from_millis(1_500)).contains(&took), "{took:?}");
}

/// More memory than there is: the ring is smaller, and that is said.
#[test]
fn an_excessive_ring_shrinks_and_says_so() {
    let Some(bench) = Bench::new() else { return };
    let memory = gannet_pipeline::config::ram_bytes().unwrap();
    if memory > 6 << 30 && std::env::var_os("GANNET_TEST_LARGE").is_none() {
        eprintln!("SKIPPED, takes half of the memory for a while: set GANNET_TEST_LARGE=1");
        return;
    }
    let words = "record -i rx0 --ring-size 100TiB -w out.pcapng --duration 1s --stats-json ledger.json";
    let outcome = bench.gannet(Side::Receiver, words).run().exits(0);
    assert!(outcome.stderr.contains("100 TiB"), "{}", outcome.stderr);
    let line = outcome.stderr.lines().find(|line| line.starts_with("capturing on ")).unwrap();
    assert!(line.contains(" GiB in 1 MiB blocks"), "{line}");
    bench.ledger();
}

/// As another user from the moment on that everything is open: directory and files are that user's business.
#[test]
fn another_user_records() {
    let Some(bench) = Bench::new() else { return };
    std::fs::set_permissions(bench.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let own = bench.dir.join("own");
    std::fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let run = bench.capture("--ring-size 16MiB -Z nobody -w own/ --rotate 1MiB");
    bench.send(&Spec { flows: 100, ..Spec::default() }, COUNT, 40_000.0);
    let (_, ledger) = run.stop();
    ledger.is_lossless(COUNT);
    let files = ledger.files(&bench.dir);
    assert!(files.len() > 10, "{files:?}");
    assert_perfect(&files, COUNT);
    for file in &files[1..] {
        let facts = std::fs::metadata(file).unwrap();
        assert_eq!((facts.uid(), facts.mode() & 0o777), (NOBODY, 0o600), "{}", file.display());
    }
    // A single file is opened before.
    let run = bench.capture("--ring-size 16MiB -Z nobody -w single.pcapng");
    bench.send(&mix(), COUNT, 40_000.0);
    run.stop().1.is_lossless(COUNT);
    assert_perfect([bench.dir.join("single.pcapng")], COUNT);
}

/// Root, without any privilege left, in somebody else's directory.
#[test]
fn root_records_into_a_directory_of_somebody_else() {
    let Some(bench) = Bench::new() else { return };
    let foreign = bench.dir.join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::os::unix::fs::chown(&foreign, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(&foreign, PermissionsExt::from_mode(0o700)).unwrap();
    let run = bench.capture("--ring-size 16MiB -w foreign/ --rotate 2MiB");
    bench.send(&Spec { flows: 100, ..Spec::default() }, COUNT, 40_000.0);
    let (_, ledger) = run.stop();
    ledger.is_lossless(COUNT);
    assert!(ledger.files(&bench.dir).len() > 4);
    assert_perfect(ledger.files(&bench.dir), COUNT);
}

/// A file that an earlier run left is replaced as a whole: nothing of it shines through.
#[test]
fn a_longer_file_of_before_leaves_no_trace() {
    const SECRET: &[u8] = b"a secret that must not be found again";
    let Some(bench) = Bench::new() else { return };
    let path = bench.dir.join("out.pcapng");
    for words in ["--writer zero-copy", "--writer copy", "--workers 2"] {
        std::fs::write(&path, SECRET.repeat(1 << 18)).unwrap();
        let run = bench.capture(&format!("--ring-size 16MiB -w out.pcapng {words}"));
        bench.send(&mix(), 2_000, 40_000.0);
        run.stop().1.is_lossless(2_000);
        assert_perfect([&path], 2_000);
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(16).any(|window| window == &SECRET[..16]), "{words}");
    }
}

/// What one packet left in the ring must not be in a file that does not list it: every byte outside of the packets'
/// data is looked at.
#[test]
fn no_byte_of_an_earlier_packet_is_in_a_later_file() {
    const SECRET: [u8; 16] = *b"SECRETsecretSECR";
    let Some(bench) = Bench::new() else { return };
    for words in ["--writer zero-copy", "--writer auto", "--writer copy", "--writer zero-copy --workers 2"] {
        let words = format!("-w dir/ --rotate 1MiB --block-size 64KiB --ring-size 256KiB {words}");
        std::fs::create_dir(bench.dir.join("dir")).unwrap();
        let run = bench.capture(&words);
        // Full frames of secrets through every block of the ring, several times over; then small ones on top.
        let mut secret = [2u8; 1_514];
        for chunk in secret[14..].chunks_exact_mut(16) {
            chunk.copy_from_slice(&SECRET);
        }
        secret[12..14].copy_from_slice(&[0x88, 0xb5]);
        let mut socket = bench.sender();
        for _ in 0..40 {
            socket.send(&[&secret[..]; 32]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(300));
        run.capture.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(300));
        for first in 0..30 {
            let spec = Spec { sizes: Sizes::Range(60, 90), first: first * 100, flows: 64, ..Spec::default() };
            bench.send(&spec, 100, None);
            std::thread::sleep(Duration::from_millis(5));
        }
        let (_, ledger) = run.interrupt();
        let mut without = 0;
        for file in ledger.files(&bench.dir) {
            let listed =
                packets(&file).iter().any(|packet| packet.data.windows(16).any(|window| window == SECRET));
            let bytes = std::fs::read(&file).unwrap();
            // Half of the secret, so that a piece of it is found as well.
            let found = bytes.windows(8).any(|window| window == &SECRET[..8]);
            assert_eq!(found, listed, "{words}: {}", file.display());
            without += u32::from(!listed && !packets(&file).is_empty());
        }
        assert!(without > 0, "{words}: no file with small frames only");
        std::fs::remove_dir_all(bench.dir.join("dir")).unwrap();
    }
}

/// stderr that nobody reads any more does not end a capture.
#[test]
fn a_closed_stderr_is_no_reason_to_end() {
    let Some(bench) = Bench::new() else { return };
    let mut command = bench.lab.command(Side::Receiver, env!("CARGO_BIN_EXE_gannet"));
    command.args(["record", "-i", "rx0", "--ring-size", "16MiB", "-w", "out.pcapng", "--stats", "10ms"]);
    command.args(["--stats-json", "ledger.json", "-c", "1000"]).current_dir(bench.dir.path());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut first = [0; 9];
    std::io::Read::read_exact(&mut stderr, &mut first).unwrap();
    assert_eq!(&first, b"capturing");
    drop(stderr);
    std::thread::sleep(Duration::from_millis(100));
    bench.send(&mix(), 1_000, None);
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(status.code(), Some(0));
    Ledger::read(&bench.dir.join("ledger.json")).is_lossless(1_000);
    assert_eq!(tally([bench.dir.join("out.pcapng")], 0, 1_000).intact, 1_000);
}
