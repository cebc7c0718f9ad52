//! `-r` beyond the ordinary: real captures of every kind, compressed ones, standard input, several at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::recorded::packets;
use super::tools;
use crate::util::{Dir, Pcap};

/// Every capture of the shared collection keeps its packets on the way into each format, whatever its own.
#[test]
fn real_captures_keep_their_packets() {
    let Some(corpus) = corpus() else { return };
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    let dir = Dir::new();
    let mut captures = 0;
    for line in index.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let (path, count) = (columns[1], columns[3].parse::<u64>().unwrap());
        captures += 1;
        let input = corpus.join("pcaps").join(path);
        let original = read_all(&[&input]);
        assert_eq!(original.len() as u64, count, "{path}");
        for format in ["pcapng", "pcap-ns"] {
            let out = dir.join("out");
            std::fs::create_dir(&out).unwrap();
            let words =
                format!("record -r {} -w out/f --stats-json ledger.json --format {format}", input.display());
            let outcome = dir.gannet(&words).run().exits(0);
            let ledger: serde_json::Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
            assert_eq!(ledger["packets"]["received"], count, "{path}: {}", outcome.stderr);
            assert_eq!(ledger["packets"]["written"], count, "{path}: {}", outcome.stderr);
            // One file for each link type.
            let mut files: Vec<_> =
                std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let mut converted = read_all(&files);
            let mut original = original.clone();
            if files.len() > 1 {
                original.sort();
                converted.sort();
            }
            assert!(original == converted, "{path} as {format}: packets differ");
            if tools::have(&["capinfos"]) {
                assert_eq!(tools::capinfos_count(&files), count, "{path} as {format}");
            }
            std::fs::remove_dir_all(out).unwrap();
        }
    }
    assert!(captures > 40, "{captures} captures in the index");
}

#[test]
fn compressed_by_other_programs() {
    let dir = Dir::new();
    let sample = Pcap::sample(5_000);
    dir.write("in.pcap", &sample.to_bytes());
    // A small window, as what is cut off in it cannot be decompressed.
    for (program, suffix, level) in [("gzip", "gz", "-6"), ("zstd", "zst", "--zstd=wlog=10")] {
        if !tools::have(&[program]) {
            continue;
        }
        let status = Command::new(program)
            .args(["-q", "-k", level, "in.pcap"])
            .current_dir(dir.path())
            .status()
            .unwrap();
        assert!(status.success());
        let name = format!("in.pcap.{suffix}");
        dir.gannet(&format!("record -r {name} --format pcap -w out.pcap")).run().exits(0);
        assert_eq!(Pcap::parse(&dir.read("out.pcap")), sample, "{name}");
        // By content, not by name; and through a pipe.
        let compressed = dir.read(&name);
        dir.write("nameless", &compressed);
        dir.gannet("record -r nameless --format pcap -w out.pcap").run().exits(0);
        assert_eq!(Pcap::parse(&dir.read("out.pcap")), sample, "{name} without its suffix");
        let piped = dir.gannet("record -q -r - --format pcap -w -").stdin(&compressed).run().exits(0);
        assert_eq!(Pcap::parse(&piped.stdout), sample, "{name} through a pipe");
        // Cut in the middle: what came before is kept, and the end is told.
        dir.write(&name, &compressed[..compressed.len() / 2]);
        let outcome =
            dir.gannet(&format!("record -r {name} --format pcap -w out.pcap")).run().exits(0).says(&name);
        let kept = Pcap::parse(&dir.read("out.pcap")).records;
        assert!(!kept.is_empty() && kept.len() < 5_000, "{name}: {} packets, {}", kept.len(), outcome.stderr);
        assert_eq!(kept, sample.records[..kept.len()]);
    }
}

/// Formats, precisions and compressions side by side, merged by time.
#[test]
fn several_of_different_kinds_merged() {
    let dir = Dir::new();
    let sample = Pcap::sample(3_000);
    let part = |skip: usize| {
        let mut part = sample.clone();
        part.records = sample.records.iter().skip(skip).step_by(3).cloned().collect();
        part
    };
    dir.write("a.pcap", &part(0).to_bytes());
    dir.write("b.pcap", &part(1).to_bytes());
    dir.write("c.pcap", &part(2).to_bytes());
    dir.gannet("record -q -r b.pcap -w b.pcapng").run().exits(0);
    dir.gannet("record -q -r c.pcap --format pcap-ns -w c-ns.pcap").run().exits(0);
    let words = "record -q -r a.pcap -r b.pcapng -r c-ns.pcap --format pcap -w out.pcap";
    dir.gannet(words).run().exits(0);
    assert_eq!(Pcap::parse(&dir.read("out.pcap")), sample);
    // One of them from standard input.
    let words = "record -q -r - -r b.pcapng -r c-ns.pcap --format pcap -w -";
    let piped = dir.gannet(words).stdin(&dir.read("a.pcap")).run().exits(0);
    assert_eq!(Pcap::parse(&piped.stdout), sample);
}

/// Cut inside a block of pcapng: the offset is told, all before it is kept; and so it is at every length.
#[test]
fn files_cut_anywhere() {
    let dir = Dir::new();
    let sample = Pcap::sample(20);
    dir.write("in.pcap", &sample.to_bytes());
    dir.gannet("record -q -r in.pcap -w whole.pcapng").run().exits(0);
    let whole = dir.read("whole.pcapng");
    let mut complete = 0;
    for length in (0..whole.len()).rev().step_by(97) {
        dir.write("cut.pcapng", &whole[..length]);
        let outcome = dir.gannet("record -r cut.pcapng --format pcap -w out.pcap").run();
        assert!(!outcome.stderr.contains("panicked"), "{length}: {}", outcome.stderr);
        match outcome.status.code() {
            Some(0) => {
                let kept = Pcap::parse(&dir.read("out.pcap")).records;
                assert_eq!(kept, sample.records[..kept.len()], "{length}");
                assert!(outcome.stderr.contains("cut.pcapng: "), "{length}: no warning: {}", outcome.stderr);
                complete += 1;
            }
            // The section header itself is cut.
            Some(2) => assert!(length < 4_096, "{length}: {}", outcome.stderr),
            status => panic!("{length}: {status:?} {}", outcome.stderr),
        }
    }
    assert!(complete > 10, "{complete}");
}

#[test]
fn a_directory_is_no_capture_and_neither_is_a_device() {
    let dir = Dir::new();
    for name in [".", "/dev/null"] {
        let outcome = dir.gannet(&format!("record -r {name} -w out.pcapng")).run().exits(2);
        assert!(outcome.stderr.contains(name) && !dir.join("out.pcapng").exists(), "{}", outcome.stderr);
    }
}

/// Bytes, original length and time of each packet.
fn read_all<P: AsRef<Path>>(files: &[P]) -> Vec<(u64, u32, Vec<u8>)> {
    let packets = files.iter().flat_map(packets);
    packets.map(|packet| (packet.time, packet.orig_len, packet.data)).collect()
}

/// The shared captures: `GANNET_CORPUS`, or beside the repository. `None`, said on stderr, where there are none.
fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let corpus = std::env::var_os("GANNET_CORPUS").map_or(beside, PathBuf::from);
    if corpus.join("INDEX.tsv").is_file() {
        return Some(corpus);
    }
    eprintln!("SKIPPED, no shared captures at {}: set GANNET_CORPUS", corpus.display());
    None
}
