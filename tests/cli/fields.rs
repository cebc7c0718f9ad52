//! The fields of records: the schema that the binary prints holds for all that it writes, `--fields` takes names from
//! it, the manual page lists them.

use gannet_record::fields::FIELDS;
use gannet_testkit::conversation::variants;
use serde_json::Value;

use super::http::{captures, corpus};
use crate::util::Dir;

fn validator(dir: &Dir, words: &str) -> jsonschema::Validator {
    let schema = dir.gannet(&format!("http --schema {words}")).run().exits(0).text();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

/// Fails with the line and what is wrong with it as its kind.
fn assert_valid(validator: &jsonschema::Validator, text: &str, file: &str) -> usize {
    let mut lines = 0;
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        assert!(validator.is_valid(&value), "{file}: {line}");
        lines += 1;
    }
    lines
}

const ALL: &str =
    "-q -o jsonl --body 64KiB --header all --events exchange,request,response,interim --pending 100ms";

#[test]
fn records_of_damaged_conversations_are_valid() {
    let dir = Dir::new();
    let validator = validator(&dir, "");
    for variant in variants(3) {
        dir.write("v.pcap", &variant.conversation.pcap());
        let text = dir.gannet(&format!("http {ALL} -r v.pcap")).run().exits(0).text();
        assert_ne!(assert_valid(&validator, &text, variant.name), 0, "{}", variant.name);
    }
}

#[test]
fn records_of_captures_made_elsewhere_are_valid() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let validator = validator(&dir, "");
    let (mut files, mut lines) = (Vec::new(), 0);
    captures(&corpus.join("pcaps"), &mut files);
    for file in files {
        let outcome = dir.gannet(&format!("http {ALL} -r {}", file.display())).run();
        // What is no capture is refused.
        if outcome.status.code() == Some(0) {
            lines += assert_valid(&validator, &outcome.text(), &file.display().to_string());
        }
    }
    assert!(lines > 100, "{lines}");
}

#[test]
fn lines_have_the_fields_that_were_chosen() {
    let dir = Dir::new();
    let variant = &variants(3)[0];
    dir.write("v.pcap", &variant.conversation.pcap());
    let words = "-f timestamp,url.path,http.response.status_code,http.request.header.Accept,gannet.id";
    let text = dir.gannet(&format!("http -q -o jsonl {words} -r v.pcap")).run().exits(0).text();
    assert_ne!(assert_valid(&validator(&dir, words), &text, words), 0);
    let whole = dir.gannet("http -q -o jsonl --header accept -r v.pcap").run().exits(0).text();
    for (part, whole) in text.lines().zip(whole.lines()) {
        let (part, whole): (Value, Value) =
            (serde_json::from_str(part).unwrap(), serde_json::from_str(whole).unwrap());
        let keys: Vec<_> = part.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["gannet", "http", "timestamp", "url"]);
        for pointer in
            ["/timestamp", "/url/path", "/http/response/status_code", "/http/request/header", "/gannet/id"]
        {
            assert_eq!(part.pointer(pointer), whole.pointer(pointer), "{pointer}");
        }
        assert_eq!(part["gannet"].as_object().unwrap().len(), 1);
    }
    for (words, why) in [
        ("-o jsonl -f path", "no record has a field \"path\"; there is url.path"),
        ("-o jsonl -f ,", "no record has a field \"\""),
        ("-o text -f url.path", "--fields is for -o jsonl and -o httpry"),
        ("-o jsonl -o httpry:a -f timestamp", "have other names for their fields"),
        ("--schema -f nothing", "no record has a field \"nothing\""),
    ] {
        dir.gannet(&format!("http {words} -r v.pcap")).run().exits(2).says(why);
    }
}

#[test]
fn the_manual_page_lists_every_field() {
    let dir = Dir::new();
    let page = dir.gannet("man http").run().exits(0).text();
    let (_, fields) = page.split_once("\n.SH FIELDS\n").unwrap();
    for field in FIELDS {
        assert!(fields.contains(&format!(".TP\n\\fB{}\\fR (", field.name)), "{}", field.name);
    }
    // What values mean follows, each set once, and no value but those that records can have.
    let mut sets: Vec<Vec<_>> = Vec::new();
    for field in FIELDS {
        let values = field.kind.values();
        let explained: Vec<_> = values.into_iter().filter(|value| !value.about.is_empty()).collect();
        if explained.is_empty() || sets.contains(&explained) {
            continue;
        }
        let (_, list) = fields.split_once(&format!("\n.SS Values of {}\n", field.name)).unwrap();
        let list = list.split("\n.SS ").next().unwrap().replace("\\-", "-");
        let names = list.lines().filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR"));
        let names: Vec<_> = names.flat_map(|names| names.split(", ")).collect();
        assert!(names.iter().copied().eq(explained.iter().map(|value| value.name.as_str())), "{names:?}");
        sets.push(explained);
    }
    assert_eq!(sets.len(), 5, "state, reason, pair_confidence, untrusted, notes");
    for format in ["jsonl", "text", "httpry", "messages"] {
        assert!(fields.contains(&format!(".SS {format}\n")), "{format}");
    }
    assert!(!dir.gannet("man record").run().exits(0).text().contains("FIELDS\n"));
}
