//! What goes wrong before a capture is open, or instead of a conversion: the status, and a sentence that helps.

use gannet_testkit::conversation::{Body, Builder, Request, Response, Setup};

use crate::util::{Dir, Pcap, is_root};

#[test]
fn no_such_interface() {
    if !is_root("opening a packet socket") {
        return;
    }
    let dir = Dir::new();
    dir.gannet("record -i gannet-none0 -w out.pcapng")
        .run()
        .exits(3)
        .says("gannet-none0")
        .says("gannet interfaces");
    dir.gannet("http -i lo,gannet-none0").run().exits(3).says("one by one, as in -i eth0 -i eth1");
    assert!(!dir.join("out.pcapng").exists(), "a capture that never began has left a file");
    let outcome = dir.gannet("record -w out.pcapng").env("NET_DEVICE", "gannet-none1").run();
    outcome.exits(3).says("gannet-none1");
    let outcome = dir.gannet("record -w out.pcapng").env("VPC_MIRROR_DEVICE", "gannet-none2").run();
    outcome.exits(3).says("gannet-none2");
    dir.gannet("record --netns no-such-namespace -i lo -w out.pcapng")
        .run()
        .exits(3)
        .says("no-such-namespace");
}

#[test]
fn no_permission() {
    if !is_root("becoming nobody") {
        return;
    }
    let dir = Dir::new();
    dir.gannet_as_nobody("record -i lo -w /dev/null").run().exits(3).says("cap_net_raw");
    dir.gannet_as_nobody("interfaces").run().exits(0);
}

#[test]
fn an_output_that_cannot_be_opened() {
    let dir = Dir::new();
    dir.write("in.pcap", &Pcap::sample(3).to_bytes());
    dir.gannet("record -r in.pcap -w missing/out.pcapng").run().exits(5).says("missing/out.pcapng");
    dir.gannet("record -r in.pcap -w missing/").run().exits(5).says("missing/");
    dir.gannet("record -r in.pcap -w out.pcapng --stats-json missing/ledger.json")
        .run()
        .exits(5)
        .says("missing/ledger.json");
    if is_root("becoming nobody") {
        dir.gannet_as_nobody("record -r in.pcap -w out2.pcapng").run().exits(5).says("out2.pcapng");
    }
}

#[test]
fn files_that_are_no_captures() {
    let dir = Dir::new();
    dir.write("empty", b"");
    dir.write("text", b"This is not a capture file, whatever its length may be.\n");
    dir.write("header", &Pcap::sample(0).to_bytes()[..20]);
    for name in ["missing", "empty", "text", "header"] {
        let outcome = dir.gannet(&format!("record -r {name} -w out.pcapng")).run().exits(2).says(name);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    }
    dir.gannet("record -r - -w out.pcapng").stdin(b"text").run().exits(2);
}

#[test]
fn a_file_cut_in_the_middle_of_a_record() {
    let dir = Dir::new();
    let whole = Pcap::sample(5);
    let bytes = whole.to_bytes();
    dir.write("cut.pcap", &bytes[..bytes.len() - 10]);
    let last = bytes.len() - whole.records[4].data.len() - 16;
    let outcome = dir.gannet("record -r cut.pcap --format pcap -w out.pcap").run().exits(0);
    outcome.says("cut.pcap").says(&last.to_string());
    assert_eq!(Pcap::parse(&dir.read("out.pcap")).records, whole.records[..4]);
}

#[test]
fn the_output_is_not_the_input() {
    let dir = Dir::new();
    let bytes = Pcap::sample(3).to_bytes();
    dir.write("in.pcap", &bytes);
    std::os::unix::fs::symlink("in.pcap", dir.join("link.pcap")).unwrap();
    dir.gannet("record -r in.pcap -w link.pcap").run().exits(2).says("the same file");
    assert_eq!(dir.read("in.pcap"), bytes);
}

#[test]
fn verify_and_repair() {
    let dir = Dir::new();
    let whole = Pcap::sample(50);
    let bytes = whole.to_bytes();
    dir.write("whole.pcap", &bytes);
    dir.write("cut.pcap", &bytes[..bytes.len() - 5]);
    let sound = dir.gannet("extract --verify whole.pcap").run().exits(0);
    assert!(sound.text().contains("50 packets"), "{}", sound.text());
    dir.gannet("extract --verify cut.pcap whole.pcap").run().exits(2);
    // The directory: both files.
    let both = dir.gannet("extract --verify .").run().exits(2);
    assert!(both.text().contains("whole.pcap") && both.text().contains("cut.pcap"));
    dir.gannet("extract --repair .").run().exits(0);
    dir.gannet("extract --verify .").run().exits(0);
    assert_eq!(dir.read("whole.pcap"), bytes);
    assert_eq!(Pcap::parse(&dir.read("cut.pcap")).records, whole.records[..49]);
    dir.gannet("extract --verify missing.pcap").run().exits(2).says("missing.pcap");
}
#[test]
fn a_full_disk_ends_a_conversion_with_the_status_of_the_output() {
    let dir = Dir::new();
    dir.write("in.pcap", &Pcap::sample(3).to_bytes());
    dir.gannet("record -r in.pcap -w /dev/full --format pcap").run().exits(5).says("/dev/full");
}

#[test]
fn files_that_cannot_be_say_what_to_do() {
    let dir = Dir::new();
    dir.write("in.pcap", &Pcap::sample(3).to_bytes());
    std::fs::create_dir(dir.join("captures")).unwrap();
    for command in ["http", "stats", "record -w out.pcap"] {
        dir.gannet(&format!("{command} -r captures"))
            .run()
            .exits(2)
            .says("cannot read captures: it is a directory; name the capture files in it, each with -r");
    }
    for (words, named) in [
        ("http -o jsonl:no/x", "-o jsonl:no/x"),
        ("http -o none --summary=no/x", "--summary=no/x"),
        ("http -o none --histograms no/x", "--histograms no/x"),
        ("http -o none --stats-json no/x", "--stats-json no/x"),
        ("stats -o csv:no/x", "-o csv:no/x"),
        ("record -w no/x", "-w no/x"),
    ] {
        dir.gannet(&format!("{words} -r in.pcap"))
            .run()
            .exits(5)
            .says(&format!("{named}: there is no directory no; make it first"));
    }
    dir.gannet("http -r in.pcap -o text:x -o jsonl:./x")
        .run()
        .exits(2)
        .says("-o text:x and -o jsonl:./x name the same file");
    // Whatever leads to it, whether it is there or not yet.
    std::fs::hard_link(dir.write("there", b""), dir.join("hard")).unwrap();
    for (link, target) in [("soft", "there"), ("early", "yet"), ("chain", "early")] {
        std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
    }
    for (one, other) in
        [("there", "hard"), ("soft", "there"), ("hard", "soft"), ("yet", "early"), ("chain", "yet")]
    {
        dir.gannet(&format!("http -r in.pcap -o jsonl:{one} -o text:{other}"))
            .run()
            .exits(2)
            .says(&format!("-o jsonl:{one} and -o text:{other} name the same file"));
    }
    dir.gannet("http -r in.pcap --pending 0").run().exits(2).says("a time above zero is wanted, such as");
}

/// What comes at the end of a run goes into several files, and one that fails leaves the others as they are.
#[test]
fn a_full_disk_at_the_end_of_a_run() {
    let dir = Dir::new();
    let mut builder = Builder::new(Setup::default());
    builder.handshake();
    builder.request(&Request::new("GET", "/", "h"));
    builder.response(&Response::new(200, Body::length(&b"hello"[..])));
    dir.write("in.pcap", &builder.finish().pcap());
    let flags = [("--summary=", "summary"), ("--histograms ", "histograms"), ("--stats-json ", "ledger")];
    for (full, _) in flags {
        let words =
            flags.map(|(flag, name)| format!("{flag}{}", if flag == full { "/dev/full" } else { name }));
        dir.gannet(&format!("http -r in.pcap -o none {}", words.join(" "))).run().exits(5).says(&format!(
            "gannet: {} /dev/full: No space left on device",
            full.trim_end_matches(['=', ' '])
        ));
        for (_, name) in flags.into_iter().filter(|(flag, _)| *flag != full) {
            assert!(!dir.read(name).is_empty(), "{name} beside {full}");
            std::fs::remove_file(dir.join(name)).unwrap();
        }
    }
}

/// A file that may not grow takes part of a record: that part is cut off again, so that the records of the next run
/// begin a line of their own. It was joined to the first of them.
#[test]
fn a_file_that_takes_part_of_a_record() {
    let dir = Dir::new();
    let mut builder = Builder::new(Setup::default());
    builder.handshake();
    for number in 0..10 {
        builder.request(&Request::new("GET", format!("/{number}"), "h"));
        builder.response(&Response::new(200, Body::length(&b"hello"[..])));
    }
    dir.write("in.pcap", &builder.finish().pcap());
    let words = "http -r in.pcap -o jsonl:out";
    dir.gannet(words).run().exits(0);
    let whole = dir.read("out");
    let ends: Vec<_> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    assert_eq!(ends.len(), 10);
    // Nothing of the first record, part of it, part of others, and all of some.
    for limit in [0, 1, ends[0] - 1, ends[0], ends[3] + 7, ends[8], ends[9] - 1] {
        std::fs::remove_file(dir.join("out")).unwrap();
        let kept = ends.iter().filter(|end| **end <= limit).count();
        // Whoever ignores the signal gets an error instead (setrlimit(2), RLIMIT_FSIZE).
        let limited =
            format!("--fsize={limit} env --ignore-signal=XFSZ {} {words}", env!("CARGO_BIN_EXE_gannet"));
        dir.program("prlimit", &limited)
            .run()
            .exits(5)
            .says(&format!("{kept} record{} written", if kept == 1 { "" } else { "s" }));
        assert_eq!(dir.read("out"), whole[..kept.checked_sub(1).map_or(0, |last| ends[last])], "{limit}");
        dir.gannet(words).run().exits(0);
        assert_eq!(dir.read("out").split(|byte| *byte == b'\n').count(), kept + 11, "{limit}");
    }
}

/// Of a compressed file that is damaged all that was decoded in front of the damage is read, however small the file is.
#[test]
fn what_is_in_front_of_damaged_compression_is_read() {
    let dir = Dir::new();
    let bytes = Pcap::sample(2_000).to_bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &bytes).unwrap();
    let gzip = gzip.finish().unwrap();
    dir.write("cut.gz", &gzip[..gzip.len() / 2]);
    let mut flipped = gzip.clone();
    let last = flipped.len() - 8;
    flipped[last] ^= 1;
    dir.write("flipped.gz", &flipped);
    for words in ["http -o jsonl -r", "stats -o csv -r", "record -w out.pcap -r", "filter len>0 --run"] {
        let cut = dir.gannet(&format!("{words} cut.gz")).run().exits(0);
        let cut =
            cut.says("cut.gz: gzip data damaged at offset ").says(" of what is in it: the file ends within");
        assert!(!cut.stderr.contains("\n0 packets"), "{}", cut.stderr);
        dir.gannet(&format!("{words} flipped.gz"))
            .run()
            .exits(0)
            .says("flipped.gz: gzip data damaged at offset ")
            .says("the checksum differs; what follows is left out (copy the file again if `gzip -t` refuses it, too)");
    }
    dir.gannet("http -r flipped.gz").run().exits(0).says("2000 packets read");
    // With nothing in front of the damage there is nothing to be read.
    dir.write("no.gz", b"\x1f\x8bhello this is no gzip at all");
    dir.gannet("http -r no.gz")
        .run()
        .exits(2)
        .says("gannet: no.gz: gzip data damaged at offset ")
        .says("it begins like gzip, and goes on like something else");
}
