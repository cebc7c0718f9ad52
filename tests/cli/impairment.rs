//! Thousands of exchanges over wires and in captures that lose packets, as records of the binary.

use std::collections::BTreeMap;

use gannet_testkit::impaired::{Pace, Plan, Traffic};
use gannet_testkit::random::Random;
use serde_json::Value;

use crate::util::Dir;

fn number(text: Option<&str>) -> Option<usize> {
    text?.rsplit('/').next()?.parse().ok()
}

/// What was captured whole is told exactly, and nobody's answer is told to be another's. The crate's own test of this
/// has more to say about the rest.
#[test]
fn what_was_captured_whole_is_told_exactly() {
    let first = std::env::var("GANNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let plan = Plan {
        connections: 500,
        exchanges: 20,
        capture_loss: 0,
        wire_loss: 5_000,
        disorder: 10_000,
        copies: 10_000,
    };
    let dir = Dir::new();
    // No loss, 5 %, and what the seeds draw between.
    let drawn = (first..first + 3).map(|seed| (seed, Random::new(seed).below(50_001)));
    for (seed, loss) in [(first, 0), (first, 50_000)].into_iter().chain(drawn) {
        eprintln!("GANNET_SEED={seed}");
        let traffic = Traffic::draw(seed, &Plan { capture_loss: loss, ..plan });
        dir.write("impaired.pcap", &traffic.pcap);
        let outcome = dir.gannet("http -q --header x-number -r impaired.pcap").run().exits(0);
        assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
        let mut found: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
        let mut records = 0;
        for line in outcome.text().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            records += 1;
            let asked = number(record.pointer("/url/path").and_then(Value::as_str));
            let header = record.pointer("/http/response/header/x-number/0").and_then(Value::as_str);
            let answered = number(header);
            if let (Some(asked), Some(answered)) = (asked, answered) {
                let doubts = record["gannet"]["untrusted"].as_array().unwrap();
                let marked = record["gannet"]["pair_confidence"] == "low"
                    && doubts.iter().any(|doubt| doubt == "pairing");
                let told = asked == answered || matches!(traffic.sent[asked].pace, Pace::Window(_)) && marked;
                assert!(told, "loss {loss}: {asked} with the answer to {answered}: {record}");
            }
            if let Some(number) = asked.or(answered) {
                found.entry(number).or_default().push(record);
            }
        }
        let (mut whole, mut exact) = (0, 0);
        let singles = traffic
            .sent
            .iter()
            .filter(|sent| sent.whole && !sent.too_late && (loss == 0 || sent.pace == Pace::Single));
        for sent in singles {
            let number = sent.number;
            let [record] = found.get(&number).map_or(&[][..], Vec::as_slice) else {
                panic!("loss {loss}: {number}: {:?}", found.get(&number))
            };
            assert_eq!(record["gannet"]["state"], "complete", "loss {loss}: {number}: {record}");
            assert_eq!(record["http"]["request"]["method"], sent.method, "{number}: {record}");
            assert_eq!(record["http"]["response"]["status_code"], sent.status, "{number}: {record}");
            assert_eq!(record["http"]["request"]["body"]["size"], sent.request_body, "{number}: {record}");
            assert_eq!(record["http"]["response"]["body"]["size"], sent.response_body, "{number}: {record}");
            let doubts = record["gannet"]["untrusted"].as_array().unwrap();
            // Nobody has seen that a client waits for its answers whose first ones are missing.
            let first = number - number % plan.exchanges;
            let shown = traffic.sent[first..first + 2].iter().all(|one| one.whole && !one.too_late);
            let doubted = |doubt: &Value| doubt == "gap" || doubt == "pairing" && shown;
            assert!(!doubts.iter().any(doubted), "{number}: {record}");
            whole += 1;
            exact += usize::from(doubts.is_empty());
        }
        eprintln!(
            "loss {loss}: {records} records, {whole} of exchanges that must be exact, {exact} without any doubt"
        );
        if loss == 0 {
            assert_eq!(records, traffic.sent.len());
        }
    }
}
