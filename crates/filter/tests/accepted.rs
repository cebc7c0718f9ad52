//! What the front of the compiler accepts and refuses: the shared list of expressions, and the examples of
//! pcap-filter(7).
//!
//! Whether an accepted expression makes sense for a link type is not asked here; an expression that some link type
//! accepts must be read, one that all refuse may still be read if the reason lies in the frames or in the optimiser.

use std::path::PathBuf;

use gannet_filter::resolve::resolve;
use gannet_filter::{Error, Names};

/// Refused by every link type, yet not for what the words mean.
const READ_ALL_THE_SAME: &[&str] = &[];

/// The examples in the text of pcap-filter(7), with names of hosts replaced by addresses and those of protocols as a
/// shell hands them over.
const MANUAL: &[&str] = &[
    "ether src 00:00:5e:00:53:01",
    "arp net 128.3",
    "tcp port 21",
    "udp portrange 7000-7009",
    "wlan host 00:00:5e:00:53:01",
    "src 192.0.2.1",
    "dst net 128.3",
    "src or dst port ftp-data",
    "ether[0] & 1 != 0",
    "dst host 192.0.2.1 and not port ftp and not port ftp-data",
    "tcp dst port ftp or ftp-data or domain",
    "tcp dst port ftp or tcp dst port ftp-data or tcp dst port domain",
    "ip host 192.0.2.1",
    "ether proto \\ip and host 192.0.2.1",
    "ether host 00:00:5e:00:53:01 and not host 192.0.2.1",
    "dst net 10.0.0.0/8",
    "src net 192.168.0.0 mask 255.255.0.0",
    "net 192.168.1 or net 192.168 or net 10",
    "net 2001:db8::/32",
    "dst port 80",
    "src port 80",
    "tcp src port 80",
    "dst portrange 6000-6063",
    "less 64",
    "len <= 64",
    "greater 1500",
    "len >= 1500",
    "ip proto \\icmp",
    "ip6 proto 6",
    "proto \\tcp",
    "tcp",
    "icmp",
    "ip6 protochain 6",
    "ip protochain \\tcp",
    "protochain 17",
    "ether broadcast",
    "ip broadcast",
    "ether multicast",
    "ip multicast",
    "ip6 multicast",
    "ether proto \\arp",
    "fddi proto \\arp",
    "tr proto \\arp",
    "wlan proto \\arp",
    "ip6",
    "arp",
    "rarp",
    "atalk",
    "aarp",
    "decnet",
    "iso",
    "stp",
    "ipx",
    "netbeui",
    "lat",
    "moprc",
    "mopdl",
    "decnet src 10.15",
    "decnet host 10.15",
    "ifindex 5",
    "llc",
    "llc i",
    "llc s",
    "llc u",
    "llc rr",
    "llc rnr",
    "llc rej",
    "llc ui",
    "llc ua",
    "llc disc",
    "llc sabme",
    "llc test",
    "llc xid",
    "llc frmr",
    "inbound",
    "outbound",
    "vlan",
    "vlan 100 && vlan 200",
    "vlan && vlan 300 && ip",
    "mpls 100000 && mpls 1024",
    "mpls && mpls 1024 && host 192.9.200.1",
    "pppoed",
    "pppoes",
    "pppoes 0x27 && ip",
    "geneve 0xb && ip",
    "iso proto \\clnp",
    "iso proto \\esis",
    "iso proto \\isis",
    "clnp",
    "esis",
    "isis",
    "l1",
    "l2",
    "iih",
    "lsp",
    "snp",
    "csnp",
    "psnp",
    "ip[0] & 0xf != 5",
    "ip[6:2] & 0x1fff = 0",
    "tcp[0]",
    "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply",
    "not host 192.0.2.1 and 192.0.2.2",
    "not host 192.0.2.1 and host 192.0.2.2",
    "not ( host 192.0.2.1 or 192.0.2.2 )",
    "host 192.0.2.1",
    "host 192.0.2.1 and \\( 192.0.2.2 or 192.0.2.3 \\)",
    "host 192.0.2.1 and ( 192.0.2.2 or 192.0.2.3 )",
    "ip host 192.0.2.1 and not 192.0.2.2",
    "net 192.0.2.0/24",
    "ip and not net 192.0.2.0/24",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src and dst net 192.0.2.0/24",
    "tcp[tcpflags] & (tcp-rst|tcp-ack) == (tcp-rst|tcp-ack)",
    "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
    "ip[2:2] > 576",
    "ether[0] & 1 = 0 and ip[16] >= 224",
];

/// Lines of [`MANUAL`] that are there to be refused: bytes without a comparison, and parentheses that the shell did
/// not take the backslash from.
const MANUAL_REFUSED: &[&str] = &["tcp[0]", "host 192.0.2.1 and \\( 192.0.2.2 or 192.0.2.3 \\)"];

fn read(expression: &str) -> Result<(), Error> {
    resolve(expression, &Names::default()).map(drop)
}

#[test]
fn the_shared_list_is_accepted_and_refused_as_libpcap_does() {
    let corpus = std::env::var_os("GANNET_CORPUS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let Ok(list) = std::fs::read_to_string(corpus.join("filters.txt")) else {
        eprintln!("SKIPPED: no filters.txt below {}", corpus.display());
        return;
    };
    let mut seen = 0;
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (expression, tag) = line.split_once("  # ").unwrap_or((line, ""));
        seen += 1;
        match (tag, read(expression)) {
            ("reject", Ok(())) => assert!(READ_ALL_THE_SAME.contains(&expression), "accepted: {expression}"),
            ("reject", Err(error)) => {
                assert!(error.span.end <= expression.len());
                assert!(
                    error.render(expression).lines().nth(2).is_some_and(|line| line.contains('^')),
                    "{expression}"
                );
            }
            (_, Ok(())) => {}
            (_, Err(error)) => panic!("refused: {}", error.render(expression)),
        }
    }
    assert!(seen > 100, "only {seen} expressions in the list");
}

#[test]
fn the_examples_of_the_manual_page_are_read() {
    for expression in MANUAL {
        match read(expression) {
            Ok(()) => assert!(!MANUAL_REFUSED.contains(expression), "accepted: {expression}"),
            Err(error) => {
                assert!(MANUAL_REFUSED.contains(expression), "refused: {}", error.render(expression))
            }
        }
    }
}

#[test]
fn words_about_other_link_types_are_refused_by_the_name_of_the_family() {
    for (expression, family) in [
        ("wlan type mgt", "802.11"),
        ("wlan addr1 00:00:5e:00:53:01", "802.11"),
        ("subtype beacon", "802.11"),
        ("wlan dir tods", "802.11"),
        ("vpi 5", "ATM"),
        ("tcp or oamf4", "ATM"),
        ("fisu", "SS7"),
        ("opc 5 or tcp", "SS7"),
        ("on eth0", "packet filter"),
        ("tcp and action pass", "packet filter"),
    ] {
        let error = read(expression).expect_err(expression);
        assert!(error.message.contains(family), "{expression}: {error}");
    }
}
