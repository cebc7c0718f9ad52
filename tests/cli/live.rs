//! Live captures as their user sees them: lines, signals, privileges. What arrives in the files is tested elsewhere.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use gannet_testkit::lab::{self, Lab, Side};
use nix::sys::signal::Signal;

use crate::util::{Dir, Gannet, NOBODY, is_root};

/// A capture in the receiving namespace of a lab.
fn gannet(lab: &Lab, dir: &Dir, words: &str) -> Gannet {
    let mut command = lab.command(Side::Receiver, env!("CARGO_BIN_EXE_gannet"));
    command.args(words.split_whitespace());
    Gannet::new(command, dir)
}

/// Sends `count` datagrams over the loopback of the receiving namespace.
fn talk(lab: &Lab, count: u32) {
    lab.enter(Side::Receiver, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..count {
            socket.send_to(&number.to_be_bytes(), socket.local_addr().unwrap()).unwrap();
        }
    })
    .unwrap();
}

fn ledger(dir: &Dir) -> serde_json::Value {
    serde_json::from_slice(&dir.read("ledger.json")).unwrap()
}

#[test]
fn a_capture_from_its_first_line_to_its_report() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    let mut capture = gannet(
        &lab,
        &dir,
        "record -i lo -w out.pcapng --stats-json ledger.json --strict --ring-size 8MiB --block-size 256KiB",
    )
    .capture();
    talk(&lab, 100);
    capture.signal(Signal::SIGUSR1);
    capture.wait_for("0 packets dropped by the kernel");
    capture.signal(Signal::SIGINT);
    let outcome = capture.end().exits(0);
    let outcome = outcome.says(
        "capturing on lo, link type EN10MB, snapshot length 262144, 1 worker, ring 8 MiB in 256 KiB blocks, to \
         out.pcapng",
    );
    // Each packet once, though loopback shows it twice.
    outcome.says("100 packets received\n0 packets dropped by the kernel\n100 packets processed");
    let ledger = ledger(&dir);
    assert_eq!(ledger["packets"]["received"], 100);
    assert_eq!(ledger["packets"]["written"], 100);
    assert!(ledger["packets"]["filtered"].is_null());
    assert_eq!(ledger["files"][0]["path"], "out.pcapng");
    assert_eq!(ledger["interfaces"][0]["name"], "lo");
}

#[test]
fn quiet_says_nothing() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    let outcome = gannet(&lab, &dir, "record -q -i lo --duration 200ms -w out.pcapng").run().exits(0);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn an_automatic_name_is_printed_and_used() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    let outcome = gannet(&lab, &dir, "record -i lo --duration 200ms").run().exits(0);
    let line = outcome.stderr.lines().find(|line| line.starts_with("capturing on lo")).unwrap();
    let name = line.rsplit("to ").next().unwrap();
    assert!(name.starts_with("gannet-lo-") && name.ends_with(".pcapng"), "{line}");
    assert!(dir.join(name).is_file());
}

#[test]
fn terminate_ends_it_cleanly_too() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    let capture = gannet(&lab, &dir, "record -i any -w out.pcapng").capture();
    capture.signal(Signal::SIGTERM);
    capture.end().exits(0).says("packets processed");
    dir.gannet("extract --verify out.pcapng").run().exits(0);
}

#[test]
fn a_run_ends_by_count_and_by_time() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    let capture = gannet(&lab, &dir, "record -i lo -c 10 -w out.pcapng --stats-json ledger.json").capture();
    talk(&lab, 50);
    capture.end().exits(0).says("10 packets written");
    assert_eq!(ledger(&dir)["packets"]["written"], 10);
    let outcome =
        gannet(&lab, &dir, "record -i lo --duration 1s --stats 300ms -w out2.pcapng").run().exits(0);
    let lines = outcome.stderr.lines().filter(|line| line.contains("packets received, ")).count();
    assert!((2..=4).contains(&lines), "{}", outcome.stderr);
}

/// Every thread has given up what it does not need, and the user is the one that was asked for.
#[test]
fn privileges_are_gone_while_it_captures() {
    const NONE: u64 = 0;
    // A socket that is to join a fanout group again when its interface returns is a new socket.
    const NET_RAW: u64 = 1 << 13;
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    for (words, user, capabilities) in [
        ("record -i lo -w a.pcapng", 0, NONE),
        ("record -i lo -w b.pcapng --workers 2", 0, NET_RAW),
        ("record -i lo -w c.pcapng -Z nobody", NOBODY, NONE),
        ("record -i lo -w d.pcapng -Z nobody --workers 2", NOBODY, NET_RAW),
    ] {
        let capture = gannet(&lab, &dir, words).capture();
        talk(&lab, 10);
        let tasks: Vec<_> = std::fs::read_dir(format!("/proc/{}/task", capture.pid())).unwrap().collect();
        assert!(tasks.len() >= 2, "{words}: one thread only, so nothing was seen of the workers");
        for task in tasks {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let field = |name: &str| -> Vec<&str> {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("{name} in {status}")).split_whitespace().collect()
            };
            let set = |name: &str| u64::from_str_radix(field(name)[0], 16).unwrap();
            assert_eq!(field("NoNewPrivs:"), ["1"], "{words}: {status}");
            assert_eq!((set("CapEff:"), set("CapPrm:")), (capabilities, capabilities), "{words}: {status}");
            assert_eq!((set("CapInh:"), set("CapAmb:")), (NONE, NONE), "{words}: {status}");
            assert_eq!(field("Uid:"), [user.to_string().as_str(); 4], "{words}: {status}");
            assert_eq!(field("Gid:"), [user.to_string().as_str(); 4], "{words}: {status}");
        }
        capture.signal(Signal::SIGINT);
        capture.end().exits(0).says("10 packets written");
    }
}

#[test]
fn the_file_capability_is_enough() {
    if !is_root("setting a file capability") {
        return;
    }
    let dir = Dir::new();
    let copy = dir.public_copy();
    let given =
        Command::new("setcap").arg("cap_net_raw+ep").arg(&copy).status().is_ok_and(|status| status.success());
    if !given {
        eprintln!("SKIPPED, needs setcap and a file system with capabilities");
        return;
    }
    dir.gannet_as_nobody("record -i lo --duration 200ms -w /dev/null").run().exits(0).says("capturing on lo");
}

#[test]
fn other_namespaces_by_flag() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    let namespace = lab.namespace(Side::Receiver);
    let table = dir.gannet(&format!("interfaces --netns {namespace}")).run().exits(0).text();
    assert!(table.contains("rx0") && !table.contains("tx0"), "{table}");
    let capture = dir.gannet(&format!("record --netns {namespace} -i lo -c 5 -w out.pcapng")).capture();
    talk(&lab, 5);
    capture.end().exits(0).says("5 packets written");
}

/// A second signal does not wait for anything.
#[test]
fn a_second_interrupt_ends_at_once() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    // Nobody reads the FIFO's other end once it is open, so the first signal waits for a writer that waits.
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = {
        let fifo = fifo.clone();
        std::thread::spawn(move || std::fs::File::open(fifo).unwrap())
    };
    let capture = gannet(&lab, &dir, "record -i lo --format pcap -w fifo").capture();
    let held_open = reader.join().unwrap();
    lab.enter(Side::Receiver, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..200 {
            socket.send_to(&[0; 1400], socket.local_addr().unwrap()).unwrap();
        }
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    capture.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_secs(1));
    capture.signal(Signal::SIGINT);
    capture.end().exits(128 + Signal::SIGINT as i32);
    drop(held_open);
}

/// A FIFO waits for its reader, and the first signal ends that.
#[test]
fn a_fifo_without_a_reader_can_be_interrupted() {
    let Ok(()) = lab::require() else { return };
    let (lab, dir) = (Lab::new().unwrap(), Dir::new());
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for words in ["http -i lo -o jsonl:fifo", "record -i lo -w fifo", "http -i lo -o none --record fifo"] {
        let mut run = gannet(&lab, &dir, words).start();
        run.wait_for("waiting for a reader of fifo");
        run.signal(Signal::SIGUSR1);
        run.wait_for("0 packets");
        run.signal(Signal::SIGTERM);
        run.end().exits(0);
    }
}
