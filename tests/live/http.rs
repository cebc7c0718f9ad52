//! `gannet http` on live traffic between real clients and a real server: its records against the server's log.

use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use gannet_testkit::lab::Side;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::support::{Bench, wait_for};
use super::tools;
use crate::util::{Capture, Outcome};

/// nginx on the receiver's side of the lab, with pages of five sizes and a log of what it sent.
pub(super) struct Server<'a> {
    bench: &'a Bench,
    process: Child,
}

/// Method, path with query, status, bytes of the body: what the server's log and our records have in common.
type Line = (String, String, u64, u64);

impl<'a> Server<'a> {
    pub(super) fn start(bench: &'a Bench) -> Self {
        Self::start_with(bench, "")
    }

    /// With these further directives in nginx's `server`.
    fn start_with(bench: &'a Bench, directives: &str) -> Self {
        let root = bench.dir.path();
        std::fs::create_dir(bench.dir.join("www")).unwrap();
        for size in SIZES {
            bench.dir.write(&format!("www/{size}.txt"), &vec![b'x'; size]);
        }
        let config = format!(
            "daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;
             events {{ worker_connections 1024; }}
             http {{
                 log_format line '$connection $request_method $request_uri $status $body_bytes_sent';
                 access_log {root}/access.log line buffer=64k;
                 client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fcgi;
                 uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
                 keepalive_requests 1000000; sendfile on; tcp_nopush on;
                 server {{
                     listen 80; root {root}/www; {directives}
                     location /fail {{ return 500; }}
                     location /post {{ return 200 'thank you'; }}
                 }}
             }}",
            root = root.display(),
        );
        let config = bench.dir.write("nginx.conf", config.as_bytes());
        // Its workers run as nobody and must get at the pages.
        std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = bench.lab.command(Side::Receiver, "nginx");
        command.arg("-e").arg(bench.dir.join("error.log")).arg("-c").arg(config);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { bench, process };
        wait_for("nginx", || server.client("curl -s -o /dev/null http://SERVER/1000.txt").is_some());
        server
    }

    /// Runs a client on the other side; `SERVER` is the server's address. `None` if it fails.
    pub(super) fn client(&self, words: &str) -> Option<String> {
        let words = words.replace("SERVER", &Side::Receiver.address().to_string());
        let mut words = words.split_whitespace();
        let mut command = self.bench.lab.command(Side::Sender, words.next().unwrap());
        let output = command.args(words).current_dir(self.bench.dir.path()).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends the server, so that its log is complete. The lines by connection.
    fn end(mut self) -> HashMap<u64, Vec<Line>> {
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        nix::sys::signal::kill(pid, Signal::SIGQUIT).unwrap();
        self.process.wait().unwrap();
        let mut lines: HashMap<u64, Vec<Line>> = HashMap::new();
        for line in String::from_utf8(self.bench.dir.read("access.log")).unwrap().lines() {
            let [connection, method, path, status, bytes] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            lines.entry(connection.parse().unwrap()).or_default().push((
                method.to_owned(),
                path.to_owned(),
                status.parse().unwrap(),
                bytes.parse().unwrap(),
            ));
        }
        lines
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) fn start(bench: &Bench, words: &str) -> Capture {
    let _ = std::fs::remove_file(bench.dir.join("ledger.json"));
    bench.gannet(Side::Receiver, &format!("http -i rx0 --stats-json ledger.json {words}")).capture()
}

pub(super) fn end(capture: Capture) -> Outcome {
    capture.signal(Signal::SIGINT);
    let outcome = capture.end().exits(0);
    assert!(!outcome.stderr.contains("panicked") && !outcome.stderr.contains("defect"), "{}", outcome.stderr);
    outcome
}

pub(super) fn ledger(bench: &Bench) -> Value {
    let ledger: Value = serde_json::from_slice(&bench.dir.read("ledger.json")).unwrap();
    let number = |pointer: &str| ledger.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert_eq!(
        number("/packets/received"),
        number("/packets/dropped") + number("/packets/processed"),
        "{ledger}"
    );
    for unit in ["packets", "bytes"] {
        let accounts = ledger["analysis"][unit].as_object().unwrap();
        let sum: u64 = accounts.values().map(|amount| amount.as_u64().unwrap()).sum();
        assert_eq!(sum, number(&format!("/{unit}/processed")), "{unit}: {ledger}");
    }
    for sink in ledger["sinks"].as_array().unwrap() {
        assert_eq!(sink["made"], ledger["analysis"]["http"]["exchanges"], "{ledger}");
        assert_eq!(
            sink["made"].as_u64().unwrap(),
            sink["written"].as_u64().unwrap() + sink["shed"].as_u64().unwrap()
        );
    }
    ledger
}

pub(super) fn records(bench: &Bench, name: &str) -> Vec<Value> {
    let text = String::from_utf8(bench.dir.read(name)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn line_of(record: &Value) -> Line {
    let path = record["url"]["path"].as_str().unwrap();
    let query = record["url"]["query"].as_str().map(|query| format!("?{query}")).unwrap_or_default();
    (
        record["http"]["request"]["method"].as_str().unwrap().to_owned(),
        format!("{path}{query}"),
        record["http"]["response"]["status_code"].as_u64().unwrap_or_default(),
        record["http"]["response"]["body"]["size"].as_u64().unwrap_or_default(),
    )
}

fn count<'a>(lines: impl IntoIterator<Item = &'a Line>) -> BTreeMap<&'a Line, i64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

#[test]
fn records_equal_the_access_log() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl", "h2load"]) {
        return;
    }
    let server = Server::start(&bench);
    // What came before the capture is not its concern: the log has one line for each time the server was asked for.
    for workers in [1, 2] {
        let name = format!("records-{workers}.jsonl");
        let capture = start(&bench, &format!("-o jsonl:{name} --workers {workers} --ring-size 64MiB"));
        let pages: Vec<_> =
            SIZES.iter().map(|size| format!("http://SERVER/{size}.txt?page={workers}")).collect();
        let others = format!("http://SERVER/missing?{workers} http://SERVER/fail?{workers}");
        server.client(&format!("h2load --h1 -n 7000 -c 64 {} {others}", pages.join(" "))).unwrap();
        bench.dir.write("form", b"name=value");
        server.client(&format!("h2load --h1 -n 1000 -c 64 -d form http://SERVER/post?{workers}")).unwrap();
        server.client(&format!("curl -s -I http://SERVER/1000.txt?head={workers}")).unwrap();
        let outcome = end(capture).says("complete");
        let ledger = ledger(&bench);
        assert_eq!(ledger["packets"]["dropped"], 0, "{}", outcome.stderr);
        assert_eq!(ledger["analysis"]["http"]["complete"], 8001, "{ledger}");
        for record in records(&bench, &name) {
            assert_eq!(record["gannet"]["state"], "complete", "{record}");
            assert_eq!(record["client"]["address"], Side::Sender.address().to_string());
            assert_eq!(record["server"]["port"], 80);
            assert!(record["timing"]["total_ns"].as_u64().unwrap() > 0, "{record}");
            let posted = record["http"]["request"]["method"] == "POST";
            assert_eq!(
                record["http"]["request"]["body"]["size"].as_u64().unwrap_or(0),
                if posted { 10 } else { 0 }
            );
        }
    }
    let ours: Vec<_> = [1, 2]
        .iter()
        .flat_map(|workers| records(&bench, &format!("records-{workers}.jsonl")))
        .map(|record| line_of(&record))
        .collect();
    let log = server.end();
    let theirs = log.values().flatten().filter(|line| line.1.contains('?'));
    assert_eq!(count(&ours), count(theirs));
}

#[test]
fn full_speed_recorded_beside() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl", "wrk"]) {
        return;
    }
    let server = Server::start(&bench);
    std::fs::create_dir(bench.dir.join("packets")).unwrap();
    let capture = start(&bench, "-o jsonl:records.jsonl --record packets/ --summary=summary.txt");
    server.client("wrk -t 1 -c 64 -d 3s http://SERVER/1000.txt?w").unwrap();
    end(capture);
    let ledger = ledger(&bench);
    assert_eq!(ledger["packets"]["dropped"], 0, "{ledger}");
    assert_eq!(ledger["packets"]["written"], ledger["packets"]["processed"], "{ledger}");
    let in_files: u64 =
        ledger["files"].as_array().unwrap().iter().map(|file| file["packets"].as_u64().unwrap()).sum();
    assert_eq!(in_files, ledger["packets"]["written"].as_u64().unwrap());
    // wrk walks away from the last request of each connection, which the server logs or not.
    let records = records(&bench, "records.jsonl");
    let complete = records.iter().filter(|record| record["gannet"]["state"] == "complete").count();
    let log = server.end();
    let theirs = log.values().flatten().filter(|line| line.1.contains('?')).count();
    assert!(
        complete > 1000 && theirs <= records.len(),
        "{complete} complete, {theirs} in the log, {}",
        records.len()
    );
    assert!(theirs - complete <= 64 && records.len() - complete <= 64);
    let mut unfinished: HashMap<&Value, usize> = HashMap::new();
    let mut last: HashMap<&Value, &Value> = HashMap::new();
    for record in &records {
        if record["gannet"]["state"] != "complete" {
            *unfinished.entry(&record["client"]["port"]).or_default() += 1;
        }
        last.insert(&record["client"]["port"], record);
    }
    assert!(unfinished.values().all(|&count| count == 1), "one on a connection: {unfinished:?}");
    for port in unfinished.keys() {
        assert_ne!(last[port]["gannet"]["state"], "complete", "it is the last on its connection");
    }
    let summary = String::from_utf8(bench.dir.read("summary.txt")).unwrap();
    assert!(summary.contains(".txt") && summary.contains("P99"), "{summary}");
}

/// Packets that cannot be recorded in time are shed, and no record is lost for it.
#[test]
fn a_recording_that_cannot_keep_up() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl", "wrk"]) {
        return;
    }
    let server = Server::start(&bench);
    let pipe = bench.dir.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Somebody who holds the pipe open and reads nothing.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let capture = start(&bench, "-o jsonl:records.jsonl --workers 1 --ring-size 64MiB --record pipe");
    server.client("wrk -t 1 -c 16 -d 3s http://SERVER/100000.txt?w").unwrap();
    let mut capture = capture;
    capture.signal(Signal::SIGUSR1);
    capture.wait_for("  ");
    drop(reader);
    end(capture);
    let ledger = ledger(&bench);
    assert_eq!(ledger["packets"]["dropped"], 0, "{ledger}");
    assert!(ledger["packets"]["disk_shed"].as_u64().unwrap() > 1000, "{ledger}");
    let records = records(&bench, "records.jsonl");
    let complete = records.iter().filter(|record| record["gannet"]["state"] == "complete").count();
    let log = server.end();
    let theirs: Vec<_> =
        log.values().flatten().filter(|line| line.1.contains('?') && line.3 == 100_000).collect();
    assert!(complete > 100 && theirs.len() - complete <= 16, "{complete} complete of {}", theirs.len());
}

/// A record comes out while its connection lives on, soon after its last packet, with a pipe to write to.
#[test]
fn records_come_at_once() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl"]) {
        return;
    }
    let server = Server::start(&bench);
    let capture = start(&bench, "-o jsonl:records.jsonl");
    for number in 0..3 {
        server.client(&format!("curl -s -o /dev/null http://SERVER/1000.txt?{number}")).unwrap();
        let begun = Instant::now();
        wait_for("the record", || records(&bench, "records.jsonl").len() > number);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    end(capture);
    ledger(&bench);
}

/// A client that speaks TLS to a port of plain HTTP gets an answer in plain HTTP, which was not looked at; one that
/// speaks plain HTTP to a port of TLS is answered by nginx as if it had not.
#[test]
fn tls_to_a_port_of_http_and_the_reverse() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl", "openssl"]) {
        return;
    }
    let certificate = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out certificate \
                       -days 2 -subj /CN=shop.example";
    assert_eq!(bench.script(Side::Receiver, certificate).run().status.code(), Some(0));
    let root = bench.dir.path().display();
    let directives =
        format!("listen 443 ssl; ssl_certificate {root}/certificate; ssl_certificate_key {root}/key;");
    let server = Server::start_with(&bench, &directives);
    let capture = start(&bench, "-o jsonl:records.jsonl");
    assert_eq!(server.client("curl -sk https://SERVER:80/1000.txt"), None, "nginx speaks TLS on port 80");
    assert!(server.client("curl -s http://SERVER:443/1000.txt").unwrap().contains("plain HTTP request"));
    assert_eq!(server.client("curl -sk https://SERVER/1000.txt").map(|body| body.len()), Some(1000));
    wait_for("the records", || records(&bench, "records.jsonl").len() == 2);
    end(capture).says("1 connection is TLS").says(" bytes on HTTP connections belong to no message");
    let records = records(&bench, "records.jsonl");
    let told = |record: &Value| {
        let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_u64);
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let status = number("/http/response/status_code");
        (number("/server/port"), status, text("/gannet/state"), text("/gannet/reason"))
    };
    // Two workers found them, which write when they have something.
    let mut told: Vec<_> = records.iter().map(told).collect();
    told.sort_by_key(|(port, ..)| *port);
    let expected = [
        (Some(80), Some(400), "orphan-response", "tls-request"),
        (Some(443), Some(400), "complete", "framing"),
    ];
    let expected = expected.map(|(port, status, state, reason)| (port, status, state.into(), reason.into()));
    assert_eq!(told, expected);
}

/// Where nothing is found, the report says why.
#[test]
fn a_run_that_finds_nothing_says_why() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl"]) {
        return;
    }
    let server = Server::start(&bench);
    let capture = start(&bench, "-o none --ports 8080");
    server.client("curl -s -o /dev/null http://SERVER/1000.txt").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    end(capture).says("0 HTTP exchanges").says("1 connection on other ports than those asked for");
    let capture = start(&bench, "-o none -Q in");
    server.client("curl -s -o /dev/null http://SERVER/1000.txt").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    end(capture).says("1 connection was seen in one direction only");
    let capture = start(&bench, "-o none");
    end(capture).says("no packets came");
}

const SIZES: [usize; 5] = [0, 100, 1_000, 20_000, 100_000];
