//! `gannet record -r`: files in, files out, packet by packet as they were.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::util::{Dir, Pcap, Record};

/// What is in a file, as classic pcap.
fn as_pcap(dir: &Dir, name: &str) -> Pcap {
    let outcome = dir.gannet(&format!("record -q -r {name} --format pcap -w -")).run().exits(0);
    Pcap::parse(&outcome.stdout)
}

#[test]
fn to_pcapng_and_back_nothing_changes() {
    let dir = Dir::new();
    let sample = Pcap::sample(1000);
    dir.write("in.pcap", &sample.to_bytes());
    dir.gannet("record -r in.pcap -w out.pcapng").run().exits(0).says("1000 packets read");
    assert_eq!(dir.read("out.pcapng")[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert_eq!(as_pcap(&dir, "out.pcapng"), sample);
    let mode = std::fs::metadata(dir.join("out.pcapng")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn classic_pcap_is_byte_for_byte_the_same() {
    let dir = Dir::new();
    let bytes = Pcap::sample(1000).to_bytes();
    dir.write("in.pcap", &bytes);
    dir.gannet("record -r in.pcap --format pcap -w out.pcap").run().exits(0);
    assert_eq!(dir.read("out.pcap"), bytes);
    // From one pipe into another.
    let outcome = dir.gannet("record -r - --format pcap -w -").stdin(&bytes).run().exits(0);
    assert_eq!(outcome.stdout, bytes);
}

#[test]
fn nanoseconds() {
    let dir = Dir::new();
    let mut sample = Pcap::sample(10);
    dir.write("in.pcap", &sample.to_bytes());
    dir.gannet("record -r in.pcap --format pcap-ns -w out.pcap").run().exits(0);
    sample.magic = Pcap::NANOS;
    for record in &mut sample.records {
        record.fraction *= 1000;
    }
    assert_eq!(Pcap::parse(&dir.read("out.pcap")), sample);
}

#[test]
fn count_and_snapshot_length() {
    let dir = Dir::new();
    let sample = Pcap::sample(10);
    dir.write("in.pcap", &sample.to_bytes());
    dir.gannet("record -r in.pcap -c 4 -s 64 --format pcap -w out.pcap --stats-json ledger.json")
        .run()
        .exits(0);
    let out = Pcap::parse(&dir.read("out.pcap"));
    let expected: Vec<Record> = sample.records[..4]
        .iter()
        .map(|record| Record { data: record.data[..record.data.len().min(64)].to_vec(), ..record.clone() })
        .collect();
    assert_eq!((out.records, out.snaplen), (expected, 64));
    let ledger: serde_json::Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
    assert_eq!(ledger["packets"]["written"], 4);
    assert_eq!(ledger["packets"]["dropped"], 0);
    assert_eq!(ledger["packets"]["received"], ledger["packets"]["processed"]);
    assert_eq!(ledger["packets"]["filtered"], 0);
    assert_eq!(ledger["files"][0]["path"], "out.pcap");
    assert_eq!(ledger["files"][0]["packets"], 4);
}

#[test]
fn several_files_are_merged_by_time() {
    let dir = Dir::new();
    let sample = Pcap::sample(100);
    let half = |odd: usize| {
        let mut pcap = sample.clone();
        pcap.records = sample.records.iter().skip(odd).step_by(2).cloned().collect();
        pcap
    };
    dir.write("even.pcap", &half(0).to_bytes());
    dir.write("odd.pcap", &half(1).to_bytes());
    dir.gannet("record -r even.pcap -r odd.pcap --format pcap -w out.pcap").run().exits(0);
    assert_eq!(Pcap::parse(&dir.read("out.pcap")), sample);
}

#[test]
fn a_reader_that_has_seen_enough_is_a_normal_end() {
    let dir = Dir::new();
    // More than a pipe holds.
    dir.write("in.pcap", &Pcap::sample(20_000).to_bytes());
    let mut child = Command::new(env!("CARGO_BIN_EXE_gannet"))
        .args(["record", "-r", "in.pcap", "--format", "pcap", "-w", "-"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut head = [0; 24];
    child.stdout.take().unwrap().read_exact(&mut head).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // The same for a list on standard output, into a pipe that nobody reads.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status =
        Command::new(env!("CARGO_BIN_EXE_gannet")).arg("interfaces").stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_device_is_written_as_it_is() {
    let dir = Dir::new();
    dir.write("in.pcap", &Pcap::sample(10).to_bytes());
    dir.gannet("record -r in.pcap -w /dev/null").run().exits(0).says("10 packets written");
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}
