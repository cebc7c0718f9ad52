//! Meanings, refusals and advice.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::tree::{Network, Transport};

fn names() -> (tempfile::TempDir, Names) {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("hosts", "10.0.0.1 both four\n2001:db8::1 both six\n"),
        ("ethers", "00:00:5e:00:53:01 four\n00:00:5e:00:53:02 six\n"),
        ("services", "web 80/tcp\nns 53/tcp\nns 53/udp\ntime 123/udp\n"),
        ("networks", "loop 127.0.0.0\nnone 0.0.0.0\n"),
    ];
    for (file, text) in files {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let names = Names::in_folder(folder.path());
    (folder, names)
}

/// The only test of an expression that is just one.
fn only(text: &str) -> Test {
    let (_folder, names) = names();
    match resolve(text, &names) {
        Ok(Tree { steps }) => match steps.as_slice() {
            [Step { op: Op::Test(test), .. }] => test.clone(),
            other => panic!("{text}: {other:?}"),
        },
        Err(error) => panic!("{}", error.render(text)),
    }
}

fn refused(text: &str) -> Error {
    let (_folder, names) = names();
    resolve(text, &names).expect_err(text)
}

fn networks(text: &str) -> Vec<(u32, u32)> {
    match only(text) {
        Test::Address { networks, .. } => networks
            .iter()
            .map(|network| match network {
                Network::V4 { address, mask } => (address.to_bits(), mask.to_bits()),
                Network::V6 { .. } => panic!("{text} is IPv6"),
            })
            .collect(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn short_networks_are_those_of_the_first_bytes() {
    assert_eq!(networks("net 10"), [(0x0a00_0000, 0xff00_0000)]);
    assert_eq!(networks("net 172.16"), [(0xac10_0000, 0xffff_0000)]);
    assert_eq!(networks("host 5"), [(5, u32::MAX)]);
    assert_eq!(networks("net 0"), [(0, u32::MAX)]);
    assert_eq!(networks("net 010.0/8"), [(0x0a00_0000, 0xff00_0000)]);
    assert_eq!(networks("net 10.0.5.0 mask 255.0.255.0"), [(0x0a00_0500, 0xff00_ff00)]);
    assert_eq!(networks("net 0.0.0.0/0"), [(0, 0)]);
    assert_eq!(networks("net loop"), [(0x7f00_0000, u32::MAX)]);
    assert_eq!(networks("host \\10.1"), [(0x0a00_0001, u32::MAX)]);
}

#[test]
fn names_have_the_addresses_that_the_qualifier_allows() {
    let count = |text: &str| match only(text) {
        Test::Address { networks, .. } => networks.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (count("host both"), count("ip host both"), count("ip6 host both"), count("arp host four")),
        (2, 1, 1, 1)
    );
    for text in ["arp host both", "ip6 host four", "ip host six", "tcp host four", "host nosuch", "net none"]
    {
        refused(text);
    }
    assert!(
        refused("host nosuch")
            .help
            .is_some_and(|help| help.contains("hosts file") && help.contains("--resolve"))
    );
}

#[test]
fn ports_have_the_transport_that_both_sides_allow() {
    let port = |text: &str| match only(text) {
        Test::Port { transport, ports, .. } => (transport, ports),
        other => panic!("{other:?}"),
    };
    assert_eq!(port("port web"), (Some(Transport::Tcp), Ports::One(80)));
    assert_eq!(port("port ns"), (None, Ports::One(53)));
    assert_eq!(port("sctp port ns"), (Some(Transport::Sctp), Ports::One(53)));
    assert_eq!(port("portrange ns-web"), (None, Ports::Range(53, 80)));
    assert_eq!(port("portrange 9-1x"), (None, Ports::Range(9, 1)));
    assert_eq!(port("port \\80"), (None, Ports::One(80)));
    for text in [
        "udp port web",
        "sctp port time",
        "port 65536",
        "portrange 1-65536",
        "portrange web",
        "ip port 80",
        "portrange 1--2",
    ] {
        refused(text);
    }
}

#[test]
fn gateways_need_both_files() {
    let Test::Gateway { link_address, addresses, .. } = only("gateway four") else { panic!("not a gateway") };
    assert_eq!((link_address[5], addresses), (1, vec![Ipv4Addr::new(10, 0, 0, 1)]));
    for text in ["gateway both", "gateway six", "gateway 1.2.3.4", "ip6 gateway four", "gateway 1"] {
        refused(text);
    }
}

#[test]
fn what_no_link_type_has_is_refused() {
    for text in [
        "ether",
        "radio",
        "radio[0] = 1",
        "ah[0] = 1",
        "arp port 80",
        "ip6 host 1.2.3.4",
        "ip host ::1",
        "tcp net 10",
        "net 10.0.0.1/8",
        "net 1.0.0.0/33",
        "net fe80::1/64",
        "net ::/129",
        "host ::/0",
        "host 10.0.0.0/8",
        "host 256.1.1.1",
        "host 0x1.2",
        "ether host 1.2.3.4",
        "host 00:00:5e:00:53:01",
        "vlan 4096",
        "mpls 1048576",
        "pppoes 65536",
        "geneve 16777216",
        "vxlan 16777216",
        "tcp broadcast",
        "arp multicast",
        "tcp proto 5",
        "arp protochain 6",
        "llc foo",
        "ip[0:3] = 1",
        "1 / 0 = 1",
        "1 % 0 = 1",
        "1 << 32 = 1",
        "6 / ip[0] = 1",
        "proto nosuch",
        "ether proto \\tcp",
        "iso proto \\ip",
        "port 1.2.3.4",
        "host $1",
    ] {
        refused(text);
    }
}

#[test]
fn near_misses_are_suggested() {
    for (text, help) in [
        ("prot 80", "`port 80`"),
        ("tpc", "`tcp`"),
        ("hots 10.0.0.1", "`host 10.0.0.1`"),
        ("dport 80", "`dst port 80`"),
        ("tcp and prot 80", "`port 80`"),
        ("port web and prot 80", "`port 80`"),
        ("tcp & udp", "`and`"),
        ("tcp | udp", "`or`"),
        ("TCP", "`tcp`"),
        ("10.0.0.1", "`host 10.0.0.1`"),
        ("192.168.0.0/16", "`net 192.168.0.0/16`"),
        ("tcp 80", "`tcp port 80`"),
        ("tcp host 10.0.0.1", "`tcp and host 10.0.0.1`"),
        ("host 00:00:5e:00:53:01", "`ether host 00:00:5e:00:53:01`"),
        ("port 80-90", "`portrange 80-90`"),
        ("port 80,443", "`port 80 or 443`"),
        ("tcp-syn", "`tcp[tcpflags] & tcp-syn != 0`"),
        ("tcp[tcpflag] = 1", "`tcpflags`"),
        ("ip proto tcp", "`\\tcp`"),
        ("net 10/8", "`net 10.0.0.0/8`"),
        ("net 10.0.0.1/8", "`net 10.0.0.0/8`"),
        ("host both and tcpp", "`tcp`"),
        ("both", "`host both`"),
        ("in", "`inbound`"),
        ("len-20 > 5", "`len - 20`"),
        ("tcp not udp", "`and`"),
        ("tcp (port 80)", "`and`"),
        ("ip[12:4] = 10.0.0.1", "`src host 10.0.0.1`"),
        ("host [::1]", "`host ::1`"),
        ("ip proto icmp6", "alone"),
        ("ether proto ip", "`\\ip`"),
    ] {
        let error = refused(text);
        let given = error.help.clone().unwrap_or_default();
        assert!(given.contains(help), "{}", error.render(text));
    }
}

proptest! {
    /// Nothing panics, places lie in the text, and a tree has the shape that its type promises.
    #[test]
    fn any_text_is_answered(text in prop_oneof![
        "\\PC{0,40}",
        prop::collection::vec(prop::sample::select(SOUP), 0..24).prop_map(|words| words.join(" ")),
        prop::collection::vec(prop::sample::select(SOUP), 0..24).prop_map(|words| words.concat()),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]) {
        let (_folder, names) = names();
        match resolve(&text, &names) {
            Ok(tree) => {
                let mut depth = 0_usize;
                for step in &tree.steps {
                    prop_assert!(text.get(step.span.clone()).is_some_and(|words| !words.is_empty()));
                    match step.op {
                        Op::Test(_) => depth += 1,
                        Op::Not => prop_assert!(depth >= 1),
                        Op::And | Op::Or => {
                            prop_assert!(depth >= 2);
                            depth -= 1;
                        }
                    }
                }
                prop_assert_eq!(depth, usize::from(!tree.steps.is_empty()));
            }
            Err(error) => {
                prop_assert!(text.get(error.span.clone()).is_some());
                let rendered = error.render(&text);
                prop_assert!(rendered.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{}", rendered);
            }
        }
    }
}

const SOUP: &[&str] = &[
    "and",
    "or",
    "not",
    "!",
    "&&",
    "||",
    "(",
    ")",
    "(",
    ")",
    "tcp",
    "udp",
    "ip",
    "ip6",
    "ether",
    "arp",
    "host",
    "net",
    "port",
    "portrange",
    "src",
    "dst",
    "proto",
    "protochain",
    "gateway",
    "80",
    "443",
    "10.0.0.1",
    "10.0.0.0",
    "/",
    "8",
    "fe80::1",
    "::",
    "00:00:5e:00:53:01",
    "both",
    "\\tcp",
    "web",
    "ip[0]",
    "tcp[",
    "]",
    ":",
    "len",
    "+",
    "-",
    "*",
    "%",
    "^",
    "&",
    "|",
    "<<",
    "=",
    "!=",
    "<",
    "vlan",
    "mpls",
    "llc",
    "rnr",
    "less",
    "byte",
    "broadcast",
    "mask",
    "255.0.0.0",
    "1-1023",
    "isis",
    "decnet",
    "prot",
    "$1",
    "type",
    "vxlan",
    "é",
    "\t",
    "'",
];
