//! Interfaces that are down, go down, vanish and return: the capture waits, says so, and goes on.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use gannet_testkit::generator::{Generator, Plan, Sizes, Spec};
use gannet_testkit::lab::Side;
use nix::sys::signal::Signal;

use super::recorded::tally;
use super::support::{Bench, Ledger, Run};

/// The ways to capture on one interface that differ in what happens when it leaves.
const WAYS: [&str; 3] = ["", "--workers 2", "--workers 2 --fanout hash"];

fn small(first: u64) -> Spec {
    Spec { sizes: Sizes::Fixed(100), first, flows: 100, ..Spec::default() }
}

#[test]
fn down_at_the_start() {
    let Some(bench) = Bench::new() else { return };
    for words in WAYS {
        bench.lab.set_up(Side::Receiver, false).unwrap();
        let mut run = bench.capture(&format!("--ring-size 8MiB -w out.pcapng {words}"));
        run.capture.wait_for("rx0 is down, waiting for it");
        idle(Duration::from_secs(1));
        bench.lab.set_up(Side::Receiver, true).unwrap();
        run.capture.wait_for("rx0 is up again");
        send_when_there(&bench, 0, 1_000);
        let (_, ledger) = run.interrupt();
        assert_recorded(&bench, &ledger, 1_000);
        assert_idle(&ledger);
    }
}

#[test]
fn down_and_up() {
    let Some(bench) = Bench::new() else { return };
    for words in WAYS {
        let mut run = bench.capture(&format!("--ring-size 8MiB -w out.pcapng {words}"));
        let mut sent = 0;
        for _ in 0..2 {
            send_when_there(&bench, sent, 500);
            sent += 500;
            bench.lab.set_up(Side::Receiver, false).unwrap();
            run.capture.wait_for("rx0 is down, waiting for it");
            idle(Duration::from_millis(400));
            bench.lab.set_up(Side::Receiver, true).unwrap();
            run.capture.wait_for("rx0 is up again");
        }
        send_when_there(&bench, sent, 500);
        let (outcome, ledger) = run.stop();
        assert_recorded(&bench, &ledger, sent + 500);
        assert_idle(&ledger);
        assert_eq!(outcome.stderr.matches("is down").count(), 2, "{words}: {}", outcome.stderr);
    }
}

#[test]
fn deleted_and_made_again() {
    let Some(bench) = Bench::new() else { return };
    for words in WAYS {
        let mut run = bench.capture(&format!("--ring-size 8MiB -w out.pcapng {words}"));
        let mut sent = 0;
        for _ in 0..2 {
            send_when_there(&bench, sent, 500);
            sent += 500;
            bench.lab.delete_link().unwrap();
            run.capture.wait_for("rx0 is gone, waiting for it to return");
            idle(Duration::from_millis(600));
            bench.lab.create_link().unwrap();
            wait_for_return(&mut run, words);
        }
        send_when_there(&bench, sent, 500);
        let (outcome, ledger) = run.interrupt();
        assert_recorded(&bench, &ledger, sent + 500);
        assert_idle(&ledger);
        assert!(!outcome.stderr.contains("failed"), "{words}: {}", outcome.stderr);
    }
}

/// The same seen from another namespace, which has to be entered again for new sockets, without the privileges of the
/// start.
#[test]
fn deleted_and_made_again_in_another_namespace() {
    let Some(bench) = Bench::new() else { return };
    let namespace = bench.lab.namespace(Side::Receiver);
    for words in ["", "--workers 2"] {
        let words = format!(
            "record --netns {namespace} -i rx0 --stats-json ledger.json --ring-size 8MiB -w out.pcapng {words}"
        );
        let mut capture = bench.dir.gannet(&words).capture();
        send_when_there(&bench, 0, 500);
        bench.lab.delete_link().unwrap();
        capture.wait_for(&format!("rx0 in network namespace {namespace} is gone"));
        bench.lab.create_link().unwrap();
        capture.wait_for(&format!("rx0 in network namespace {namespace} is back"));
        send_when_there(&bench, 500, 500);
        capture.signal(Signal::SIGINT);
        capture.end().exits(0);
        assert_recorded(&bench, &bench.ledger(), 1_000);
    }
}

/// It never comes back: the capture ends when it is told to, with all that came before.
#[test]
fn deleted_for_good() {
    let Some(bench) = Bench::new() else { return };
    for words in WAYS {
        let mut run = bench.capture(&format!("--ring-size 8MiB -w out.pcapng {words}"));
        send_when_there(&bench, 0, 500);
        bench.lab.delete_link().unwrap();
        run.capture.wait_for("rx0 is gone, waiting for it to return");
        idle(Duration::from_millis(1_500));
        let (_, ledger) = run.interrupt();
        assert_recorded(&bench, &ledger, 500);
        assert_idle(&ledger);
        bench.lab.create_link().unwrap();
    }
}

/// Gone and back before anybody has looked, with packets in a block that the kernel has not handed over yet.
#[test]
fn replaced_in_an_instant() {
    let Some(bench) = Bench::new() else { return };
    for words in WAYS {
        let words = format!("--ring-size 8MiB --block-timeout 1s -w out.pcapng {words}");
        let mut run = bench.capture(&words);
        send_when_there(&bench, 0, 500);
        bench.lab.delete_link().unwrap();
        bench.lab.create_link().unwrap();
        wait_for_return(&mut run, &words);
        send_when_there(&bench, 500, 500);
        let (_, ledger) = run.interrupt();
        assert_recorded(&bench, &ledger, 1_000);
        assert_idle(&ledger);
    }
}

/// The interface leaves while packets come in at speed; what had come is recorded.
#[test]
fn deleted_at_load() {
    let Some(bench) = Bench::new() else { return };
    for words in ["", "--workers 2"] {
        let mut run = bench.capture(&format!("--ring-size 32MiB -w out.pcapng {words}"));
        let passed = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut socket = bench.sender();
                let mut generator = Generator::new(&small(0));
                let plan = Plan { count: u64::MAX, pps: Some(50_000.0) };
                // Ends with the interface.
                let error = generator.run(&mut socket, &plan, &AtomicBool::new(false)).unwrap_err();
                assert!(error.is_interface_gone(), "{error}");
            });
            std::thread::sleep(Duration::from_millis(400));
            let passed = run.passed();
            bench.lab.delete_link().unwrap();
            sending.join().unwrap();
            passed
        });
        run.capture.wait_for("rx0 is gone");
        bench.lab.create_link().unwrap();
        wait_for_return(&mut run, words);
        send_when_there(&bench, 1 << 40, 500);
        let (_, ledger) = run.interrupt();
        assert_eq!(ledger.packets("received"), ledger.packets("written"));
        assert!(ledger.packets("received") >= passed + 500, "{words}: {passed} {ledger:?}");
        let report = tally([bench.dir.join("out.pcapng")], 1 << 40, 500);
        assert_eq!(
            (report.missing, report.corrupt, report.out_of_order, report.doubled),
            (0, 0, 0, 0),
            "{words}"
        );
        // Of the first flood nothing is missing in the middle.
        let flood = tally([bench.dir.join("out.pcapng")], 0, ledger.packets("received") - 500);
        assert_eq!(flood.missing, 0, "{words}: {flood:?}");
    }
}

/// `any` does not care: interfaces come and go while it captures.
#[test]
fn any_takes_interfaces_as_they_come() {
    let Some(bench) = Bench::new() else { return };
    for words in ["", "--workers 2"] {
        let run = bench.capture_on(Side::Receiver, &format!("-i any --ring-size 8MiB -w out.pcapng {words}"));
        send_when_there(&bench, 0, 500);
        std::thread::sleep(Duration::from_millis(300));
        bench.lab.delete_link().unwrap();
        idle(Duration::from_millis(300));
        bench.lab.create_link().unwrap();
        send_when_there(&bench, 500, 500);
        bench.lab.set_up(Side::Receiver, false).unwrap();
        idle(Duration::from_millis(300));
        bench.lab.set_up(Side::Receiver, true).unwrap();
        send_when_there(&bench, 1_000, 500);
        let (outcome, ledger) = run.interrupt();
        assert_recorded(&bench, &ledger, 1_500);
        assert_idle(&ledger);
        assert!(!outcome.stderr.contains("gone") && !outcome.stderr.contains("down"), "{}", outcome.stderr);
    }
}

/// One of two interfaces leaves: the other is not disturbed.
#[test]
fn one_of_two_leaves() {
    let Some(bench) = Bench::new() else { return };
    for words in ["", "--workers 2"] {
        let words = format!("-i rx0 -i lo --ring-size 16MiB -w out.pcapng {words}");
        let mut run = bench.capture_on(Side::Receiver, &words);
        send_when_there(&bench, 0, 300);
        bench.lab.delete_link().unwrap();
        run.capture.wait_for("rx0 is gone");
        bench
            .lab
            .enter(Side::Receiver, || {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                for number in 0..200u32 {
                    socket.send_to(&number.to_be_bytes(), socket.local_addr().unwrap()).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
            .unwrap();
        bench.lab.create_link().unwrap();
        wait_for_return(&mut run, &words);
        send_when_there(&bench, 300, 300);
        let (_, ledger) = run.interrupt();
        ledger.is_lossless(800);
        let report = tally([bench.dir.join("out.pcapng")], 0, 600);
        assert_eq!((report.intact, report.missing, report.foreign), (600, 0, 200), "{words}: {report:?}");
        assert_idle(&ledger);
    }
}

/// Waits for the line that says so; tells everything that was said if it does not come.
#[track_caller]
fn wait_for_return(run: &mut Run<'_>, words: &str) {
    let begun = Instant::now();
    run.capture.wait_for("rx0 is back, capturing on it again");
    assert!(begun.elapsed() < Duration::from_secs(6), "{words}: back only after {:?}", begun.elapsed());
}

/// Sends once the pair has its carrier back: frames go nowhere before.
fn send_when_there(bench: &Bench, first: u64, count: u64) {
    super::support::wait_for("carrier", || {
        Side::BOTH.iter().all(|&side| {
            bench
                .lab
                .ip(side, &format!("-o link show dev {}", side.interface()))
                .unwrap()
                .contains("state UP")
        })
    });
    bench.send(&small(first), count, 20_000.0);
}

fn idle(time: Duration) {
    std::thread::sleep(time);
}

#[track_caller]
fn assert_recorded(bench: &Bench, ledger: &Ledger, count: u64) {
    ledger.is_lossless(count);
    let report = tally([bench.dir.join("out.pcapng")], 0, count);
    assert!(report.is_perfect(), "{report:?}");
}

/// It did not spin while there was nothing to do: a loop would take all of the time. Rings that are made again take
/// some as well, by how the machine gets its memory.
#[track_caller]
fn assert_idle(ledger: &Ledger) {
    let (cpu, duration) = (ledger.cpu_seconds(), ledger.duration().as_secs_f64());
    assert!(cpu < 0.15 + 0.25 * duration, "{cpu:.2} s of CPU in {duration:.2} s");
}
