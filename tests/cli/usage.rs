//! What is understood, what is refused, and how it is said.

use gannet_testkit::capture::{Plan, generate};

use crate::util::{Dir, Pcap};

#[test]
fn help_and_version_are_no_mistakes() {
    let dir = Dir::new();
    let version = dir.gannet("--version").run().exits(0);
    assert_eq!(version.text(), concat!("gannet ", env!("CARGO_PKG_VERSION"), "\n"));
    for words in
        ["--help", "-h", "record --help", "record -h", "interfaces --help", "extract --help", "help record"]
    {
        let outcome = dir.gannet(words).run().exits(0);
        assert!(outcome.text().contains("Usage: gannet") && outcome.stderr.is_empty(), "{words}");
    }
    for words in ["record --help", "http --help", "filter --help", "interfaces --help", "extract --help"] {
        let help = dir.gannet(words).run().text();
        assert!(help.trim_end().rsplit("\n\n").next().unwrap().starts_with("Examples:"), "{help}");
    }
    assert!(dir.gannet("--help").run().text().contains("4  packets were lost and --strict was given"));
    dir.gannet("").run().exits(2).says("Usage: gannet");
}

#[test]
fn help_is_silent_about_what_is_not_built() {
    let dir = Dir::new();
    for words in ["--help", "record --help", "http --help", "extract --help"] {
        let help = dir.gannet(words).run().text();
        for absent in ["--keep", "--compress", "--no-index", "--on-close", "--flow-bytes", "  grep"] {
            assert!(!help.contains(absent), "{words} mentions {absent}:\n{help}");
        }
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let dir = Dir::new();
    for (words, sentence) in [
        ("record -W 5", "-W is not built yet"),
        ("record -C 5", "-C is not built yet"),
        ("record --keep 1GiB", "--keep is not built yet"),
        ("record --compress=zstd", "--compress is not built yet"),
        ("grep -i lo x", "gannet grep is not built yet"),
        ("http -o zeek", "the format zeek is not built yet"),
        ("http --top url.path", "--top is not built yet"),
        ("grep x", "gannet grep is not built yet"),
    ] {
        let outcome = dir.gannet(words).run().exits(2).says(sentence);
        assert!(outcome.stdout.is_empty());
    }
}

#[test]
fn mistakes_name_the_flag() {
    let dir = Dir::new();
    for (words, named) in [
        ("recrod", "recrod"),
        ("record --no-such-flag", "--no-such-flag"),
        ("record -c 0", "--count"),
        ("record -c many", "--count"),
        ("record -s 300000", "--snaplen"),
        ("record --duration 5", "--duration"),
        ("record --duration 5parsecs", "--duration"),
        ("record --workers 0", "--workers"),
        ("record --cpus 3-1", "--cpus"),
        ("record --fanout sometimes", "--fanout"),
        ("record --ring-size 1.5GiB", "--ring-size"),
        ("record --ring-size 1GiB -B 1024", "--buffer-size"),
        ("record --block-size 1000", "--block-size"),
        ("record -Q sideways", "--direction"),
        ("record --type friends", "--type"),
        ("record --rotate 64MiB -w file.pcapng", "--rotate"),
        ("record --rotate tomorrow -w dir/", "--rotate"),
        ("record --writer zero-copy --format pcap", "--writer zero-copy"),
        ("record -i lo -r file", "-i and -r exclude each other"),
        ("record -i lo --netns 1", "--netns"),
        ("record -r file --fanout hash -w out.pcap", "--fanout is for live captures"),
        ("stats -r file --netns lab", "--netns is for live captures"),
        ("record -i lo -s headers+", "--snaplen"),
        ("record -i lo -s header", "--snaplen"),
        ("record -i lo -F no-such-file", "-F no-such-file"),
        ("record -i lo -n --resolve port 80", "-n and --resolve"),
        ("record -Z no-such-user", "-Z: no user no-such-user"),
        ("http -r - -r -", "-r - is given twice, and there is only one standard input"),
        ("stats -r - -r -", "-r - is given twice"),
        ("record -r - -r - -w out.pcap", "-r - is given twice"),
        ("http -r a.pcap -o text:- -o jsonl", "two outputs go to standard output"),
        ("extract file", "--repair"),
        ("extract --verify --repair file", "--repair"),
        ("man no-such-command", "no-such-command"),
    ] {
        let outcome = dir.gannet(words).run().exits(2).says(named);
        assert!(outcome.stdout.is_empty(), "{words}");
        assert!(!outcome.stderr.contains("panicked"), "{words}: {}", outcome.stderr);
    }
}

/// Slips of the first minute say what to write instead.
#[test]
fn words_that_want_a_flag_are_known() {
    let dir = Dir::new();
    dir.write("a.pcap", &Pcap::sample(7).to_bytes());
    for (words, sentence) in [
        ("http a.pcap", "'a.pcap' is a file and no filter: write -r before each file"),
        ("stats -r a.pcap a.pcap", "'a.pcap' is a file and no filter"),
        ("record lo", "'lo' is an interface and no filter: write -i before it"),
        ("http portt 80", "gannet: filter: expected"),
        ("http -i lo -A", "-A: packets are not printed"),
        (
            "http -i lo -w a.pcap",
            "-w: it is for gannet record; beside records packets are written by --record PATH",
        ),
        ("http -r a.pcap -m GET POST", "'POST' is a method and no filter"),
        ("http -r a.pcap --status 5xx 4xx", "'4xx' is a class of statuses and no filter"),
        ("http -r a.pcap --summary sums.txt", "write --summary=sums.txt"),
        ("http -r a.pcap -o json", "the formats are text, jsonl, messages, httpry and none; write -o jsonl"),
        ("stats -r a.pcap -o flows.csv", "write -o csv:flows.csv"),
        ("http -r a.pcap --duration 5", "a time has a unit, as in 5s"),
        ("a.pcap", "a.pcap is a file: a command comes first, as in"),
        ("-i lo", "-i: a command comes first, as in"),
        ("http -r - -F -", "-r - and -F - are both standard input"),
        ("stats -r a.pcap --where x", "--where is a flag of gannet http"),
    ] {
        dir.gannet(words).run().exits(2).says(sentence);
    }
    // Behind -- they would be a filter.
    for words in ["http --nosuch", "record -k", "httpry --nosuch", "filter --nosuch", "extract --nosuch"] {
        let outcome = dir.gannet(words).run().exits(2).says("unexpected argument");
        assert!(!outcome.stderr.contains("tip:"), "{words}: {}", outcome.stderr);
    }
    dir.gannet("record -nn -r a.pcap -w b.pcap").run().exits(0).says("7 packets written");
}

/// A condition that fits nothing would look like traffic without such exchanges.
#[test]
fn conditions_that_fit_nothing_say_what_to_write() {
    let dir = Dir::new();
    dir.write("a.pcap", &Pcap::sample(7).to_bytes());
    for (words, sentence) in [
        ("--host http://shop.example", "hosts are no URLs: write shop.example"),
        ("--host=", "it is empty: write a host or a pattern"),
        ("--path=", "it is empty: write a path or a pattern"),
        ("--path http://shop.example/a", "write --host shop.example --path /a"),
        ("--method=", "--method: the list is empty: write methods, such as get,post"),
    ] {
        dir.gannet(&format!("http -r a.pcap {words}")).run().exits(2).says(sentence);
    }
}

/// Standard output is for one of all that can be written there.
#[test]
fn what_comes_at_the_end_may_go_to_standard_output() {
    let dir = Dir::new();
    dir.write("a.pcap", &Pcap::sample(7).to_bytes());
    let text = dir.gannet("http -q -r a.pcap -o none --stats-json -").run().exits(0).text();
    let ledger: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(ledger["packets"]["processed"], 7);
    let text = dir.gannet("http -q -r a.pcap -o none --histograms -").run().exits(0).text();
    assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
    for (words, sentence) in [
        ("http -r a.pcap --stats-json -", "--stats-json -: standard output is for records already"),
        ("record -r a.pcap -w - --stats-json -", "--stats-json -: standard output is for packets already"),
        (
            "http -r a.pcap -o none --stats-json - --histograms -",
            "--histograms -: standard output is for --stats-json already",
        ),
    ] {
        dir.gannet(words).run().exits(2).says(sentence);
    }
    assert!(!dir.join("-").exists());
}

/// A pipe gives its packets once; a file that is named twice gives them twice.
#[test]
fn a_pipe_is_read_once_and_a_file_as_often_as_it_is_named() {
    let dir = Dir::new();
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    dir.gannet("http -r fifo -r ./fifo").run().exits(2).says("-r fifo and -r ./fifo are one pipe");
    dir.gannet("http -r - -r /dev/stdin")
        .stdin(b"")
        .run()
        .exits(2)
        .says("-r - and -r /dev/stdin are one pipe");
    dir.write("a.pcap", &Pcap::sample(7).to_bytes());
    dir.gannet("http -r a.pcap -r a.pcap").run().exits(0).says("14 packets read");
}

#[test]
fn every_flag_can_come_from_the_environment() {
    let dir = Dir::new();
    for (name, value, named) in [
        ("GANNET_SNAPLEN", "many", "--snaplen"),
        ("GANNET_RING_SIZE", "x", "--ring-size"),
        ("GANNET_BLOCK_SIZE", "1000", "--block-size"),
        ("GANNET_FANOUT", "x", "--fanout"),
        ("GANNET_STRICT", "maybe", "--strict"),
        ("GANNET_USER", "no-such-user", "no-such-user"),
    ] {
        dir.gannet("record -i lo").env(name, value).run().exits(2).says(named);
    }
    // Whoever reads of a flag has not typed it: the variable is named, whoever finds the mistake.
    dir.write("a.pcap", &Pcap::sample(7).to_bytes());
    for (words, name, value, named) in [
        ("http -r a.pcap", "GANNET_COUNT", "many", "invalid value 'many' for '--count <N>'"),
        ("http -r a.pcap", "GANNET_DIRECTION", "side", "invalid value 'side' for '--direction <DIR>'"),
        ("http -r a.pcap", "GANNET_WHERE", "x=", "--where: = means nothing here"),
        ("http -r a.pcap", "GANNET_ROUTE", "users", "--route: "),
        ("http -r a.pcap", "GANNET_FILTER", "portt 80", "filter: "),
        ("http -r a.pcap", "GANNET_FILTER_FILE", "no-such-file", "-F no-such-file: "),
        ("http -r a.pcap", "GANNET_USER", "no-such-user", "-Z: "),
        ("http", "GANNET_READ", "no-such-file", "cannot read no-such-file: "),
        ("httpry -r a.pcap", "GANNET_STATS", "often", "invalid value 'often' for '--stats <TIME>'"),
        ("httpry -r a.pcap", "GANNET_USER", "no-such-user", "-Z: "),
    ] {
        let sentence = format!("gannet: {name} in the environment: {named}");
        dir.gannet(words).env(name, value).run().exits(2).says(&sentence);
    }
    let typed =
        dir.gannet("http -r a.pcap -c many").env("GANNET_COUNT", "few").run().exits(2).says("--count");
    assert!(!typed.stderr.contains("GANNET_COUNT"), "{}", typed.stderr);
    // Set to nothing is not set.
    for name in ["GANNET_COUNT", "GANNET_HOST", "GANNET_INTERFACE", "GANNET_USER", "GANNET_METHOD"] {
        dir.gannet("http -r a.pcap").env(name, "").run().exits(0).says("7 packets read");
        dir.gannet("httpry -r a.pcap").env(name, "").run().exits(0);
    }
    // The command line wins: the bad value is not even looked at for what it means.
    dir.gannet("record -r missing.pcap --block-size 64KiB")
        .env("GANNET_BLOCK_SIZE", "1000")
        .run()
        .exits(2)
        .says("missing.pcap");
    // A flag without a value.
    dir.gannet("record -r missing.pcap").env("GANNET_STRICT", "yes").run().exits(2).says("missing.pcap");
}

/// A variable is set for many runs: what does not fit one is for others.
#[test]
fn variables_that_do_not_fit_are_for_other_runs() {
    let dir = Dir::new();
    let mut pcap = Vec::new();
    generate(&Plan { seed: 3, size_bytes: 300_000, connections: 20 }, &mut pcap, &mut Vec::new()).unwrap();
    dir.write("a.pcap", &pcap);
    for (words, variables) in [
        (
            "httpry -r a.pcap",
            &[
                ("GANNET_EVENTS", "request"),
                ("GANNET_BODY", "1k"),
                ("GANNET_FIELDS", "timestamp"),
                ("GANNET_METHOD", "put"),
                ("GANNET_RATES", "1s"),
                ("GANNET_RATE_THRESHOLD", "9"),
                ("GANNET_OUTPUT", "text"),
                ("GANNET_SLOWER", "1h"),
                ("GANNET_PORTS", "9"),
                ("GANNET_COUNT", "1"),
                ("GANNET_NUMERIC", "yes"),
                ("GANNET_RECORD", "packets.pcapng"),
                ("GANNET_SNAPLEN", "20"),
                ("GANNET_FILTER", "udp"),
                ("GANNET_DIRECTION", "in"),
            ][..],
        ),
        (
            "http -o httpry -r a.pcap",
            &[
                ("GANNET_EVENTS", "request"),
                ("GANNET_BODY", "1k"),
                ("GANNET_FIELDS", "url.path"),
                ("GANNET_RATE_THRESHOLD", "9"),
                ("GANNET_SLOWER", "1h"),
                ("GANNET_STATUS", "404"),
                ("GANNET_HOST", "nobody"),
                ("GANNET_PATH", "/nowhere"),
                ("GANNET_WHERE", "url.path == '/nowhere'"),
                ("GANNET_RECORD", "packets/"),
                ("GANNET_ROTATE", "1h"),
            ],
        ),
        (
            "http -o text -r a.pcap",
            &[
                ("GANNET_BODY", "1k"),
                ("GANNET_FIELDS", "timestamp"),
                ("GANNET_RATES", "1s"),
                ("GANNET_ROTATE", "1h"),
            ],
        ),
        ("http -o messages -r a.pcap --status 2xx", &[("GANNET_EVENTS", "request")]),
        (
            "http -o jsonl -r a.pcap",
            &[("GANNET_FIELDS", "source-ip,host"), ("GANNET_OUTPUT", "zeek:conn.log")],
        ),
        ("http -r a.pcap", &[("GANNET_OUTPUT", "csv")]),
        ("stats -r a.pcap", &[("GANNET_OUTPUT", "text"), ("GANNET_BODY", "x")]),
        ("http -o jsonl -r a.pcap --ring-size 1MiB", &[("GANNET_BUFFER_SIZE", "1024")]),
        (
            "stats -o csv -r a.pcap",
            &[("GANNET_CPUS", "0"), ("GANNET_FANOUT", "hash"), ("GANNET_NETNS", "no-such-namespace")],
        ),
    ] {
        let expected = dir.gannet(words).run().exits(0).text();
        assert!(!expected.is_empty(), "{words}");
        for (name, value) in variables {
            let found = dir.gannet(words).env(name, value).run().exits(0).text();
            assert_eq!(found, expected, "{name}={value} gannet {words}");
        }
    }
    assert!(!dir.path().join("packets.pcapng").exists() && !dir.path().join("conn.log").exists());
    // What fits has its effect, and what nothing takes is a mistake.
    let lines =
        dir.gannet("http -o httpry -r a.pcap").env("GANNET_FIELDS", "method,host").run().exits(0).text();
    assert!(
        lines.lines().count() > 20 && lines.lines().all(|line| line.matches('\t').count() == 1),
        "{lines}"
    );
    let whole = "http -o messages -r a.pcap";
    assert_eq!(
        dir.gannet(whole).env("GANNET_EVENTS", "exchange").run().exits(0).text(),
        dir.gannet(&format!("{whole} --events exchange")).run().exits(0).text()
    );
    dir.gannet("http -r a.pcap").env("GANNET_OUTPUT", "poem").run().exits(2).says("the formats are");
    dir.gannet("stats -r a.pcap").env("GANNET_OUTPUT", "poem").run().exits(2).says("the formats are");
    dir.gannet("http -o jsonl -r a.pcap").env("GANNET_FIELDS", "url.pth").run().exits(2).says("url.pth");
    // Typed, they are refused as ever.
    for words in ["http -i lo --rate-threshold 2", "http -i lo --rotate 1h"] {
        dir.gannet(words).run().exits(2).says("which is not given");
    }
}

#[test]
fn completions_and_manual_pages() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = dir.gannet(&format!("completions {shell}")).run().exits(0).text();
        assert!(script.contains("ring-size"), "{shell}");
    }
    let page = dir.gannet("man record").run().exits(0).text();
    assert!(page.contains(".TH gannet-record 1") && page.contains("GANNET_RING_SIZE"), "{page}");
    let page = dir.gannet("man http").run().exits(0).text();
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in\n{page}"));
    assert!(
        place(".SH FIELDS") < place(".SH \"EXAMPLES\"") && place(".SH \"EXAMPLES\"") < place(".SH VERSION")
    );
    assert!(page.contains("bytes not captured") && page.contains("\"gannet 0.1.0\""), "{page}");
    assert!(page.contains("\\&      gannet http \\-r capture.pcapng host 10.0.0.1 and port 80\n"), "{page}");
    let help = dir.gannet("--help").run().exits(0).text();
    assert!(help.contains("  completions ") && help.contains("  man "), "{help}");
    let page = dir.gannet("man").run().exits(0).text();
    assert!(page.contains(".TH gannet 1") && page.contains("interfaces"), "{page}");
}

#[test]
fn interfaces_are_listed() {
    let dir = Dir::new();
    let table = dir.gannet("interfaces").run().exits(0).text();
    let lo =
        table.lines().find(|line| line.starts_with("lo ")).unwrap_or_else(|| panic!("no lo in\n{table}"));
    assert!(lo.contains("EN10MB"), "{lo}");
    assert!(table.lines().any(|line| line.starts_with("any ")));
    let names =
        |text: &str| text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&dir.gannet("record -D").run().exits(0).text()), names(&table));
    dir.gannet("interfaces --netns no-such-namespace").run().exits(3).says("no-such-namespace");
}
