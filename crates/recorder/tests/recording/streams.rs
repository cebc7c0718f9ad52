//! What is no regular file: devices and pipes. And how a path's kind is found out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gannet_packet::LinkType;
use gannet_pcap::classic::Precision;
use gannet_recorder::{Destination, Encoding, Error, Notice, OutputPlan, WriterPlan};
use gannet_testkit::generator::Sizes;
use gannet_testkit::recording::read_capture;
use gannet_testkit::tally::Tally as Proof;
use nix::sys::stat::Mode;

use crate::support::{Worker, alone, finish, notices, open, plan, raw_ip, traffic};

#[test]
fn what_a_path_is() {
    let directory = tempfile::tempdir().unwrap();
    let inside = |name: &str| directory.path().join(name);
    let of = |path: &Path| Destination::of_path(path, "stem");
    File::create(inside("there")).unwrap().write_all(b"old").unwrap();
    nix::unistd::mkfifo(&inside("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(inside("socket")).unwrap();
    std::os::unix::fs::symlink(inside("there"), inside("link")).unwrap();
    for name in ["there", "new", "link"] {
        assert_eq!(of(&inside(name)).unwrap(), Destination::File(inside(name)));
    }
    let expected = Destination::Directory { path: directory.path().into(), stem: "stem".into() };
    assert_eq!(of(directory.path()).unwrap(), expected);
    assert_eq!(of(&inside("fifo")).unwrap(), Destination::Special(inside("fifo")));
    assert_eq!(of(Path::new("/dev/null")).unwrap(), Destination::Special("/dev/null".into()));
    assert!(matches!(of(&inside("socket")), Err(Error::Socket { .. })));
    // A directory was meant and is not there.
    assert!(matches!(of(&inside("missing/")), Err(Error::Directory { .. })));
    assert!(of(Path::new("/dev/null/x")).is_err());
    assert_eq!(std::fs::read(inside("there")).unwrap(), b"old", "only looked at");
}

#[test]
fn a_device_swallows_everything() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Micro)] {
        let output = open(OutputPlan { encoding, ..plan(Destination::Special("/dev/null".into())) });
        let mut worker = Worker::new(&output, alone());
        let mut traffic = traffic(Sizes::Fixed(1514), 0);
        for _ in 0..40 {
            worker.record(&traffic.block(usize::MAX));
        }
        let tally = worker.finish();
        assert_eq!((tally.written.0, tally.blocks_in_place), (traffic.next, 0));
        let files = finish(output, &tally);
        assert_eq!((files.len(), files[0].packets), (1, traffic.next));
        assert!(files[0].bytes > tally.written.1);
    }
    assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
}

/// A FIFO, and a thread that reads it as `reader` does.
fn fifo<T: Send + 'static>(
    reader: impl FnOnce(File) -> T + Send + 'static,
) -> (tempfile::TempDir, PathBuf, std::thread::JoinHandle<T>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let name = path.clone();
    let thread = std::thread::spawn(move || reader(File::open(name).unwrap()));
    (directory, path, thread)
}

#[test]
fn a_pipe_gets_every_packet() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Nano)] {
        for workers in [1, 2] {
            let (_directory, path, reader) = fifo(|pipe| {
                let mut proof = Proof::new();
                let warning = read_capture(pipe, &mut proof).unwrap();
                (warning, proof.report())
            });
            let output = open(OutputPlan { encoding, ..plan(Destination::Special(path)) });
            let mut written = (0, 0);
            std::thread::scope(|scope| {
                let handles: Vec<_> = (0..workers)
                    .map(|number| {
                        let shared = workers > 1;
                        let mut worker =
                            Worker::new(&output, WriterPlan { worker: number, shared, ..alone() });
                        worker.source = number;
                        scope.spawn(move || {
                            // Each worker's frames have numbers and flows of their own.
                            let mut traffic = traffic(Sizes::Range(60, 9000), u64::from(number) * 1_000_000);
                            for turn in 0..50 {
                                worker.record(&traffic.block(if turn % 9 == 0 { 5 } else { usize::MAX }));
                                worker.writer().housekeeping();
                            }
                            worker.finish()
                        })
                    })
                    .collect();
                for handle in handles {
                    let tally = handle.join().unwrap();
                    assert_eq!(tally.shed, (0, 0));
                    written = (written.0 + tally.written.0, written.1 + tally.written.1);
                }
            });
            let (files, lost, failure) = output.finish(written);
            assert!(failure.is_none() && lost == (0, 0));
            let (warning, report) = reader.join().unwrap();
            assert_eq!(warning, None);
            assert_eq!((report.intact, report.bytes), (written.0, written.1), "{report:?}");
            assert_eq!((report.frames, files[0].packets), (written.0, written.0));
        }
    }
}

#[test]
fn a_reader_that_closes_early_ends_the_run_normally() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Nano)] {
        let (_directory, path, reader) = fifo(|mut pipe| {
            let mut taken = vec![0; 3 << 20];
            pipe.read_exact(&mut taken).unwrap();
        });
        let output = open(OutputPlan { encoding, ..plan(Destination::Special(path)) });
        let mut worker = Worker::new(&output, alone());
        let mut traffic = traffic(Sizes::Fixed(1514), 0);
        let start = Instant::now();
        while !output.is_closed() {
            worker.record(&traffic.block(usize::MAX));
            assert!(start.elapsed() < Duration::from_secs(20), "nobody notices that the reader has gone");
        }
        // A worker that has not noticed yet.
        worker.record(&traffic.block(usize::MAX));
        worker.record(&traffic.block(usize::MAX));
        let tally = worker.finish();
        assert!(tally.shed.0 > 0);
        let (files, lost, failure) = output.finish(tally.written);
        assert!(failure.is_none(), "a closed pipe is no failure: {failure:?}");
        assert_eq!(files[0].packets + lost.0, tally.written.0);
        assert!(lost.0 > 0 && files[0].packets > 1000);
        reader.join().unwrap();
    }
}

#[test]
fn a_full_device_is_a_failure() {
    let output = open(plan(Destination::Special("/dev/full".into())));
    let mut worker = Worker::new(&output, alone());
    let mut traffic = traffic(Sizes::Fixed(1514), 0);
    for _ in 0..10 {
        worker.record(&traffic.block(usize::MAX));
    }
    let tally = worker.finish();
    let (files, lost, failure) = output.finish(tally.written);
    assert_eq!(
        failure.unwrap().to_string(),
        "cannot write to /dev/full: No space left on device (os error 28)"
    );
    assert_eq!((files[0].packets, lost), (0, tally.written));
}

#[test]
fn a_stream_holds_one_link_type() {
    let output = open(plan(Destination::Special("/dev/null".into())));
    let mut worker = Worker::new(&output, alone());
    let mut traffic = traffic(Sizes::Fixed(100), 0);
    for _ in 0..3 {
        worker.record(
            &traffic.block_with(100, |number, frame| if number % 4 == 0 { raw_ip(frame) } else { frame }),
        );
    }
    let tally = worker.finish();
    assert_eq!((tally.written, tally.other_link_type), ((225, 22_500), (75, 75 * 86)));
    let told = notices(&output);
    assert_eq!(told.len(), 1, "told once: {told:?}");
    assert!(matches!(&told[0], Notice::Trouble(text) if text.contains("--cooked")));
    finish(output, &tally);

    // Cooked, it holds all.
    let plan = OutputPlan { link_type: LinkType::SLL2, ..plan(Destination::Special("/dev/null".into())) };
    let output = open(plan);
    let mut worker = Worker::new(&output, WriterPlan { cooked: true, ..alone() });
    worker.record(
        &traffic.block_with(100, |number, frame| if number % 4 == 0 { raw_ip(frame) } else { frame }),
    );
    let tally = worker.finish();
    assert_eq!((tally.written.0, tally.other_link_type.0), (100, 0));
    finish(output, &tally);
}
