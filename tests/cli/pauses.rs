//! Input that has pauses, and output that nobody reads: what is there is handed on, signals are heard, the end comes
//! when it is asked for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::ChildStdin;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use gannet_testkit::conversation::{Body, Builder, Conversation, Peer, Request, Response, Setup};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::util::{Capture, Dir, Gannet, NOBODY, is_root};

const MILLISECOND: u64 = 1_000_000;

/// Exchanges on one connection, which stays open.
fn exchanges(count: usize) -> Builder {
    let mut builder = Builder::new(Setup::default());
    builder.handshake();
    for number in 0..count {
        builder.request(&Request::new("GET", format!("/{number}"), "h"));
        builder.response(&Response::new(200, Body::length(&b"hello"[..])));
    }
    builder
}

/// A program with one processor, one with several, and one with several workers.
fn ways(dir: &Dir, words: &str) -> [Gannet; 3] {
    [dir.gannet_on_one_cpu(words), dir.gannet(words), dir.gannet(&format!("{words} --workers 3"))]
}

/// The next line, which must come though nothing else happens.
#[track_caller]
fn next(lines: &Receiver<String>) -> Value {
    let line = lines.recv_timeout(Duration::from_secs(20)).expect("a line comes");
    serde_json::from_str(&line).unwrap()
}

#[track_caller]
fn feed(stdin: &mut ChildStdin, bytes: &[u8]) {
    stdin.write_all(bytes).unwrap();
    stdin.flush().unwrap();
}

/// Asks for the report until it says this.
#[track_caller]
fn report_until(run: &mut Capture, words: &str) {
    for _ in 0..200 {
        run.signal(Signal::SIGUSR1);
        if run.wait_for_part(" read").starts_with(words) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no report says '{words}'");
}

/// Nothing follows an exchange, then half a packet does: its record is there, the report can be had, and one signal
/// ends it all. With 512 packets to a batch, records, report and end waited for those.
#[test]
fn a_slow_pipe() {
    let dir = Dir::new();
    let bytes = exchanges(2).finish().pcap();
    for gannet in ways(&dir, "http -r - -o jsonl") {
        let (mut run, mut stdin) = gannet.start_fed();
        let lines = run.follow_stdout();
        let (header, packets) = bytes.split_at(24);
        // In pieces that begin and end anywhere.
        for piece in header.chunks(7).chain(packets.chunks(33)) {
            feed(&mut stdin, piece);
        }
        assert_eq!(next(&lines)["url"]["path"], "/0");
        assert_eq!(next(&lines)["url"]["path"], "/1");
        feed(&mut stdin, &bytes[24..60]);
        let packets = Records(&bytes[24..]).count();
        report_until(&mut run, &format!("{packets} packets read"));
        run.signal(Signal::SIGINT);
        let outcome = run.end().exits(0).says(&format!("{packets} packets processed"));
        assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
        drop(stdin);
    }
}

/// The same for what is compressed, as far as whoever compresses gives it away.
#[test]
fn a_slow_pipe_of_compressed_packets() {
    let dir = Dir::new();
    for gannet in ways(&dir, "http -r - -o jsonl") {
        let (mut run, stdin) = gannet.start_fed();
        let lines = run.follow_stdout();
        let mut encoder = GzEncoder::new(stdin, Compression::fast());
        encoder.write_all(&exchanges(1).finish().pcap()).unwrap();
        encoder.flush().unwrap();
        assert_eq!(next(&lines)["url"]["path"], "/0");
        run.signal(Signal::SIGTERM);
        run.end().exits(0).says("1 record written");
        // The trailer finds nobody.
        drop(encoder);
    }
}

/// Reading fails in the middle: what was found until then is told all the same, and so is what was still open. On one
/// processor that was dropped without a word.
#[test]
fn an_input_that_breaks() {
    let dir = Dir::new();
    let mut builder = exchanges(2);
    builder.request(&Request::new("GET", "/open", "h"));
    let bytes = builder.finish().pcap();
    let packets = Records(&bytes[24..]).count();
    for gannet in ways(&dir, "http -r - -o jsonl") {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut feeder = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stdin, _) = listener.accept().unwrap();
        // Whoever closes a connection without having read all of it resets it.
        stdin.write_all(b"never read").unwrap();
        let mut run = gannet.start_reading(OwnedFd::from(stdin));
        let lines = run.follow_stdout();
        feeder.write_all(&bytes).unwrap();
        run.wait_for("reading -");
        report_until(&mut run, &format!("{packets} packets read"));
        drop(feeder);
        run.end().exits(2).says("Connection reset by peer");
        let paths: Vec<_> = lines.iter().map(|line| serde_json::from_str::<Value>(&line).unwrap()).collect();
        let paths: Vec<_> = paths.iter().map(|record| &record["url"]["path"]).collect();
        assert_eq!(paths, ["/0", "/1", "/open"]);
    }
}

/// Of a run whose input has not begun there is a report, too, and an end.
#[test]
fn a_pipe_that_says_nothing() {
    let dir = Dir::new();
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for words in ["http -r -", "http -r fifo", "stats -r -", "http -r - -r fifo"] {
        let (mut run, mut stdin) = dir.gannet(words).start_fed();
        feed(&mut stdin, &[0xd4, 0xc3, 0xb2]);
        run.wait_for("waiting for ");
        report_until(&mut run, "0 packets read");
        run.signal(Signal::SIGINT);
        run.end().exits(0);
    }
    let (mut run, mut stdin) = dir.gannet("record -r - -w out.pcap").start_fed();
    run.wait_for("waiting for standard input");
    // A header, and nothing behind it.
    feed(&mut stdin, &exchanges(0).finish().pcap()[..24]);
    report_until(&mut run, "0 packets read");
    run.signal(Signal::SIGINT);
    run.end().exits(0);
}

/// timeout(1) sends its signal to the program and to the group that this is in: that is one wish.
#[test]
fn a_signal_that_is_sent_twice_is_one() {
    let dir = Dir::new();
    let bytes = exchanges(1).finish().pcap();
    for words in ["http -r - -o none", "record -r - -w out.pcap", "stats -r - -o none"] {
        for _ in 0..5 {
            let (mut run, mut stdin) = dir.gannet(words).start_fed();
            feed(&mut stdin, &bytes);
            run.wait_for("reading -");
            let first = Instant::now();
            run.signal(Signal::SIGTERM);
            run.signal(Signal::SIGTERM);
            let apart = first.elapsed();
            let outcome = run.end();
            // On a busy machine this thread may have been kept waiting between the two.
            if apart < Duration::from_millis(100) {
                outcome.exits(0).says(" read\n");
            }
        }
    }
}

/// `head` has what it wants while the capture that feeds us is silent: nobody waits for its next packet.
#[test]
fn a_reader_that_leaves_during_a_pause() {
    let dir = Dir::new();
    for gannet in ways(&dir, "http -r - -o jsonl") {
        let (mut run, mut stdin) = gannet.start_fed();
        drop(run.follow_stdout());
        // Whoever follows finds out with the second line that nobody listens, and closes the pipe.
        let bytes = exchanges(3).finish().pcap();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && !run.has_ended() {
            let (piece, left) = rest.split_at(rest.len().min(300));
            rest = left;
            feed(&mut stdin, piece);
            std::thread::sleep(Duration::from_millis(50));
        }
        run.end().exits(0);
    }
}

/// `head` leaves when it has what it wants, and nothing comes that would have to be written for the run to notice.
#[test]
fn a_reader_that_leaves_and_nothing_comes() {
    let dir = Dir::new();
    let bytes = exchanges(1).finish().pcap();
    let records = ways(&dir, "http -r - -o jsonl");
    for gannet in records.into_iter().chain([dir.gannet("record -r - -w -")]) {
        let (mut run, mut stdin) = gannet.start_fed();
        let mut stdout = run.take_stdout();
        feed(&mut stdin, &bytes);
        run.wait_for("reading -");
        stdout.read_exact(&mut [0; 24]).unwrap();
        drop(stdout);
        run.end().exits(0);
        // It was open all the time.
        drop(stdin);
    }
}

/// A recording of what comes slowly hears signals as well.
#[test]
fn a_recording_of_a_slow_pipe() {
    let dir = Dir::new();
    let bytes = exchanges(1).finish().pcap();
    let packets = Records(&bytes[24..]).count();
    let (mut run, mut stdin) = dir.gannet("record -r - -w out.pcap").start_fed();
    feed(&mut stdin, &bytes);
    feed(&mut stdin, &bytes[24..45]);
    run.wait_for("reading -");
    report_until(&mut run, &format!("{packets} packets read"));
    run.signal(Signal::SIGINT);
    run.end().exits(0);
    dir.gannet("http -r out.pcap").run().exits(0).says(&format!("{packets} packets read"));
}

/// Where pauses are is no part of the result.
#[test]
fn pauses_change_nothing() {
    let dir = Dir::new();
    let mut builder = exchanges(5);
    builder.request(&Request::new("GET", "/never", "h"));
    for _ in 0..20 {
        builder.wait(100 * MILLISECOND).keep_alive(Peer::Client);
    }
    let bytes = builder.finish().pcap();
    dir.write("a.pcap", &bytes);
    let words = "-o jsonl --events request,response,exchange --pending 300ms";
    let expected = dir.gannet(&format!("http -r a.pcap {words}")).run().exits(0).text();
    assert!(expected.lines().count() > 15);
    for (size, gannet) in [211, 97, 1_000].into_iter().zip(ways(&dir, &format!("http -r - {words}"))) {
        let (mut run, mut stdin) = gannet.start_fed();
        let lines = run.follow_stdout();
        for piece in bytes.chunks(size) {
            feed(&mut stdin, piece);
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(stdin);
        run.end().exits(0);
        assert!(lines.iter().eq(expected.lines()), "pieces of {size} bytes");
    }
}

/// Time passes by the stamps, and not with every 512th packet.
#[test]
fn a_request_without_an_answer_is_told_of_in_time() {
    let dir = Dir::new();
    let mut builder = exchanges(1);
    builder.request(&Request::new("GET", "/never", "h"));
    for _ in 0..20 {
        builder.wait(100 * MILLISECOND).keep_alive(Peer::Client);
    }
    dir.write("a.pcap", &builder.finish().pcap());
    let text = dir.gannet("http -r a.pcap -o jsonl --pending 300ms").run().exits(0).text();
    let told = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let waited: Vec<_> = told.filter_map(|record| record["gannet"]["waited_ns"].as_u64()).collect();
    assert!(matches!(waited[..], [ns] if (300..=510).contains(&(ns / MILLISECOND))), "{waited:?}");
}

/// All is read, and the pipe that nobody reads is full: reports can be had, and the first signal ends it within the
/// time for that.
#[test]
fn an_end_that_only_an_unread_pipe_keeps() {
    let dir = Dir::new();
    let conversation: Conversation = exchanges(400).finish();
    let bytes = conversation.pcap();
    dir.write("a.pcap", &bytes);
    let packets = Records(&bytes[24..]).count();
    for gannet in ways(&dir, "http -r a.pcap -o jsonl --stats-json ledger.json") {
        let mut run = gannet.start();
        run.wait_for("reading ");
        report_until(&mut run, &format!("{packets} packets read"));
        run.signal(Signal::SIGINT);
        run.end_unread().exits(5).says("nobody read it within 2 s");
        let ledger: Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
        let sink = &ledger["sinks"][0];
        let [made, written, shed] = ["made", "written", "shed"].map(|name| sink[name].as_u64().unwrap());
        assert!(made == 400 && made == written + shed && shed != 0, "{sink}");
    }
}

/// The packets of a classic file, without its header.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.0.get(8..12)?.try_into().unwrap()) as usize;
        let (packet, rest) = self.0.split_at(16 + len);
        self.0 = rest;
        Some(packet)
    }
}

/// As tcpdump does, a run waits for the readers of its FIFOs; meanwhile it can be asked and ended.
#[test]
fn a_fifo_that_nobody_reads_yet() {
    let dir = Dir::new();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    dir.write("in.pcap", &exchanges(3).finish().pcap());
    for words in [
        "http -r in.pcap -o jsonl:fifo",
        "http -r in.pcap -o jsonl:file -o text:fifo --workers 3",
        "stats -r in.pcap -o jsonl:fifo",
        "record -r in.pcap -w fifo --format pcap",
        "http -r in.pcap -o none --stats-json fifo",
        "http -r in.pcap -o none --summary=fifo --stats-json file.json",
        "http -r in.pcap -o none --histograms fifo",
        "stats -r in.pcap -o none --summary=fifo",
        "record -r in.pcap -w out.pcap --stats-json fifo",
        "httpry -r in.pcap -u root -o fifo",
    ] {
        let mut run = dir.gannet(words).start();
        run.wait_for("waiting for a reader of fifo");
        report_until(&mut run, "0 packets read");
        run.signal(Signal::SIGINT);
        run.end().exits(0);

        let mut run = dir.gannet(words).start();
        run.wait_for("waiting for a reader of fifo");
        let bytes = std::fs::read(&fifo).unwrap();
        run.end().exits(0);
        assert!(!bytes.is_empty(), "{words}");
    }
    // Whoever is there already is not waited for.
    let reader = std::thread::spawn(move || std::fs::read(fifo).unwrap());
    let outcome = dir.gannet("http -r in.pcap -o jsonl:fifo").run().exits(0);
    assert!(outcome.stderr.contains("3 records written"), "{}", outcome.stderr);
    assert_eq!(reader.join().unwrap().split(|byte| *byte == b'\n').count(), 4);
}

/// An output whose disk is full is told of when that happens and not at the end of a run of days, and two of them are
/// both named at the end.
#[test]
fn an_output_that_fails_in_mid_run() {
    let dir = Dir::new();
    for [one, other] in [["jsonl:/dev/full", "text:file"], ["text:/dev/full", "jsonl:file"]] {
        for way in ways(&dir, &format!("http -r - -o {one} -o {other}")) {
            let (mut run, mut stdin) = way.start_fed();
            feed(&mut stdin, &exchanges(2).finish().pcap());
            let name = one.split(':').next().unwrap();
            run.wait_for_part(&format!(
                "gannet: /dev/full ({name}): No space left on device (os error 28); its records are not written from \
                 here on"
            ));
            drop(stdin);
            let outcome = run.end().exits(5).says("2 records written to file");
            let last = format!("\ngannet: /dev/full ({name}): No space left on device (os error 28)");
            assert!(outcome.stderr.trim_end().ends_with(&last), "{}", outcome.stderr);
        }
    }
    dir.write("in.pcap", &exchanges(2).finish().pcap());
    dir.gannet("http -r in.pcap -o jsonl:/dev/full -o text:/dev/full").run().exits(5).says(
        "\ngannet: /dev/full (jsonl): No space left on device (os error 28); /dev/full (text): No space left on device \
         (os error 28)\n",
    );
}

/// Root has given up what lets it write anywhere when a file is to be opened again in another's directory: what helps
/// is said.
#[test]
fn an_output_in_a_directory_of_somebody_else() {
    if !is_root("giving a directory to nobody") {
        return;
    }
    let dir = Dir::new();
    let theirs = dir.join("d");
    std::fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    let (mut run, mut stdin) = dir.gannet("http -r - -o jsonl:d/log").start_fed();
    let bytes = exchanges(2).finish().pcap();
    feed(&mut stdin, &bytes);
    run.wait_for("reading -");
    report_until(&mut run, &format!("{} packets read", exchanges(2).packets()));
    std::fs::rename(theirs.join("log"), theirs.join("log.1")).unwrap();
    run.signal(Signal::SIGHUP);
    run.wait_for_part("with -Z USER files are opened again as USER");
    drop(stdin);
    run.end()
        .exits(0)
        .says("cannot write to d/log: Permission denied (os error 13) (root's privileges were given up");
    assert_eq!(dir.read("d/log.1").split(|byte| *byte == b'\n').count(), 3);
}

/// Records go on into the file that was there when its directory has gone: that is said when it is found, and in the
/// report.
#[test]
fn an_output_whose_directory_has_gone() {
    let dir = Dir::new();
    std::fs::create_dir(dir.join("d")).unwrap();
    let (mut run, mut stdin) = dir.gannet("http -r - -o jsonl:d/log --stats-json ledger.json").start_fed();
    let bytes = exchanges(2).finish().pcap();
    feed(&mut stdin, &bytes);
    run.wait_for("reading -");
    report_until(&mut run, &format!("{} packets read", exchanges(2).packets()));
    std::fs::rename(dir.join("d"), dir.join("e")).unwrap();
    run.signal(Signal::SIGHUP);
    run.wait_for_part("could not be opened again, so the old file goes on");
    drop(stdin);
    run.end()
        .exits(0)
        .says("2 records written to d/log")
        .says("into the old file since it could not be opened again");
    assert_eq!(dir.read("e/log").split(|byte| *byte == b'\n').count(), 3);
    let ledger: Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
    assert!(ledger.to_string().contains("reopen_failure\":\"cannot write to d/log"), "{ledger}");
}
