//! `gannet httpry` on live traffic, beside httpry on the same interface: the same lines, files and rates.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use gannet_testkit::lab::Side;
use nix::sys::signal::Signal;

use super::http::{Server, end};
use super::support::{Bench, wait_for};
use super::tools;

/// httpry with these words, once it says that it captures.
fn httpry(bench: &Bench, words: &str) -> Child {
    let mut command = bench.lab.command(Side::Receiver, "httpry");
    command.args(words.split_whitespace()).current_dir(bench.dir.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Starting capture")), "httpry does not start");
    // It must not run into a pipe that nobody reads.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn lines_and_files_are_those_of_httpry() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl", "httpry"]) {
        return;
    }
    let server = Server::start(&bench);
    let fields =
        "-f source-ip,source-port,direction,method,host,request-uri,status-code,content-length,user-agent";
    // It flushes no file before it ends, which it does after so many lines.
    let mut theirs = httpry(&bench, &format!("-i rx0 -n 14 -o theirs.log {fields}"));
    let ours = bench.gannet(Side::Receiver, &format!("httpry -F -i rx0 -o ours.log {fields}")).capture();
    let lines = |name: &str| {
        let text = String::from_utf8_lossy(&bench.dir.read(name)).into_owned();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let pages = "http://SERVER/1000.txt http://SERVER/missing http://SERVER/fail";
    server.client(&format!("curl -s {pages} -o /dev/null -o /dev/null -o /dev/null")).unwrap();
    server.client("curl -s -I http://SERVER/1000.txt").unwrap();
    wait_for("the first lines", || lines("ours.log").len() == 10);
    // Opened again, a file gets its comments once more.
    ours.signal(Signal::SIGHUP);
    wait_for("the comments", || lines("ours.log").len() == 12);
    server.client(&format!("curl -s {pages} -o /dev/null -o /dev/null -o /dev/null")).unwrap();
    wait_for("the last lines", || lines("ours.log").len() == 18);
    wait_for("httpry", || theirs.try_wait().unwrap().is_some());
    end(ours).says("14 http packets parsed").says(" packets dropped, ");
    let (mut ours, theirs) = (lines("ours.log"), lines("theirs.log"));
    assert_eq!(ours[10..12], theirs[..2]);
    ours.drain(10..12);
    assert_eq!(ours, theirs);
}

/// Every second, whether something comes or not, and once more at the end.
#[test]
fn rates_come_at_their_time() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl"]) {
        return;
    }
    let server = Server::start(&bench);
    let ours = bench.gannet(Side::Receiver, "httpry -i rx0 -s -t 1 -l 1 -o rates.log").capture();
    let begun = Instant::now();
    let totals = || {
        let text = String::from_utf8_lossy(&bench.dir.read("rates.log")).into_owned();
        text.lines().filter(|line| line.contains("\ttotals\t")).count()
    };
    // A host is not written, and forgotten, in the second in which it was first seen: one that is seen all the time is
    // there in the next.
    wait_for("rates", || {
        server
            .client("curl -s http://SERVER/1000.txt http://SERVER/1000.txt -o /dev/null -o /dev/null")
            .unwrap();
        totals() >= 3
    });
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let before = totals();
    end(ours);
    assert!(totals() > before);
    let text = String::from_utf8_lossy(&bench.dir.read("rates.log")).into_owned();
    assert!(text.starts_with("# httpry version 0.1.8\n# Fields: host\n"), "{text}");
    assert!(text.contains(&format!("\t{}\t", Side::Receiver.address())), "{text}");
}
