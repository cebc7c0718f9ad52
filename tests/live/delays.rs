//! Times on live traffic, against a server whose delays are known and against tshark on the packets recorded beside.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use gannet_testkit::delays::{self, DELAYS, Known, Measured, Plan};
use serde_json::Value;

use super::http::{end, ledger, records, start};
use super::support::Bench;
use super::tools;

/// Every time lies between what its two ends saw of it, which no busy machine can change; and it is tshark's.
#[test]
fn times_are_those_of_the_wire() {
    let Some(bench) = Bench::new() else { return };
    let capture = start(&bench, "-o jsonl:records.jsonl --record packets.pcapng");
    let plan = Plan { requests: 240, per_second: 100.0 };
    let known = delays::converse(&bench.lab, 80, plan, &AtomicBool::new(false)).unwrap();
    end(capture).says(": 240 complete");
    assert_eq!(ledger(&bench)["packets"]["dropped"], 0);
    let records = records(&bench, "records.jsonl");
    assert_eq!((known.len(), records.len()), (240, 240));
    let mut exchanges: HashMap<u64, (Value, Measured)> = HashMap::new();
    for record in records {
        let number = delays::number_in(record["url"]["query"].as_str().unwrap()).unwrap();
        let measured = measured(&record);
        assert!(exchanges.insert(number, (record, measured)).is_none(), "{number} twice");
    }
    for known in &known {
        let (record, measured) = &exchanges[&known.number];
        assert_eq!(known.contradiction(measured), None, "{record}");
        assert_eq!(measured.send_ns == 0 && measured.total_ns == measured.ttfb_ns, known.is_single_frames);
    }
    // The bounds would prove nothing if they were as far apart as the delays are.
    for delay in DELAYS {
        let of = known.iter().filter(|known| known.delay == delay);
        let width =
            |known: &Known| known.response_first.latest - known.request_last.earliest - known.waited_ns;
        let narrowest = of.map(width).min().unwrap();
        assert!(narrowest < 10_000_000, "{delay:?}: known to {narrowest} ns at best");
    }
    if tools::have(&["tshark"]) {
        against_tshark(&bench, &known, &exchanges);
    }
}

/// `total_ns` is `http.time` where request and response came in one frame each.
fn against_tshark(bench: &Bench, known: &[Known], exchanges: &HashMap<u64, (Value, Measured)>) {
    let rows = tools::fields(
        &bench.dir.join("packets.pcapng"),
        &["tcp.dstport", "frame.time_epoch", "http.response.code", "http.time"],
    );
    let mut times: HashMap<(u64, i128), i128> = HashMap::new();
    for row in &rows {
        if let [port, at, "200", time] = row.split('\t').collect::<Vec<_>>()[..] {
            times.insert((port.parse().unwrap(), nanoseconds(at)), nanoseconds(time));
        }
    }
    let mut count = 0;
    for known in known.iter().filter(|known| known.is_single_frames) {
        let (record, measured) = &exchanges[&known.number];
        let key = (record["client"]["port"].as_u64().unwrap(), measured.first + measured.total_ns);
        let theirs = times.get(&key).unwrap_or_else(|| panic!("tshark has no response for {record}"));
        assert!((theirs - measured.total_ns).abs() <= 1_000, "tshark says {theirs}: {record}");
        count += 1;
    }
    assert_eq!(count, 240 / 12);
}

fn measured(record: &Value) -> Measured {
    let time = |name: &str| {
        let value = record["timing"][name].as_u64();
        i128::from(value.unwrap_or_else(|| panic!("{name}: {record}")))
    };
    let first: jiff::Timestamp = record["timestamp"].as_str().unwrap().parse().unwrap();
    Measured {
        first: first.as_nanosecond(),
        send_ns: time("send_ns"),
        ttfb_ns: time("ttfb_ns"),
        server_ns: time("server_ns"),
        total_ns: time("total_ns"),
    }
}

/// "1768471200.005616000" in ns.
fn nanoseconds(text: &str) -> i128 {
    let (seconds, fraction) = text.split_once('.').unwrap();
    assert_eq!(fraction.len(), 9, "{text}");
    seconds.parse::<i128>().unwrap() * 1_000_000_000 + fraction.parse::<i128>().unwrap()
}
